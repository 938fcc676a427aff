"""Draw images with the class of every pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError
from kdcourse.figures.masks import (
    check_scenes,
    class_colours,
    legend_columns,
    legend_of,
    number_regions,
    outline,
    overlaid,
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
    styled,
)


def scene_examples(images: Tensor, masks: Tensor, classes: Sequence[str], *, columns: int = 6) -> Figure:
    """Draw images, and below each the same image with its mask over it.

    A region shows the number of its class if there is space for it; the legend names the classes that occur. The
    background isn't painted; ignored pixels are chequered.

    Args:
        images: uint8 [K, 1 or 3, H, W], at most twelve.
        masks: whole numbers [K, H, W], `kdcourse.data.IGNORE` for ignored pixels.
        classes: C names; one called "background" or "ground" is not painted.
        columns: images per row.

    Raises:
        ArgumentError: shapes that don't match, classes out of range, ``columns`` below 1.
    """
    check_scenes(images, masks, classes)
    if columns < 1:
        raise ArgumentError(f"columns must be at least 1; found {columns}. Six fit a page.")
    colours, spots = class_colours(classes), spots_of(masks, classes)
    columns = min(columns, len(images))
    blocks = math.ceil(len(images) / columns)
    side = min(2.4, 9.4 / columns)
    with styled():
        legend = legend_of([masks.cpu()], classes, colours, ground=False)
        across = legend_columns(legend, max(4.0, side * columns))
        height = side * images.shape[2] / images.shape[3]
        figure = new_figure(
            max(4.0, side * columns + 0.2),
            2 * blocks * (height + 0.04) + 0.2 + 0.24 * math.ceil(len(legend) / across),
        )
        figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
        cells = figure.subplots(2 * blocks, columns, squeeze=False)
        for axes in cells.ravel():
            axes.axis("off")
        for n, (image, mask) in enumerate(zip(images, masks, strict=True)):
            block, column = divmod(n, columns)
            above, below = cells[2 * block, column], cells[2 * block + 1, column]
            for axes, drawn in ((above, rgb(image)), (below, overlaid(image, mask, colours, classes))):
                axes.axis("on")
                show(axes, drawn)
            outline(below, mask)
            number_regions(below, spots[n])
        if legend:
            figure.legend(handles=legend, loc="outside lower center", ncols=across, handlelength=1.4)
        set_alt_text(figure, _describe(masks, classes))
        freeze(figure)
    return figure


def _describe(masks: Tensor, classes: Sequence[str]) -> str:
    parts = [f"{count_word(len(masks)).capitalize()} image{'s' * (len(masks) != 1)} with masks."]
    for n, mask in enumerate(masks.cpu(), 1):
        counts = torch.bincount(mask.flatten().long(), minlength=IGNORE + 1)
        shares = [
            f"{'left out' if label == IGNORE else classes[label]} {percent(int(counts[label]) / mask.numel(), 0)}"
            for label in counts.argsort(descending=True, stable=True).tolist()
            if counts[label]
        ]
        parts.append(f"Image {n}: {listed(shares)} of the pixels.")
    return " ".join(parts)
