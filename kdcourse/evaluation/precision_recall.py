"""Compute precision and recall at every threshold, batch by batch.

A image has thousands of pixels, and a curve over a whole split would need all their scores sorted.
Here each score is only counted, in one of 20,481 cells per class: its log-odds log(p / (1 - p)), rounded to
the nearest 1/512 between -20 and 20. In log-odds the cells lie closest where scores crowd, near 0 and 1.

The curve is exact for the rounded scores. Scores that fall into one cell (0.0005 wide at p = 0.5, 0.000002
at p = 0.999) count as equal; all others keep their order. Average precision is off by less than 0.0002 for
smoothly spread scores, and by less than 0.001 for those of a model so unsure that they lie in few cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError

_STEP = 1 / 512  # of log-odds, a power of two: multiples of it are exact
_LARGEST = 20.0  # p = 2e-9 and 1 - 2e-9; what lies beyond counts there
_CELLS = 2 * round(_LARGEST / _STEP) + 1
# Scores worked on at a time: enough to be quick, few enough to stay in a processor's cache.
_AT_ONCE = 1 << 18


# -- curves -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Hold one curve, its points in the order of scikit-learn's ``precision_recall_curve``.

    ``thresholds`` float64 [K], ascending probabilities; ``precision`` and ``recall`` float64 [K + 1] belong
    to calling positive whatever scores at least the threshold, and end with 1 and 0, the point at which
    nothing is called positive. Cells without a score make no point. ``positives`` of ``n`` scores are of the
    class; where there is none, recall and average precision are NaN.
    """

    thresholds: Tensor
    precision: Tensor
    recall: Tensor
    positives: int
    n: int

    @property
    def average_precision(self) -> float:
        """Return AP = sum over thresholds of (recall_k - recall_k+1) * precision_k, 0 to 1; NaN without a positive.

        Not interpolated, as scikit-learn's ``average_precision_score`` (Manning, Raghavan and Schütze 2008,
        "Introduction to Information Retrieval", section 8.4).
        """
        return float(((self.recall[:-1] - self.recall[1:]) * self.precision[:-1]).sum())

    def at(self, threshold: float) -> tuple[float, float]:
        """Return precision and recall of calling positive whatever has at least this probability.

        Raises:
            ArgumentError: a threshold outside 0 to 1.
        """
        if not 0 <= threshold <= 1:
            raise ArgumentError(f"A threshold is a probability, 0 to 1; found {threshold}. Try 0.5.")
        wanted = torch.tensor(threshold, dtype=torch.float64).logit().clamp(-_LARGEST, _LARGEST)
        # The threshold is rounded as the scores were; half a cell keeps a rounding error from deciding.
        lowest = ((wanted / _STEP).round() - 0.5) * _STEP
        k = int(torch.searchsorted(self.thresholds, lowest.sigmoid()))
        return float(self.precision[k]), float(self.recall[k])


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Hold a curve for each class against all others, and ``micro``, which pools them.

    In ``micro`` every pixel counts once for each class: is it of this class, and how likely did the model
    find that?
    """

    per_class: tuple[PrecisionRecallCurve, ...]
    micro: PrecisionRecallCurve

    @property
    def average_precision(self) -> Tensor:
        """Return AP of each class, float64 [C]; NaN for a class that no pixel belongs to."""
        return torch.tensor([curve.average_precision for curve in self.per_class], dtype=torch.float64)

    @property
    def mean_average_precision(self) -> float:
        """Return the mean AP over the classes that some pixel belongs to."""
        return float(self.average_precision.nanmean())


def precision_recall(scores: Tensor, masks: Tensor, *, probabilities: bool = False) -> PrecisionRecall:
    """Compute precision-recall curves of every class against the others, and of all of them pooled.

    Memory doesn't grow with the images beyond those passed; for more than fit in memory, use
    `PrecisionRecallTally` batch by batch.

    Args:
        scores: logits, floating [N, C, H, W] (or [N, C], one row per image).
        masks: whole numbers [N, H, W] (or [N]), classes 0 to C - 1; `kdcourse.data.IGNORE` leaves a pixel out.
        probabilities: ``scores`` are probabilities already.

    Raises:
        ArgumentError: shapes or types that don't fit, classes out of range, NaN or infinity, nothing but
            ignored pixels, probabilities outside 0 to 1, or probabilities passed as logits.
    """
    _check_scores(scores)
    if not probabilities and _look_like_probabilities(scores):
        raise ArgumentError(
            "These scores lie between 0 and 1 and sum to 1 at every pixel: they are probabilities, and a softmax "
            "of them would move every threshold. Pass probabilities=True, or the logits."
        )
    tally = PrecisionRecallTally(scores.shape[1])
    tally.update(scores, masks, probabilities=probabilities)
    return tally.curves()


class PrecisionRecallTally:
    """Count scores batch by batch; `curves` may be called at any time.

    Raises:
        ArgumentError: fewer than two classes.
    """

    def __init__(self, classes: int) -> None:
        check_classes(classes)
        self.classes = classes
        # All scores, and those of the pixels' own class, by class and cell.
        self._all = torch.zeros(classes * _CELLS, dtype=torch.int64)
        self._own = torch.zeros(classes * _CELLS, dtype=torch.int64)

    def update(self, scores: Tensor, masks: Tensor, *, probabilities: bool = False) -> None:
        """Count the pixels of one batch: scores floating [B, C, ...], masks whole numbers [B, ...].

        Raises:
            ArgumentError: as `precision_recall`, except that a batch may hold nothing but ignored pixels.
        """
        check_scores_and_masks(scores, masks, self.classes)
        if probabilities and not bool(((scores >= 0) & (scores <= 1)).all()):
            raise ArgumentError(
                "Probabilities must lie in 0 to 1; found values from "
                f"{float(scores.min()):.4g} to {float(scores.max()):.4g}. For logits leave probabilities=True out."
            )
        for chunk, labels in in_chunks(scores, masks):
            self.count(chunk.logit() if probabilities else log_odds(chunk), labels)

    def count(self, odds: Tensor, labels: Tensor) -> None:
        """Count log-odds of every class, floating [C, M], of M pixels whose classes are ``labels`` int64 [M]."""
        most = _CELLS // 2
        cells = (odds / _STEP).clamp_(-most, most).round_().int()
        cells += most + _CELLS * torch.arange(self.classes, dtype=torch.int32)[:, None]
        self._all += torch.bincount(cells.flatten(), minlength=len(self._all))
        self._own += torch.bincount(cells.gather(0, labels[None])[0], minlength=len(self._own))

    def curves(self) -> PrecisionRecall:
        """Return the curves of all pixels counted so far.

        Raises:
            ArgumentError: none were.
        """
        if int(self._all.sum()) == 0:
            raise ArgumentError(
                f"There is nothing to score: no pixel was counted, or every one is marked {IGNORE}, 'leave out'. "
                "Check the masks."
            )
        everything, own = self._all.view(self.classes, _CELLS), self._own.view(self.classes, _CELLS)
        return PrecisionRecall(
            per_class=tuple(_curve(*counts) for counts in zip(everything, own, strict=True)),
            micro=_curve(everything.sum(0), own.sum(0)),
        )


def _curve(everything: Tensor, own: Tensor) -> PrecisionRecallCurve:
    """Return a curve from counts of all scores and of the class's, int64 [cells] each, cells ascending."""
    filled = everything.nonzero().flatten()
    # At a threshold, whatever lies in its cell or above is called positive.
    called = everything[filled].flip(0).cumsum(0).flip(0)
    right = own[filled].flip(0).cumsum(0).flip(0)
    positives = int(own.sum())
    end = torch.tensor([1.0, 0.0 if positives else math.nan], dtype=torch.float64)
    return PrecisionRecallCurve(
        thresholds=((filled - _CELLS // 2).double() * _STEP).sigmoid(),
        precision=torch.cat([right.double() / called, end[:1]]),
        recall=torch.cat([right.double() / positives, end[1:]]),
        positives=positives,
        n=int(everything.sum()),
    )


def log_odds(logits: Tensor) -> Tensor:
    """Compute log(p / (1 - p)) of the softmax over classes, [C, M] -> float32 [C, M]; may be infinite, never NaN.

    1 - p is added up from the other classes' shares, so that it keeps its digits where p is almost 1.
    """
    best, where = logits.max(dim=0, keepdim=True)
    relative = logits - best  # 0 for the best class, negative for all others
    shares = relative.exp()
    others = shares.sum(dim=0, keepdim=True) - shares
    # For the best class that difference would cancel.
    others.scatter_(0, where, shares.scatter(0, where, 0.0).sum(dim=0, keepdim=True))
    # A logarithm costs a fifth in float32, which is a thousand times finer than a cell.
    return relative.float() - others.float().log()


def in_chunks(scores: Tensor, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield scores [B, C, ...] and masks [B, ...] a few images at a time, float64 [C, M] and int64 [M] on the CPU.

    M pixels are those that are not ignored.
    """
    images = max(1, _AT_ONCE // max(1, scores[0].numel()))
    for some, truth in zip(scores.detach().split(images), masks.split(images), strict=True):
        labels = truth.flatten().cpu().long()
        counted = labels != IGNORE
        # MPS has no float64, so the move comes first.
        chunk = some.cpu().double().transpose(0, 1).flatten(1)
        if not counted.all():
            chunk, labels = chunk[:, counted], labels[counted]
        if len(labels):
            yield chunk, labels


# -- what goes in -------------------------------------------------------------------------------


def check_classes(classes: int) -> None:
    """Raise ArgumentError unless ``classes`` is a number of classes that a mask can name."""
    if isinstance(classes, bool) or not isinstance(classes, int) or not 2 <= classes <= IGNORE:
        found = repr(classes) if isinstance(classes, int | float) else type(classes).__name__
        raise ArgumentError(
            f"classes must be a whole number from 2 to {IGNORE}; found {found}. Pass len(dataset.classes)."
        )


def check_scores_and_masks(scores: Tensor, masks: Tensor, classes: int) -> None:
    """Raise ArgumentError unless scores [B, C, ...] and masks [B, ...] belong together."""
    _check_scores(scores)
    if scores.shape[1] != classes:
        raise ArgumentError(
            f"The scores must have one channel per class, {classes}, along dimension 1; found {list(scores.shape)}. "
            "Give the model one output per class."
        )
    check_masks(masks, classes)
    wanted = [len(scores), *scores.shape[2:]]
    if list(masks.shape) != wanted:
        raise ArgumentError(
            f"masks must have shape {wanted} to go with scores {list(scores.shape)}; found {list(masks.shape)}. "
            "Predict the very images that the masks belong to, and bring the logits to the masks' height and "
            "width (torch.nn.functional.interpolate) if the model returns smaller ones."
        )


def _check_scores(scores: Tensor) -> None:
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        found = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise ArgumentError(
            f"The scores must be a floating tensor [B, C, H, W]; found {found}. Pass the model's raw outputs."
        )
    if scores.ndim < 2 or scores.shape[1] < 2 or scores.numel() == 0:
        raise ArgumentError(
            "The scores must have shape [B, C, H, W] with at least one pixel and two classes; found "
            f"{list(scores.shape)}. A single image needs logits[None]."
        )
    # A sum is quick and shows nearly always that there is nothing to look for.
    if bool(scores.detach().sum().isfinite()):
        return
    bad = ~scores.detach().isfinite()
    if bad.any():
        image = int(bad.flatten(1).any(dim=1).nonzero()[0])
        raise ArgumentError(
            f"The scores must be finite; found {int(bad.sum())} NaN or infinite values, the first in image "
            f"{image}. Look for a training run that diverged, or a float16 overflow (try precision='bfloat16')."
        )


def check_masks(masks: Tensor, classes: int) -> None:
    """Raise ArgumentError unless ``masks`` holds class indices, or `kdcourse.data.IGNORE`."""
    if not isinstance(masks, Tensor) or masks.is_floating_point() or masks.dtype == torch.bool:
        found = masks.dtype if isinstance(masks, Tensor) else type(masks).__name__
        raise ArgumentError(
            f"masks must be a tensor of whole numbers, one class index per pixel; found {found}. "
            "Take them from a split, such as dataset.test.masks."
        )
    strange = masks[(masks != IGNORE) & ((masks < 0) | (masks >= classes))]
    if strange.numel():
        raise ArgumentError(
            f"masks must hold 0..{classes - 1} ({classes} classes) or {IGNORE} for pixels to leave out; also found "
            f"{sorted(set(strange.tolist()))[:5]}. Number the classes from 0."
        )


def _look_like_probabilities(scores: Tensor) -> bool:
    scores = scores.detach().float()
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        return False
    return bool((scores.sum(dim=1) - 1).abs().max() < 1e-2)
