"""Draw shares as right and wrong ones among a hundred."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import freeze, listed, looks, new_figure, percent, set_alt_text, shorten, styled


def right_of_hundred(accuracies: Mapping[str, float]) -> Figure:
    """Draw a hundred squares per model, as many of them filled as the model classifies correctly.

    A wrong one is an empty square with a cross, so that mistakes can be counted and compared by eye.

    Args:
        accuracies: name of a model -> accuracy, 0 to 1; rounded to whole squares, and printed with one more digit.

    Raises:
        ArgumentError: no model, or more than four, an accuracy outside 0 to 1.
    """
    if not 1 <= len(accuracies) <= 4:
        raise ArgumentError(f"The figure needs one to four models; found {len(accuracies)}.")
    for name, share in accuracies.items():
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise ArgumentError(
                f"Accuracies are shares, 0 to 1; {name!r} has {share}. Divide percentages by 100."
            )
    names = list(accuracies)
    with styled():
        figure = new_figure(2.9 * len(names), 3.7)
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name, look in zip(panels, names, looks(names), strict=True):
            right = round(100 * accuracies[name])
            _squares(axes, right, look.colour)
            axes.set_title(shorten(name, 26))
            axes.set_xlabel(
                f"{percent(accuracies[name], 1)} right\n{100 - right} of 100 wrong",
                fontsize=12,
                linespacing=1.4,
            )
        said = [
            f"{name} {percent(share, 1)} right, {100 - round(100 * share)} of 100 wrong"
            for name, share in accuracies.items()
        ]
        set_alt_text(
            figure,
            f"A hundred squares each for {listed(names)}, filled for images classified correctly and crossed for "
            f"mistakes: {'; '.join(said)}.",
        )
        freeze(figure)
    return figure


def _squares(axes: Axes, right: int, colour: str) -> None:
    """Fill the first ``right`` squares of a 10 by 10 board, row by row from the top; cross the others."""
    row, column = np.divmod(np.arange(100), 10)
    axes.scatter(column[:right], row[:right], marker="s", s=105, color=colour)
    axes.scatter(
        column[right:], row[right:], marker="s", s=95, facecolors="white", edgecolors="black", linewidths=0.8
    )
    axes.scatter(column[right:], row[right:], marker="x", s=40, color="black", linewidths=1.4)
    axes.set(xlim=(-0.7, 9.7), ylim=(9.7, -0.7), xticks=[], yticks=[], aspect="equal")
    axes.grid(False)
    axes.spines[:].set_visible(False)
