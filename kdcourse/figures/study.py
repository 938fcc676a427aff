"""Draw a study's accuracies as lines, with the results of a run beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import (
    GREY,
    freeze,
    looks,
    new_figure,
    percent,
    set_alt_text,
    styled,
)

_AS_RUN: dict[str, Any] = {
    "linestyle": "", "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.8, "zorder": 4,
}  # fmt: skip


@dataclass(frozen=True)
class StudyPoint:
    """Hold one result: ``x`` above 0, ``accuracy`` and its ``interval`` (low, high) 0 to 1."""

    x: float
    accuracy: float
    interval: tuple[float, float] | None = None


def study_points(lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[StudyPoint]]:
    """Return the lines of a study as points for `study_curves`, by the lines' names.

    Args:
        lines: `kdcourse.runs.study.Curves.lines`: entries with ``x``, ``accuracy``, ``low`` and ``high``, 0 to 1; an
            interval that reaches beyond 0 or 1 is cut there.
    """
    return {
        name: [
            StudyPoint(each["x"], each["accuracy"], (max(0.0, each["low"]), min(1.0, each["high"])))
            for each in entries
        ]
        for name, entries in lines.items()
    }


def study_curves(
    lines: Mapping[str, Sequence[StudyPoint]],
    *,
    x: str,
    title: str,
    teacher: float | None = None,
    beside: Mapping[str, Sequence[StudyPoint]] | None = None,
    score: str = "accuracy",
    split: str = "test",
    linear: bool = False,
) -> Figure:
    """Draw accuracy against a number: one line per name, bars for the points' intervals.

    Args:
        lines: the points of each line, by increasing ``x``; the first line is drawn as the plain student, the second as
            the distilled one.
        x: what the horizontal axis counts, such as "images"; where it is linear, its whole label.
        title: of the figure.
        teacher: the ensemble's accuracy, drawn as a dashed line.
        beside: results of another run, by the name of their line, in its look but larger and hollow.
        score: what the points' accuracies are, such as "mean IoU".
        split: on which they were measured.
        linear: whether the horizontal axis is linear, as for shares, and not logarithmic.

    Raises:
        ArgumentError: no line, a line without points, an ``x`` that isn't above 0, an accuracy outside 0 to 1.
    """
    others = dict(beside or {})
    _check([*lines.values(), *others.values()])
    ticks = sorted({point.x for points in lines.values() for point in points})
    shown = dict(zip(lines, [*looks(("plain", "distilled")), *looks(list(lines)[2:])], strict=False))
    if not others.keys() <= shown.keys():
        raise ArgumentError(f"beside must name lines, {', '.join(lines)}; found {', '.join(others)}.")
    with styled():
        figure = new_figure(7.4, 4.6)
        axes = figure.subplots()
        for place, (of, title_of) in enumerate(((lines, "{}"), (others, "{}, this run"))):
            for name, points in of.items():
                look = shown[name]
                for point in points:
                    _bar(axes, point, look.colour)
                axes.plot(
                    [point.x for point in points], [100 * point.accuracy for point in points], color=look.colour,
                    marker=look.marker, label=title_of.format(name), **_AS_RUN if place else {},
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
        axes.set_xscale("linear" if linear else "log")
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set(
            xlabel=x if linear else f"{x} (logarithmic)", ylabel=f"{split} {score} (%), axis cut", title=title
        )
        figure.legend(loc="outside lower center", ncols=2)
        against = f"against {x}" if linear else f"by number of {x}"
        set_alt_text(figure, _describe(lines, against, title, teacher, others, f"{split} {score}"))
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
    against: str,
    title: str,
    teacher: float | None,
    others: Mapping[str, Sequence[StudyPoint]],
    score: str,
) -> str:
    named = [*lines.items(), *((f"{name}, this run", points) for name, points in others.items())]
    parts = [f"{title}: {score} {against}."]
    for name, points in named:
        parts.append(f"{name}: {', '.join(f'{point.x:,.0f} {_said(point)}' for point in points)}.")
    if teacher is not None:
        parts.append(f"Ensemble: {percent(teacher)}.")
    return " ".join(parts)


def _said(point: StudyPoint) -> str:
    if point.interval is None:
        return percent(point.accuracy)
    low, high = point.interval
    return f"{percent(point.accuracy)} ({100 * low:.2f} to {100 * high:.2f})"
