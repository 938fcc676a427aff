"""Draw how well a model segments each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

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


def iou_bars(ious: Mapping[str, Tensor | Sequence[float]], classes: Sequence[str]) -> Figure:
    """Draw the intersection over union of every class, and their mean, for several models.

    A bar ends in its model's marker. With several seeds it shows their mean, and a thin line reaches from the lowest
    seed to the highest. A class that is in neither truth nor predictions (NaN) has no bar.

    Args:
        ious: name of a model -> IoU of each class, 0 to 1, [C], or [seeds, C].
        classes: C names.

    Raises:
        ArgumentError: no model, no class, another number of values than classes, values outside 0 to 1.
    """
    values = {name: _checked(name, found, classes) for name, found in ious.items()}
    if not values:
        raise ArgumentError(
            "IoU bars need at least one model; found none. Pass {name: scores.iou_per_class}."
        )
    tables = {name: np.column_stack([found, _mean(found, axis=1)]) for name, found in values.items()}
    rows = [*(shorten(name, 22) for name in classes), "mean"]
    # A gap separates the mean from the classes.
    places = np.array([*range(len(classes)), len(classes) + 0.4])
    many = any(len(table) > 1 for table in tables.values())
    step = 0.8 / len(tables)
    with styled():
        figure = new_figure(7.8, 1.2 + len(rows) * max(0.3, 0.13 * len(tables)))
        axes = figure.subplots()
        for n, ((name, table), look) in enumerate(zip(tables.items(), looks(list(tables)), strict=True)):
            mean, known = _mean(table, axis=0), ~np.isnan(table).all(axis=0)
            at = places + (n - (len(tables) - 1) / 2) * step
            axes.hlines(at[known], 0, 100 * mean[known], color=look.colour, linewidth=2.2, alpha=0.55)
            axes.plot(
                100 * mean[known],
                at[known],
                linestyle="none",
                color=look.colour,
                marker=look.marker,
                markersize=6,
                label=f"{shorten(name, 24)}: mean {percent(mean[-1], 1)}",
            )
            if len(table) > 1:
                low, high = np.nanmin(table[:, known], axis=0), np.nanmax(table[:, known], axis=0)
                axes.hlines(at[known], 100 * low, 100 * high, color="black", linewidth=1.0, zorder=3)
        axes.axhline(len(classes) - 0.3, color=GREY, linewidth=0.8)
        axes.set_yticks(places, rows)
        axes.get_yticklabels()[-1].set_fontweight("bold")
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set(xlim=(0, 101), ylim=(places[-1] + 0.6, -0.6), xlabel="IoU (%)")
        axes.set_title(
            "Intersection over union by class" + (", range of the seeds as a thin line" if many else "")
        )
        figure.legend(loc="outside lower center", ncols=2 if any(len(name) > 14 for name in tables) else 3)
        set_alt_text(figure, _describe(tables, classes))
        freeze(figure)
    return figure


def _checked(name: str, found: Tensor | Sequence[float], classes: Sequence[str]) -> np.ndarray:
    """Return float64 [seeds, C]."""
    array = np.atleast_2d(np.asarray(found.cpu() if isinstance(found, Tensor) else found, dtype=np.float64))
    if array.ndim != 2 or array.shape[1] != len(classes) or 0 in array.shape:
        raise ArgumentError(
            f"{name!r} needs an IoU for each of the {len(classes)} classes, [C] or [seeds, C]; found shape "
            f"{list(array.shape)}. Pass scores.iou_per_class."
        )
    known = array[~np.isnan(array)]
    if len(known) == 0 or known.min() < 0 or known.max() > 1:
        raise ArgumentError(
            f"IoUs are shares, 0 to 1, NaN for an absent class; {name!r} has {array.tolist()}. "
            "Divide percentages by 100."
        )
    return array


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean without NaN values; NaN if there are no others, without numpy's warning."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _describe(tables: Mapping[str, np.ndarray], classes: Sequence[str]) -> str:
    parts = [f"Intersection over union by class, of {listed(list(tables))}."]
    for name, table in tables.items():
        *each, overall = _mean(table, axis=0)
        said = [
            f"{label} {'absent' if np.isnan(value) else percent(value, 1)}"
            for label, value in zip(classes, each, strict=True)
        ]
        seeds = f" over {len(table)} seeds" if len(table) > 1 else ""
        parts.append(f"{name}: mean {percent(overall, 1)}{seeds}; {', '.join(said)}.")
    return " ".join(parts)
