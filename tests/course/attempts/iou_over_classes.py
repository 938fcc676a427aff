"""Answers to iou_over_classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def class_by_class(confusion: Tensor) -> float:
    scores = []
    for k in range(len(confusion)):
        right = confusion[k, k].item()
        union = confusion[k].sum().item() + confusion[:, k].sum().item() - right
        if union > 0:
            scores.append(right / union)
    return sum(scores) / len(scores)


def by_numpy(confusion: Tensor) -> float:
    c = confusion.numpy().astype(float)
    with np.errstate(invalid="ignore"):
        return np.nanmean(np.diag(c) / (c.sum(0) + c.sum(1) - np.diag(c)))


def by_einsum(confusion: Tensor) -> float:
    c = confusion.float()
    hits = torch.einsum("kk->k", c)
    union = torch.einsum("kj->k", c) + torch.einsum("jk->k", c) - hits
    return torch.nanmean(hits / union).item()


def by_errors(confusion: Tensor) -> float:
    tp = confusion.diag()
    fn, fp = confusion.sum(dim=1) - tp, confusion.sum(dim=0) - tp
    total = tp + fp + fn
    return (tp[total != 0] / total[total != 0]).mean().item()


def with_a_count(confusion: Tensor) -> float:
    c = confusion.double()
    hits = torch.diagonal(c)
    union = c.sum(-1) + c.sum(-2) - hits
    return (torch.sum(hits / union.clamp(min=1)) / union.count_nonzero()).item()


RIGHT = [class_by_class, by_numpy, by_einsum, by_errors, with_a_count]

Ratio = Callable[[Tensor, Tensor, Tensor], Tensor]


def parts(confusion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    c = confusion.double()
    return c.diagonal(), c.sum(1), c.sum(0)


def mean_of(ratio: Ratio, keep: Callable[[Tensor, Tensor], Tensor] = lambda t, c: t + c > 0) -> Callable:
    def answer(confusion: Tensor) -> float:
        right, true, called = parts(confusion)
        return ratio(right, true, called).nan_to_num(0.0)[keep(true, called)].mean().item()

    return answer


def ious(r: Tensor, t: Tensor, c: Tensor) -> Tensor:
    return r / (t + c - r)


def changes_confusion(confusion: Tensor) -> float:
    hits = confusion.diagonal().clone()
    confusion.fill_diagonal_(0)
    union = confusion.sum(0) + confusion.sum(1) + hits
    return (hits[union > 0] / union[union > 0]).mean().item()


def summed(confusion: Tensor) -> float:
    return ious(*parts(confusion)).nansum().item()


WRONG = {
    "all classes, 0 / 0 as 0": mean_of(ious, lambda t, c: t >= 0),
    "all classes, 0 / 0 as 1": lambda m: ious(*parts(m)).nan_to_num(1.0).mean().item(),
    "all classes, NaN": lambda m: ious(*parts(m)).mean().item(),
    "a tiny number in the union": lambda m: (
        (parts(m)[0] / (m.sum(0) + m.sum(1) - parts(m)[0] + 1e-9)).mean().item()
    ),
    "classes of truth alone": mean_of(ious, lambda t, c: t > 0),
    "classes of the prediction alone": mean_of(ious, lambda t, c: c > 0),
    "classes of both": mean_of(ious, lambda t, c: (t > 0) & (c > 0)),
    "classes with a right pixel, or 0": lambda m: (
        ious(*parts(m))[parts(m)[0] > 0].mean().nan_to_num(0.0).item()
    ),
    "recall": mean_of(lambda r, t, c: r / t),
    "precision": mean_of(lambda r, t, c: r / c),
    "recall of the classes there": mean_of(lambda r, t, c: r / t, lambda t, c: t > 0),
    "F1": mean_of(lambda r, t, c: 2 * r / (t + c)),
    "row and column": mean_of(lambda r, t, c: r / (t + c)),
    "diagonal taken away twice": mean_of(lambda r, t, c: r / (t + c - 2 * r)),
    "diagonal added": mean_of(lambda r, t, c: r / (t + c + r)),
    "rows for columns": mean_of(lambda r, t, c: r / (t + t - r)),
    "columns for rows": mean_of(lambda r, t, c: r / (c + c - r)),
    "larger of row and column": mean_of(lambda r, t, c: r / torch.maximum(t, c)),
    "divided by all pixels": mean_of(lambda r, t, c: r / t.sum()),
    "pixel accuracy": lambda m: (m.trace() / m.sum()).item(),
    "pooled": lambda m: (parts(m)[0].sum() / (2 * m.sum() - m.trace())).item(),
    "weighted by true pixels": lambda m: (
        (ious(*parts(m)).nan_to_num(0.0) * m.sum(1)).sum() / m.sum()
    ).item(),
    "class 0 left out": lambda m: ious(*parts(m))[1:].nanmean().item(),
    "last class left out": lambda m: ious(*parts(m))[:-1].nanmean().nan_to_num(0.0).item(),
    "median of the classes": lambda m: ious(*parts(m)).nanmedian().item(),
    "worst class": lambda m: ious(*parts(m)).nan_to_num(2.0).min().item(),
    "sum": summed,
    "divided by a class too many": lambda m: summed(m) / (len(m) + 1),
    "divided by a class too few": lambda m: summed(m) / max(1, int((m.sum(0) + m.sum(1) > 0).sum()) - 1),
    "percent": lambda m: 100 * class_by_class(m),
    "rounded": lambda m: round(class_by_class(m), 2),
    "floor division": mean_of(lambda r, t, c: r // (t + c - r)),
    "one per class": lambda m: ious(*parts(m)),
    "a tensor": lambda m: ious(*parts(m)).nanmean(),
    "confusion changed": changes_confusion,
    "rows normalised": lambda m: class_by_class(m.double() / m.sum(1, keepdim=True).clamp(min=1)),
    "all entries": lambda m: (m / (m.sum(0) + m.sum(1)[:, None] - m)).nanmean().item(),
    "keepdim broadcasting": lambda m: (
        (m.diagonal() / (m.sum(1, keepdim=True) + m.sum(0) - m.diagonal())).nanmean().item()
    ),
    "three classes": lambda m: class_by_class(m[:3, :3]),
}

SAYS = {"rounded": "rounded", "confusion changed": "changes confusion", "keepdim broadcasting": "[C, C]"}
