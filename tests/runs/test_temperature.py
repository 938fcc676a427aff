"""A temperature set on the command line is checked once, and few functions pass it on to the loss."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest
from typer.testing import CliRunner

import kdcourse
from kdcourse import cli
from kdcourse.runs import tasks, teachers
from tests.runs import tiny

TEMPERATURE = 3.0517578125  # a number that nothing else here is
PACKAGE = str(Path(kdcourse.__file__).parent)
MOST = 7


def holds(value: object) -> bool:
    """Return whether an argument is the temperature, or a dictionary with it."""
    if isinstance(value, Mapping):
        return any(map(holds, value.values()))
    return isinstance(value, float) and value == TEMPERATURE


def passes(frame: FrameType) -> bool:
    """Return whether a function of the package was called with the temperature."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    ours = code.co_filename.startswith(PACKAGE) or code.co_filename == "<string>"  # a dataclass's __init__
    return ours and any(holds(frame.f_locals[name]) for name in code.co_varnames[:count])


@pytest.mark.slow
def test_a_temperature_is_checked_once_and_passes_few_functions_on_its_way_to_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "teachers"
    teachers.train_teacher(
        teachers.RECIPES[0], tiny.dataset(), folder, progress=False, epochs=4, batch_size=16
    )
    course = replace(
        tasks.CLASSIFICATION,
        student_data=tiny.dataset,
        live=tasks.CLASSIFICATION.live.changed(model="pocket_2k", epochs=1),
    )
    monkeypatch.setattr(tasks, "CLASSIFICATION", course)
    passed: list[str] = []
    checks = 0

    def look(frame: FrameType, event: str, _: object) -> None:
        nonlocal checks
        if event != "call" or not passes(frame):
            return
        name = frame.f_code.co_qualname
        if name == "check_temperature":
            checks += 1
        elif name not in passed:
            passed.append(name)
        if name == "kd_divergence":  # the loss: what follows is arithmetic
            raise KeyboardInterrupt

    arguments = ["run", "--temperature", str(TEMPERATURE), "--teachers", str(folder), "--seeds", "1"]
    sys.setprofile(look)
    try:
        told = CliRunner().invoke(cli.app, [*arguments, "--out", str(tmp_path / "out")])
    finally:
        sys.setprofile(None)
    assert told.exit_code == 130, told.output
    assert passed[0] == "run" and passed[-1] == "kd_divergence"
    assert len(passed) <= MOST, passed
    assert checks == 1
    print("HOPS", passed)
