"""Pictures with a class for every pixel, as tensors in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from kdcourse.data.splits import channel_statistics, normalised
from kdcourse.errors import DataError

# The mask value of pixels that count in no loss and no metric, as in PASCAL VOC's masks.
IGNORE = 255


@dataclass(frozen=True)
class MaskedSplit:
    """One split of a data set for semantic segmentation.

    ``images`` is uint8 [N, C, H, W] with values 0 to 255, ``masks`` uint8 [N, H, W]: the class index of every
    pixel, or `IGNORE`.

    Raises:
        DataError: wrong type or shape, lengths or sizes that differ, no picture at all.
    """

    images: Tensor
    masks: Tensor

    def __post_init__(self) -> None:
        images, masks = self.images, self.masks
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DataError(
                "The pictures of a split must be a uint8 tensor [N, C, H, W]; found "
                f"{images.dtype} {list(images.shape)}. Scale to 0..255, add the missing axes "
                "and convert with .to(torch.uint8)."
            )
        if masks.dtype != torch.uint8 or masks.ndim != 3:
            raise DataError(
                f"The masks of a split must be a uint8 tensor [N, H, W]; found {masks.dtype} {list(masks.shape)}. "
                "Give one class index a pixel, and convert with .to(torch.uint8)."
            )
        if len(images) != len(masks) or images.shape[2:] != masks.shape[1:]:
            raise DataError(
                "A split needs one mask a picture, of its height and width; found pictures "
                f"{list(images.shape)} and masks {list(masks.shape)}."
            )
        if images.numel() == 0:
            raise DataError(
                "A split needs at least one picture; found none. Check the folder or the indices it was made from."
            )

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def labels(self) -> Tensor:
        """The masks, under the name that batches and objectives use for what is to be predicted."""
        return self.masks

    def subset(self, index: Tensor) -> MaskedSplit:
        """The pictures at ``index`` (int64 [M] or bool [N]), as a split of their own."""
        return MaskedSplit(self.images[index], self.masks[index])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, pictures and masks: names the content, wherever it came from."""
        sha = hashlib.sha256(repr((tuple(self.images.shape), "uint8/masks")).encode())
        sha.update(self.images.cpu().contiguous().numpy().data)
        sha.update(self.masks.cpu().contiguous().numpy().data)
        return sha.hexdigest()


@dataclass(frozen=True)
class SegmentationDataset:
    """Train, validation and test split of one segmentation task, with its class names.

    ``mean`` and ``std`` (one number a channel, on the 0..1 scale, of the training pictures) are
    what `normalise` uses; left out, they are computed from ``train``.

    Raises:
        DataError: mask values that are neither a class nor `IGNORE`, a split without a single pixel to score,
            splits whose pictures differ in shape, more classes than a mask can name.
    """

    name: str
    classes: tuple[str, ...]
    train: MaskedSplit
    validation: MaskedSplit
    test: MaskedSplit
    mean: tuple[float, ...] = field(default=())
    std: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= IGNORE:
            raise DataError(
                f"A mask names 2 to {IGNORE} classes (value {IGNORE} stands for 'leave out'); "
                f"{self.name!r} has {len(self.classes)}."
            )
        shape = self.image_shape
        for part in ("train", "validation", "test"):
            split: MaskedSplit = getattr(self, part)
            if tuple(split.images.shape[1:]) != shape:
                raise DataError(
                    f"All pictures of {self.name!r} must have one shape; train has {shape}, "
                    f"{part} has {tuple(split.images.shape[1:])}. Resize one of them."
                )
            found = torch.bincount(split.masks.flatten(), minlength=256).nonzero().flatten().tolist()
            strange = [value for value in found if len(self.classes) <= value != IGNORE]
            if strange:
                raise DataError(
                    f"Masks of {self.name!r} must hold 0..{len(self.classes) - 1} ({len(self.classes)} classes) or "
                    f"{IGNORE} for pixels to leave out; {part} also holds {strange[:5]}."
                )
            if found == [IGNORE]:
                raise DataError(f"Every pixel of {part} in {self.name!r} is marked {IGNORE}, 'leave out'.")
        if not self.mean or not self.std:
            mean, std = channel_statistics(self.train.images)
            object.__setattr__(self, "mean", mean)
            object.__setattr__(self, "std", std)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every picture."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] -> float32 [N, C, H, W], zero mean and unit spread a channel over the training set."""
        return normalised(images, self.mean, self.std)
