"""Images with a class for every pixel, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from kdcourse.data.splits import ThreeSplits, check_images, check_tensor, content_digest
from kdcourse.errors import DataError

# The mask value of pixels that count in no loss and no metric, as in PASCAL VOC's masks.
IGNORE = 255


@dataclass(frozen=True)
class MaskedSplit:
    """Hold one split of a data set for semantic segmentation.

    ``images`` is uint8 [N, C, H, W] with values 0 to 255, ``masks`` uint8 [N, H, W]: the class index of every
    pixel, or `IGNORE`. Both may be memory-mapped, as in `kdcourse.data.Split`.

    Raises:
        DataError: no tensors, wrong type or shape, lengths or sizes that differ, no image at all.
    """

    images: Tensor
    masks: Tensor

    def __post_init__(self) -> None:
        images, masks = self.images, self.masks
        check_images(images)
        check_tensor(masks, "masks", "torch.uint8")
        if masks.dtype != torch.uint8 or masks.ndim != 3:
            raise DataError(
                f"The masks of a split must be a uint8 tensor [N, H, W]; found {masks.dtype} {list(masks.shape)}. "
                "Give one class index per pixel, and convert with .to(torch.uint8)."
            )
        if len(images) != len(masks) or images.shape[2:] != masks.shape[1:]:
            raise DataError(
                "A split needs one mask per image, of its height and width; found images "
                f"{list(images.shape)} and masks {list(masks.shape)}."
            )

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def labels(self) -> Tensor:
        """Return the masks, under the name that batches and objectives use for labels."""
        return self.masks

    def subset(self, index: Tensor) -> MaskedSplit:
        """Return the images at ``index`` (int64 [M] or bool [N]) as a split in memory."""
        return MaskedSplit(self.images[index], self.masks[index])

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of shape, images and masks: it identifies the content, wherever it came from."""
        return content_digest("uint8/masks", self.images, self.masks)


@dataclass(frozen=True)
class EndlessSplit(MaskedSplit):
    """Hold a split whose images are fresh in every epoch, drawn while the epoch before is trained on.

    ``images`` and ``masks`` are those of the first epoch. ``draw(first, count)`` returns ``count`` images from number
    ``first`` on, always the same for the same numbers; epoch ``e`` has those from ``e * len(self)`` on. Teachers'
    outputs can't be stored for such a split.
    """

    draw: Callable[[int, int], MaskedSplit] = field(kw_only=True, repr=False, compare=False)

    @cached_property
    def digest(self) -> str:
        """Return a digest of the first epoch's content that differs from that of a split which stays the same."""
        return content_digest("uint8/masks/endless", self.images, self.masks)


@dataclass(frozen=True)
class SegmentationDataset(ThreeSplits[MaskedSplit]):
    """Hold train, validation and test split of one segmentation task, with its class names.

    ``mean``, ``std`` and ``left_out`` are those of `kdcourse.data.Dataset`.

    Raises:
        DataError: mask values that are neither a class nor `IGNORE`, a split without a single pixel to score,
            splits whose images differ in shape, more classes than a mask can name, or a mean and std that
            `kdcourse.data.Dataset` would refuse.
    """

    # Repeated for readers and type checkers, as in `kdcourse.data.Dataset`.
    train: MaskedSplit
    validation: MaskedSplit
    test: MaskedSplit

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= IGNORE:
            raise DataError(
                f"A mask can hold 2 to {IGNORE} classes (value {IGNORE} stands for 'leave out'); "
                f"{self.name!r} has {len(self.classes)}."
            )
        super().__post_init__()

    def _check_labels(self, part: str, split: MaskedSplit) -> None:
        found = torch.bincount(split.masks.flatten(), minlength=256).nonzero().flatten().tolist()
        strange = [value for value in found if len(self.classes) <= value != IGNORE]
        if strange:
            raise DataError(
                f"Masks of {self.name!r} must hold 0..{len(self.classes) - 1} ({len(self.classes)} classes) or "
                f"{IGNORE} for pixels to leave out; {part} also holds {strange[:5]}."
            )
        if found == [IGNORE]:
            raise DataError(f"Every pixel of {part} in {self.name!r} is marked {IGNORE}, 'leave out'.")
