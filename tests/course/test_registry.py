from __future__ import annotations

from typing import Any

import pytest

from kdcourse import checks
from kdcourse.course import check, exercise, use_answer
from kdcourse.errors import ArgumentError

SOLUTION = exercise("points_gained").solution


def right(plain: float, distilled: float) -> float:
    return 100 * distilled - 100 * plain


def wrong(plain: float, distilled: float) -> float:
    return distilled - plain


def blank(plain: float, distilled: float) -> Any:
    return ...


def test_a_lesson_goes_on_with_a_right_answer_or_the_solution(capsys: pytest.CaptureFixture[str]) -> None:
    assert use_answer("points_gained", right) is right
    assert capsys.readouterr().out == "This cell uses your points_gained.\n"
    for answer in (wrong, blank, None):
        assert use_answer("points_gained", answer) is SOLUTION
        assert capsys.readouterr().out == (
            "This cell uses the course's points_gained. Once yours is right, run the cell again to use yours.\n"
        )
    with pytest.raises(ArgumentError, match="no exercise 'points'"):
        use_answer("points", right)


def test_an_answer_is_not_tried_again_if_it_was_just_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check("points_gained", right)
    monkeypatch.setattr(checks, "observe", None)
    assert use_answer("points_gained", right) is right
    monkeypatch.undo()
    assert use_answer("points_gained", wrong) is SOLUTION  # another function than the one checked
    check("points_gained", wrong)
    monkeypatch.setattr(checks, "observe", None)
    assert use_answer("points_gained", wrong) is SOLUTION
