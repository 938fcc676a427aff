"""Draw a study's accuracies as lines, with the results of a run beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import GREY, freeze, looks, new_figure, percent, set_alt_text, styled


@dataclass(frozen=True)
class StudyPoint:
    """Hold one result: ``x`` above 0, ``accuracy`` and its ``interval`` (low, high) 0 to 1."""

    x: float
    accuracy: float
    interval: tuple[float, float] | None = None


def study_curves(
    lines: Mapping[str, Sequence[StudyPoint]],
    *,
    x: str,
    title: str,
    teacher: float | None = None,
    beside: Mapping[str, StudyPoint] | None = None,
) -> Figure:
    """Draw accuracy against a number on a logarithmic axis: one line per name, bars for the points' intervals.

    Args:
        lines: the points of each line, by increasing ``x``.
        x: what the horizontal axis counts, such as "images".
        title: of the figure.
        teacher: the ensemble's accuracy, drawn as a dashed line.
        beside: single results of another run, each in a look of its own.

    Raises:
        ArgumentError: no line, a line without points, an ``x`` that isn't above 0, an accuracy outside 0 to 1.
    """
    single = dict(beside or {})
    _check([*lines.values(), *([point] for point in single.values())])
    ticks = sorted({point.x for points in lines.values() for point in points})
    with styled():
        figure = new_figure(7.4, 4.6)
        axes = figure.subplots()
        shown = looks([*lines, *single])
        for (name, points), look in zip(lines.items(), shown, strict=False):
            for point in points:
                _bar(axes, point, look.colour)
            axes.plot(
                [point.x for point in points], [100 * point.accuracy for point in points], color=look.colour,
                marker=look.marker, label=name,
            )  # fmt: skip
        for (name, point), look in zip(single.items(), shown[len(lines) :], strict=True):
            _bar(axes, point, look.colour)
            axes.plot(
                [point.x], [100 * point.accuracy], linestyle="", color=look.colour, marker=look.marker, markersize=10,
                markerfacecolor="white", markeredgewidth=1.8, label=name, zorder=4,
            )  # fmt: skip
        if teacher is not None:
            axes.axhline(100 * teacher, color=GREY, linestyle="--", linewidth=1.3)
            axes.annotate(
                f"ensemble, {percent(teacher)}", (0.01, 100 * teacher), (0, 3), xycoords=("axes fraction", "data"),
                textcoords="offset points", color=GREY, fontsize=9.5,
            )  # fmt: skip
            axes.set_ylim(
                top=max(axes.get_ylim()[1], 100 * teacher + 0.07 * (100 * teacher - axes.get_ylim()[0]))
            )
        axes.set_xscale("log")
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set(xlabel=f"{x} (logarithmic)", ylabel="test accuracy (%), axis cut", title=title)
        figure.legend(loc="outside lower center", ncols=2)
        set_alt_text(figure, _describe(lines, x, title, teacher, single))
        freeze(figure)
    return figure


def _check(lines: Sequence[Sequence[StudyPoint]]) -> None:
    if not lines or not all(lines):
        raise ArgumentError("There is nothing to draw; pass {name: [StudyPoint, ...]}, each with a point.")
    for point in (point for points in lines for point in points):
        if not 0 < point.x < math.inf:
            raise ArgumentError(f"x must be above 0 on a logarithmic axis; found {point.x}.")
        if not all(0 <= value <= 1 for value in (point.accuracy, *(point.interval or ()))):
            raise ArgumentError(
                f"Accuracies are shares, 0 to 1; found {point.accuracy} with interval {point.interval}. Divide "
                "percentages by 100."
            )


def _bar(axes: Axes, point: StudyPoint, colour: str) -> None:
    if point.interval is not None:
        bounds = [100 * bound for bound in point.interval]
        axes.plot([point.x, point.x], bounds, color=colour, linewidth=1.2, marker="_", markersize=7)


def _describe(
    lines: Mapping[str, Sequence[StudyPoint]],
    x: str,
    title: str,
    teacher: float | None,
    beside: Mapping[str, StudyPoint],
) -> str:
    parts = [f"{title}: test accuracy by number of {x}."]
    for name, points in lines.items():
        parts.append(f"{name}: {', '.join(f'{point.x:,.0f} {_said(point)}' for point in points)}.")
    parts += [f"{name}: {point.x:,.0f} {x}, {_said(point)}." for name, point in beside.items()]
    if teacher is not None:
        parts.append(f"Ensemble: {percent(teacher)}.")
    return " ".join(parts)


def _said(point: StudyPoint) -> str:
    if point.interval is None:
        return percent(point.accuracy)
    low, high = point.interval
    return f"{percent(point.accuracy)} ({100 * low:.2f} to {100 * high:.2f})"
