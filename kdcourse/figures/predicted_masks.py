"""Draw several models' masks of the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import mean_iou
from kdcourse.figures.masks import (
    check_scenes,
    class_colours,
    legend_columns,
    legend_of,
    number_regions,
    outline,
    painted,
    rgb,
    show,
    spots_of,
)
from kdcourse.figures.style import (
    count_word,
    freeze,
    listed,
    new_figure,
    percent,
    set_alt_text,
    shorten,
    styled,
)

_MOST_ACROSS = 10


def predicted_masks(
    images: Tensor, truth: Tensor, predictions: Mapping[str, Tensor], classes: Sequence[str]
) -> Figure:
    """Draw images in columns, below each its true mask and every model's prediction, with the image's mean IoU.

    Black lines in a predicted mask are the borders of the true mask. A region shows the number of its class if there is
    space for it. After ten images a second block begins.

    The printed IoU is `mean_iou` of this image alone. A class that is predicted for a few stray pixels counts as 0, so
    the value is often lower than expected, and lower than that over all images.

    Args:
        images: uint8 [K, 1 or 3, H, W]; at most ten are easy to read.
        truth: whole numbers [K, H, W], `kdcourse.data.IGNORE` for ignored pixels.
        predictions: name of a model -> its masks, whole numbers [K, H, W], such as `predict_masks` returns.
        classes: C names; one called "background" or "ground" is painted grey.

    Raises:
        ArgumentError: no model, shapes that don't match, classes out of range.
    """
    check_scenes(images, truth, classes)
    if not predictions:
        raise ArgumentError("Give the predictions of at least one model; found none. Pass {name: masks}.")
    for name, masks in predictions.items():
        check_scenes(images, masks, classes, name=f"the predictions of {name!r}")
    overlaps = {name: _overlaps(masks, truth, len(classes)) for name, masks in predictions.items()}
    # What a model says of a pixel that doesn't count is not shown either.
    shown = {name: masks.cpu().where(truth.cpu() != IGNORE, IGNORE) for name, masks in predictions.items()}
    rows = {"truth": truth.cpu(), **shown}
    colours = class_colours(classes)
    columns = min(_MOST_ACROSS, len(images))
    blocks, tall = math.ceil(len(images) / columns), len(rows) + 1
    side = min(1.7, 9.5 / columns)
    with styled():
        legend = legend_of(list(rows.values()), classes, colours)
        across = legend_columns(legend, side * columns + 1.0)
        height = side * images.shape[2] / images.shape[3]
        figure = new_figure(
            side * columns + 1.05,
            blocks * (tall * height + 0.21 * len(predictions)) + 0.3 + 0.24 * math.ceil(len(legend) / across),
        )
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
        cells = figure.subplots(blocks * tall, columns, squeeze=False)
        for axes in cells.ravel():
            axes.axis("off")
        for n, image in enumerate(images):
            block, column = divmod(n, columns)
            show(cells[block * tall, column], rgb(image))
        for row, (name, masks) in enumerate(rows.items(), 1):
            spots = spots_of(masks, classes)
            for n, mask in enumerate(masks):
                block, column = divmod(n, columns)
                axes = cells[block * tall + row, column]
                show(axes, painted(mask, colours))
                outline(axes, truth[n])
                number_regions(axes, spots[n])
                if name in overlaps and row > 1:
                    axes.set_xlabel(_share(overlaps[name][n]), fontsize=9, labelpad=1.5)
        for block in range(blocks):
            for row, name in enumerate(["image", *rows]):
                axes = cells[block * tall + row, 0]
                axes.set_ylabel(shorten(name, 14), fontsize=9.5, fontweight="bold")
        for axes in cells.ravel():
            if axes.images:
                axes.axis("on")
        figure.legend(handles=legend, loc="outside lower center", ncols=across, handlelength=1.4)
        set_alt_text(figure, _describe(truth, overlaps, classes))
        freeze(figure)
    return figure


def _overlaps(masks: Tensor, truth: Tensor, classes: int) -> list[float]:
    """Return the mean IoU of every image by itself; NaN if all its pixels are ignored."""
    return [
        mean_iou(said[None], mask[None], classes) if bool((mask != IGNORE).any()) else math.nan
        for said, mask in zip(masks.cpu(), truth.cpu(), strict=True)
    ]


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def _describe(truth: Tensor, overlaps: Mapping[str, Sequence[float]], classes: Sequence[str]) -> str:
    count = len(truth)
    parts = [
        f"{count_word(count).capitalize()} image{'s' * (count != 1)} with the true masks and those that "
        f"{listed(list(overlaps))} predict{'s' * (len(overlaps) == 1)}."
    ]
    for name, values in overlaps.items():
        known = [value for value in values if not math.isnan(value)]
        each = listed([_share(value) for value in values])
        mean = percent(sum(known) / len(known), 1) if known else "none"
        parts.append(f"{name}: mean IoU per image {each}; on average {mean}.")
    for n, mask in enumerate(truth.cpu(), 1):
        names = [classes[label] for label in mask.unique().tolist() if label != IGNORE]
        parts.append(f"Image {n} shows {listed(names) if names else 'nothing that counts'}.")
    return " ".join(parts)
