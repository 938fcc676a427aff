"""Tasks: what differs between one label per image and one per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE, Dataset, SegmentationDataset


@dataclass(frozen=True)
class Rates:
    """Rates from 0 to 1: share of images (or of scored pixels) that are right; for masks, mean IoU as well."""

    accuracy: float
    iou: float | None = None

    @property
    def metric(self) -> float:
        """Return the figure that models of this task are compared by."""
        return self.accuracy if self.iou is None else self.iou


class Task(Protocol):
    """Score predictions of one kind. Counts of batches, and of processes, are added up.

    Attributes:
        name: ``labels`` or ``masks``, what methods name in their ``tasks``.
        has: in words, what a data set of this task has.
        metric: in words, the figure that models are compared by.
        unit: in words, what is right or wrong.
    """

    name: str
    has: str
    metric: str
    unit: str

    def logits_shape(self, images: int, classes: int, size: tuple[int, int]) -> list[int]:
        """Return the shape of logits for so many images of ``size`` (height, width)."""

    def cross_entropy(
        self,
        logits: Tensor,
        labels: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return the cross-entropy in nats: its sum, or its mean over what is scored, 0 where nothing is.

        With ``weights`` [C] of the classes the mean is the weighted sum over the sum of the labels' weights.
        """

    def weigh(self, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Return what each label weighs in the mean, of the shape of ``labels``: 1, or the weight of its class."""

    def scored(self, labels: Tensor) -> Tensor:
        """Return which labels count: bool, of the shape of ``labels``."""

    def size(self, classes: int) -> int:
        """Return how many numbers `count` yields."""

    def count(self, logits: Tensor, labels: Tensor, classes: int) -> Tensor:
        """Return the counts of a batch, int64 [size], on the CPU."""

    def rates(self, counts: Tensor) -> Rates:
        """Convert counts, int64 [size], to rates."""


class Labels:
    """Score one label per image: logits [B, C], labels int64 [B]. Counts right images, and images."""

    name, has, metric, unit = "labels", "one label per image", "accuracy", "images"

    def logits_shape(self, images: int, classes: int, size: tuple[int, int]) -> list[int]:
        return [images, classes]

    def cross_entropy(
        self,
        logits: Tensor,
        labels: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        return F.cross_entropy(
            logits, labels, weight=weights, reduction=reduction, label_smoothing=label_smoothing
        )

    def weigh(self, labels: Tensor, weights: Tensor | None) -> Tensor:
        return torch.ones_like(labels) if weights is None else weights[labels]

    def scored(self, labels: Tensor) -> Tensor:
        return torch.ones_like(labels, dtype=torch.bool)

    def size(self, classes: int) -> int:
        return 2

    def count(self, logits: Tensor, labels: Tensor, classes: int) -> Tensor:
        right = (logits.argmax(1) == labels).sum().cpu()
        return torch.stack([right, torch.tensor(len(labels))])

    def rates(self, counts: Tensor) -> Rates:
        return Rates(int(counts[0]) / int(counts[1]))


class Masks:
    """Score one class per pixel: logits [B, C, H, W], masks int64 [B, H, W]. Counts pixels by true and found class."""

    name, has, metric, unit = "masks", "one class per pixel", "mean IoU", "pixels"

    def logits_shape(self, images: int, classes: int, size: tuple[int, int]) -> list[int]:
        return [images, classes, *size]

    def cross_entropy(
        self,
        logits: Tensor,
        labels: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        # Summed here, divided below: "mean" would be 0 / 0 where no pixel is scored.
        total = F.cross_entropy(
            logits,
            labels,
            weight=weights,
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        if reduction == "sum":
            return total
        divisor = self.weigh(labels, weights).sum()
        return total / divisor.clamp(min=1 if weights is None else torch.finfo(divisor.dtype).tiny)

    def weigh(self, labels: Tensor, weights: Tensor | None) -> Tensor:
        kept = self.scored(labels)
        return kept.long() if weights is None else weights[labels.masked_fill(~kept, 0)] * kept

    def scored(self, labels: Tensor) -> Tensor:
        return labels != IGNORE

    def size(self, classes: int) -> int:
        return classes**2

    def count(self, logits: Tensor, labels: Tensor, classes: int) -> Tensor:
        return confusion_counts(logits.argmax(1), labels, classes).flatten().cpu()

    def rates(self, counts: Tensor) -> Rates:
        confusion = counts.view(isqrt(len(counts)), -1)
        return Rates(float(confusion.trace() / confusion.sum()), mean_iou_of(confusion))


LABELS: Task = Labels()
MASKS: Task = Masks()


def task_of(data: Dataset | SegmentationDataset | Tensor) -> Task:
    """Return the task of a data set, or that of labels [B] or masks [B, H, W]."""
    dense = data.ndim > 1 if isinstance(data, Tensor) else isinstance(data, SegmentationDataset)
    return MASKS if dense else LABELS


def confusion_counts(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Count pixels by true class (row) and predicted class (column): int64 [C, C], on the device of the masks.

    prediction, truth: whole numbers of one shape, classes 0 to C - 1; `kdcourse.data.IGNORE` in ``truth`` leaves a
    pixel out.
    """
    pair = truth.flatten().long() * classes + prediction.flatten().long()
    pair = pair[truth.flatten() != IGNORE]
    return torch.bincount(pair, minlength=classes**2).view(classes, classes)


def iou_per_class(confusion: Tensor) -> Tensor:
    """Return intersection over union, float64 [C], of a confusion matrix [C, C]; NaN for a class that occurs nowhere.

    IoU = true positives / (true positives + false positives + false negatives), over all pixels of all images
    together (Everingham et al. 2015, "The PASCAL Visual Object Classes Challenge: A Retrospective", section 4.2).
    """
    right = confusion.diagonal().double()
    return right / (confusion.sum(0) + confusion.sum(1) - right)


def mean_iou_of(confusion: Tensor) -> float:
    """Return the mean IoU over the classes that occur in truth or prediction; NaN where no pixel was counted.

    A class that is absent from both says nothing about the model and is left out, so that a perfect prediction
    scores 1 whichever classes the images show.
    """
    return float(iou_per_class(confusion).nanmean())
