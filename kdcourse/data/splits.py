"""Pictures and labels as tensors in memory: the form that every later room works on."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from kdcourse.errors import DataError


@dataclass(frozen=True)
class Split:
    """One split of a labelled data set.

    ``images`` is uint8 [N, C, H, W] with values 0 to 255, ``labels`` int64 [N]. Pictures may lie on disk: of a
    memory-mapped tensor (``torch.from_file``, ``torch.from_numpy`` of a ``numpy.memmap``) only what is
    being looked at is read.

    Raises:
        DataError: wrong type or shape, lengths that differ, no picture at all.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        check_images(images)
        if labels.dtype != torch.int64 or labels.ndim != 1:
            raise DataError(
                "The labels of a split must be an int64 tensor [N]; found "
                f"{labels.dtype} {list(labels.shape)}. Convert with .long() and one class index a picture."
            )
        if len(images) != len(labels):
            raise DataError(
                f"A split needs one label a picture; found {len(images)} pictures and {len(labels)} labels."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor) -> Split:
        """The pictures at ``index`` (int64 [M] or bool [N]), as a split of their own."""
        return Split(self.images[index], self.labels[index])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, pictures and labels: names the content, wherever it came from."""
        return content_digest("uint8/int64", self.images, self.labels)


class HasImages(Protocol):
    """A split of either kind: `Split`, or `kdcourse.data.MaskedSplit`."""

    @property
    def images(self) -> Tensor:
        """uint8 [N, C, H, W]."""


AnySplit = TypeVar("AnySplit", bound=HasImages)


@dataclass(frozen=True)
class ThreeSplits(ABC, Generic[AnySplit]):
    """What `Dataset` and `kdcourse.data.SegmentationDataset` have in common: all but what may be a label."""

    name: str
    classes: tuple[str, ...]
    train: AnySplit
    validation: AnySplit
    test: AnySplit
    mean: tuple[float, ...] = field(default=())
    std: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        shape = self.image_shape
        for part in ("train", "validation", "test"):
            split: AnySplit = getattr(self, part)
            if tuple(split.images.shape[1:]) != shape:
                raise DataError(
                    f"All pictures of {self.name!r} must have one shape; train has {shape}, "
                    f"{part} has {tuple(split.images.shape[1:])}. Resize one of them."
                )
            self._check_labels(part, split)
        if not self.mean or not self.std:
            mean, std = channel_statistics(self.train.images)
            object.__setattr__(self, "mean", mean)
            object.__setattr__(self, "std", std)

    @abstractmethod
    def _check_labels(self, part: str, split: AnySplit) -> None:
        """Raise DataError unless what is to be predicted in ``split``, called ``part``, fits the classes."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every picture."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] -> float32 [N, C, H, W], zero mean and unit spread a channel over the training set.

        Laid out channels last in memory, which convolutions are fastest on.
        """
        spread = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        centre = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        # One multiplication and one subtraction in place: this is every batch's largest tensor.
        scaled = images.float().contiguous(memory_format=torch.channels_last)
        return scaled.mul_(1 / (255 * spread)).sub_(centre / spread)


@dataclass(frozen=True)
class Dataset(ThreeSplits[Split]):
    """Train, validation and test split of one task, with its class names.

    ``mean`` and ``std`` (one number a channel, on the 0..1 scale, of the training pictures) are
    what `normalise` uses; left out, they are computed from ``train``.

    Raises:
        DataError: labels outside the classes, or splits whose pictures differ in shape.
    """

    # Said once more for readers and type checkers, which then know what `dataclasses.replace` takes.
    train: Split
    validation: Split
    test: Split

    def _check_labels(self, part: str, split: Split) -> None:
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"Labels of {self.name!r} must lie in 0..{len(self.classes) - 1} "
                f"({len(self.classes)} classes); {part} has labels from {low} to {high}."
            )


def check_images(images: Tensor) -> None:
    """Raise DataError unless ``images`` are pictures that a split may hold."""
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise DataError(
            "The pictures of a split must be a uint8 tensor [N, C, H, W]; found "
            f"{images.dtype} {list(images.shape)}. Scale to 0..255, add the missing axes "
            "and convert with .to(torch.uint8)."
        )
    if images.numel() == 0:
        raise DataError(
            "A split needs at least one picture; found none. Check the folder or the indices it was made from."
        )


def content_digest(kind: str, images: Tensor, labels: Tensor) -> str:
    """SHA-256 of the shape of the pictures, of ``kind``, and of both tensors' values."""
    # Stored soft targets and results are known by it: another string here, and none of them would be found.
    sha = hashlib.sha256(repr((tuple(images.shape), kind)).encode())
    sha.update(images.cpu().contiguous().numpy().data)
    sha.update(labels.cpu().contiguous().numpy().data)
    return sha.hexdigest()


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every channel of uint8 [N, C, H, W], on the 0..1 scale."""
    counts = [_histogram(images, channel) for channel in range(images.shape[1])]
    levels = torch.arange(256, dtype=torch.float64) / 255
    means = [float((count * levels).sum() / count.sum()) for count in counts]
    stds = [
        max(float((count * (levels - mean) ** 2).sum() / count.sum()) ** 0.5, 1e-6)
        for count, mean in zip(counts, means, strict=True)
    ]
    return tuple(means), tuple(stds)


def _histogram(images: Tensor, channel: int, part: int = 10_000) -> Tensor:
    """How often each of the 256 levels occurs: float64 [256]; read part by part, for pictures may lie on disk."""
    counts = [torch.bincount(some[:, channel].flatten(), minlength=256) for some in images.split(part)]
    return torch.stack(counts).sum(0).double()
