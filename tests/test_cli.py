from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import kdcourse.data
from kdcourse import cli, doctor, models
from kdcourse.experiments import recorded, teachers
from tests.experiments import tiny


def test_models_are_listed_with_their_parameters() -> None:
    told = CliRunner().invoke(cli.app, ["models"])
    assert told.exit_code == 0
    for name, parameters in models.names().items():
        assert f"{name:<16}{parameters:>12,}" in told.output
    assert "torchvision:NAME" in told.output


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (None, 0), (False, 1)])
def test_doctor_reports_and_its_exit_code_says_whether_all_is_well(
    ok: bool | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = doctor.Finding("torch", ok, "a finding", "a cure")
    monkeypatch.setattr(doctor, "checks", lambda: [finding])
    told = CliRunner().invoke(cli.app, ["doctor"])
    assert told.exit_code == code
    assert "a finding" in told.output


def test_teachers_and_students_are_trained_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kdcourse.data, "fashion_mnist", tiny.dataset)
    quick = replace(teachers.RECIPES[0], epochs=1, batch_size=16)
    monkeypatch.setattr(teachers, "RECIPES", (quick,))
    folder = tmp_path / "teachers"
    told = CliRunner().invoke(cli.app, ["teachers", str(folder)])
    assert told.exit_code == 0, told.output
    assert "teacher_1: validation accuracy" in told.output
    assert (folder / "SHA256SUMS").is_file()

    monkeypatch.setattr(teachers, "shipped_folder", lambda: folder)
    recipe = recorded.StudentRecipe("pocket_2k", epochs=1, batch_size=16)
    trial = recorded.Trial("one", "which", recipe)
    monkeypatch.setattr(
        recorded.search, "__kwdefaults__", recorded.search.__kwdefaults__ | {"trials": (trial,)}
    )
    told = CliRunner().invoke(cli.app, ["students", "search", str(tmp_path / "students")])
    assert told.exit_code == 0, told.output
    assert len(json.loads((tmp_path / "students" / "search.json").read_text())["rows"]) == 1


def test_errors_of_ours_are_one_line_and_others_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    told = CliRunner().invoke(cli.app, ["run", "--epochs", "0"])
    assert told.exit_code == 2
    assert told.output.startswith("error: --epochs must be at least 1")

    def broken() -> None:
        raise ZeroDivisionError("a mistake of the program's")

    monkeypatch.setattr(kdcourse.data, "fashion_mnist", broken)
    told = CliRunner().invoke(cli.app, ["students", "record"])
    assert isinstance(told.exception, ZeroDivisionError)


def test_help_names_every_command() -> None:
    told = CliRunner().invoke(cli.app, ["--help"])
    assert told.exit_code == 0
    for command in ("run", "doctor", "models", "teachers", "students"):
        assert command in told.output
