from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from kdcourse import cli
from kdcourse.lessons import build


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
