"""Draw what hidden layers know: where they are active, and which images they hold for alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from kdcourse.errors import ArgumentError
from kdcourse.figures.masks import rgb, show
from kdcourse.figures.style import count_word, freeze, listed, new_figure, set_alt_text, styled

_COLOURS = "cividis"  # even in lightness, and readable with the common colour-vision deficiencies


def attention_maps(images: Tensor, maps: Mapping[str, Tensor]) -> Figure:
    """Draw images in the first row, and in a row per network where its feature maps are active; brighter is more.

    Args:
        images: uint8 [K, 1 or 3, H, W], at most ten.
        maps: name of a network -> floating point [K, h, w], 0 or more; each map has a colour scale of its own.

    Raises:
        ArgumentError: no map, or shapes that don't match.
    """
    _check(images, 10)
    for name, each in maps.items():
        if each.ndim != 3 or len(each) != len(images):
            raise ArgumentError(
                f"maps[{name!r}] must be [{len(images)}, height, width], one per image; found {list(each.shape)}."
            )
    if not maps:
        raise ArgumentError("There is no map to draw; pass {name: [K, h, w]}.")
    with styled():
        figure = new_figure(1.05 * len(images) + 1.2, 1.1 * (1 + len(maps)) + 0.2)
        grid = figure.subplots(1 + len(maps), len(images), squeeze=False)
        for column, image in enumerate(images):
            show(grid[0, column], rgb(image))
            for row, each in enumerate(maps.values(), 1):
                axes = grid[row, column]
                axes.imshow(each[column].detach().cpu().float().numpy(), cmap=_COLOURS, vmin=0)
                axes.grid(False)
                axes.set(xticks=[], yticks=[])
        for row, name in enumerate(("image", *maps)):
            grid[row, 0].set_ylabel(name, rotation=0, ha="right", va="center")
        sizes = [f"{name} {each.shape[1]}x{each.shape[2]}" for name, each in maps.items()]
        set_alt_text(
            figure,
            f"{count_word(len(images))} images and below each where networks are active, brighter for more, on grids "
            f"of {listed(sizes)} places.",
        )
        freeze(figure)
    return figure


def distance_tables(images: Tensor, tables: Mapping[str, Tensor]) -> Figure:
    """Draw tables of distances between images: one table per network, with the images along both sides.

    Args:
        images: uint8 [K, 1 or 3, H, W], at most eight.
        tables: name of a network -> floating point [K, K], 0 on the diagonal; all tables share a colour scale.

    Raises:
        ArgumentError: no table, or shapes that don't match.
    """
    _check(images, 8)
    count = len(images)
    for name, table in tables.items():
        if table.shape != (count, count):
            raise ArgumentError(
                f"tables[{name!r}] must be [{count}, {count}], one row per image; found {list(table.shape)}."
            )
    if not tables or count < 2:
        raise ArgumentError("There is no distance to draw; pass at least two images and {name: [K, K]}.")
    highest = max(float(table.max()) for table in tables.values())
    said = []
    with styled():
        figure = new_figure(0.62 * (count + 1) * len(tables) + 0.4, 0.62 * (count + 1) + 0.5)
        for part, (name, table) in zip(
            figure.subfigures(1, len(tables), squeeze=False)[0], tables.items(), strict=True
        ):
            grid = part.subplots(count + 1, count + 1, squeeze=False)
            part.suptitle(name)
            grid[0, 0].set_axis_off()
            for place, image in enumerate(images):
                show(grid[0, place + 1], rgb(image))
                show(grid[place + 1, 0], rgb(image))
            for row in range(count):
                for column in range(count):
                    axes, value = grid[row + 1, column + 1], float(table[row, column])
                    axes.imshow([[value]], cmap=_COLOURS, vmin=0, vmax=highest or 1, aspect="auto")
                    axes.grid(False)
                    axes.set(xticks=[], yticks=[])
                    axes.text(
                        0, 0, f"{value:.1f}", ha="center", va="center", fontsize=9,
                        color="white" if value < 0.45 * highest else "black",
                    )  # fmt: skip
            apart = table + torch.diag(torch.full((count,), torch.inf)).to(table)
            near, far = (divmod(int(place), count) for place in (apart.argmin(), table.argmax()))
            said.append(
                f"{name}: nearest are images {near[0] + 1} and {near[1] + 1} ({float(table[near]):.1f}), farthest "
                f"{far[0] + 1} and {far[1] + 1} ({float(table[far]):.1f})."
            )
        set_alt_text(figure, f"Distances between {count_word(count)} images. {' '.join(said)}")
        freeze(figure)
    return figure


def _check(images: Tensor, most: int) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or not 1 <= len(images) <= most:
        raise ArgumentError(
            f"Images must be uint8 [K, 1 or 3, H, W], one to {most} of them; found {images.dtype} "
            f"{list(images.shape)}. Take them from a Split, before normalise."
        )
