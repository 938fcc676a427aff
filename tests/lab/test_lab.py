from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kdcourse import cli, lab
from kdcourse.errors import LessonError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner's folder that isn't there yet, on a machine that has JupyterLab."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return tmp_path / "lessons"


def test_jupyterlab_opens_the_first_lesson_in_the_learners_folder(folder: Path) -> None:
    start = [
        sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}",
        "--LabApp.default_url=/lab/tree/00_start_here.ipynb",
        f"--LabApp.extra_labextensions_path={lab.EXTENSIONS}",
    ]  # fmt: skip
    assert lab.command(folder=folder) == start
    assert lab.command(["--port=8890"], browser=False, folder=folder) == [
        *start, "--no-browser", "--port=8890",
    ]  # fmt: skip


def test_jupyterlab_finds_the_extension_in_its_folder() -> None:
    config = pytest.importorskip("jupyterlab_server.config", reason="jupyterlab not installed")
    ((name, found),) = config.get_federated_extensions([str(lab.EXTENSIONS)]).items()
    program = Path(found["ext_path"], found["jupyterlab"]["_build"]["load"])
    assert f"_JUPYTERLAB.{name} =" in program.read_text()
    [style] = re.findall(r'"(\w+\.css)"', program.read_text())
    assert (program.parent / style).is_file()


def test_every_rule_of_the_style_sheet_is_limited_to_notebooks_of_the_course() -> None:
    [style] = lab.EXTENSIONS.rglob("*.css")
    rules = re.findall(r"^([^{}/*]+)\{", style.read_text(), re.MULTILINE)
    assert len(rules) == style.read_text().count("{")
    assert [rule for rule in rules if ".kdcourse-notebook " not in rule] == []


def test_without_jupyterlab_its_installation_is_advised_and_nothing_is_copied(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LessonError, match=r"-m pip install jupyterlab"):
        lab.run(folder=folder, start=lambda _: pytest.fail("started"))
    assert not folder.exists()


def test_ctrl_c_is_left_to_jupyterlab(folder: Path) -> None:
    class Process:
        """Interrupted once while it asks whether to stop."""

        waited = 0

        def wait(self) -> int:
            self.waited += 1
            if self.waited == 1:
                raise KeyboardInterrupt
            return 7

    process = Process()
    started: list[Sequence[str]] = []

    def start(command: Sequence[str]) -> Any:
        started.append(command)
        return process

    said: list[str] = []
    assert lab.run(["--debug"], folder=folder, start=start, say=said.append) == 7
    assert process.waited == 2
    assert started == [lab.command(["--debug"], folder=folder)]
    assert (folder / lab.FIRST).is_file() and said == [
        f"Your lessons are in {folder}. Work there: this command never overwrites your changes."
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="there a process is ended without being asked")
def test_who_ends_the_command_ends_jupyterlab(folder: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def start(_: Sequence[str]) -> subprocess.Popen[bytes]:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    assert lab.run(folder=folder, start=start, say=lambda _: None) == -signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_command_passes_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        lab,
        "run",
        lambda arguments, browser, hub, folder, say: (
            seen.append((list(arguments), browser, hub, folder)) or 3
        ),
    )
    told = CliRunner().invoke(cli.app, ["lab", "--no-browser", "--port=8890", "--ip", "0.0.0.0"])
    assert told.exit_code == 3
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(cli.app, ["lab", "--notebooks", "mine"])
    assert seen == [
        (["--port=8890", "--ip", "0.0.0.0"], False, False, None),
        ([], True, False, tmp_path.resolve() / "mine"),
    ]

    def missing(*given: object, **named: object) -> int:
        raise LessonError("JupyterLab is not installed.")

    monkeypatch.setattr(lab, "run", missing)
    told = CliRunner().invoke(cli.app, ["lab"])
    assert (told.exit_code, told.output) == (2, "error: JupyterLab is not installed.\n")
