"""Draw a loss step by step, or epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import (
    GREY,
    freeze,
    looks,
    new_figure,
    set_alt_text,
    shorten,
    significant,
    styled,
)


def step_curves(
    losses: Mapping[str, Sequence[float]],
    *,
    title: str,
    unit: str = "step",
    mean_of: int = 1,
    level: tuple[str, float] | None = None,
    marks: Mapping[str, int] | None = None,
) -> Figure:
    """Draw losses (nats) over the steps, or the epochs, of a training run.

    Args:
        losses: name -> one finite loss per step, the first being step 1.
        title: title of the figure.
        unit: what is counted, such as "epoch".
        mean_of: a line is the mean of so many steps, this one and those before it; above 1, the single steps are drawn
            thinly behind it.
        level: name and height of a dashed horizontal line for comparison.
        marks: name -> step at which a vertical line stands, at most two.

    Raises:
        ArgumentError: no losses, a loss that can't be drawn, a mean of fewer than one step, a mark outside the
            steps, or more than two.
    """
    marks = marks or {}
    _check(losses, mean_of, marks)
    with styled():
        lines = len(losses) + (level is not None) + len(marks)
        figure = new_figure(7.2, 3.3 + 0.22 * math.ceil(lines / 2))
        axes = figure.subplots()
        handles: list[Line2D] = []
        for (name, values), look in zip(losses.items(), looks(list(losses)), strict=True):
            steps = np.arange(1, len(values) + 1)
            if mean_of > 1:
                axes.plot(steps, values, color=look.colour, linewidth=0.8, alpha=0.35)
            handles += axes.plot(
                steps,
                _running_mean(values, mean_of),
                color=look.colour,
                marker=look.marker,
                markevery=max(1, len(values) // 12),
                label=shorten(f"{name} (mean of {mean_of} {unit}s)" if mean_of > 1 else name, 48),
            )
        if level is not None:
            handles.append(
                axes.axhline(level[1], color=GREY, linestyle="--", linewidth=1.4, label=shorten(level[0], 48))
            )
        for (name, step), line in zip(marks.items(), (":", "-."), strict=False):
            handles.append(
                axes.axvline(step, color="black", linestyle=line, linewidth=1.4, label=shorten(name, 48))
            )
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
        axes.set(title=title, xlabel=unit, ylabel="loss (nats)")
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        set_alt_text(figure, _describe(losses, title, unit, level, marks))
        freeze(figure)
    return figure


def _running_mean(values: Sequence[float], count: int) -> np.ndarray:
    """Return the mean of each value and up to ``count - 1`` before it, float64 [steps]."""
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - count, 0)
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _check(losses: Mapping[str, Sequence[float]], mean_of: int, marks: Mapping[str, int]) -> None:
    if not losses:
        raise ArgumentError("There is nothing to draw; pass {name: losses}, one loss per step.")
    for name, values in losses.items():
        bad = [value for value in values if not math.isfinite(value)]
        if not len(values) or bad:
            raise ArgumentError(
                f"{name!r} needs at least one loss, and finite ones; found {len(values)}, "
                f"{len(bad)} of them not finite. Leave out the steps after a divergence."
            )
    if mean_of < 1:
        raise ArgumentError(f"mean_of is a number of steps, at least 1; found {mean_of}.")
    longest = max(map(len, losses.values()))
    if len(marks) > 2:
        raise ArgumentError(f"At most two marks can be told apart; found {', '.join(marks)}.")
    for name, step in marks.items():
        if not 1 <= step <= longest:
            raise ArgumentError(f"The mark {name!r} is at {step}; choose a step from 1 to {longest}.")


def _describe(
    losses: Mapping[str, Sequence[float]],
    title: str,
    unit: str,
    level: tuple[str, float] | None,
    marks: Mapping[str, int],
) -> str:
    parts = [f"{title}: loss by {unit}."]
    for name, values in losses.items():
        lowest = int(np.argmin(values))
        parts.append(
            f"{name}: {significant(values[0])} at {unit} 1, {significant(values[-1])} at {unit} {len(values)}; the "
            f"smallest is {significant(values[lowest])} at {unit} {lowest + 1}."
        )
    if level is not None:
        parts.append(f"For comparison, {level[0]}: {significant(level[1])}.")
    parts += [f"Marked at {unit} {step}: {name}." for name, step in marks.items()]
    return " ".join(parts)
