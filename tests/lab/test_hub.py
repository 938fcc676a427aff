"""The page about JupyterHub and its settings; tests/browser/test_hub.py starts a hub with them."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kdcourse import cli, lab
from kdcourse.errors import LessonError

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_shows_the_settings_as_they_are_tested() -> None:
    settings = (DOCS / "jupyterhub_config.py").read_text(encoding="utf-8")
    assert f"```python\n{settings}```" in (DOCS / "jupyterhub.md").read_text(encoding="utf-8")


def test_the_settings_start_the_course_in_a_user_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    config = pytest.importorskip("traitlets.config", reason="traitlets not installed").Config()
    file = DOCS / "jupyterhub_config.py"
    exec(compile(file.read_text(encoding="utf-8"), file, "exec"), {"get_config": lambda: config})
    program, *arguments = config.Spawner.cmd
    assert Path(program).parent == Path(sys.executable).parent
    assert config.Spawner.environment == {"OMP_NUM_THREADS": "1"}
    seen: list[Any] = []
    monkeypatch.setattr(lab, "run", lambda given, *, hub, **_: seen.append((list(given), hub)) or 0)
    told = CliRunner().invoke(cli.app, [*arguments, *config.Spawner.args])
    assert (told.exit_code, seen) == (0, [(config.Spawner.args, True)])


def test_a_hubs_process_becomes_the_server_of_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Replaced(Exception):
        """Raised in place of the new program."""

    started: list[Sequence[str]] = []

    def become(program: str, command: Sequence[str]) -> None:
        assert (program, (folder / lab.FIRST).is_file()) == (sys.executable, True)
        started.append(command)
        raise Replaced

    folder = tmp_path / "lessons"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(os, "execv", become)
    said: list[str] = []
    with pytest.raises(Replaced):
        lab.run(["--debug"], hub=True, folder=folder, start=lambda _: pytest.fail("started"), say=said.append)
    assert started == [
        [
            sys.executable, "-m", "jupyterhub.singleuser", f"--ServerApp.root_dir={folder}",
            "--ServerApp.default_url=/lab/tree/00_start_here.ipynb",
            f"--LabApp.extra_labextensions_path={lab.EXTENSIONS}", "--debug",
        ]
    ]  # fmt: skip
    assert len(said) == 1


def test_without_jupyterhub_its_installation_is_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jupyterhub" else object())
    with pytest.raises(LessonError, match=r"^JupyterHub is not installed.* -m pip install .*jupyterhub"):
        lab.run(hub=True, folder=tmp_path / "lessons")
    assert not (tmp_path / "lessons").exists()
