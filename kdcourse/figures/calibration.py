"""Draw calibration: whether a model's confidence matches its accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

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


def reliability_diagram(models: Mapping[str, Reliability], *, unit: str = "images") -> Figure:
    """Draw accuracy against confidence for several models, side by side.

    Above: the accuracy of each bin of confidence (bars). The hatched part reaches to the bin's mean confidence; it is
    the calibration error, printed as ECE. Below: the number of images, or pixels, per bin, on a logarithmic axis
    because most of them are in the last bin.

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
        figure = new_figure(max(4.4, 3.05 * columns), 4.4 * blocks + 0.3)
        grid = figure.add_gridspec(2 * blocks, columns, height_ratios=[3.2, 1.0] * blocks)
        most = max(int(curve.count.max()) for curve in models.values())
        for position, (name, curve) in enumerate(models.items()):
            block, column = divmod(position, columns)
            above = figure.add_subplot(grid[2 * block, column])
            below = figure.add_subplot(grid[2 * block + 1, column], sharex=above)
            edges, count = curve.edges.numpy(), curve.count.numpy()
            middle, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
            filled = count > 0
            accuracy, confidence = curve.accuracy.numpy()[filled], curve.confidence.numpy()[filled]
            above.bar(
                middle[filled],
                accuracy,
                width[filled],
                color=PALETTE["sky"],
                edgecolor=PALETTE["blue"],
                linewidth=0.8,
            )
            above.bar(
                middle[filled],
                confidence - accuracy,
                width[filled],
                bottom=accuracy,
                color="none",
                edgecolor=PALETTE["vermilion"],
                hatch="////",
                linewidth=0.8,
            )
            above.plot([0, 1], [0, 1], color=PALETTE["black"], linestyle="--", linewidth=1.2)
            above.set(title=f"{shorten(name, 26)}\nECE {curve.error:.4f}", xlim=(0, 1), ylim=(0, 1.02))
            above.tick_params(labelbottom=False)
            below.bar(
                middle[filled],
                count[filled],
                width[filled],
                color="#BFBFBF",
                edgecolor=GREY,
                linewidth=0.8,
                bottom=0.5,  # otherwise a bin with one image would have no height on the logarithmic axis
            )
            below.set_yscale("log")
            below.set_ylim(0.5, max(2 * most, 20))  # at least two labels, 1 and 10
            below.yaxis.set_major_locator(LogLocator(numticks=4))
            below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            below.yaxis.set_minor_locator(NullLocator())
            below.yaxis.set_minor_formatter(NullFormatter())
            below.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
            below.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            below.set_xlabel("confidence")
            if column == 0:
                above.set_ylabel("accuracy")
                below.set_ylabel(unit)
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
            f"{name}: expected calibration error {curve.error:.4f} on {total:,} {unit}, mean confidence "
            f"{percent(confidence)}, accuracy {percent(accuracy)}, {lean}; {int(curve.count[top]):,} {unit} "
            f"lie in the bin of confidence above {float(curve.edges[top]):.2f}, where accuracy is "
            f"{percent(float(curve.accuracy[top]))}."
        )
    return " ".join(parts)
