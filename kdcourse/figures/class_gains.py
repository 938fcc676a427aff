"""Draw what each class gains from one model to another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import (
    GREY,
    freeze,
    listed,
    looks,
    new_figure,
    percent,
    set_alt_text,
    shorten,
    styled,
)


def class_gains(
    accuracies: Mapping[str, Sequence[float]], gains: Sequence[float], classes: Sequence[str]
) -> Figure:
    """Draw two models' accuracy for each class, joined by a line, with the gain in points printed beside it.

    Classes are sorted, the largest gain first.

    Args:
        accuracies: names of the two models -> accuracy of each class, 0 to 1, [C]. The gain is from the first to the
            second.
        gains: percentage points that each class gains, [C].
        classes: C names.

    Raises:
        ArgumentError: other than two models, another number of values than classes, accuracies outside 0 to 1.
    """
    if len(accuracies) != 2 or not classes:
        raise ArgumentError(
            f"The figure compares two models on at least one class; found {len(accuracies)} and {len(classes)}."
        )
    for name, values in {**accuracies, "gains": gains}.items():
        low, high = (-100.0, 100.0) if values is gains else (0.0, 1.0)
        if len(values) != len(classes) or not all(
            math.isfinite(value) and low <= value <= high for value in values
        ):
            raise ArgumentError(
                f"{name!r} needs a value from {low:g} to {high:g} for each of the {len(classes)} classes; found "
                f"{list(values)}. Accuracies are shares, gains are percentage points."
            )
    order = sorted(range(len(classes)), key=lambda place: -gains[place])
    places = range(len(order))
    names = list(accuracies)
    with styled():
        figure = new_figure(7.6, 1.5 + 0.34 * len(classes))
        axes = figure.subplots()
        first, second = ([100 * accuracies[name][place] for place in order] for name in names)
        axes.hlines(places, first, second, color=GREY, linewidth=1.4)
        for name, values, look in zip(names, (first, second), looks(names), strict=True):
            axes.plot(
                values,
                places,
                linestyle="none",
                marker=look.marker,
                color=look.colour,
                markersize=8,
                label=name,
            )
        for row, place in enumerate(order):
            axes.text(101.5, row, f"{gains[place]:+.0f} points", va="center", fontsize=9.5)
        axes.set_yticks(places, [shorten(classes[place], 18) for place in order])
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set(
            xlim=(0, 100), ylim=(len(order) - 0.5, -0.5), xlabel="images of the class that are right (%)"
        )
        figure.legend(loc="outside upper center", ncols=2)
        said = [
            f"{classes[place]} from {percent(accuracies[names[0]][place], 0)} to "
            f"{percent(accuracies[names[1]][place], 0)}, {gains[place]:+.0f} points"
            for place in order
        ]
        set_alt_text(
            figure,
            f"Accuracy by class of {listed(names)}, the largest gain first: {'; '.join(said)}.",
        )
        freeze(figure)
    return figure
