"""Stored views: what they cost and bring, drawn and told."""

from __future__ import annotations

import pytest

from benchmarks.figures.views import ViewsPoint, views_trade_off
from kdcourse.errors import ArgumentError
from kdcourse.figures import alt_text, png

POINTS = [
    ViewsPoint(4, 30.0, 0.871),
    ViewsPoint(1, 12.0, 0.852),
    ViewsPoint(None, 55.5, 0.874),
    ViewsPoint(2, 18.0, 0.863),
]


def test_both_panels_show_every_point_in_order() -> None:
    figure = views_trade_off(POINTS)
    cost, gain = figure.axes
    for axes, values, across in ((cost, [12, 18, 30], 55.5), (gain, [85.2, 86.3, 87.1], 87.4)):
        stored, flying = axes.lines
        assert list(stored.get_xdata()) == [1, 2, 4]
        assert list(stored.get_ydata()) == pytest.approx(values)
        assert list(flying.get_ydata()) == pytest.approx([across, across])
        low, high = axes.get_ylim()
        assert low <= min(values) and high >= across
    assert cost.get_ylim()[0] == 0 and gain.get_ylim()[1] - gain.get_ylim()[0] >= 0.5


def test_alt_text_tells_every_number() -> None:
    words = alt_text(views_trade_off(POINTS))
    assert "1 stored view: 12.0 s, 85.20 %." in words and "4 stored views: 30.0 s, 87.10 %." in words
    assert "Teacher on the fly: 55.5 s, 87.40 %." in words
    assert "fly" not in alt_text(views_trade_off(POINTS[:2]))


def test_the_same_points_give_the_same_bytes() -> None:
    assert png(views_trade_off(POINTS)) == png(views_trade_off(POINTS[::-1]))


def test_nearly_equal_accuracies_look_nearly_equal() -> None:
    gain = views_trade_off([ViewsPoint(1, 1.0, 0.9), ViewsPoint(2, 1.0, 0.9001)]).axes[1]
    assert gain.get_ylim()[1] - gain.get_ylim()[0] >= 0.5


@pytest.mark.parametrize(
    "points",
    [
        [],
        [ViewsPoint(None, 1.0, 0.5)],
        [ViewsPoint(0, 1.0, 0.5)],
        [ViewsPoint(1, 1.0, 0.5), ViewsPoint(1, 2.0, 0.5)],
        [ViewsPoint(1, 1.0, 0.5), ViewsPoint(None, 1.0, 0.5), ViewsPoint(None, 2.0, 0.5)],
        [ViewsPoint(1, 0.0, 0.5)],
        [ViewsPoint(1, 1.0, 85.0)],
    ],
)
def test_points_that_make_no_sense(points: list[ViewsPoint]) -> None:
    with pytest.raises(ArgumentError, match="found"):
        views_trade_off(points)
