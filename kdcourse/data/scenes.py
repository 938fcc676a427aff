"""Scenes composed from real garments, with the class of every pixel known.

Each scene shows a few images of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, https://arxiv.org/abs/1708.07747), enlarged
with smooth outlines, dyed, scaled, rotated and lying partly on each other, with soft shadows, on wood, tiles, a wall or
grass. The mask holds the class of the garment that is visible at each pixel. The garments are real images; their
colours, their arrangement and the grounds are random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data.fashion import fashion_mnist
from kdcourse.data.segmentation import EndlessSplit, MaskedSplit, SegmentationDataset
from kdcourse.data.splits import Split
from kdcourse.errors import ArgumentError

BACKGROUND = "background"

Classes = Literal["coarse", "all"]
# Which of Fashion-MNIST's ten classes belong to a coarse one. A person tells these apart at a glance.
_COARSE: dict[str, tuple[int, ...]] = {
    "top": (0, 2, 4, 6),
    "trousers": (1,),
    "dress": (3,),
    "shoe": (5, 7, 9),
    "bag": (8,),
}

# Scenes are drawn this many at a time, each such part from a seed of its own: the first 200 of 5,000 are the
# same as those of 200. Parts of this size stay in a processor's cache.
_PART = 16
# Of many scenes, rounded and fixed: a teacher needs the same normalisation however many scenes are made.
_MEAN, _STD = (0.53, 0.50, 0.43), (0.22, 0.19, 0.22)
# A garment's pixels begin at this level: darker fabric can't be told from the background of its image.
_FABRIC = 12
_ENLARGED = 56  # pixels of a garment's image before it is placed, twice its own
_SPLITS = ("train", "validation", "test")

Generator = torch.Generator


def garment_scenes(
    root: Path | str | None = None,
    *,
    scenes: tuple[int, int, int] = (2000, 500, 500),
    size: int = 96,
    garments: tuple[int, int] = (1, 4),
    clutter: float = 0.0,
    classes: Classes = "coarse",
    endless: bool = False,
    seed: int = 0,
) -> SegmentationDataset:
    """Compose scenes of garments on quiet grounds, with a class per pixel: background, or a kind of garment.

    Training, validation and test scenes use the garments of Fashion-MNIST's own three splits, so no garment is in two
    of them. The same arguments give the same scenes, on any number of cores; fewer scenes are the first of more.

    Args:
        root: the folder of Fashion-MNIST, see `fashion_mnist`.
        scenes: how many for training, validation and test.
        size: height and width in pixels, at least 32.
        garments: fewest and most in one scene.
        clutter: how hard the scenes are, from 0 to 1: things that are no garments, bolder grounds, uneven light, noise.
        classes: ``"coarse"`` for top, trousers, dress, shoe and bag, which a person tells apart at this size;
            ``"all"`` for the ten of Fashion-MNIST. The scenes are the same, only the masks differ.
        endless: draw fresh training scenes for every epoch, while the epoch before is trained on. ``train`` then is
            an `EndlessSplit`, and holds the scenes of the first epoch.
        seed: seed of everything that is random, 0 to 2**32 - 1.

    Returns:
        A SegmentationDataset with images uint8 [N, 3, size, size] and masks uint8 [N, size, size]: 0 is the background,
        k + 1 the class k.

    Raises:
        ArgumentError: counts below 1, garments out of order, a size below 32, a clutter, classes or a seed out of
            range.
        DataError: see `fashion_mnist`.
    """
    if len(scenes) != 3 or min(scenes) < 1:
        raise ArgumentError(
            f"scenes needs three counts of at least 1 (train, validation, test); found {scenes}."
        )
    if not 1 <= garments[0] <= garments[1]:
        raise ArgumentError(f"garments needs 1 <= fewest <= most in a scene; found {garments}.")
    if size < 32:
        raise ArgumentError(
            f"size must be at least 32 pixels, or garments can't be recognised; found {size}."
        )
    if not 0 <= clutter <= 1:
        raise ArgumentError(f"clutter must lie between 0 and 1; found {clutter}.")
    if classes not in get_args(Classes):
        raise ArgumentError(f"classes must be one of {', '.join(get_args(Classes))}; found {classes!r}.")
    if not 0 <= seed < 2**32:
        raise ArgumentError(f"seed must be a whole number from 0 to 2**32 - 1; found {seed}.")
    fashion = fashion_mnist(root)
    composer = _Composer(fashion.train, size, garments, clutter, classes, seed * 3)
    composers = [
        replace(composer, source=getattr(fashion, name), seed=seed * 3 + place)
        for place, name in enumerate(_SPLITS)
    ]
    train, validation, test = (one.scenes(0, count) for one, count in zip(composers, scenes, strict=True))
    if endless:
        train = EndlessSplit(train.images, train.masks, draw=composers[0].scenes)
    named = (BACKGROUND, *(_COARSE if classes == "coarse" else fashion.classes))
    return SegmentationDataset("garment scenes", named, train, validation, test, mean=_MEAN, std=_STD)


@dataclass(frozen=True)
class _Composer:
    """Draw the scenes of one split, whose numbers have no end; each depends on the seed and its number alone."""

    source: Split
    size: int
    garments: tuple[int, int]
    clutter: float
    classes: Classes
    seed: int

    def scenes(self, first: int, count: int) -> MaskedSplit:
        """Return the scenes of numbers ``first`` to ``first + count - 1``, drawn on all cores."""
        parts = range(first // _PART, math.ceil((first + count) / _PART))
        # Each thread computes whole parts: PyTorch's own threads would share tensors that are too small for them.
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(min(len(parts), threads), "scenes", torch.set_num_threads, (1,)) as pool:
            drawn = list(pool.map(self._part, parts))
        torch.set_num_threads(threads)  # which also counts for threads that begin later
        kept = slice(first - parts[0] * _PART, first - parts[0] * _PART + count)
        images, masks = (torch.cat(tensors)[kept] for tensors in zip(*drawn, strict=True))
        return MaskedSplit(images, masks)

    def _part(self, number: int) -> tuple[Tensor, Tensor]:
        """Compose the scenes of one part: images uint8 [P, 3, S, S] and masks uint8 [P, S, S]."""
        # float64 throughout: processors differ in the last bit of a result, and in float64 that never changes one of
        # 256 levels, so every machine makes the same scenes.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        size, (fewest, most) = self.size, self.garments
        canvas = _ground(size, self.clutter, generator)
        mask = torch.zeros(_PART, size, size, dtype=torch.uint8)
        light = _uniform((_PART,), 0, math.tau, generator)  # where it comes from, of the whole scene
        for _ in range(round(4 * self.clutter)):
            thing, cover = _thing(size, generator)
            canvas = _laid(canvas, thing, cover, light)
        wanted = torch.randint(fewest, most + 1, (_PART,), generator=generator)
        centres = torch.zeros(_PART, most, 2, dtype=torch.float64)
        for slot in range(most):
            on = (wanted > slot).nonzero().flatten()  # the scenes that get another garment
            if not len(on):
                break
            centres[on, slot] = _free_place(centres[on, :slot], generator)
            kind = torch.randint(len(self._by_class), on.shape, generator=generator).tolist()
            which = torch.randint(2**31, on.shape, generator=generator).tolist()
            chosen = torch.stack(
                [
                    self._by_class[k][1][w % len(self._by_class[k][1])]
                    for k, w in zip(kind, which, strict=True)
                ]
            )
            labels = self.source.labels[chosen]
            cloth = _dyed(self.source.images[chosen], labels, generator)
            colours, cover = _placed(cloth, centres[on, slot], wanted[on], size, generator)
            canvas[on] = _laid(canvas[on], colours, cover, light[on])
            value = labels if self.classes == "all" else torch.tensor([self._by_class[k][0] for k in kind])
            value = (value + 1).to(torch.uint8).view(-1, 1, 1)
            mask[on] = torch.where(cover[:, 0] > 0.5, value, mask[on])
        return _photographed(canvas, self.clutter, light, generator), mask

    @cached_property
    def _by_class(self) -> list[tuple[int, Tensor]]:
        """Return each coarse class that the source has garments of, and where in the source they are."""
        labels = self.source.labels
        found = [
            torch.isin(labels, torch.tensor(members)).nonzero().flatten() for members in _COARSE.values()
        ]
        return [(place, where) for place, where in enumerate(found) if len(where)]


def _dyed(images: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Enlarge garments uint8 [P, 1, 28, 28] and dye them: colours and outline float64 [P, 4, E, E], 0 to 1."""
    count = len(images)
    shape = _silhouette(images)
    brightness = images.double() / 255
    # Beyond the outline, the brightness near it: else the black around a garment would darken its border.
    near = F.avg_pool2d(brightness * shape, 5, 1, 2) / F.avg_pool2d(shape, 5, 1, 2).clamp(min=1e-3)
    brightness = torch.where(shape > 0, brightness, near)
    # A low-pass filter takes the outline's steps away; the ramp in `_placed` makes it sharp again.
    smooth = F.avg_pool2d(F.pad(shape, (1, 1, 1, 1), mode="replicate"), 3, 1)
    smooth = 0.35 * shape + 0.65 * smooth
    volume = F.avg_pool2d(shape, 5, 1, 2)  # falls towards the border
    sheet = torch.cat([brightness, volume, smooth], 1)
    sheet = F.interpolate(sheet, (_ENLARGED, _ENLARGED), mode="bicubic", align_corners=False)
    brightness, volume, outline = sheet.split(1, 1)
    inside = (outline > 0.5).double()
    level = (brightness * inside).sum((2, 3), keepdim=True) / inside.sum((2, 3), keepdim=True).clamp(min=1)
    folds = ((brightness - level) * 0.75).clamp(-0.42, 0.25)
    shade = (1 + folds) * (0.74 + 0.26 * volume.clamp(0, 1))
    colour = _chosen(_CLOTH, count, 0.05, generator)
    second = _chosen(_CLOTH, count, 0.05, generator)
    pattern = _pattern(count, generator)
    # Shoes are of one colour here: at this size, stripes would hide what they are.
    pattern = pattern * (~torch.isin(labels, torch.tensor(_COARSE["shoe"]))).view(-1, 1, 1, 1)
    cloth = (colour + (second - colour) * pattern) * shade
    return torch.cat([cloth.clamp(0, 1), outline], 1)


def _pattern(count: int, generator: Generator) -> Tensor:
    """Draw how much of a second colour a cloth has: none, stripes, or checks, float64 [N, 1, E, E]."""
    axis = torch.arange(_ENLARGED, dtype=torch.float64)
    y, x = axis.view(1, 1, -1, 1), axis.view(1, 1, 1, -1)
    each = (count, 1, 1, 1)
    kind = torch.randint(6, each, generator=generator)
    wave = math.tau / _uniform(each, 6, 13, generator)
    phase = _uniform(each, 0, math.tau, generator)
    across = _soft_step(torch.sin(y * wave + phase) - _uniform(each, -0.2, 0.6, generator), 0.25)
    along = _soft_step(torch.sin(x * wave + phase) - _uniform(each, -0.2, 0.6, generator), 0.25)
    striped, checked = (kind == 0).double() * across, (kind == 1).double() * (across + along) / 2
    return (striped + checked) * 0.85


def _placed(
    cloth: Tensor, centre: Tensor, wanted: Tensor, size: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Scale, rotate and move cloth [P, 4, E, E] to ``centre`` [P, 2]: colours [P, 3, S, S], cover [P, 1, S, S]."""
    count = len(cloth)
    # The fewer garments, the larger: shares of the scene's side.
    scale = _uniform((count,), 0.46, 0.60, generator) * (1 + 0.16 * (3 - wanted.clamp(1, 3)))
    angle = _uniform((count,), -0.4, 0.4, generator)  # radians, 23 degrees each way
    mirrored = 1 - 2 * torch.randint(2, (count,), generator=generator).double()
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    turn = torch.stack([torch.stack([mirrored * cos, mirrored * sin], 1), torch.stack([-sin, cos], 1)], 1)
    centre = centre * (1 - 0.75 * scale)[:, None]  # most of it lies within the scene
    shift = -(turn @ centre[:, :, None])
    grid = F.affine_grid(torch.cat([turn, shift], 2), [count, 1, size, size], align_corners=False)
    colours, outline = F.grid_sample(cloth, grid, align_corners=False).split((3, 1), 1)
    # Anti-aliased: from outside to inside within about one and a half pixels of the scene.
    slope = (28 / (scale * size)).view(-1, 1, 1, 1)
    return colours, ((outline - 0.5) / slope + 0.5).clamp(0, 1)


def _free_place(taken: Tensor, generator: Generator) -> Tensor:
    """Draw a point of the scene, from -1 to 1, far from those taken [P, K, 2]: float64 [P, 2] (Mitchell 1991)."""
    candidates = _uniform((len(taken), 5, 2), -1, 1, generator)
    if not taken.shape[1]:
        return candidates[:, 0] * 0.9
    distance = (candidates[:, :, None] - taken[:, None]).square().sum(3).amin(2)  # [P, 5]
    return candidates[torch.arange(len(taken)), distance.argmax(1)]


def _laid(canvas: Tensor, thing: Tensor, cover: Tensor, light: Tensor) -> Tensor:
    """Lay something on the canvas, with a soft shadow away from the light."""
    count, size = len(canvas), canvas.shape[-1]
    # Blurred on a coarse grid, which is enough for a shadow and takes a tenth of the time.
    soft = F.avg_pool2d(F.interpolate(cover, (32, 32), mode="area"), 3, 1, 1)
    moved = torch.zeros(count, 2, 3, dtype=torch.float64)
    moved[:, 0, 0] = moved[:, 1, 1] = 1
    moved[:, 0, 2], moved[:, 1, 2] = torch.cos(light) * 0.07, torch.sin(light) * 0.07
    grid = F.affine_grid(moved, [count, 1, size, size], align_corners=False)
    shadow = F.grid_sample(soft, grid, align_corners=False, padding_mode="border")
    return canvas * (1 - 0.5 * shadow) * (1 - cover) + thing * cover


def _silhouette(images: Tensor) -> Tensor:
    """Return 1 where there is fabric, gaps of a pixel closed: uint8 [P, 1, H, W] -> float64 [P, 1, H, W]."""
    fabric = (images > _FABRIC).double()
    grown = F.max_pool2d(fabric, 3, stride=1, padding=1)
    return -F.max_pool2d(-grown, 3, stride=1, padding=1)


def _ground(size: int, clutter: float, generator: Generator) -> Tensor:
    """Draw grounds, float64 [P, 3, S, S] from 0 to 1; each scene has one of the kinds."""
    kinds = torch.randint(len(_GROUNDS), (_PART,), generator=generator)
    canvas = torch.empty(_PART, 3, size, size, dtype=torch.float64)
    for kind, draw in enumerate(_GROUNDS):
        places = (kinds == kind).nonzero().flatten()
        if len(places):
            colour = draw(len(places), size, generator)
            middle = colour.mean((2, 3), keepdim=True)
            canvas[places] = middle + (colour - middle) * (1 + clutter)
    return canvas


def _wood(count: int, size: int, generator: Generator) -> Tensor:
    """Draw planks with grain, lying across or upright."""
    each, unit = (count, 1, 1, 1), size / 96
    axis = torch.arange(size, dtype=torch.float64).view(1, 1, -1, 1)
    plank = _uniform(each, 15, 27, generator) * unit
    at = (axis + _uniform(each, 0, 27, generator)) / plank
    tone = _uniform((count, 12), -0.09, 0.09, generator).gather(1, at.long().flatten(1).clamp(max=11))
    gap = _soft_step(((at % 1) - 0.5).abs() - 0.5 + 0.9 * unit / plank, 0.03)
    grain = _noise(count, (40, 3), size, generator) * 0.09 + _noise(count, (14, 2), size, generator) * 0.07
    colour = _chosen(_WOOD, count, 0.03, generator)
    ground = colour * (1 + tone.view(count, 1, size, 1) + grain) * (1 - 0.45 * gap)
    return _turned(ground, generator)


def _tiles(count: int, size: int, generator: Generator) -> Tensor:
    """Draw square tiles with joints."""
    each, unit = (count, 1, 1, 1), size / 96
    axis = torch.arange(size, dtype=torch.float64)
    side = _uniform(each, 22, 38, generator) * unit
    y = (axis.view(1, 1, -1, 1) + _uniform(each, 0, 38, generator)) / side
    x = (axis.view(1, 1, 1, -1) + _uniform(each, 0, 38, generator)) / side
    tile = (y.long().clamp(max=7) * 8 + x.long().clamp(max=7)).flatten(1)
    tone = _uniform((count, 64), -0.06, 0.06, generator).gather(1, tile).view(count, 1, size, size)
    edge = torch.maximum(((y % 1) - 0.5).abs(), ((x % 1) - 0.5).abs())
    joint = _soft_step(edge - 0.5 + 1.1 * unit / side, 0.03)
    marble = _noise(count, (9, 9), size, generator) * 0.05 + _noise(count, (32, 32), size, generator) * 0.03
    colour, grout = _chosen(_TILE, count, 0.03, generator), _uniform(each, 0.35, 0.75, generator)
    return colour * (1 + tone + marble) * (1 - joint) + grout * joint


def _wall(count: int, size: int, generator: Generator) -> Tensor:
    """Draw a painted wall; half of them have pale stripes, as wallpaper has."""
    each = (count, 1, 1, 1)
    axis = torch.arange(size, dtype=torch.float64).view(1, 1, 1, -1) * 96 / size
    wave = torch.sin(axis * math.tau / _uniform(each, 10, 26, generator))
    striped = torch.randint(2, each, generator=generator) * _uniform(each, 0.03, 0.09, generator)
    plaster = _noise(count, (6, 6), size, generator) * 0.05 + _noise(count, (48, 48), size, generator) * 0.03
    return _chosen(_WALL, count, 0.04, generator) * (1 + plaster + striped * (_soft_step(wave, 0.3) - 0.5))


def _grass(count: int, size: int, generator: Generator) -> Tensor:
    """Draw a lawn: blades in light and dark, and drier patches."""
    blades = _noise(count, (34, 64), size, generator) * 0.28 + _noise(count, (60, 96), size, generator) * 0.2
    patches = _noise(count, (5, 5), size, generator)
    dry = torch.tensor([0.10, 0.03, 0.02], dtype=torch.float64).view(1, 3, 1, 1)
    return (_chosen(_GRASS, count, 0.03, generator) + dry * patches) * (1 + blades + 0.1 * patches)


_GROUNDS: Sequence[Callable[[int, int, Generator], Tensor]] = (_wood, _tiles, _wall, _grass)

# Colours as red, green and blue from 0 to 1: of dyed cloth, and of what it lies on.
_CLOTH = (
    (0.16, 0.20, 0.38), (0.30, 0.42, 0.60), (0.55, 0.67, 0.80), (0.52, 0.12, 0.18), (0.78, 0.20, 0.20),
    (0.88, 0.46, 0.24), (0.90, 0.72, 0.28), (0.36, 0.42, 0.24), (0.14, 0.40, 0.36), (0.52, 0.70, 0.58),
    (0.90, 0.88, 0.84), (0.82, 0.74, 0.60), (0.20, 0.20, 0.22), (0.46, 0.46, 0.48), (0.50, 0.32, 0.52),
    (0.88, 0.62, 0.66), (0.40, 0.26, 0.18), (0.20, 0.48, 0.70),
)  # fmt: skip
_WOOD = ((0.68, 0.52, 0.36), (0.55, 0.38, 0.25), (0.76, 0.63, 0.46), (0.44, 0.31, 0.22), (0.60, 0.55, 0.49))
_TILE = ((0.80, 0.79, 0.76), (0.62, 0.64, 0.67), (0.70, 0.48, 0.38), (0.82, 0.76, 0.66), (0.42, 0.46, 0.50))
_WALL = ((0.86, 0.83, 0.76), (0.72, 0.78, 0.78), (0.84, 0.74, 0.68), (0.70, 0.74, 0.64), (0.66, 0.68, 0.76))
_GRASS = ((0.36, 0.50, 0.20), (0.28, 0.44, 0.18), (0.44, 0.54, 0.26))


def _thing(size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw one thing per scene that is no garment, such as a plate or a book: colours and cover, as `_placed`."""
    each = (_PART, 1, 1, 1)
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    y = axis.view(1, 1, -1, 1) - _uniform(each, -1, 1, generator)
    x = axis.view(1, 1, 1, -1) - _uniform(each, -1, 1, generator)
    angle = _uniform(each, 0, math.tau, generator)
    along, beside = x * torch.cos(angle) + y * torch.sin(angle), y * torch.cos(angle) - x * torch.sin(angle)
    # A superellipse |x|^p + |y|^p < 1 is a disc at p = 2 and nearly a box at p = 8.
    power = 2 + 6 * torch.randint(2, each, generator=generator).double()
    wide, high = _uniform(each, 0.15, 0.45, generator), _uniform(each, 0.1, 0.3, generator)
    inside = (along / wide).abs() ** power + (beside / high).abs() ** power
    cover = ((1 - inside) * 8 + 0.5).clamp(0, 1)
    return (_chosen(_CLOTH, _PART, 0.1, generator) * (1.1 - 0.25 * inside.clamp(max=1))).clamp(0, 1), cover


def _photographed(canvas: Tensor, clutter: float, light: Tensor, generator: Generator) -> Tensor:
    """Add light from one side and camera noise: float64 [P, 3, S, S] in 0..1 -> uint8."""
    size, each = canvas.shape[-1], (_PART, 1, 1, 1)
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    y, x = axis.view(1, 1, -1, 1), axis.view(1, 1, 1, -1)
    slope = x * torch.cos(light).view(each) + y * torch.sin(light).view(each)
    bright = _uniform(each, 0.92 - 0.3 * clutter, 1.06, generator)
    bright = bright * (1 + (0.1 + 0.25 * clutter) * slope)
    # The sum of uniform bytes is nearly normal, and the same on every machine, which normal variates aren't.
    dice = torch.randint(-128, 128, (2, _PART, 3, size, size), generator=generator, dtype=torch.int16).sum(0)
    noise = dice.double() * (_uniform(each, 1.5, 3.5, generator) * (1 + 2 * clutter) / 104)
    return (canvas * bright * 255 + noise).round_().clamp_(0, 255).to(torch.uint8)


def _noise(count: int, cells: tuple[int, int], size: int, generator: Generator) -> Tensor:
    """Draw smooth noise from about -1 to 1 with so many cells down and across, float64 [N, 1, S, S]."""
    coarse = _uniform((count, 1, *cells), -1, 1, generator)
    return F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)


def _chosen(
    colours: Sequence[tuple[float, float, float]], count: int, spread: float, generator: Generator
) -> Tensor:
    """Choose a colour for each of ``count`` scenes, and vary it a little: float64 [N, 3, 1, 1]."""
    index = torch.randint(len(colours), (count,), generator=generator)
    colour = torch.tensor(colours, dtype=torch.float64)[index].view(-1, 3, 1, 1)
    return (colour + _uniform((count, 3, 1, 1), -spread, spread, generator)).clamp(0.05, 0.97)


def _turned(ground: Tensor, generator: Generator) -> Tensor:
    """Turn half of the grounds by a right angle."""
    upright = torch.randint(2, (len(ground), 1, 1, 1), generator=generator) == 1
    return torch.where(upright, ground.transpose(2, 3), ground)


def _soft_step(x: Tensor, width: float) -> Tensor:
    """Return 0 for x far below 0, 1 far above, and a ramp of ``width`` between."""
    return (x / width + 0.5).clamp(0, 1)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Draw float64 numbers from ``low`` to ``high``, from integers for the same reason as the noise."""
    steps = torch.randint(0, 2**24, shape, generator=generator)
    return low + (high - low) * steps.double() / 2**24
