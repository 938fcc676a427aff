"""Draw how far methods are from one of them, and which differences are noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import Interval
from kdcourse.figures.style import GREY, PALETTE, freeze, new_figure, percent, set_alt_text, shorten, styled

_CUT = 3.0  # points below the reference at which the axis is cut


@dataclass(frozen=True)
class Ranked:
    """Hold a method's mean accuracy, 0 to 1, and its paired ``difference`` from the reference; ``None`` of itself."""

    name: str
    accuracy: float
    difference: Interval | None = None

    @property
    def verdict(self) -> str:
        """Return "better" or "worse" where the interval of the difference excludes 0, "noise" where it doesn't."""
        if self.difference is None or self.difference.low <= 0 <= self.difference.high:
            return "noise"
        return "better" if self.difference.low > 0 else "worse"


def leaderboard(methods: Sequence[Ranked], *, reference: str, title: str, intervals: str = "95 %") -> Figure:
    """Draw one row per method, in their order: its difference from the reference, as a point with its interval.

    Filled points differ from the reference beyond noise. Hollow grey ones, whose interval contains 0, don't. Methods
    that are further below than 3 points stand at the left edge, with an arrow.

    Args:
        methods: in the order of the rows; one of them is the reference.
        reference: its name.
        title: of the figure.
        intervals: what kind of intervals these are, for the legend.

    Raises:
        ArgumentError: no reference among the methods, nothing to compare, an accuracy outside 0 to 1.
    """
    of = next((each for each in methods if each.name == reference), None)
    if of is None or not any(each.difference for each in methods):
        raise ArgumentError(
            f"The figure compares methods with {reference!r}, which must be among them; found "
            f"{', '.join(each.name for each in methods) or 'none'}. Pass it, and a difference for each of the others."
        )
    for each in methods:
        if not 0 <= each.accuracy <= 1:
            raise ArgumentError(f"Accuracies are shares, 0 to 1; found {each.accuracy} of {each.name!r}.")
    means = [each.difference.mean for each in methods if each.difference is not None]
    cut = any(100 * mean < -_CUT for mean in means)
    kinds = {
        "better": (f"better than {reference}", PALETTE["blue"], PALETTE["blue"], "o"),
        "noise": ("not told apart", GREY, "white", "o"),
        "worse": (f"worse than {reference}", PALETTE["vermilion"], PALETTE["vermilion"], "s"),
    }
    with styled():
        figure = new_figure(8.2, 1.6 + 0.34 * len(methods))
        axes = figure.subplots()
        shown: set[str] = set()
        for row, each in enumerate(methods):
            axes.text(
                1.01, row, percent(each.accuracy), transform=axes.get_yaxis_transform(), va="center", fontsize=9.5
            )  # fmt: skip
            if each.difference is None:
                continue
            label, colour, fill, marker = kinds[each.verdict]
            if 100 * each.difference.mean < -_CUT:
                axes.annotate(
                    f"{100 * each.difference.mean:+.1f}", (-_CUT, row), (-_CUT + 0.25, row), color=colour, va="center",
                    fontsize=9.5, arrowprops={"arrowstyle": "->", "color": colour},
                )  # fmt: skip
                continue
            ends = [max(-_CUT, 100 * end) for end in (each.difference.low, each.difference.high)]
            axes.plot(ends, [row, row], color=colour, linewidth=1.8, marker="|", markersize=8)
            axes.plot(
                100 * each.difference.mean, row, linestyle="none", marker=marker, color=colour, markerfacecolor=fill,
                markersize=8, label=None if label in shown else label,
            )  # fmt: skip
            shown.add(label)
        axes.axvline(0, color=PALETTE["black"], linestyle="--", linewidth=1.2)
        if cut:
            axes.set_xlim(left=-_CUT)
        axes.set_yticks(range(len(methods)), [shorten(each.name, 24) for each in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set(
            xlabel=f"points over {reference}, {intervals} interval{', axis cut' if cut else ''}; on the right accuracy",
            title=title,
        )
        if shown:
            figure.legend(loc="outside lower center", ncols=3)
        set_alt_text(figure, f"{title}. {' '.join(map(_said, methods))}")
        freeze(figure)
    return figure


def _said(each: Ranked) -> str:
    if each.difference is None:
        return f"{each.name}: {percent(each.accuracy)}."
    mean, low, high = (
        100 * value for value in (each.difference.mean, each.difference.low, each.difference.high)
    )
    return f"{each.name}: {percent(each.accuracy)}, {mean:+.2f} points ({low:+.2f} to {high:+.2f}), {each.verdict}."
