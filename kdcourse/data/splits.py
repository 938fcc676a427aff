"""Hold images and labels as tensors: the form that all other subpackages work on."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from kdcourse.errors import ArgumentError, DataError


class LeftOut(NamedTuple):
    """Name a file or folder that was left out of a data set, in whole or in part, and the reason."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Split:
    """Hold one split of a labelled data set.

    ``images`` is uint8 [N, C, H, W] with values 0 to 255, ``labels`` int64 [N]. Images may be stored on disk:
    from a memory-mapped tensor (``torch.from_file``, ``torch.from_numpy`` of a ``numpy.memmap``), only what is used is
    read.

    Raises:
        DataError: no tensors, wrong type or shape, lengths that differ, no image at all.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        check_images(images)
        check_tensor(labels, "labels", "torch.int64")
        if labels.dtype != torch.int64 or labels.ndim != 1:
            raise DataError(
                "The labels of a split must be an int64 tensor [N]; found "
                f"{labels.dtype} {list(labels.shape)}. Convert with .long() and give one class index per image."
            )
        if len(images) != len(labels):
            raise DataError(
                f"A split needs one label per image; found {len(images)} images and {len(labels)} labels. "
                "Add or remove some."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor) -> Split:
        """Return the images at ``index`` (int64 [M] or bool [N]) as a split in memory."""
        return Split(self.images[index], self.labels[index])

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of shape, images and labels: it identifies the content, wherever it came from."""
        return content_digest("uint8/int64", self.images, self.labels)


class HasImages(Protocol):
    """Describe a split of either kind: `Split`, or `kdcourse.data.MaskedSplit`."""

    @property
    def images(self) -> Tensor:
        """Return uint8 [N, C, H, W]."""


AnySplit = TypeVar("AnySplit", bound=HasImages)


@dataclass(frozen=True)
class ThreeSplits(ABC, Generic[AnySplit]):
    """Hold what `Dataset` and `kdcourse.data.SegmentationDataset` have in common: all but the checks of labels."""

    name: str
    classes: tuple[str, ...]
    train: AnySplit
    validation: AnySplit
    test: AnySplit
    mean: tuple[float, ...] = field(default=())
    std: tuple[float, ...] = field(default=())
    left_out: tuple[LeftOut, ...] = field(default=())

    def __post_init__(self) -> None:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        for part, split in parts.items():
            if not isinstance(getattr(split, "images", None), Tensor):
                raise DataError(
                    f"{part} of {self.name!r} must be a split, such as Split(images, labels); found "
                    f"{type(split).__name__}. Put its tensors into one."
                )
        shape = self.image_shape
        for part, split in parts.items():
            if tuple(split.images.shape[1:]) != shape:
                raise DataError(
                    f"All images of {self.name!r} must have one shape; train has {shape}, "
                    f"{part} has {tuple(split.images.shape[1:])}. Resize one of them."
                )
            self._check_labels(part, split)
        mean, std = _numbers(self.mean, "mean"), _numbers(self.std, "std")
        if bool(mean) != bool(std):
            given, lacking = ("mean", "std") if mean else ("std", "mean")
            raise DataError(
                f"{self.name!r} has a {given} ({mean or std}) but no {lacking}; images are normalised with both. "
                f"Give {lacking} too, or neither: both are then computed from train."
            )
        if mean:
            _check_statistics(mean, std, shape[0], self.name)
        else:
            mean, std = channel_statistics(self.train.images)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    @abstractmethod
    def _check_labels(self, part: str, split: AnySplit) -> None:
        """Raise DataError unless the labels of ``split``, called ``part``, fit the classes."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return channels, height and width of every image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def normalise(self, images: Tensor) -> Tensor:
        """Return float32 images with mean 0 and standard deviation 1 per channel over the training set.

        uint8 [N, C, H, W] -> float32 [N, C, H, W].
        """
        spread = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        centre = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        # One multiplication and one subtraction, in place, because this is the largest tensor of each batch.
        return images.float().mul_(1 / (255 * spread)).sub_(centre / spread)


@dataclass(frozen=True)
class Dataset(ThreeSplits[Split]):
    """Hold train, validation and test split of one task, with its class names.

    ``mean`` and ``std`` (one number per channel, of the training images on a scale from 0 to 1) are what
    `normalise` uses; without them, they are computed from ``train``. ``left_out`` lists files that were
    left out when a folder was read, each with the reason.

    Raises:
        DataError: labels outside the classes, splits whose images differ in shape, a mean without a std or the
            reverse, not one of each per channel, a std of 0, or values on a scale from 0 to 255.
    """

    # Repeated for readers and type checkers, which then know what `dataclasses.replace` takes.
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


def check_tensor(value: object, what: str, dtype: str) -> None:
    """Raise DataError with the conversion to use unless ``value``, called ``what``, is a tensor."""
    if isinstance(value, Tensor):
        return
    if isinstance(value, np.ndarray):
        found, cure = f"a NumPy array {value.dtype} {list(value.shape)}", f"torch.from_numpy({what})"
    else:
        found, cure = f"a {type(value).__name__}", f"torch.as_tensor({what}, dtype={dtype})"
        if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
            found, cure = f"{found} of tensors", f"torch.stack({what})"
        elif isinstance(value, list | tuple) and value and isinstance(value[0], np.ndarray):
            found, cure = f"{found} of NumPy arrays", f"torch.from_numpy(numpy.stack({what}))"
    raise DataError(f"The {what} of a split must be a tensor; found {found}. Convert with {cure}.")


def check_images(images: Tensor) -> None:
    """Raise DataError unless ``images`` is a tensor that a split may hold."""
    check_tensor(images, "images", "torch.uint8")
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise DataError(
            "The images of a split must be a uint8 tensor [N, C, H, W]; found "
            f"{images.dtype} {list(images.shape)}. Scale to 0..255, add the missing axes "
            "and convert with .to(torch.uint8)."
        )
    if images.numel() == 0:
        raise DataError(
            "A split needs at least one image; found none. Check the folder or the indices it was made from."
        )


def _numbers(values: Iterable[float] | Tensor, what: str) -> tuple[float, ...]:
    """Return ``mean`` or ``std``, a tuple, list, array or tensor, as floats."""
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{what} must be one number per channel, such as (0.5,); found {values!r}."
        ) from error


def _check_statistics(mean: tuple[float, ...], std: tuple[float, ...], channels: int, name: str) -> None:
    """Raise DataError unless ``mean`` and ``std`` can normalise images of ``channels`` channels."""
    told = f"found mean {mean} and std {std}"
    if len(mean) != channels or len(std) != channels:
        raise DataError(
            f"mean and std of {name!r} must be one number per channel, {channels} each; {told}. Give {channels}, "
            "or neither: both are then computed from train."
        )
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise DataError(f"std of {name!r} must be above 0, and mean and std finite; {told}.")
    if max(*mean, *std) > 1 or min(mean) < 0:
        raise DataError(
            f"mean and std of {name!r} must be on a scale from 0 to 1; {told}. If they are of images with values 0 "
            "to 255, divide both by 255."
        )


def content_digest(kind: str, images: Tensor, labels: Tensor) -> str:
    """Return the SHA-256 of the shape of the images, of ``kind``, and of both tensors' values."""
    # This digest identifies stored soft targets and results: if the string changes, none of them is found.
    sha = hashlib.sha256(repr((tuple(images.shape), kind)).encode())
    sha.update(images.cpu().contiguous().numpy().data)
    sha.update(labels.cpu().contiguous().numpy().data)
    return sha.hexdigest()


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of every channel of uint8 [N, C, H, W], on a scale from 0 to 1."""
    counts = _histograms(images).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    means = [float((count * levels).sum() / count.sum()) for count in counts]
    stds = [
        max(float((count * (levels - mean) ** 2).sum() / count.sum()) ** 0.5, 1e-6)
        for count, mean in zip(counts, means, strict=True)
    ]
    return tuple(means), tuple(stds)


def _histograms(images: Tensor, at_once: int = 1 << 23) -> Tensor:
    """Count the 256 levels of every channel: int64 [C, 256].

    The images may be stored on disk, so they are read only once, ``at_once`` bytes at a time.
    """
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for some in images.split(max(1, at_once // images[0].numel())):
        for channel, count in enumerate(counts):
            count += torch.bincount(some[:, channel].flatten(), minlength=256).to(counts.device)
    return counts


def stratified_index(labels: Tensor, count: int, seed: int) -> Tensor:
    """Choose images at random, the same share of every class.

    Each class is shuffled by one generator, in the order of the classes, and its first images are taken. If the
    classes are balanced, a smaller choice with the same seed is therefore part of every larger one.

    Args:
        labels: int64 [N].
        count: number of images, 1 to N. If the shares aren't whole numbers, they are rounded so that they sum to it.
        seed: of the random choice.

    Returns:
        int64 [count], positions in increasing order.

    Raises:
        ArgumentError: ``count`` outside 1..N.
    """
    if not 1 <= count <= len(labels):
        raise ArgumentError(f"count must lie in 1..{len(labels)}, the number of images; found {count}.")
    generator = torch.Generator().manual_seed(seed)
    chosen, before = [], 0
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        after = before + len(members)
        chosen.append(members[: after * count // len(labels) - before * count // len(labels)])
        before = after
    return torch.cat(chosen).sort().values
