from __future__ import annotations

import pytest

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import Interval
from kdcourse.figures import Ranked, alt_text, leaderboard
from kdcourse.figures.style import percent

BOARD = [
    Ranked("good", 0.93, Interval(0.01, 0.005, 0.015, 5)),
    Ranked("level", 0.922, Interval(0.002, -0.001, 0.005, 5)),
    Ranked("kd", 0.92),
    Ranked("bad", 0.91, Interval(-0.01, -0.015, -0.005, 5)),
    Ranked("plain", 0.83, Interval(-0.09, -0.1, -0.08, 5)),
]


def test_points_beyond_noise_are_filled_and_others_hollow() -> None:
    figure = leaderboard(BOARD, reference="kd", title="Methods")
    axes = figure.axes[0]
    points = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert [line.get_xdata()[0] for line in points] == pytest.approx([1, 0.2, -1])
    assert [line.get_markerfacecolor() == "white" for line in points] == [False, True, False]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "level", "kd", "bad", "plain"]
    assert axes.get_xlim()[0] == -3 and "-9.0" in [text.get_text() for text in axes.texts]
    words = alt_text(figure)
    assert f"good: {percent(0.93)}, +1.00 points (+0.50 to +1.50), better." in words
    assert f"level: {percent(0.922)}, +0.20 points (-0.10 to +0.50), noise." in words
    assert f"kd: {percent(0.92)}." in words and "-9.00 points (-10.00 to -8.00), worse." in words
    assert leaderboard(BOARD[:4], reference="kd", title="Methods").axes[0].get_xlim()[0] > -3


@pytest.mark.parametrize(
    ("board", "found"),
    [([], "found none"), (BOARD[:2], "found good, level"), (BOARD[2:3], "found kd"),
     ([Ranked("kd", 92.0), BOARD[0]], "found 92.0 of 'kd'")],
)  # fmt: skip
def test_a_board_without_reference_or_with_percentages_is_refused(board: list[Ranked], found: str) -> None:
    with pytest.raises(ArgumentError, match=found):
        leaderboard(board, reference="kd", title="Methods")
