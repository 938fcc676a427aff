"""Draw seconds: several sides next to each other, or one side as its task grows."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

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

_LOGARITHMIC_FROM = 10  # times from the shortest to the longest


@dataclass(frozen=True)
class SideTimes:
    """Hold the seconds (above 0) of one side in `side_by_side`.

    ``spread`` is (least, most); ``ratio`` is its seconds over those of the first side, None for the first side itself.
    """

    label: str
    seconds: float
    spread: tuple[float, float]
    ratio: float | None = None


@dataclass(frozen=True)
class GrowthPoint:
    """Hold one size in `growth` and its seconds: median and (least, most), all above 0."""

    size: float
    seconds: float
    spread: tuple[float, float]


def side_by_side(sides: Sequence[SideTimes], question: str) -> Figure:
    """Draw one bar of median seconds per side, the first on top, with seconds and ratio next to it.

    Whiskers reach from the least seconds to the most. The axis is logarithmic if the longest side takes more than ten
    times the shortest; the bars then begin at a third of the shortest.

    Raises:
        ArgumentError: no side, seconds that aren't above 0, a spread that doesn't contain them.
    """
    if not sides:
        raise ArgumentError("A comparison needs at least one side; found none. Pass SideTimes.")
    for side in sides:
        _check(side.label, side.seconds, side.spread)
    longest = max(side.spread[1] for side in sides)
    shortest = min(side.spread[0] for side in sides)
    logarithmic = longest > _LOGARITHMIC_FROM * shortest
    with styled():
        figure = new_figure(8.0, 1.5 + 0.55 * len(sides))
        _title(figure, question, 74)
        axes = figure.subplots()
        # Bars on a logarithmic axis need a start above 0.
        begin = shortest / 3 if logarithmic else 0.0
        for place, (side, look) in enumerate(zip(sides, looks([side.label for side in sides]), strict=True)):
            axes.barh(
                place, side.seconds - begin, left=begin, height=0.62, color="white", edgecolor=look.colour,
                hatch=look.hatch, linewidth=1.2,
            )  # fmt: skip
            axes.plot(side.spread, [place, place], color="black", linewidth=1.3, marker="|", markersize=8)
            axes.annotate(
                _told(side),
                (side.spread[1], place),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=9.5,
            )
        axes.set_yticks(range(len(sides)), [shorten(side.label, 34) for side in sides])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        if logarithmic:
            axes.set_xscale("log")
            # Space for the text next to the longest bar.
            axes.set_xlim(begin, longest * (longest / begin) ** 0.42)
            axes.xaxis.set_major_locator(LogTicks())
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_xlim(0, 1.42 * longest)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.set_xlabel("seconds (logarithmic)" if logarithmic else "seconds")
        set_alt_text(figure, _describe_sides(sides, question))
        freeze(figure)
    return figure


def growth(
    points: Sequence[GrowthPoint],
    question: str,
    *,
    unit: str,
    exponent: float | None = None,
    interval: tuple[float, float] | None = None,
    scale: float | None = None,
) -> Figure:
    """Draw seconds against size, both logarithmic, with a fitted power law ``scale * size ** exponent``.

    Bars reach from the least seconds to the most.

    Args:
        points: at least one.
        question: the title.
        unit: unit of the sizes, in the plural: "students".
        exponent, scale: of the power law; None draws no line.
        interval: the exponent's 95 % interval (low, high), where known.

    Raises:
        ArgumentError: no point, sizes or seconds that aren't above 0, a spread that doesn't contain them.
    """
    if not points:
        raise ArgumentError("Growth needs at least one size; found none. Pass GrowthPoints.")
    for point in points:
        _check(f"{point.size:g} {unit}", point.seconds, point.spread)
        if not 0 < point.size < math.inf:
            raise ArgumentError(f"Sizes on a logarithmic axis must be above 0; found {point.size}.")
    points = sorted(points, key=lambda point: point.size)
    sizes = np.array([point.size for point in points])
    with styled():
        figure = new_figure(6.4, 4.2)
        _title(figure, question, 58)
        axes = figure.subplots()
        for point in points:
            axes.plot([point.size] * 2, point.spread, color="black", linewidth=1.3, marker="_", markersize=8)
        look = looks(["measured"])[0]
        axes.plot(
            sizes, [point.seconds for point in points], color=look.colour, marker=look.marker, linestyle="",
            markersize=7, label="median, and from least to most",
        )  # fmt: skip
        if exponent is not None and scale is not None:
            line = np.geomspace(sizes[0], sizes[-1], 50)
            axes.plot(
                line,
                scale * line**exponent,
                color=GREY,
                linestyle=(0, (4, 2)),
                label=_law(exponent, interval),
            )
        for point in points:
            axes.annotate(
                f"{significant(point.seconds)} s", (point.size, point.spread[1]), (-4, 6),
                textcoords="offset points", ha="right", fontsize=9,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel=f"{unit} (logarithmic)", ylabel="seconds (logarithmic)")
        axes.margins(x=0.16, y=0.16)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogTicks())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.legend(loc="lower right")
        set_alt_text(figure, _describe_growth(points, question, unit, exponent, interval))
        freeze(figure)
    return figure


def _title(figure: Figure, question: str, width: int) -> None:
    """Write ``question`` as the title, in at most three lines of ``width`` letters."""
    lines = textwrap.wrap(" ".join(question.split()), width, max_lines=3, placeholder=" …")
    figure.set_figheight(figure.get_figheight() + 0.18 * (len(lines) - 1))
    figure.suptitle("\n".join(lines), x=0.012, ha="left", weight="bold")


def _check(label: str, seconds: float, spread: tuple[float, float]) -> None:
    low, high = spread
    if not 0 < low <= seconds <= high < math.inf:
        raise ArgumentError(
            f"Seconds must be above 0 and lie within their spread; {label!r} has {seconds} in {low} to {high}."
        )


def _told(side: SideTimes) -> str:
    text = f"{significant(side.seconds)} s"
    return text if side.ratio is None else f"{text}, {_times(side.ratio)}"


def _times(ratio: float) -> str:
    return f"{significant(ratio)} times"


def _law(exponent: float, interval: tuple[float, float] | None) -> str:
    text = f"size to the power {exponent:.2f}"
    return text if interval is None else f"{text} ({interval[0]:.2f} to {interval[1]:.2f})"


def _describe_sides(sides: Sequence[SideTimes], question: str) -> str:
    parts = [question, "Median seconds, with the least and the most."]
    for side in sides:
        ratio = "" if side.ratio is None else f", {_times(side.ratio)} those of {sides[0].label}"
        low, high = (significant(bound) for bound in side.spread)
        parts.append(f"{side.label}: {significant(side.seconds)} s ({low} to {high}){ratio}.")
    return " ".join(parts)


def _describe_growth(
    points: Sequence[GrowthPoint],
    question: str,
    unit: str,
    exponent: float | None,
    interval: tuple[float, float] | None,
) -> str:
    told = listed([f"{significant(point.seconds)} s for {point.size:,.10g} {unit}" for point in points])
    law = "" if exponent is None else f" The seconds grow like {_law(exponent, interval)}."
    return f"{question} {told}.{law}"
