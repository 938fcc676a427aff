"""Draw quantities against the temperature."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import (
    GREY,
    LogTicks,
    freeze,
    listed,
    looks,
    new_figure,
    set_alt_text,
    shorten,
    significant,
    styled,
)


def against_temperature(
    temperatures: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    quantity: str,
    title: str,
    logarithmic: bool = False,
    level: tuple[str, float] | None = None,
) -> Figure:
    """Draw one or several quantities over a logarithmic axis of temperatures.

    Args:
        temperatures: at least two, above 0 and rising.
        series: name -> one finite value per temperature.
        quantity: label of the vertical axis, with its unit.
        title: title of the figure.
        logarithmic: whether the vertical axis is also logarithmic; all values must then be above 0.
        level: name and height of a dashed horizontal line for comparison.

    Raises:
        ArgumentError: temperatures that don't rise, no series, a series of another length, a value that can't be drawn.
    """
    _check(temperatures, series, level, logarithmic)
    with styled():
        figure = new_figure(7.2, 3.5 + 0.22 * math.ceil((len(series) + (level is not None)) / 2))
        axes = figure.subplots()
        handles: list[Line2D] = []
        for (name, values), look in zip(series.items(), looks(list(series)), strict=True):
            handles += axes.plot(
                temperatures,
                values,
                color=look.colour,
                marker=look.marker,
                markersize=6,
                label=shorten(name, 48),
            )
        if level is not None:
            name, height = level
            handles.append(
                axes.axhline(height, color=GREY, linestyle="--", linewidth=1.4, label=shorten(name, 48))
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(list(temperatures)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogTicks())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            lowest = min(min(values) for values in series.values())
            if lowest >= 0:
                axes.set_ylim(bottom=0)
        axes.set(title=title, xlabel="temperature T (logarithmic)", ylabel=quantity)
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        set_alt_text(figure, _describe(temperatures, series, quantity, title, level))
        freeze(figure)
    return figure


def _check(
    temperatures: Sequence[float],
    series: Mapping[str, Sequence[float]],
    level: tuple[str, float] | None,
    logarithmic: bool,
) -> None:
    rising = all(low < high for low, high in itertools.pairwise(temperatures))
    if len(temperatures) < 2 or not rising or temperatures[0] <= 0 or not math.isfinite(temperatures[-1]):
        raise ArgumentError(
            f"temperatures must be at least two, above 0 and rising; found {list(temperatures)}. "
            "Use something like (1, 2, 4, 8)."
        )
    if not series:
        raise ArgumentError("There is nothing to draw; pass {name: values}, one value per temperature.")
    for name, values in {**series, **({level[0]: [level[1]] * len(temperatures)} if level else {})}.items():
        bad = [value for value in values if not math.isfinite(value) or (logarithmic and value <= 0)]
        if len(values) != len(temperatures) or bad:
            raise ArgumentError(
                f"{name!r} needs {len(temperatures)} finite values{', above 0' if logarithmic else ''}; found "
                f"{list(values)}. Give one for each temperature."
            )


def _describe(
    temperatures: Sequence[float],
    series: Mapping[str, Sequence[float]],
    quantity: str,
    title: str,
    level: tuple[str, float] | None,
) -> str:
    parts = [f"{title}: {quantity} against temperature."]
    for name, values in series.items():
        said = [
            f"{significant(value)} at T = {temperature:g}"
            for temperature, value in zip(temperatures, values, strict=True)
        ]
        parts.append(f"{name}: {listed(said)}.")
    if level is not None:
        parts.append(f"For comparison, {level[0]}: {significant(level[1])}.")
    return " ".join(parts)
