from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdcourse import cli, doctor, models
from kdcourse.distillation import methods
from kdcourse.runs import recorded, tasks, teachers
from tests.runs import tiny


def test_models_are_listed_with_their_parameters() -> None:
    told = CliRunner().invoke(cli.app, ["models"])
    assert told.exit_code == 0
    for name, parameters in models.names().items():
        assert f"{name:<30}{parameters:>12,}" in told.output
    assert "torchvision:NAME" in told.output


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (None, 0), (False, 1)])
def test_doctor_reports_and_its_exit_code_says_whether_all_is_well(
    ok: bool | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = doctor.Finding("torch", ok, "a finding", "a cure")
    monkeypatch.setattr(doctor, "checks", lambda folder: [finding])
    told = CliRunner().invoke(cli.app, ["doctor"])
    assert told.exit_code == code
    assert "a finding" in told.output


def test_teachers_and_students_are_trained_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    quick = teachers.RECIPES[0].changed(epochs=1, batch_size=16)
    folder = tmp_path / "teachers"
    recipe = recorded.StudentRecipe(model="pocket_2k").changed(epochs=1, batch_size=16)
    course = replace(
        tasks.CLASSIFICATION,
        teacher_data=tiny.dataset,
        student_data=tiny.dataset,
        teacher_recipes=(quick,),
        teachers_folder=str(folder),
        trials=(recorded.Trial("one", "which", recipe),),
    )
    monkeypatch.setattr(tasks, "CLASSIFICATION", course)
    told = CliRunner().invoke(cli.app, ["teachers", str(folder)])
    assert told.exit_code == 0, told.output
    assert "teacher_1: validation accuracy" in told.output
    assert (folder / "SHA256SUMS").is_file()

    told = CliRunner().invoke(cli.app, ["students", "search", str(tmp_path / "students")])
    assert told.exit_code == 0, told.output
    assert len(json.loads((tmp_path / "students" / "search.json").read_text())["rows"]) == 1


def test_a_task_that_does_not_exist_is_told() -> None:
    for command in (["teachers"], ["students", "record"], ["students", "search"]):
        told = CliRunner().invoke(cli.app, [*command, "--task", "poetry"])
        assert told.exit_code == 2 and "must be one of classification, segmentation" in told.output


def test_errors_of_ours_are_one_line_and_others_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    told = CliRunner().invoke(cli.app, ["run", "--epochs", "0"])
    assert told.exit_code == 2
    assert told.output.startswith("error: --epochs must be at least 1")

    def broken() -> None:
        raise ZeroDivisionError("a mistake of the program's")

    monkeypatch.setattr(tasks, "CLASSIFICATION", replace(tasks.CLASSIFICATION, student_data=broken))
    told = CliRunner().invoke(cli.app, ["students", "record"])
    assert isinstance(told.exception, ZeroDivisionError)


def test_methods_are_listed_with_their_settings() -> None:
    told = CliRunner().invoke(cli.app, ["methods"])
    assert told.exit_code == 0
    for name in methods.names():
        found = methods.describe(name)
        assert name in told.output and found.title in told.output and found.paper in told.output
        assert all(f"{key}={value}" in told.output for key, value in found.settings.items())


def test_help_names_every_command() -> None:
    told = CliRunner().invoke(cli.app, ["--help"])
    assert told.exit_code == 0
    for command in (
        "run",
        "lab",
        "assign",
        "grade",
        "doctor",
        "models",
        "methods",
        "teachers",
        "students",
        "study",
        "ship",
    ):
        assert command in told.output
