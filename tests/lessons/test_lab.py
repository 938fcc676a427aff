from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kdcourse import cli
from kdcourse.errors import LessonError
from kdcourse.lessons import build, lab


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with one notebook, on a machine that has JupyterLab."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / lab.FIRST).write_text("{}")
    monkeypatch.setattr(lab, "NOTEBOOKS", folder)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return folder


def test_jupyterlab_starts_in_the_folder_of_the_notebooks(notebooks: Path) -> None:
    start = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={notebooks}"]
    assert lab.command(notebooks=notebooks) == start
    assert lab.command(["--port=8890"], browser=False, notebooks=notebooks) == [
        *start, "--no-browser", "--port=8890",
    ]  # fmt: skip


def test_what_the_extension_of_jupyterlab_names_is_there() -> None:
    """pip puts it where every JupyterLab of the same Python looks; tests in a browser see it at work."""
    root = Path(__file__).parents[2]
    built = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    ((source, target),) = built["shared-data"].items()
    folder = root / source
    described = json.loads((folder / "package.json").read_text())
    assert target == f"share/jupyter/labextensions/{described['name']}"
    program = (folder / described["jupyterlab"]["_build"]["load"]).read_text()
    assert f"_JUPYTERLAB.{described['name']} =" in program
    [style] = re.findall(r'"(\w+\.css)"', program)
    assert (folder / "static" / style).is_file()


def test_what_is_missing_is_said_with_its_cure(notebooks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LessonError, match=r"-m pip install jupyterlab"):
        lab.command(notebooks=notebooks)
    with pytest.raises(LessonError, match=f"elsewhere holds no lessons: there is no {lab.FIRST}"):
        lab.command(notebooks=notebooks.parent / "elsewhere")
    (notebooks / lab.FIRST).unlink()
    with pytest.raises(LessonError, match=r"(?s)not part of the installed package.*git clone"):
        lab.command(notebooks=notebooks)
    (notebooks.parent / "lessons").mkdir()
    with pytest.raises(LessonError, match="Build them: kdcourse lessons build"):
        lab.command(notebooks=notebooks)


def test_ctrl_c_is_left_to_jupyterlab(notebooks: Path) -> None:
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

    assert lab.lab(["--debug"], notebooks=notebooks, start=start) == 7
    assert process.waited == 2
    assert started == [lab.command(["--debug"], notebooks=notebooks)]


@pytest.mark.skipif(sys.platform == "win32", reason="there a process is ended without being asked")
def test_who_ends_the_command_ends_jupyterlab(notebooks: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def start(_: Sequence[str]) -> subprocess.Popen[bytes]:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    assert lab.lab(notebooks=notebooks, start=start) == -signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_command_passes_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        lab,
        "lab",
        lambda arguments, browser, notebooks: seen.append((list(arguments), browser, notebooks)) or 3,
    )
    told = CliRunner().invoke(cli.app, ["lab", "--no-browser", "--port=8890", "--ip", "0.0.0.0"])
    assert told.exit_code == 3
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(cli.app, ["lab", "--notebooks", "mine"])
    assert seen == [
        (["--port=8890", "--ip", "0.0.0.0"], False, lab.NOTEBOOKS),
        ([], True, tmp_path.resolve() / "mine"),
    ]

    def missing(arguments: Sequence[str], browser: bool, notebooks: Path) -> int:
        raise LessonError("JupyterLab is not installed.")

    monkeypatch.setattr(lab, "lab", missing)
    told = CliRunner().invoke(cli.app, ["lab"])
    assert (told.exit_code, told.output) == (2, "error: JupyterLab is not installed.\n")


def test_lessons_are_built_and_checked_by_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        build, "build", lambda numbers, force, say: seen.append((numbers, force)) or say("built")
    )
    told = CliRunner().invoke(cli.app, ["lessons", "build", "03", "04", "--force"])
    assert (told.exit_code, told.output, seen) == (0, "built\n", [(["03", "04"], True)])
    monkeypatch.setattr(build, "check", lambda: ["03_ensembles: there is no notebook"])
    told = CliRunner().invoke(cli.app, ["lessons", "check"])
    assert told.exit_code == 1 and told.output.startswith("03_ensembles: there is no notebook\n")
    monkeypatch.setattr(build, "check", lambda: [])
    told = CliRunner().invoke(cli.app, ["lessons", "check"])
    assert (told.exit_code, told.output) == (0, "All notebooks are in step with their sources.\n")
