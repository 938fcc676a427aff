"""Augmented views of a data set, without a stored random state.

A *view* is one augmented version of a whole split. What is done to an image depends on the view's seed, the view's
number and the image's position alone, so the same view can be made again at any time, in any order and on any device:
soft targets computed for it stay valid, and an interrupted training continues with exactly the images that it would
have used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from kdcourse.data.segmentation import IGNORE
from kdcourse.errors import ArgumentError

_WORD = 0xFFFFFFFF
_COLUMNS = 8  # independent random numbers per image of a view
_Word = TypeVar("_Word", int, Tensor)


@dataclass(frozen=True)
class Augmentation:
    """Describe label-preserving changes for small centred images.

    Args:
        shift: largest shift in pixels, drawn independently for rows and columns; zeros fill the gap.
        flip: mirror left-right with probability one half; see `without_flips`.
        erase: probability that a rectangle is filled with one grey level
            (random erasing, Zhong et al. 2020, https://arxiv.org/abs/1708.04896).
        erase_sides: shortest and longest side of that rectangle, in pixels.

    Raises:
        ArgumentError: a probability outside [0, 1], a negative shift, a flip that is no bool, sides out of order,
            pixels that aren't whole.
    """

    shift: int = 2
    flip: bool = True
    erase: float = 0.5
    erase_sides: tuple[int, int] = (4, 12)

    def __post_init__(self) -> None:
        if not isinstance(self.shift, int) or self.shift < 0:
            raise ArgumentError(f"shift is a whole number of pixels, 0 or more; found {self.shift!r}.")
        if not isinstance(self.flip, bool):
            raise ArgumentError(f"flip must be True or False; found {self.flip!r}.")
        if not 0 <= self.erase <= 1:
            raise ArgumentError(f"erase is a probability from 0 to 1; found {self.erase}.")
        low, high = self.erase_sides
        if not (isinstance(low, int) and isinstance(high, int) and 1 <= low <= high):
            raise ArgumentError(
                f"erase_sides needs 1 <= shortest <= longest, in whole pixels; found {self.erase_sides}."
            )

    def without_flips(self) -> Augmentation:
        """Return the same changes without mirroring, for what a mirror spoils: digits, letters, traffic signs.

        Which of the two fits is decided on the validation split.
        """
        return replace(self, flip=False)

    @property
    def key(self) -> str:
        """Return a name of the changes for files: equal keys, equal changes."""
        low, high = self.erase_sides
        erase = str(self.erase).removesuffix(".0")  # every digit: what differs must not share a name
        return f"shift{self.shift}-flip{int(self.flip)}-erase{erase}x{low}to{high}"


@dataclass(frozen=True)
class View:
    """Identify one augmented version of a split; without an augmentation, the images as they are."""

    augmentation: Augmentation | None = None
    seed: int = 0
    number: int = 0

    @property
    def key(self) -> str:
        """Return a name of the view for files: equal keys, equal images."""
        if self.augmentation is None:
            return "plain"
        return f"{self.augmentation.key}-seed{self.seed}-view{self.number}"

    def apply(self, images: Tensor, index: Tensor) -> Tensor:
        """Return the images as this view changes them.

        Args:
            images: uint8 [B, C, H, W], the images at ``index``.
            index: int64 [B], their positions in the split (not in the batch).

        Returns:
            uint8 [B, C, H, W], on the device of ``images``.

        Raises:
            ArgumentError: other types or shapes than these.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or index.dtype != torch.int64 or index.ndim != 1:
            raise ArgumentError(
                "A view takes uint8 images [B, C, H, W] and int64 positions [B]; found "
                f"{images.dtype} {list(images.shape)} and {index.dtype} {list(index.shape)}. "
                "Apply it before normalising."
            )
        if len(images) != len(index):
            raise ArgumentError(
                "A view needs the position in the split of every image; found "
                f"{len(images)} images and {len(index)} positions."
            )
        augmentation = self.augmentation
        if augmentation is None:
            return images
        draw = _uniforms(self.seed, self.number, index.to(images.device))  # [B, 8]
        out, _ = _moved(images, augmentation, draw)
        return _erased(out, augmentation, draw) if augmentation.erase > 0 else out

    def apply_to_masks(self, masks: Tensor, index: Tensor) -> Tensor:
        """Return the masks of the images that `apply` returns: shifted and mirrored alike.

        What a shift brings in from outside is `IGNORE`; an erased rectangle keeps its classes.

        Args:
            masks: uint8 [B, H, W], the masks at ``index``.
            index: int64 [B], their positions in the split (not in the batch).

        Returns:
            uint8 [B, H, W].
        """
        if self.augmentation is None:
            return masks
        draw = _uniforms(self.seed, self.number, index.to(masks.device))
        moved, seen = _moved(masks[:, None], self.augmentation, draw)
        return (moved | (~seen & IGNORE))[:, 0]


def _moved(images: Tensor, augmentation: Augmentation, draw: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and perhaps mirror images; return them, zeros from outside, and which pixels came from inside (255 or 0).

    uint8 [B, C, H, W], drawn numbers [B, 8] -> uint8 [B, C, H, W], uint8 [B, 1, H, W]
    """
    count, channels, height, width = images.shape
    rows = _shifted(height, augmentation.shift, draw[:, 0:1])  # [B, H], where each comes from
    columns = _shifted(width, augmentation.shift, draw[:, 1:2])  # [B, W]
    if augmentation.flip:
        columns = torch.where(draw[:, 2:3] < 0.5, width - 1 - columns, columns)
    first = height * torch.arange(count * channels, device=images.device).view(count, channels, 1)
    whole = (first + rows.clamp(0, height - 1)[:, None]).flatten()  # [B * C * H]
    lines = images.reshape(-1, width).index_select(0, whole).view(count, channels * height, width)
    wanted = columns.clamp(0, width - 1)[:, None].expand(-1, channels * height, -1)
    inside = torch.where((columns >= 0) & (columns < width), 255, 0).to(torch.uint8)
    seen = _rows(torch.stack([torch.zeros_like(inside), inside], 1), (rows >= 0) & (rows < height))
    return lines.gather(2, wanted).view(images.shape) & seen[:, None], seen[:, None]


def _erased(images: Tensor, augmentation: Augmentation, draw: Tensor) -> Tensor:
    """Fill a rectangle of some images with one grey level: uint8 [B, C, H, W] -> uint8 [B, C, H, W]."""
    height, width = images.shape[-2:]
    low, high = augmentation.erase_sides
    side = (draw[:, 3:5] * (high - low + 1)).long() + low  # [B, 2] height and width of the patch
    # One number says both whether to erase and, rescaled, with which grey level.
    erase = draw[:, 7:8] < augmentation.erase
    level = (draw[:, 7:8] / augmentation.erase * 256).clamp(max=255)
    crossed = _in_patch(height, draw[:, 5:6], side[:, 0:1]) & erase  # [B, H]
    patch = _in_patch(width, draw[:, 6:7], side[:, 1:2])  # [B, W]
    keep = torch.where(patch, 0, 255).to(torch.uint8)
    paint = (patch * level).to(torch.uint8)
    kept = _rows(torch.stack([torch.full_like(keep, 255), keep], 1), crossed)
    painted = _rows(torch.stack([torch.zeros_like(paint), paint], 1), crossed)
    return (images & kept[:, None]) | painted[:, None]


def _rows(either: Tensor, second: Tensor) -> Tensor:
    """Choose one of two rows for every row of every image: uint8 [B, 2, W], bool [B, H] -> uint8 [B, H, W].

    Copying whole rows is several times faster than arithmetic that broadcasts along such short ones.
    """
    count, height = second.shape
    pick = 2 * torch.arange(count, device=second.device)[:, None] + second
    return either.flatten(0, 1).index_select(0, pick.flatten()).view(count, height, either.shape[2])


def _shifted(length: int, reach: int, draw: Tensor) -> Tensor:
    """Return where positions 0 to ``length`` - 1 come from after a shift drawn [B, 1]: int64 [B, length]."""
    return torch.arange(length, device=draw.device) + (draw * (2 * reach + 1)).long() - reach


def _in_patch(length: int, centre: Tensor, side: Tensor) -> Tensor:
    """Return which positions of an axis lie in patches of ``side`` [B, 1] around a drawn pixel: bool [B, length]."""
    start = (centre * length).long() - side // 2
    axis = torch.arange(length, device=side.device)
    return (axis >= start) & (axis < start + side)


def _uniforms(seed: int, number: int, index: Tensor) -> Tensor:
    """Return float32 [B, 8] in [0, 1), a pure function of the arguments.

    A counter-based generator: each counter goes through the 32-bit finaliser of MurmurHash3
    (Appleby, public domain) under two keys. int64 holds the 32-bit words, so that the arithmetic
    is the same on every device.
    """
    counter = index[:, None] * _COLUMNS + torch.arange(_COLUMNS, device=index.device)
    word = _mix((counter ^ _mix(seed & _WORD)) & _WORD)
    word = _mix((word + _mix((number + 0x9E3779B9) & _WORD)) & _WORD)
    return (word >> 8).float() / 2**24


def _mix(word: _Word) -> _Word:
    word = word ^ (word >> 16)
    word = (word * 0x85EBCA6B) & _WORD
    word = word ^ (word >> 13)
    word = (word * 0xC2B2AE35) & _WORD
    return word ^ (word >> 16)
