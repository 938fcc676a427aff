"""Score networks that give any number of labels per image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kdcourse.errors import ArgumentError
from kdcourse.training.task import MULTILABEL, f1_per_class


@dataclass(frozen=True, eq=False)
class MultiLabelScores:
    """Hold the scores of ``n`` images; all from 0 to 1.

    Attributes:
        mean_average_precision: AP of each class's ranking of the images, mean over the classes that occur; it needs
            no threshold.
        mean_f1: F1 of each class at p > 0.5, mean over the classes that are named or true somewhere.
        accuracy: share of right answers, a yes or no for each image and class.
        average_precision, f1: of each class, float64 [C]; NaN for one without a label, or that is neither named nor
            true.
        n: number of images.
    """

    mean_average_precision: float
    mean_f1: float
    accuracy: float
    average_precision: Tensor
    f1: Tensor
    n: int


def evaluate_multilabel(logits: Tensor, labels: Tensor) -> MultiLabelScores:
    """Compare logits with the labels of all images of a split at once.

    Average precision is ``sum over thresholds of (recall_k - recall_k-1) * precision_k``, not interpolated, as
    scikit-learn's ``average_precision_score`` (Manning, Raghavan and Schütze 2008, "Introduction to Information
    Retrieval", section 8.4). It ranks all images, so that it can't be averaged over batches.

    Args:
        logits: floating point [N, C], such as those of `predict`.
        labels: bool or 0 and 1, [N, C].

    Raises:
        ArgumentError: shapes or types that don't fit, NaN or infinity, labels other than 0 and 1, no label at all.
    """
    if not (isinstance(logits, Tensor) and isinstance(labels, Tensor)) or logits.ndim != 2 or not len(logits):
        raise ArgumentError(
            f"logits and labels must be tensors [N, C] with at least one image; found {_told(logits)} and "
            f"{_told(labels)}."
        )
    if not logits.is_floating_point() or not bool(logits.isfinite().all()):
        raise ArgumentError(
            f"logits must be finite floating-point numbers; found {logits.dtype}"
            f"{' with NaN or infinity' if logits.is_floating_point() else ''}. Pass the network's raw outputs."
        )
    if labels.shape != logits.shape or not bool(((labels == 0) | (labels == 1)).all()):
        raise ArgumentError(
            f"labels must be bool, or 0 and 1, {list(logits.shape)} as the logits; found {_told(labels)}. Check that "
            "both come from the same split."
        )
    scores, true = logits.detach().cpu(), labels.cpu().bool()
    if not bool(true.any()):
        raise ArgumentError("No image has a label, so there is nothing to score. Check the labels.")
    counts = MULTILABEL.count(scores, true, scores.shape[1])
    rates = MULTILABEL.rates(counts)
    precision = torch.stack([_average_precision(s, t) for s, t in zip(scores.T, true.T, strict=True)])
    return MultiLabelScores(
        mean_average_precision=float(precision.nanmean()),
        mean_f1=rates.metric,
        accuracy=rates.accuracy,
        average_precision=precision,
        f1=f1_per_class(*counts[:-1].view(3, -1)),
        n=len(scores),
    )


def _average_precision(scores: Tensor, true: Tensor) -> Tensor:
    """Return AP of scores [N] for labels bool [N], float64; NaN where no image has the label."""
    order = scores.argsort(descending=True)
    ranked, right = scores[order], true[order].double().cumsum(0)
    # Equal scores share one threshold: only the last of them is a point of the curve.
    ends = torch.cat([ranked[1:] != ranked[:-1], torch.tensor([True])]).nonzero().flatten()
    precision, recall = right[ends] / (ends + 1), right[ends] / right[-1]
    return (recall.diff(prepend=recall.new_zeros(1)) * precision).sum()


def _told(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
