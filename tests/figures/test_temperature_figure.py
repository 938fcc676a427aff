"""The figure of a quantity against temperature."""

from __future__ import annotations

import math

import pytest

from kdcourse import figures
from kdcourse.errors import ArgumentError

TEMPERATURES = (1.0, 2.0, 4.0)
SERIES = {"with": [3.0, 2.5, 2.25], "without": [3.0, 0.625, 0.140625]}


def test_every_value_is_drawn_where_it_belongs_and_told_in_words() -> None:
    figure = figures.against_temperature(
        TEMPERATURES, SERIES, quantity="size", title="Sizes", logarithmic=True, level=("the labels", 2.0)
    )
    axes = figure.axes[0]
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines[:2]]
    assert drawn == [(list(TEMPERATURES), values) for values in SERIES.values()]
    assert list(axes.lines[2].get_ydata()) == [2.0, 2.0]
    assert axes.get_yscale() == "log"
    assert [label.get_text() for label in figure.legends[0].get_texts()] == ["with", "without", "the labels"]
    words = figures.alt_text(figure)
    for part in (
        "Sizes: size against temperature",
        "without: 3.00 at T = 1, 0.625 at T = 2 and 0.141",
        "2.00",
    ):
        assert part in words


def test_lines_differ_without_their_colour() -> None:
    lines = figures.against_temperature(TEMPERATURES, SERIES, quantity="size", title="Sizes").axes[0].lines
    assert len({line.get_marker() for line in lines}) == len(lines)


def test_a_linear_axis_begins_at_zero() -> None:
    axes = figures.against_temperature(TEMPERATURES, SERIES, quantity="size", title="Sizes").axes[0]
    assert axes.get_ylim()[0] == 0


def test_one_figure_gives_the_same_bytes_twice() -> None:
    one, other = (
        figures.png(figures.against_temperature(TEMPERATURES, SERIES, quantity="size", title="Sizes"))
        for _ in range(2)
    )
    assert one == other


@pytest.mark.parametrize(
    ("temperatures", "series", "logarithmic", "match"),
    [
        ((1.0,), {"a": [1.0]}, False, "at least two"),
        ((2.0, 1.0), {"a": [1.0, 2.0]}, False, "rising"),
        ((0.0, 1.0), {"a": [1.0, 2.0]}, False, "above 0"),
        ((1.0, 2.0), {}, False, "nothing to draw"),
        ((1.0, 2.0), {"a": [1.0]}, False, "2 finite values"),
        ((1.0, 2.0), {"a": [1.0, math.nan]}, False, "2 finite values"),
        ((1.0, 2.0), {"a": [1.0, 0.0]}, True, "above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    temperatures: tuple[float, ...], series: dict[str, list[float]], logarithmic: bool, match: str
) -> None:
    with pytest.raises(ArgumentError, match=match):
        figures.against_temperature(
            temperatures, series, quantity="size", title="Sizes", logarithmic=logarithmic
        )
