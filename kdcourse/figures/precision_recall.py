"""Draw precision against recall for pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import PrecisionRecallCurve
from kdcourse.figures.style import GREY, freeze, listed, looks, new_figure, set_alt_text, shorten, styled

_F1 = (0.2, 0.4, 0.6, 0.8)


def precision_recall_curves(
    curves: Mapping[str, PrecisionRecallCurve], *, title: str = "Precision and recall"
) -> Figure:
    """Draw precision against recall of several models, with their average precision in the legend.

    Faint lines join points of equal F1 = 2 * precision * recall / (precision + recall), which is the Dice
    coefficient of the pixels predicted positive there.

    Args:
        curves: name of a model -> one of its curves, such as ``scores.precision_recall.micro``.
        title: subject of the curves, such as a class.

    Raises:
        ArgumentError: no model, or a curve of a class without pixels.
    """
    check_curves(curves)
    with styled():
        figure = new_figure(6.4, 4.9 + 0.22 * len(curves))
        axes = figure.subplots()
        draw_frame(axes)
        for n, ((name, curve), look) in enumerate(zip(curves.items(), looks(list(curves)), strict=True)):
            recall, precision = drawn_points(curve)
            axes.plot(
                recall,
                precision,
                color=look.colour,
                marker=look.marker,
                # Marks of curves that lie on one another would hide one another.
                markevery=spread_marks(recall, n / len(curves)),
                linewidth=1.6,
                label=f"{shorten(name, 30)}: AP {curve.average_precision:.3f}",
            )
        axes.set_title(shorten(title, 60))
        figure.legend(loc="outside lower center", ncols=1)
        set_alt_text(figure, _describe(curves, title))
        freeze(figure)
    return figure


def check_curves(curves: Mapping[str, PrecisionRecallCurve]) -> None:
    """Raise ArgumentError unless there is a curve, and every curve's class occurs."""
    if not curves:
        raise ArgumentError(
            "Precision-recall curves need at least one model; found none. Pass {name: scores.precision_recall.micro}."
        )
    for name, curve in curves.items():
        if not isinstance(curve, PrecisionRecallCurve):
            raise ArgumentError(
                f"Give one curve per model; for {name!r} found {type(curve).__name__}. "
                "Choose .micro or .per_class[k] of it."
            )
        if curve.positives == 0:
            raise ArgumentError(
                f"The curve of {name!r} is of a class that no pixel belongs to: it has no recall. Leave it out."
            )


def draw_frame(axes: Axes) -> None:
    """Draw axes from 0 to 1 for recall and precision, with faint lines of equal F1."""
    axes.set(xlim=(0, 1.01), ylim=(0, 1.015), xlabel="recall", ylabel="precision")
    axes.set_aspect("equal")
    axes.grid(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(0.2))
    for f1 in _F1:
        # Precision follows from recall: at recall f1 / 2 it would be endless.
        recall = np.linspace(f1 / (2 - f1), 1, 100)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color="#BDBDBD", linewidth=0.9, zorder=0.5)
        # Where precision and recall are equal, F1 is what both are.
        axes.text(
            f1,
            f1,
            f"F1 = {f1:g}",
            ha="center",
            va="center",
            fontsize=9,
            color=GREY,
            zorder=0.6,
            path_effects=[withStroke(linewidth=4, foreground="white")],
        )


def drawn_points(curve: PrecisionRecallCurve, most: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision at a limited number of points, evenly spread along recall from 0 to 1."""
    recall, precision = curve.recall.numpy()[::-1], curve.precision.numpy()[::-1]
    # The point at which nothing is called positive has a precision of 1 by convention only; the line begins at
    # the first threshold that calls something.
    recall, precision = recall[1:], precision[1:]
    if len(recall) > most:
        kept = np.searchsorted(recall, np.linspace(recall[0], 1, most - 1)).clip(max=len(recall) - 1)
        kept = np.unique([*kept, len(recall) - 1])  # as everything is called positive, too
        recall, precision = recall[kept], precision[kept]
    return recall, precision


def spread_marks(recall: np.ndarray, later: float = 0.0) -> list[int]:
    """Return positions of markers a tenth of recall apart, because a curve has most of its points at one end.

    ``later`` shifts them by a share of that distance, 0 to 1.
    """
    wanted = np.linspace(0.05, 0.95, 10) + 0.1 * later
    return sorted({int(np.abs(recall - at).argmin()) for at in wanted if at < 1})


def _describe(curves: Mapping[str, PrecisionRecallCurve], title: str) -> str:
    parts = [f"{title}: precision against recall of {listed(list(curves))}."]
    for name, curve in curves.items():
        recall, precision = drawn_points(curve)
        at = [f"{precision[recall >= wanted].max():.2f} at recall {wanted:g}" for wanted in (0.5, 0.8, 0.95)]
        parts.append(f"{name}: average precision {curve.average_precision:.3f}, precision {listed(at)}.")
    return " ".join(parts)
