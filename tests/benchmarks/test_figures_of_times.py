"""Figures of benchmarks: what is drawn and told are the numbers that came in, readable without colour."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmarks.figures.times import GrowthPoint, SideTimes, growth, side_by_side
from kdcourse.errors import ArgumentError
from kdcourse.figures import alt_text
from kdcourse.figures.output import png

SIDES = [
    SideTimes("kdcourse", 5.31, (5.2, 5.6)),
    SideTimes("tutorial loop", 265.0, (260.0, 280.0), 49.9),
    SideTimes("a library of $uncommonly$ long name, longer than fits", 301.0, (300.0, 302.0), 56.7),
]
POINTS = [GrowthPoint(10**n, 0.02 * 10**n, (0.015 * 10**n, 0.03 * 10**n)) for n in (5, 3, 4)]


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


LONG = "How long may the question of a benchmark be before it has to go on in another line? " * 2


def grown(question: str = "How?") -> Figure:
    return growth(POINTS, question, unit="pictures", exponent=1.0, interval=(0.97, 1.03), scale=0.02)


def test_bars_carry_seconds_ratios_and_hatches_and_the_words_say_the_same() -> None:
    figure = side_by_side(SIDES, "Which is faster?")
    [axes] = figure.axes
    written = texts(figure)
    for part in (
        "5.31 s",
        "265 s, 49.9 times",
        "301 s, 56.7 times",
        "Which is faster?",
        "seconds (logarithmic)",
    ):
        assert part in written
    assert [tick.get_text() for tick in axes.get_yticklabels()][:2] == ["kdcourse", "tutorial loop"]
    assert axes.yaxis_inverted()  # the first on top
    bars = axes.patches
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx([5.31, 265.0, 301.0])
    assert len({bar.get_hatch() for bar in bars}) == len(bars)
    assert [tuple(line.get_xdata()) for line in axes.lines] == [side.spread for side in SIDES]
    told = alt_text(figure)
    assert "tutorial loop: 265 s (260 to 280), 49.9 times those of kdcourse." in told
    assert "$uncommonly$ long name, longer than fits: 301 s" in told


@pytest.mark.parametrize(("longest", "scale"), [(9.9, "linear"), (10.2, "log")])
def test_the_axis_is_logarithmic_only_where_bars_differ_more_than_tenfold(longest: float, scale: str) -> None:
    figure = side_by_side(
        [SideTimes("a", 1.0, (1.0, 1.0)), SideTimes("b", longest, (longest, longest), longest)], "q"
    )
    [axes] = figure.axes
    assert axes.get_xscale() == scale
    assert (axes.get_xlim()[0] == 0) == (scale == "linear")


def test_nothing_written_leaves_the_figure() -> None:
    for figure in (side_by_side(SIDES, LONG), side_by_side(SIDES[:1], "One alone?"), grown(LONG)):
        figure.draw_without_rendering()
        box = figure.bbox
        for text in figure.findobj(Text):
            # Tick labels beyond the axis' limits exist and aren't drawn.
            if text.get_text() and not _is_tick(figure, text):
                extent = text.get_window_extent()
                assert box.x0 <= extent.x0 and extent.x1 <= box.x1, text.get_text()
                assert box.y0 <= extent.y0 and extent.y1 <= box.y1, text.get_text()


def test_growth_shows_every_size_its_spread_and_the_law() -> None:
    figure = grown()
    [axes] = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    medians = next(line for line in axes.lines if line.get_linestyle() == "None")
    assert list(medians.get_xdata()) == [1e3, 1e4, 1e5]
    assert list(medians.get_ydata()) == pytest.approx([20, 200, 2000])
    spreads = {tuple(line.get_ydata()) for line in axes.lines if line.get_marker() == "_"}
    assert spreads == {point.spread for point in POINTS}
    law = next(line for line in axes.lines if "power" in str(line.get_label()))
    assert law.get_ydata()[0] == pytest.approx(20) and law.get_ydata()[-1] == pytest.approx(2000)
    assert "size to the power 1.00 (0.97 to 1.03)" in texts(figure)
    told = alt_text(figure)
    assert "20.0 s for 1,000 pictures, 200 s for 10,000 pictures and 2,000 s for 100,000 pictures" in told
    assert "power 1.00 (0.97 to 1.03)" in told


def test_growth_without_a_law_draws_none() -> None:
    figure = growth(POINTS[:1], "How?", unit="students")
    assert "power" not in texts(figure) and "power" not in alt_text(figure)


def test_the_same_results_give_the_same_bytes() -> None:
    assert png(side_by_side(SIDES, "q")) == png(side_by_side(SIDES, "q"))
    assert png(grown()) == png(grown())


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: side_by_side([], "q"), "at least one side"),
        (lambda: side_by_side([SideTimes("a", 0.0, (0.0, 0.0))], "q"), "above 0"),
        (lambda: side_by_side([SideTimes("a", 3.0, (1.0, 2.0))], "q"), "within their spread; 'a' has 3.0"),
        (lambda: growth([], "q", unit="u"), "at least one size"),
        (lambda: growth([GrowthPoint(0, 1.0, (1.0, 1.0))], "q", unit="u"), "Sizes on a logarithmic axis"),
        (lambda: growth([GrowthPoint(1, float("nan"), (1.0, 1.0))], "q", unit="u"), "'1 u' has nan"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw: object, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        draw()  # type: ignore[operator]


def _is_tick(figure: Figure, text: Text) -> bool:
    return any(
        text in (tick.label1, tick.label2)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.majorTicks, *axis.minorTicks)
    )
