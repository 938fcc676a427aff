"""Images with any number of labels each, as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from kdcourse.data.splits import ThreeSplits, check_images, check_tensor, content_digest
from kdcourse.errors import DataError


@dataclass(frozen=True)
class MultiLabelSplit:
    """Hold one split of a data set in which an image has any number of labels.

    ``images`` is uint8 [N, C, H, W] with values 0 to 255, ``labels`` bool [N, K]: which of the K classes each image
    shows. Images may be memory-mapped, as in `kdcourse.data.Split`.

    Raises:
        DataError: no tensors, wrong type or shape, lengths that differ, no image at all.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        check_images(images)
        check_tensor(labels, "labels", "torch.bool")
        if labels.dtype != torch.bool or labels.ndim != 2:
            raise DataError(
                "The labels of a multi-label split must be a bool tensor [N, classes]; found "
                f"{labels.dtype} {list(labels.shape)}. Convert zeros and ones with .bool(), probabilities with "
                "(labels > 0.5). With one class index per image, use kdcourse.data.Split."
            )
        if len(images) != len(labels):
            raise DataError(
                f"A split needs one row of labels per image; found {len(images)} images and {len(labels)} rows. "
                "Add or remove some."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor) -> MultiLabelSplit:
        """Return the images at ``index`` (int64 [M] or bool [N]) as a split in memory."""
        return MultiLabelSplit(self.images[index], self.labels[index])

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of shape, images and labels: it identifies the content, wherever it came from."""
        return content_digest("uint8/multilabel", self.images, self.labels)


class MultiLabelDataset(ThreeSplits[MultiLabelSplit]):
    """Hold train, validation and test split of one multi-label task, with its class names.

    ``mean``, ``std`` and ``left_out`` are those of `kdcourse.data.Dataset`.

    Raises:
        DataError: labels of another number of classes, a split without a single label, splits whose images differ in
            shape, or a mean and std that `kdcourse.data.Dataset` would refuse.
    """

    def _check_labels(self, part: str, split: MultiLabelSplit) -> None:
        if split.labels.shape[1] != len(self.classes):
            raise DataError(
                f"Labels of {self.name!r} must be [N, {len(self.classes)}], one column per class; {part} has "
                f"{list(split.labels.shape)}."
            )
        if not bool(split.labels.any()):
            raise DataError(
                f"No image of {part} in {self.name!r} has a label; there is nothing to learn or score."
            )
