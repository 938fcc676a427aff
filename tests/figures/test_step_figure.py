"""The figure of a loss step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kdcourse import figures
from kdcourse.errors import ArgumentError

LOSSES = {"training": [2.0, 1.0, 0.5, 0.25], "validation": [2.0, 1.0, 1.5, 1.75]}


def test_losses_level_and_marks_are_drawn_and_told() -> None:
    figure = figures.step_curves(
        LOSSES, title="Two losses", unit="epoch", level=("guessing", 2.25), marks={"smallest": 2}
    )
    axes = figure.axes[0]
    training, validation, level, mark = axes.lines
    assert [list(line.get_xdata()) for line in (training, validation)] == [[1, 2, 3, 4]] * 2
    assert [list(line.get_ydata()) for line in (training, validation)] == list(LOSSES.values())
    assert list(level.get_ydata()) == [2.25, 2.25] and list(mark.get_xdata()) == [2, 2]
    assert axes.get_ylim()[0] == 0
    assert [label.get_text() for label in figure.legends[0].get_texts()] == [
        "training",
        "validation",
        "guessing",
        "smallest",
    ]
    words = figures.alt_text(figure)
    for part in (
        "Two losses: loss by epoch.",
        "validation: 2.00 at epoch 1, 1.75 at epoch 4; the smallest is 1.00 at epoch 2.",
        "guessing: 2.25",
        "Marked at epoch 2: smallest.",
    ):
        assert part in words


def test_a_running_mean_is_drawn_over_the_single_steps() -> None:
    figure = figures.step_curves({"loss": [4.0, 2.0, 0.0, 1.0]}, title="Steps", mean_of=2)
    single, mean = figure.axes[0].lines
    assert list(single.get_ydata()) == [4.0, 2.0, 0.0, 1.0]
    assert list(mean.get_ydata()) == [4.0, 3.0, 1.0, 0.5]
    assert "mean of 2 steps" in figure.legends[0].get_texts()[0].get_text()


@pytest.mark.parametrize(
    ("losses", "how", "says"),
    [
        ({}, {}, "nothing to draw"),
        ({"loss": []}, {}, "at least one loss"),
        ({"loss": [1.0, math.nan]}, {}, "1 of them not finite"),
        (LOSSES, {"mean_of": 0}, "at least 1; found 0"),
        (LOSSES, {"marks": {"stop": 5}}, "from 1 to 4"),
        (LOSSES, {"marks": dict.fromkeys("abc", 2)}, "two marks can be told apart; found a, b, c"),
    ],
)
def test_what_cannot_be_drawn_is_named(
    losses: Mapping[str, Sequence[float]], how: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        figures.step_curves(losses, title="Any", **how)
