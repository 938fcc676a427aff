"""Write the first code cell of every notebook: on Google Colab it installs the course, elsewhere it does nothing.

Colab has torch, torchvision, NumPy, matplotlib, Pillow and ipywidgets of its own, made for its machines and already
loaded by its kernel: none of them may be replaced. So pip installs without dependencies, and is told by name what
the package needs besides. What is there already in a version that will do, pip leaves alone. The trained networks
travel inside the package; the images are downloaded, and verified, when a lesson first needs them.
"""

from __future__ import annotations

import re
from pathlib import Path

from tools.lessons.links import PYPROJECT, home, project

COLABS_OWN = ("torch", "torchvision", "numpy", "matplotlib", "pillow", "ipywidgets")

_TEMPLATE = """\
# @title On Google Colab: run this cell first. Anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    import importlib
    import importlib.util
    import subprocess

    if importlib.util.find_spec("kdcourse") is None:
        wanted = [
            "{package}",
{others}
        ]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        print("Installing the course: a minute or so.")
        done = subprocess.run([*pip, *wanted], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"pip could not install the course; run this cell again. It said:\\n{{done.stderr}}")
        importlib.invalidate_caches()
"""


def needs(pyproject: Path = PYPROJECT) -> list[str]:
    """Return what the cell installs besides the package: its dependencies without those that Colab has.

    Raises:
        LessonError: there is no pyproject.toml.
    """
    listed = project(pyproject)["dependencies"]
    assert isinstance(listed, list)
    names = {str(text): re.split(r"[^\w.-]", str(text), maxsplit=1)[0].lower() for text in listed}
    return [text for text, name in names.items() if name not in COLABS_OWN]


def set_up(pyproject: Path = PYPROJECT) -> str:
    """Return the cell's code.

    Raises:
        LessonError: pyproject.toml isn't there, or doesn't say where the repository is.
    """
    others = "\n".join(f'            "{text}",' for text in needs(pyproject))
    return _TEMPLATE.format(package=home(pyproject).package, others=others).rstrip("\n")
