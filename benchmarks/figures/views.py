"""Draw the cost and the benefit of stored augmented views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import (
    GREY,
    Look,
    freeze,
    looks,
    new_figure,
    percent,
    set_alt_text,
    significant,
    styled,
)


@dataclass(frozen=True)
class ViewsPoint:
    """Hold one side of `views_trade_off`.

    ``views`` is K, None for a teacher on the fly; ``seconds`` (above 0) include the teacher's passes; ``accuracy`` is 0
    to 1.
    """

    views: int | None
    seconds: float
    accuracy: float


def views_trade_off(points: Sequence[ViewsPoint]) -> Figure:
    """Draw seconds and accuracy against the number of stored views, and the teacher on the fly as a line.

    Raises:
        ArgumentError: no stored views among the points, a number of views that is repeated or below 1, more than one
            side on the fly, seconds that aren't above 0, accuracies outside 0 to 1.
    """
    stored = sorted((p for p in points if p.views is not None), key=lambda p: p.views or 0)
    flying = [p for p in points if p.views is None]
    _check(stored, flying)
    counts = [point.views for point in stored]
    asked, learned = looks(("teacher", "distilled"))
    panels: list[tuple[str, str, Look, list[float], list[float]]] = [
        ("What views cost", "seconds, teacher's passes included", asked,
         [p.seconds for p in stored], [p.seconds for p in flying]),
        ("What views bring", "validation accuracy (%)", learned,
         [100 * p.accuracy for p in stored], [100 * p.accuracy for p in flying]),
    ]  # fmt: skip
    with styled():
        figure = new_figure(8.4, 3.9)
        every = figure.subplots(1, 2)
        for axes, (title, label, look, values, line) in zip(every, panels, strict=True):
            axes.plot(counts, values, color=look.colour, marker=look.marker, label="stored views")
            for value in line:
                axes.axhline(value, color=GREY, linestyle=(0, (4, 2)), label="teacher on the fly")
            axes.set_xscale("log", base=2)
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.minorticks_off()
            axes.set_xlabel("stored views K (logarithmic)")
            axes.set_ylabel(label)
            axes.set_title(title)
        every[0].set_ylim(bottom=0)
        # At least half a percentage point, so that noise doesn't look large.
        low, high = every[1].get_ylim()
        room = max(0.0, 0.5 - (high - low)) / 2
        every[1].set_ylim(low - room, high + room)
        every[0].legend(loc="lower right")
        set_alt_text(figure, _describe(stored, flying))
        freeze(figure)
    return figure


def _check(stored: Sequence[ViewsPoint], flying: Sequence[ViewsPoint]) -> None:
    counts = [point.views for point in stored]
    if (
        not stored
        or len(set(counts)) < len(counts)
        or len(flying) > 1
        or min(p.views or 0 for p in stored) < 1
    ):
        raise ArgumentError(
            "The trade-off needs one point for each number of stored views, 1 or more, and at most one on the fly; "
            f"found views {counts} and {len(flying)} on the fly."
        )
    for point in (*stored, *flying):
        if not 0 < point.seconds < math.inf or not 0 <= point.accuracy <= 1:
            raise ArgumentError(
                f"Seconds must be above 0 and accuracies shares, 0 to 1; found {point}. Divide percentages by 100."
            )


def _describe(stored: Sequence[ViewsPoint], flying: Sequence[ViewsPoint]) -> str:
    parts = ["Seconds and validation accuracy against the number of stored views."]
    for point in (*stored, *flying):
        if point.views is None:
            name = "Teacher on the fly"
        else:
            name = f"{point.views} stored view" + ("" if point.views == 1 else "s")
        parts.append(f"{name}: {significant(point.seconds)} s, {percent(point.accuracy)}.")
    return " ".join(parts)
