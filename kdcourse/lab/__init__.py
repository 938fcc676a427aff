"""Open the lessons in JupyterLab, in the learner's own folder, with the course's extension of it.

The extension is not installed: JupyterLab finds it in the folder `EXTENSIONS`, which `command` passes on, and it acts
on notebooks of the course alone. Binder opts in by naming that folder (``start``). On a JupyterHub the command itself
becomes the server of a user (docs/jupyterhub.md).
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kdcourse.errors import LessonError
from kdcourse.lab.lessons import Copy, hand_out, own_folder

FIRST = "00_start_here.ipynb"
EXTENSIONS = Path(__file__).resolve().parent / "labextensions"

Say = Callable[[str], object]


def command(
    arguments: Sequence[str] = (), *, browser: bool = True, hub: bool = False, folder: Path
) -> list[str]:
    """Return the command that starts JupyterLab in the folder of the lessons, with the first one open.

    Args:
        arguments: passed on to JupyterLab, such as ``--port=8890``.
        browser: whether to open it in the browser.
        hub: whether a JupyterHub starts it, as the server of one of its users.
        folder: the learner's, with the lessons in it.

    Raises:
        LessonError: JupyterLab, or for a hub JupyterHub, is not installed; says what to do.
    """
    needs = {"jupyterlab": "JupyterLab"} | ({"jupyterhub": "JupyterHub"} if hub else {})
    for module, name in needs.items():
        if importlib.util.find_spec(module) is None:
            raise LessonError(
                f"{name} is not installed. Install it and repeat the command: "
                f"{_python()} -m pip install {' '.join(needs)} ipywidgets"
            )
    start = [sys.executable, "-m", "jupyterhub.singleuser" if hub else "jupyterlab"]
    start += [f"--ServerApp.root_dir={folder}"]
    # JupyterLab adds the tabs of the last time to the lesson that this address opens.
    start += [f"--{'ServerApp' if hub else 'LabApp'}.default_url=/lab/tree/{FIRST}"]
    # A further --LabApp.extra_labextensions_path among the arguments adds to this one.
    start += [f"--LabApp.extra_labextensions_path={EXTENSIONS}"]
    return [*start, *([] if browser else ["--no-browser"]), *arguments]


def told(copies: Sequence[Copy], folder: Path) -> list[str]:
    """Return what a learner is told about the files in the folder, a line each."""
    lines = [f"Your lessons are in {folder}."]
    if all(copy.state == "new" for copy in copies):
        lines[0] += " Work there: this command never overwrites your changes."
        return lines
    elsewhere = "" if folder == own_folder() else f" --notebooks {shlex.quote(str(folder))}"
    for state, words in (
        ("new", "Added: {}."),
        ("updated", "Replaced by a newer version, since you hadn't changed it: {}."),
        (
            "older",
            "There is a newer version of {}. Your file is left as it is. "
            f"`kdcourse doctor --fix{elsewhere}` renames it and puts the new version in its place.",
        ),
    ):
        names = [copy.path.name for copy in copies if copy.state == state]
        if names:
            lines.append(words.format(", ".join(names)))
    return lines


def run(
    arguments: Sequence[str] = (),
    *,
    browser: bool = True,
    hub: bool = False,
    folder: Path | None = None,
    start: Callable[[Sequence[str]], subprocess.Popen[bytes]] = subprocess.Popen,
    say: Say = print,
) -> int:
    """Put the lessons into the learner's folder, start JupyterLab there, and return its exit code when it ends.

    For a hub this process becomes the server, since that is the one that the hub watches and stops.

    Args:
        arguments, browser, hub: see `command`.
        folder: the learner's; by default `own_folder`. See `hand_out` for what is written there.
        start: starts a process.
        say: is called with each line of `told`.

    Raises:
        LessonError: see `command` and `hand_out`.
    """
    folder = folder or own_folder()
    starting = command(arguments, browser=browser, hub=hub, folder=folder)
    for line in told(hand_out(folder), folder):
        say(line)
    if hub:
        os.execv(starting[0], starting)
    process = start(starting)
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
