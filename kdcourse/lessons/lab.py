"""JupyterLab, opened where the lessons are."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kdcourse.course.notebook import NOTEBOOKS as NOTEBOOKS
from kdcourse.errors import LessonError

FIRST = "00_start_here.ipynb"


def command(arguments: Sequence[str] = (), *, browser: bool = True, notebooks: Path = NOTEBOOKS) -> list[str]:
    """The command that starts JupyterLab in the folder of the notebooks.

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
            raise LessonError(f"{notebooks} holds no lessons yet. Build them: python -m tools.lessons build")
        raise LessonError(
            "The lessons are not part of the installed package; they come with its repository. Get that, "
            "install it, and start from there:\n"
            "  git clone https://github.com/kdcourse/kdcourse && cd kdcourse\n"
            f'  {_python()} -m pip install -e ".[notebooks]" -c constraints.txt\n'
            "  kdcourse lab"
        )
    if importlib.util.find_spec("jupyterlab") is None:
        raise LessonError(
            f"JupyterLab is not installed. Install it, then ask again: {_python()} -m pip install jupyterlab ipywidgets"
        )
    start = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={notebooks}"]
    return [*start, *([] if browser else ["--no-browser"]), *arguments]


def lab(
    arguments: Sequence[str] = (),
    *,
    browser: bool = True,
    notebooks: Path = NOTEBOOKS,
    start: Callable[[Sequence[str]], subprocess.Popen[bytes]] = subprocess.Popen,
) -> int:
    """Start JupyterLab and wait until it ends; its exit code.

    Raises:
        LessonError: see `command`.
    """
    process = start(command(arguments, browser=browser, notebooks=notebooks))
    # Whoever ends this process otherwise than by Ctrl-C means JupyterLab, which would stay behind with its kernels.
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # JupyterLab got the Ctrl-C as well: it asks whether to stop, and stops when told.
                continue
    finally:
        signal.signal(signal.SIGTERM, before)


def _python() -> str:
    return f'"{sys.executable}"' if " " in sys.executable else sys.executable
