"""Paint masks: a colour and a number per class, borders, ignored pixels.

Nothing depends on colour alone: every region that is large enough shows the number of its class, and the legend both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError
from kdcourse.evaluation.boundary import boundary
from kdcourse.evaluation.precision_recall import check_masks
from kdcourse.figures.style import shorten

# Found by search: with the background's grey, their smallest distance is as large as possible for ten colours, for
# readers with and without each of the three colour-vision deficiencies; the first few are further apart.
_COLOURS = (
    "#0C2E5B",
    "#B12305",
    "#3D7AFB",
    "#FFD212",
    "#926E8E",
    "#1800F1",
    "#6A3C43",
    "#949783",
    "#D77308",
    "#1DCCFF",
)
_GROUND = "#D9D9D9"  # of background classes
_GROUNDS = ("background", "ground")
_INSIDE = 2  # pixels, at 64 to a side, between a number and the nearest border


def class_colours(classes: Sequence[str]) -> list[str]:
    """Return one colour per class, grey for the background. After ten the colours repeat; the numbers differ."""
    things = iter(range(len(classes)))
    return [
        _GROUND if name.lower() in _GROUNDS else _COLOURS[next(things) % len(_COLOURS)] for name in classes
    ]


def painted(mask: Tensor, colours: Sequence[str]) -> np.ndarray:
    """Paint a mask [H, W] in its classes' colours, float [H, W, 3] in 0 to 1; ignored pixels are chequered."""
    palette = np.array([to_rgb(colour) for colour in colours])
    labels = mask.cpu().numpy()
    drawn = palette[np.where(labels == IGNORE, 0, labels)]
    return np.where((labels == IGNORE)[..., None], texture("chequered", *labels.shape)[..., None], drawn)


def overlaid(image: Tensor, mask: Tensor, colours: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Lay a mask [H, W] over its image [C, H, W], float [H, W, 3]; the background isn't painted."""
    below, above = rgb(image) / 255, painted(mask, colours)
    things = [name.lower() not in _GROUNDS for name in classes] + [True] * (IGNORE + 1 - len(classes))
    strength = 0.7 * np.array(things, dtype=float)[mask.cpu().numpy()][..., None]
    return (1 - strength) * below + strength * above


def rgb(image: Tensor) -> np.ndarray:
    """Convert uint8 [1 or 3, H, W] to uint8 [H, W, 3]."""
    pixels = image.detach().cpu().permute(1, 2, 0).numpy()
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def texture(name: str, height: int, width: int) -> np.ndarray:
    """Return grey patterns 0 to 1, [H, W], that differ without colour, equally coarse at any image size."""
    step = max(1, round(max(height, width) / 64))
    y, x = np.mgrid[:height, :width] // step
    dark = {
        "chequered": (x + y) % 2 == 0,
        "striped": (x + y) % 4 < 2,
        "dotted": (x % 2 == 1) & (y % 2 == 1),
    }
    return np.where(dark[name], 0.35, 0.95)


def show(axes: Axes, image: np.ndarray) -> None:
    """Show an image [H, W, 3] without ticks, with square and sharp pixels."""
    axes.imshow(image, interpolation="nearest")
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def outline(axes: Axes, mask: Tensor, colour: str = "black", width: float = 0.8) -> None:
    """Draw lines between pixels of different classes."""
    labels = mask.cpu().numpy()
    rows, columns = np.nonzero(labels[1:] != labels[:-1])
    across = [((x - 0.5, y + 0.5), (x + 0.5, y + 0.5)) for y, x in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(labels[:, 1:] != labels[:, :-1])
    upright = [((x + 0.5, y - 0.5), (x + 0.5, y + 0.5)) for y, x in zip(rows, columns, strict=True)]
    axes.add_collection(
        LineCollection(across + upright, colors=colour, linewidths=width, capstyle="projecting")
    )


def number_regions(axes: Axes, spots: Sequence[tuple[int, int, int]]) -> None:
    """Write the numbers that `spots_of` found."""
    for x, y, label in spots:
        axes.text(
            x,
            y,
            str(label),
            ha="center",
            va="center",
            fontsize=9,
            fontweight="bold",
            color="black",
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
            in_layout=False,
        )


def spots_of(masks: Tensor, classes: Sequence[str]) -> list[list[tuple[int, int, int]]]:
    """Return where each mask [N, H, W] has space for a region's number: (x, y, class), one per region.

    The background and ignored pixels get none. The place is the one furthest from the region's border.
    """
    masks = masks.cpu().to(torch.int16)
    step = max(1, round(max(masks.shape[1:]) / 64))
    small = masks[:, ::step, ::step]
    things = torch.tensor([name.lower() not in _GROUNDS for name in classes])
    wanted = (small != IGNORE) & things[small.clamp(max=len(classes) - 1).long()]
    everything = torch.ones_like(small, dtype=torch.bool)
    depth = sum((~boundary(small, everything, d)).to(torch.int16) for d in range(1, 13))
    assert isinstance(depth, Tensor)
    region = _regions(small)
    found: list[list[tuple[int, int, int]]] = [[] for _ in masks]
    best: dict[tuple[int, int], tuple[int, int, int]] = {}
    for n, y, x in (wanted & (depth >= _INSIDE)).nonzero().tolist():
        key, value = (n, int(region[n, y, x])), (int(depth[n, y, x]), y, x)
        if key not in best or value[0] > best[key][0]:
            best[key] = value
    for (n, _), (_, y, x) in best.items():
        found[n].append((x * step, y * step, int(small[n, y, x])))
    return found


def _regions(labels: Tensor) -> Tensor:
    """Number the connected regions of each class, one number for all pixels of a region: int64 [N, H, W]."""
    count, height, width = labels.shape
    region = torch.arange(count * height * width).view(count, height, width)
    # The largest number spreads from pixel to pixel until nothing changes any more.
    while True:
        before = region.clone()
        for axis in (1, 2):
            inner = labels.shape[axis] - 1
            same = labels.narrow(axis, 0, inner) == labels.narrow(axis, 1, inner)
            for here, there in ((0, 1), (1, 0)):
                part, other = region.narrow(axis, here, inner), region.narrow(axis, there, inner)
                part.copy_(torch.where(same, torch.maximum(part, other), part))
        if torch.equal(region, before):
            return region


def legend_of(
    masks: Sequence[Tensor], classes: Sequence[str], colours: Sequence[str], *, ground: bool = True
) -> list[Patch]:
    """Return a patch for each class in the masks, with its number, and one for ignored pixels if there are any.

    ``ground`` False leaves out the background, for images in which it isn't painted.
    """
    present = sorted({int(label) for mask in masks for label in mask.unique()})
    patches = [
        Patch(
            facecolor=colours[label],
            edgecolor="black",
            linewidth=0.6,
            label=shorten(classes[label], 22)
            if classes[label].lower() in _GROUNDS
            else f"{label}  {shorten(classes[label], 20)}",
        )
        for label in present
        if label != IGNORE and (ground or classes[label].lower() not in _GROUNDS)
    ]
    if IGNORE in present:
        patches.append(
            Patch(facecolor="white", edgecolor="black", hatch="xxxx", linewidth=0.6, label="left out")
        )
    return patches


def legend_columns(patches: Sequence[Patch], width: float) -> int:
    """Return how many entries of a legend fit side by side into a width in inches."""
    longest = max((len(str(patch.get_label())) for patch in patches), default=0)
    return max(1, min(len(patches), int(width / (0.62 + 0.08 * longest))))


# -- what goes in -------------------------------------------------------------------------------


def check_scenes(images: Tensor, masks: Tensor, classes: Sequence[str], name: str = "masks") -> None:
    """Raise ArgumentError unless images uint8 [K, 1 or 3, H, W] and masks [K, H, W] belong together."""
    if (
        images.dtype != torch.uint8
        or images.ndim != 4
        or images.numel() == 0
        or images.shape[1] not in (1, 3)
    ):
        raise ArgumentError(
            "Images must be uint8 [K, 1 or 3, H, W], at least one; found "
            f"{images.dtype} {list(images.shape)}. Take them from a split, before normalise."
        )
    if len(classes) < 2 or len(classes) > IGNORE:
        raise ArgumentError(f"classes must name 2 to {IGNORE} classes; found {len(classes)} names.")
    wanted = [len(images), *images.shape[2:]]
    if list(masks.shape) != wanted:
        raise ArgumentError(
            f"{name} must have shape {wanted}, one class per pixel of the images; found {list(masks.shape)}. "
            "Index both with the same positions, and turn logits into masks with .argmax(1)."
        )
    check_masks(masks, len(classes))
