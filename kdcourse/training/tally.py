"""What a training run counts as it goes: right pictures, or right pixels class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from kdcourse.data import IGNORE, Dataset, SegmentationDataset


@dataclass(frozen=True)
class Rates:
    """Rates from 0 to 1: share of pictures (or of scored pixels) that are right; for masks, mean IoU as well."""

    accuracy: float
    iou: float | None = None


class Tally(Protocol):
    """How predictions are counted: counts of batches, and of processes, simply add up."""

    size: int

    def count(self, logits: Tensor, labels: Tensor) -> Tensor:
        """int64 [size] for a batch."""

    def rates(self, counts: Tensor) -> Rates:
        """What the counts int64 [size] amount to."""


class PictureTally:
    """Counts right pictures, and pictures. Logits [B, C], labels int64 [B]."""

    size = 2

    def count(self, logits: Tensor, labels: Tensor) -> Tensor:
        right = (logits.argmax(1) == labels).sum().cpu()
        return torch.stack([right, torch.tensor(len(labels))])

    def rates(self, counts: Tensor) -> Rates:
        return Rates(int(counts[0]) / int(counts[1]))


class PixelTally:
    """Counts pixels by true and by predicted class. Logits [B, C, H, W], masks int64 [B, H, W]."""

    def __init__(self, classes: int) -> None:
        self.classes, self.size = classes, classes**2

    def count(self, logits: Tensor, labels: Tensor) -> Tensor:
        # A network may have more outputs than there are classes; only those of a class can be right.
        prediction = logits[:, : self.classes].argmax(1)
        return confusion_counts(prediction, labels, self.classes).flatten().cpu()

    def rates(self, counts: Tensor) -> Rates:
        confusion = counts.view(self.classes, self.classes)
        return Rates(float(confusion.trace() / confusion.sum()), mean_iou_of(confusion))


def tally_for(data: Dataset | SegmentationDataset) -> Tally:
    """What to count on this data set."""
    return PixelTally(len(data.classes)) if isinstance(data, SegmentationDataset) else PictureTally()


def confusion_counts(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Pixels by true class (row) and predicted class (column): int64 [C, C], on the device of the masks.

    prediction, truth: whole numbers of one shape, classes 0 to C - 1; `kdcourse.data.IGNORE` in ``truth`` leaves a
    pixel out.
    """
    pair = truth.flatten().long() * classes + prediction.flatten().long()
    pair = pair[truth.flatten() != IGNORE]
    return torch.bincount(pair, minlength=classes**2).view(classes, classes)


def iou_per_class(confusion: Tensor) -> Tensor:
    """Intersection over union, float64 [C], of a confusion matrix [C, C]; NaN for a class that occurs nowhere.

    IoU = true positives / (true positives + false positives + false negatives), over all pixels of all pictures
    together (Everingham et al. 2015, "The PASCAL Visual Object Classes Challenge: A Retrospective", section 4.2).
    """
    right = confusion.diagonal().double()
    return right / (confusion.sum(0) + confusion.sum(1) - right)


def mean_iou_of(confusion: Tensor) -> float:
    """Mean IoU over the classes that occur in truth or prediction; NaN where not a single pixel was counted.

    A class that is absent from both says nothing about the model and is left out, so that a perfect prediction
    scores 1 whichever classes the pictures happen to show.
    """
    return float(iou_per_class(confusion).nanmean())
