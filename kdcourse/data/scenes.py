"""Scenes composed from real garments, with the class of every pixel known.

Each scene shows a few images of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, https://arxiv.org/abs/1708.07747),
coloured, scaled, rotated and overlapping, on a textured and cluttered background, with uneven light and noise.
The mask holds the class of the garment that is visible at each pixel. The garments are real images; their
arrangement is random.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data.fashion import fashion_mnist
from kdcourse.data.segmentation import MaskedSplit, SegmentationDataset
from kdcourse.data.splits import Split
from kdcourse.errors import ArgumentError

BACKGROUND = "background"

# Scenes are drawn this many at a time, each such part from a seed of its own: the first 200 of 5,000 are the
# same as those of 200.
_PART = 100
# Of many scenes, rounded and fixed: a teacher needs the same normalisation however many scenes are made.
_MEAN, _STD = (0.38, 0.38, 0.38), (0.22, 0.22, 0.22)
_CLUTTER = 4  # shapes on the ground that are no garments
# A garment's pixels begin at this level: darker fabric can't be told from the background of its image.
_FABRIC = 12
_SPLITS = ("train", "validation", "test")


def garment_scenes(
    root: Path | str | None = None,
    *,
    scenes: tuple[int, int, int] = (5000, 500, 500),
    size: int = 64,
    garments: tuple[int, int] = (2, 5),
    seed: int = 0,
) -> SegmentationDataset:
    """Compose scenes of garments on a cluttered background, with a class per pixel: background, or one of ten.

    Training, validation and test scenes use the garments of Fashion-MNIST's own three splits, so no garment is in two
    of them. The same arguments give the same scenes; fewer scenes are the first of more.

    Args:
        root: the folder of Fashion-MNIST, see `fashion_mnist`.
        scenes: how many for training, validation and test.
        size: height and width in pixels, at least 32.
        garments: fewest and most in one scene.
        seed: seed of everything that is random, 0 to 2**32 - 1.

    Returns:
        A SegmentationDataset with images uint8 [N, 3, size, size] and masks uint8 [N, size, size]: 0 is the background,
        k + 1 the garment class k.

    Raises:
        ArgumentError: counts below 1, garments out of order, a size below 32, a seed out of range.
        DataError: see `fashion_mnist`.
    """
    if len(scenes) != 3 or min(scenes) < 1:
        raise ArgumentError(
            f"scenes needs three counts of at least 1 (train, validation, test); found {scenes}."
        )
    if not 1 <= garments[0] <= garments[1]:
        raise ArgumentError(f"garments needs 1 <= fewest <= most in a scene; found {garments}.")
    if size < 32:
        raise ArgumentError(f"size must be at least 32 pixels, for garments of up to 42; found {size}.")
    if not 0 <= seed < 2**32:
        raise ArgumentError(f"seed must be a whole number from 0 to 2**32 - 1; found {seed}.")
    fashion = fashion_mnist(root)
    train, validation, test = (
        _compose_split(getattr(fashion, name), count, size, garments, seed * 3 + place)
        for place, (name, count) in enumerate(zip(_SPLITS, scenes, strict=True))
    )
    classes = (BACKGROUND, *fashion.classes)
    return SegmentationDataset("garment scenes", classes, train, validation, test, mean=_MEAN, std=_STD)


def _compose_split(source: Split, count: int, size: int, garments: tuple[int, int], seed: int) -> MaskedSplit:
    images, masks = [], []
    for part in range(math.ceil(count / _PART)):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + part)
        some = _compose(source, size, garments, generator)
        images.append(some[0])
        masks.append(some[1])
    return MaskedSplit(torch.cat(images)[:count], torch.cat(masks)[:count])


def _compose(
    source: Split, size: int, garments: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Compose `_PART` scenes: images uint8 [P, 3, S, S] and masks uint8 [P, S, S]."""
    # float64 throughout: processors differ in the last bit of a result, and in float64 that never changes one of
    # 256 levels, so every machine makes the same scenes.
    canvas = _ground(size, generator)
    mask = torch.zeros(_PART, size, size, dtype=torch.uint8)
    fewest, most = garments
    wanted = torch.randint(fewest, most + 1, (_PART,), generator=generator)
    for slot in range(most):
        chosen = torch.randint(len(source), (_PART,), generator=generator)
        cloth, cover = _place(source.images[chosen], size, generator)  # [P, 1, S, S] each
        cover = cover * (slot < wanted).view(-1, 1, 1, 1)
        colour = _uniform((_PART, 3, 1, 1), 0.35, 1.0, generator)
        canvas = canvas * (1 - cover) + colour * (0.15 + 0.85 * cloth) * cover
        mask = torch.where(
            cover[:, 0] > 0.5, (source.labels[chosen] + 1).to(torch.uint8).view(-1, 1, 1), mask
        )
    return _photographed(canvas, generator), mask


def _place(images: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Scale, rotate and move garments uint8 [P, 1, 28, 28]: brightness and cover in a scene, [P, 1, S, S], 0..1."""
    count, side = len(images), images.shape[-1]
    sheet = torch.cat([images.double() / 255, _silhouette(images)], 1)  # [P, 2, 28, 28]
    scale = _uniform((count,), 0.9, 1.5, generator) * side / size  # the garment's share of the scene's side
    angle = _uniform((count,), -0.45, 0.45, generator)  # radians, 25 degrees each way
    mirrored = 1 - 2 * torch.randint(2, (count,), generator=generator).double()
    centre = _uniform((count, 2), -0.65, 0.65, generator)  # on a scene from -1 to 1
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    turn = torch.stack([torch.stack([mirrored * cos, mirrored * sin], 1), torch.stack([-sin, cos], 1)], 1)
    shift = -(turn @ centre[:, :, None])
    grid = F.affine_grid(torch.cat([turn, shift], 2), [count, 1, size, size], align_corners=False)
    cloth, cover = F.grid_sample(sheet, grid, align_corners=False).split(1, 1)
    # At an edge, cloth is blended with the black around it; dividing by the cover takes that out again.
    return (cloth / cover.clamp(min=0.25)).clamp(max=1), cover


def _silhouette(images: Tensor) -> Tensor:
    """Return 1 where there is fabric, gaps of a pixel closed: uint8 [P, 1, H, W] -> float64 [P, 1, H, W]."""
    fabric = (images > _FABRIC).double()
    grown = F.max_pool2d(fabric, 3, stride=1, padding=1)
    return -F.max_pool2d(-grown, 3, stride=1, padding=1)


def _ground(size: int, generator: torch.Generator) -> Tensor:
    """Draw textured and cluttered backgrounds, float64 [P, 3, S, S]: a colour, blotches, stripes, shapes."""
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    y, x = axis.view(1, 1, -1, 1), axis.view(1, 1, 1, -1)
    colour = _uniform((_PART, 3, 1, 1), 0.15, 0.75, generator)
    for cells, strength in ((3, 0.25), (8, 0.15), (24, 0.1)):
        blotches = _uniform((_PART, 3, cells, cells), -strength, strength, generator)
        colour = colour + F.interpolate(blotches, (size, size), mode="bilinear", align_corners=False)
    stripes = torch.sin(
        _across(x, y, generator) * _uniform(_EACH, 5, 30, generator) + _uniform(_EACH, 0, 6, generator)
    )
    colour = colour + stripes * _uniform(_EACH, 0, 0.2, generator)
    for _ in range(_CLUTTER):
        # A superellipse |x|^p + |y|^p < 1 is a disc at p = 2 and nearly a box at p = 8.
        power = 2 + 6 * torch.randint(2, _EACH, generator=generator).double()
        along, beside = _turned(x, y, generator)
        wide, high = _uniform(_EACH, 0.05, 0.5, generator), _uniform(_EACH, 0.03, 0.3, generator)
        inside = (along / wide).abs() ** power + (beside / high).abs() ** power < 1
        paint = _uniform((_PART, 3, 1, 1), 0.1, 1.0, generator) + stripes * _uniform(
            _EACH, -0.2, 0.2, generator
        )
        colour = torch.where(inside, paint, colour)
    return colour.clamp(0, 1)


def _photographed(canvas: Tensor, generator: torch.Generator) -> Tensor:
    """Add uneven light and camera noise: float64 [P, 3, S, S] in 0..1 -> uint8."""
    size = canvas.shape[-1]
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    slope = _across(axis.view(1, 1, 1, -1), axis.view(1, 1, -1, 1), generator)
    light = _uniform(_EACH, 0.6, 1.0, generator) * (1 + _uniform(_EACH, 0, 0.4, generator) * slope)
    # The sum of three uniform integers is nearly normal, and the same on every machine, which normal variates aren't.
    dice = torch.randint(-256, 257, (3, *canvas.shape), generator=generator, dtype=torch.int16).sum(0)
    noise = dice.double() / 256 * _uniform(_EACH, 3, 10, generator)
    return (canvas * light * 255 + noise).round().clamp(0, 255).to(torch.uint8)


_EACH = (_PART, 1, 1, 1)  # one number per scene


def _across(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """Return the coordinate along a direction drawn for each scene: [P, 1, S, S]."""
    angle = _uniform(_EACH, 0, math.tau, generator)
    return x * torch.cos(angle) + y * torch.sin(angle)


def _turned(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return coordinates about a point and in a direction drawn for each scene: two of [P, 1, S, S]."""
    x, y = x - _uniform(_EACH, -1, 1, generator), y - _uniform(_EACH, -1, 1, generator)
    angle = _uniform(_EACH, 0, math.tau, generator)
    return x * torch.cos(angle) + y * torch.sin(angle), y * torch.cos(angle) - x * torch.sin(angle)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw float64 numbers from ``low`` to ``high``, from integers for the same reason as the noise."""
    steps = torch.randint(0, 2**24, shape, generator=generator)
    return low + (high - low) * steps.double() / 2**24
