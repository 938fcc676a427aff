"""The figure of what another member adds."""

from __future__ import annotations

import math

import pytest

from kdcourse import figures
from kdcourse.errors import ArgumentError

PANELS = {"accuracy (%)": {2: [93.0], 1: [90.0, 92.0]}, "loss (nats)": {1: [0.5, 0.3], 2: [0.25]}}


def test_every_ensemble_is_a_dot_and_the_line_goes_through_their_means() -> None:
    figure = figures.ensemble_sizes(PANELS)
    assert len(figure.axes) == 2
    dots_of_one, dots_of_two, line = figure.axes[0].lines
    assert list(zip(dots_of_one.get_xdata(), dots_of_one.get_ydata(), strict=True)) == [(1, 90.0), (1, 92.0)]
    assert list(zip(dots_of_two.get_xdata(), dots_of_two.get_ydata(), strict=True)) == [(2, 93.0)]
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(1, 91.0), (2, 93.0)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one ensemble", "their mean"]


def test_its_numbers_are_told_in_words() -> None:
    words = figures.alt_text(figures.ensemble_sizes(PANELS))
    assert "accuracy (%) by number of members" in words
    assert "one 91.00 (90.00 to 92.00), two 93.00." in words
    assert "one 0.4000 (0.3000 to 0.5000)" in words


@pytest.mark.parametrize(
    "panels", [{}, {"loss": {}}, {"loss": {1: []}}, {"loss": {0: [1.0]}}, {"loss": {1: [math.nan]}}]
)
def test_what_cannot_be_drawn_is_refused(panels: dict[str, dict[int, list[float]]]) -> None:
    with pytest.raises(ArgumentError):
        figures.ensemble_sizes(panels)
