"""Draw calibration: whether a model's confidence matches its accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import Reliability
from kdcourse.figures.style import (
    GREY,
    PALETTE,
    freeze,
    new_figure,
    percent,
    set_alt_text,
    shorten,
    styled,
)

_FAINT = 0.01  # a bin with a smaller share of all images is drawn faint: its accuracy is that of a few images


def reliability_diagram(models: Mapping[str, Reliability], *, unit: str = "images") -> Figure:
    """Draw accuracy against confidence for several models, side by side.

    Above: the accuracy of each bin of confidence (bars), faint where the bin holds less than a hundredth of the images.
    The hatched part is the gap to the bin's mean confidence. In the middle: each bin's share of all images, or pixels,
    which is its weight. Below: gap times weight, in percentage points; these sum to the expected calibration error.

    Args:
        models: name -> the result of `kdcourse.evaluation.reliability`; for masks, a score's ``reliability``.
        unit: what the bins count, "pixels" for masks.

    Raises:
        ArgumentError: no model, or a model whose bins are empty.
    """
    if not models:
        raise ArgumentError(
            "A reliability diagram needs at least one model; found none. Pass {name: reliability(...)}."
        )
    for name, curve in models.items():
        if int(curve.count.sum()) == 0:
            raise ArgumentError(
                f"The bins of {name!r} hold no {unit}. Make them with reliability(logits, labels)."
            )
    columns = min(3, len(models))
    blocks = math.ceil(len(models) / columns)
    with styled():
        figure = new_figure(max(4.4, 3.05 * columns), 5.4 * blocks + 0.3)
        grid = figure.add_gridspec(3 * blocks, columns, height_ratios=[3.0, 1.0, 1.0] * blocks)
        parts = {name: _parts_of_the_error(curve) for name, curve in models.items()}
        highest = max(0.05, *(float(part.max()) for part in parts.values()))
        for position, (name, curve) in enumerate(models.items()):
            block, column = divmod(position, columns)
            above = figure.add_subplot(grid[3 * block, column])
            middle = figure.add_subplot(grid[3 * block + 1, column], sharex=above)
            below = figure.add_subplot(grid[3 * block + 2, column], sharex=above)
            edges, count = curve.edges.numpy(), curve.count.numpy()
            centre, width, shares = (edges[:-1] + edges[1:]) / 2, np.diff(edges), 100 * count / count.sum()
            accuracy, confidence = curve.accuracy.numpy(), curve.confidence.numpy()
            for some, alpha in (
                (shares >= 100 * _FAINT, 1.0),
                ((shares < 100 * _FAINT) & (count > 0), 0.3),
            ):
                above.bar(
                    centre[some],
                    accuracy[some],
                    width[some],
                    color=PALETTE["sky"],
                    edgecolor=PALETTE["blue"],
                    linewidth=0.8,
                    alpha=alpha,
                )
                above.bar(
                    centre[some],
                    (confidence - accuracy)[some],
                    width[some],
                    bottom=accuracy[some],
                    color="none",
                    edgecolor=PALETTE["vermilion"],
                    hatch="////",
                    linewidth=0.8,
                    alpha=alpha,
                )
            above.plot([0, 1], [0, 1], color=PALETTE["black"], linestyle="--", linewidth=1.2)
            error = f"calibration error {100 * curve.error:.2f} points"
            above.set(title=f"{shorten(name, 26)}\n{error}", xlim=(0, 1), ylim=(0, 1.02))
            _weights(middle, centre, width, shares, 118, "{:.0f}")
            _weights(below, centre, width, parts[name], 1.18 * highest, "{:.2f}")
            for axes in (above, middle):
                axes.tick_params(labelbottom=False)
            below.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
            below.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            below.set_xlabel("confidence")
            if column == 0:
                above.set_ylabel("accuracy")
                middle.set_ylabel(f"% of all\n{unit}")
                below.set_ylabel("adds to the\nerror (points)")
        handles = [
            Patch(facecolor=PALETTE["sky"], edgecolor=PALETTE["blue"], label="accuracy of the bin"),
            Patch(
                facecolor="none", edgecolor=PALETTE["vermilion"], hatch="////", label="gap to its confidence"
            ),
            Line2D(
                [], [], color=PALETTE["black"], linestyle="--", linewidth=1.2, label="perfectly calibrated"
            ),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3 if columns > 1 else 1)
        set_alt_text(figure, _describe(models, unit))
        freeze(figure)
    return figure


def _parts_of_the_error(curve: Reliability) -> np.ndarray:
    """Return what each bin adds to the expected calibration error, in percentage points."""
    gaps = (curve.accuracy - curve.confidence).abs().nan_to_num(0.0)
    return np.asarray(100 * gaps * curve.count / curve.count.sum())


def _weights(
    axes: Axes, centre: np.ndarray, width: np.ndarray, values: np.ndarray, top: float, form: str
) -> None:
    """Draw one value per bin, the largest one printed above its bar."""
    axes.bar(centre, values, width, color="#BFBFBF", edgecolor=GREY, linewidth=0.8)
    largest = int(values.argmax())
    axes.text(
        centre[largest] + width[largest] / 2,
        values[largest],
        form.format(values[largest]),
        ha="right",
        va="bottom",
        fontsize=9,
    )
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _describe(models: Mapping[str, Reliability], unit: str) -> str:
    parts = ["Reliability diagram: accuracy against confidence in bins."]
    for name, curve in models.items():
        total = int(curve.count.sum())
        accuracy = float((curve.accuracy.nan_to_num(0.0) * curve.count).sum() / total)
        confidence = float((curve.confidence.nan_to_num(0.0) * curve.count).sum() / total)
        top = int(curve.count.nonzero()[-1])
        if abs(confidence - accuracy) < 0.0005:
            lean = "confidence matches accuracy overall"
        else:
            lean = "overconfident overall" if confidence > accuracy else "underconfident overall"
        parts.append(
            f"{name}: expected calibration error {100 * curve.error:.2f} points on {total:,} {unit}, mean confidence "
            f"{percent(confidence)}, accuracy {percent(accuracy)}, {lean}; {int(curve.count[top]):,} {unit} "
            f"lie in the bin of confidence above {float(curve.edges[top]):.2f}, where accuracy is "
            f"{percent(float(curve.accuracy[top]))}."
        )
    return " ".join(parts)
