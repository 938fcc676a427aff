"""Draw what each further member adds to an ensemble."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import (
    PALETTE,
    count_word,
    freeze,
    new_figure,
    set_alt_text,
    significant,
    styled,
)


def ensemble_sizes(panels: Mapping[str, Mapping[int, Sequence[float]]]) -> Figure:
    """Draw scores of ensembles of 1, 2, 3 ... members: one dot per ensemble, their mean as a line.

    Args:
        panels: quantity with its unit -> number of members -> one value per ensemble of that size. One panel per
            quantity; the vertical axes don't begin at zero.

    Raises:
        ArgumentError: no panel, a panel without sizes, a size below 1 or without finite values.
    """
    if not panels or not all(panels.values()):
        raise ArgumentError("There is nothing to draw; pass {quantity: {members: [a value, ...]}}.")
    for quantity, sizes in panels.items():
        for members, values in sizes.items():
            if members < 1 or not values or not all(map(math.isfinite, values)):
                raise ArgumentError(
                    f"{quantity!r} needs at least one finite value for each number of members, from 1 up; found "
                    f"{list(values)} for {members}."
                )
    with styled():
        figure = new_figure(max(5.0, 4.6 * len(panels)), 3.9)
        for axes, (quantity, sizes) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            numbers = sorted(sizes)
            for members in numbers:
                axes.plot(
                    [members] * len(sizes[members]),
                    sizes[members],
                    linestyle="",
                    marker="o",
                    markerfacecolor="white",
                    markeredgecolor=PALETTE["blue"],
                    label="one ensemble" if members == numbers[0] else None,
                )
            axes.plot(
                numbers,
                [_mean(sizes[members]) for members in numbers],
                color=PALETTE["black"],
                marker="D",
                label="their mean",
            )
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set(xlabel="members", ylabel=f"{quantity}, axis cut")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        set_alt_text(figure, _describe(panels))
        freeze(figure)
    return figure


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _describe(panels: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    parts = []
    for quantity, sizes in panels.items():
        said = [
            f"{count_word(members)} {significant(_mean(values), 4)}"
            + (
                f" ({significant(min(values), 4)} to {significant(max(values), 4)})"
                if len(values) > 1
                else ""
            )
            for members, values in sorted(sizes.items())
        ]
        parts.append(
            f"{quantity} by number of members, mean (and range) of all ensembles: {', '.join(said)}."
        )
    return " ".join(parts)
