"""Start JupyterLab in the folder of the lessons, with the course's extension of it.

The extension is not installed: JupyterLab finds it in the folder `EXTENSIONS`, which `command` passes on, and it acts
on notebooks of the course alone. A hub or Binder opts in by naming that folder (docs/instructors.md, ``start``).
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kdcourse.errors import LessonError

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
FIRST = "00_start_here.ipynb"
EXTENSIONS = Path(__file__).resolve().parent / "labextensions"


def command(arguments: Sequence[str] = (), *, browser: bool = True, notebooks: Path = NOTEBOOKS) -> list[str]:
    """Return the command that starts JupyterLab in the folder of the notebooks.

    Args:
        arguments: passed on to JupyterLab, such as ``--port=8890``.
        browser: whether to open it in the browser.
        notebooks: their folder, or a copy of it.

    Raises:
        LessonError: no notebooks, or no JupyterLab; says what to do.
    """
    if not (notebooks / FIRST).is_file():
        if notebooks != NOTEBOOKS:
            raise LessonError(
                f"{notebooks} holds no lessons: there is no {FIRST}. Name a copy of the repository's folder notebooks."
            )
        if (notebooks.parent / "pyproject.toml").is_file():
            raise LessonError(
                f"{notebooks} holds no lessons: there is no {FIRST}. Get it back: git restore notebooks"
            )
        raise LessonError(
            "The lessons are not part of the installed package; they come with its repository. Clone it, "
            "install it, and start from there:\n"
            "  git clone https://github.com/kdcourse/kdcourse && cd kdcourse\n"
            f'  {_python()} -m pip install -e ".[notebooks]" -c constraints.txt\n'
            "  kdcourse lab"
        )
    if importlib.util.find_spec("jupyterlab") is None:
        raise LessonError(
            "JupyterLab is not installed. Install it and repeat the command: "
            f"{_python()} -m pip install jupyterlab ipywidgets"
        )
    start = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={notebooks}"]
    # A further --LabApp.extra_labextensions_path among the arguments adds to this one.
    start += [f"--LabApp.extra_labextensions_path={EXTENSIONS}"]
    return [*start, *([] if browser else ["--no-browser"]), *arguments]


def run(
    arguments: Sequence[str] = (),
    *,
    browser: bool = True,
    notebooks: Path = NOTEBOOKS,
    start: Callable[[Sequence[str]], subprocess.Popen[bytes]] = subprocess.Popen,
) -> int:
    """Start JupyterLab, wait until it ends, and return its exit code.

    Raises:
        LessonError: see `command`.
    """
    process = start(command(arguments, browser=browser, notebooks=notebooks))
    # A signal that ends this process is meant for JupyterLab, which would stay behind with its kernels. Ctrl-C differs.
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # JupyterLab received the Ctrl-C as well: it asks whether to stop, and stops if the answer is yes.
                continue
    finally:
        signal.signal(signal.SIGTERM, before)


def _python() -> str:
    """Return this Python's program as a shell takes it."""
    return f'"{sys.executable}"' if " " in sys.executable else sys.executable
