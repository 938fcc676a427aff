"""Tasks: what differs between one label per image, one per pixel, any number per image, and the tokens of a text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import isqrt
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import (
    IGNORE,
    IGNORE_TOKEN,
    AnyDataset,
    Batch,
    LabelledSplit,
    MaskedSplit,
    MultiLabelDataset,
    MultiLabelSplit,
    SegmentationDataset,
    Split,
    TextDataset,
    TokenSplit,
)


@dataclass(frozen=True)
class Rates:
    """Rates from 0 to 1: share of right images (scored pixels, labels, tokens); for masks mean IoU, else mean F1."""

    accuracy: float
    iou: float | None = None
    f1: float | None = None

    @property
    def metric(self) -> float:
        """Return the figure that models of this task are compared by."""
        return next(rate for rate in (self.f1, self.iou, self.accuracy) if rate is not None)


class Task(Protocol):
    """Score predictions of one kind. Counts of batches, and of processes, are added up.

    Attributes:
        name: ``labels``, ``masks``, ``multilabel`` or ``tokens``, what methods name in their ``tasks``.
        has: in words, what a data set of this task has.
        metric: in words, the figure that models are compared by.
        unit: in words, what is right or wrong.
    """

    name: str
    has: str
    metric: str
    unit: str

    def logits_shape(self, images: int, classes: int, size: tuple[int, ...]) -> list[int]:
        """Return the shape of logits for so many images of ``size`` (height, width), or rows of (T,) tokens."""

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

    def logits_shape(self, images: int, classes: int, size: tuple[int, ...]) -> list[int]:
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


class _SomeLeftOut:
    """Leave labels out that don't count, as two tasks do: the mean is over the others, 0 where there are none."""

    left_out: int

    def scored(self, labels: Tensor) -> Tensor:
        return labels != self.left_out

    def weigh(self, labels: Tensor, weights: Tensor | None) -> Tensor:
        kept = self.scored(labels)
        return kept.long() if weights is None else weights[labels.masked_fill(~kept, 0)] * kept

    def _mean(self, total: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        divisor = self.weigh(labels, weights).sum()
        return total / divisor.clamp(min=1 if weights is None else torch.finfo(divisor.dtype).tiny)


class Masks(_SomeLeftOut):
    """Score one class per pixel: logits [B, C, H, W], masks int64 [B, H, W]. Counts pixels by true and found class."""

    name, has, metric, unit = "masks", "one class per pixel", "mean IoU", "pixels"
    left_out = IGNORE

    def logits_shape(self, images: int, classes: int, size: tuple[int, ...]) -> list[int]:
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
        return total if reduction == "sum" else self._mean(total, labels, weights)

    def size(self, classes: int) -> int:
        return classes**2

    def count(self, logits: Tensor, labels: Tensor, classes: int) -> Tensor:
        return confusion_counts(logits.argmax(1), labels, classes).flatten().cpu()

    def rates(self, counts: Tensor) -> Rates:
        confusion = counts.view(isqrt(len(counts)), -1)
        return Rates(float(confusion.trace() / confusion.sum()), mean_iou_of(confusion))


class MultiLabel:
    """Score any number of labels per image: logits [B, C], labels 0 or 1 [B, C], each class on its own by a sigmoid.

    Its loss is the binary cross-entropy, mean over images and classes. Counts for each class the images that are right
    to be named, that are named (p > 0.5) and that should be, and all images: whole numbers, so that batches and
    processes add up exactly to the mean F1 over the classes. Mean average precision can't be added up so: it ranks all
    images at once, see `kdcourse.evaluation.evaluate_multilabel`.
    """

    name, has, metric, unit = "multilabel", "any number of labels per image", "mean F1", "labels"

    def logits_shape(self, images: int, classes: int, size: tuple[int, ...]) -> list[int]:
        return [images, classes]

    def cross_entropy(
        self,
        logits: Tensor,
        labels: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        # Smoothed towards one half, the uniform distribution over the two answers.
        target = labels.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
        if weights is None:
            return F.binary_cross_entropy_with_logits(logits, target, reduction=reduction)
        total = F.binary_cross_entropy_with_logits(logits, target, weight=weights, reduction="sum")
        return total if reduction == "sum" else total / self.weigh(labels, weights).sum()

    def weigh(self, labels: Tensor, weights: Tensor | None) -> Tensor:
        return torch.ones_like(labels) if weights is None else weights.expand_as(labels)

    def scored(self, labels: Tensor) -> Tensor:
        return torch.ones_like(labels, dtype=torch.bool)

    def size(self, classes: int) -> int:
        return 3 * classes + 1

    def count(self, logits: Tensor, labels: Tensor, classes: int) -> Tensor:
        named, true = logits > 0, labels.bool()
        counts = torch.cat([(named & true).sum(0), named.sum(0), true.sum(0)]).cpu()
        return torch.cat([counts, torch.tensor([len(labels)])])

    def rates(self, counts: Tensor) -> Rates:
        right, named, true = counts[:-1].view(3, -1)
        wrong = int((named + true - 2 * right).sum())
        return Rates(1 - wrong / (int(counts[-1]) * len(right)), f1=mean_f1(right, named, true))


class Tokens(_SomeLeftOut):
    """Score the next token at every position: logits [B, T, V], labels int64 [B, T] with `kdcourse.data.IGNORE_TOKEN`.

    Every position that counts weighs alike, in whichever row it stands. Counts right tokens, and tokens.
    """

    name, has, metric, unit = "tokens", "a text's next tokens", "accuracy", "tokens"
    left_out = IGNORE_TOKEN

    def logits_shape(self, images: int, classes: int, size: tuple[int, ...]) -> list[int]:
        return [images, *size, classes]

    def cross_entropy(
        self,
        logits: Tensor,
        labels: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        kept = self.scored(labels)
        # Chosen before the softmax, so that not even a NaN gets through from positions that are left out.
        total = F.cross_entropy(
            logits[kept], labels[kept], weight=weights, reduction="sum", label_smoothing=label_smoothing
        )
        return total if reduction == "sum" else self._mean(total, labels, weights)

    def size(self, classes: int) -> int:
        return 2

    def count(self, logits: Tensor, labels: Tensor, classes: int) -> Tensor:
        kept = self.scored(labels)
        return torch.stack([((logits.argmax(-1) == labels) & kept).sum(), kept.sum()]).cpu()

    def rates(self, counts: Tensor) -> Rates:
        return Rates(int(counts[0]) / int(counts[1]))


LABELS: Task = Labels()
MASKS: Task = Masks()
MULTILABEL: Task = MultiLabel()
TOKENS: Task = Tokens()


def task_of(data: AnyDataset | LabelledSplit | Batch | Tensor) -> Task:
    """Return the task of a data set, a split or a batch.

    Also that of labels [B], masks [B, H, W] or several labels per image [B, C]; those of tokens can't be told apart
    from these.
    """
    if isinstance(data, TextDataset | TokenSplit):
        return TOKENS
    if isinstance(data, Batch):
        return task_of(data.labels) if data.images.is_floating_point() else TOKENS
    if isinstance(data, Split | MaskedSplit | MultiLabelSplit):
        return task_of(data.labels)
    if isinstance(data, Tensor):
        return {1: LABELS, 2: MULTILABEL}.get(data.ndim, MASKS)
    if isinstance(data, MultiLabelDataset):
        return MULTILABEL
    return MASKS if isinstance(data, SegmentationDataset) else LABELS


def f1_per_class(right: Tensor, named: Tensor, true: Tensor) -> Tensor:
    """Return F1 = 2 * right / (named + true) of each class, float64 [C]; NaN for one that occurs nowhere.

    right, named, true: int64 [C], how many images are named and have the label, are named, have the label.
    F1 is the harmonic mean of precision and recall (van Rijsbergen 1979, "Information Retrieval", chapter 7).
    """
    return 2 * right.double() / (named + true)


def mean_f1(right: Tensor, named: Tensor, true: Tensor) -> float:
    """Return the mean of `f1_per_class` over the classes that are named or true somewhere; 1 where none is."""
    found = float(f1_per_class(right, named, true).nanmean())
    return 1.0 if math.isnan(found) else found


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
