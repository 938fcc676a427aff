"""Draw paired differences between two sides, one per seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import Interval, paired_difference
from kdcourse.figures.style import (
    GREY,
    PALETTE,
    count_word,
    freeze,
    new_figure,
    set_alt_text,
    shorten,
    styled,
)


def paired_differences(
    comparisons: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    score: str = "accuracy",
    rings_only: Sequence[str] = (),
) -> Figure:
    """Draw differences in accuracy, or another score, over paired seeds: one row per comparison, percentage points.

    A ring is one seed's difference, the diamond their mean, the bar its 95 % interval by Student's t
    (`kdcourse.evaluation.paired_difference`). If a bar touches the dashed line at 0, the sign is not settled.

    Args:
        comparisons: name -> (before, after), scores 0 to 1 of the same seeds in the same order; the
            figure shows after - before.
        score: name of the score, such as "mean IoU".
        rings_only: names of comparisons without diamond and bar, such as one whose mean is 0 by construction.

    Raises:
        ArgumentError: no comparison, different lengths, fewer than two seeds, scores outside 0 to 1.
    """
    if not comparisons:
        raise ArgumentError(
            "Paired differences need at least one comparison; found none. Pass {name: (before, after)}."
        )
    for name, sides in comparisons.items():
        if not all(0 <= value <= 1 for side in sides for value in side):
            raise ArgumentError(
                f"Scores ({score}) are shares, 0 to 1; {name!r} has {sides}. Divide percentages by 100."
            )
    found = {name: paired_difference(after, before) for name, (before, after) in comparisons.items()}
    with styled():
        figure = new_figure(8.2, 1.5 + 0.62 * len(found))
        axes = figure.subplots()
        for y, (name, interval) in enumerate(found.items()):
            before, after = comparisons[name]
            points = [100 * (new - old) for old, new in zip(before, after, strict=True)]
            axes.plot(
                points, [y + 0.2] * len(points), "o", color=GREY, markerfacecolor="white", markersize=6,
                label="one seed" if y == 0 else None,
            )  # fmt: skip
            if name in rings_only:
                continue
            drawn = axes.get_legend_handles_labels()[1]
            axes.plot([100 * interval.low, 100 * interval.high], [y - 0.12] * 2, color=PALETTE["blue"], marker="|",
                      linewidth=2.2, markersize=11, label=None if "mean" in drawn else "95 % interval")  # fmt: skip
            axes.plot(100 * interval.mean, y - 0.12, "D", color=PALETTE["blue"], markersize=7,
                      label=None if "mean" in drawn else "mean")  # fmt: skip
        axes.axvline(0, color=PALETTE["black"], linestyle="--", linewidth=1.2)
        axes.set_yticks(range(len(found)), [shorten(name, 34) for name in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"difference in {score} (percentage points); right of 0 is better")
        figure.legend(loc="outside upper center", ncols=3)
        set_alt_text(figure, _describe(found, score, comparisons, rings_only))
        freeze(figure)
    return figure


def _describe(
    found: Mapping[str, Interval],
    score: str,
    comparisons: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    rings_only: Sequence[str],
) -> str:
    parts = [f"Differences in {score} over paired seeds, in percentage points."]
    for name, interval in found.items():
        if name in rings_only:
            points = [100 * (new - old) for old, new in zip(*comparisons[name], strict=True)]
            parts.append(
                f"{name}: {count_word(interval.n)} seeds, from {_signed(min(points))} to {_signed(max(points))}."
            )
            continue
        mean, low, high = (100 * value for value in (interval.mean, interval.low, interval.high))
        side = "above 0" if low > 0 else "below 0" if high < 0 else "around 0"
        parts.append(
            f"{name}: {count_word(interval.n)} seeds, mean {_signed(mean)}, interval {_signed(low)} to "
            f"{_signed(high)}, {side}."
        )
    return " ".join(parts)


def _signed(value: float) -> str:
    return f"{0.0 if math.isclose(value, 0, abs_tol=5e-3) else value:+.2f}"
