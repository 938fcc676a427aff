"""Answers to precision_recall_at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Pair = tuple[float, float]


def pixel_by_pixel(probability: Tensor, positive: Tensor, threshold: float) -> Pair:
    tp = fp = fn = 0
    for p, is_positive in zip(probability.tolist(), positive.tolist(), strict=True):
        called = p >= threshold
        tp += called and is_positive
        fp += called and not is_positive
        fn += not called and is_positive
    return (tp / (tp + fp) if tp + fp else 1.0), tp / (tp + fn)


def by_numpy(probability: Tensor, positive: Tensor, threshold: float) -> Pair:
    called, truth = probability.numpy() >= threshold, positive.numpy()
    hits = np.sum(called & truth)
    return (hits / called.sum() if called.any() else 1.0), hits / truth.sum()


def by_selection(p: Tensor, y: Tensor, threshold: float) -> Pair:
    called = p.ge(threshold)
    if not called.any():
        return 1.0, 0.0
    return y[called].double().mean().item(), called[y].double().mean().item()


def by_dots(p: Tensor, y: Tensor, threshold: float) -> Pair:
    called, truth = (p >= threshold).float(), y.float()
    hits = torch.dot(called, truth)
    precision = torch.where(called.sum() > 0, hits / called.sum(), torch.ones(()))
    return precision.item(), (hits / truth.sum()).item()


def by_sets(p: Tensor, y: Tensor, threshold: float) -> Pair:
    called = {n for n, value in enumerate(p) if value >= threshold}
    truth = set(y.nonzero().flatten().tolist())
    hits = len(called & truth)
    return 1.0 if not called else hits / len(called), hits / len(truth)


RIGHT = [
    pixel_by_pixel,
    by_numpy,
    by_selection,
    by_dots,
    by_sets,
    lambda p, y, t: [
        1 - (~y[p >= t]).sum().item() / max(1, (p >= t).sum().item()),
        1 - (p[y] < t).sum().item() / y.sum().item(),
    ],
]


def shares(called: Tensor, positive: Tensor, nothing: float = 1.0) -> Pair:
    hits = (called & positive).sum().item()
    return (hits / called.sum().item() if called.any() else nothing), hits / positive.sum().item()


def of(score: Callable[[Tensor, Tensor], object]) -> Callable[[Tensor, Tensor, float], object]:
    return lambda p, y, t: score(p >= t, y)


def over(part: Tensor, whole: Tensor, empty: float = 0.0) -> float:
    return part.sum().item() / whole.sum().item() if whole.any() else empty


def changes_positive(p: Tensor, y: Tensor, t: float) -> Pair:
    total, called = y.sum().item(), p >= t
    y &= called
    return (y.sum().item() / called.sum().item() if called.any() else 1.0), y.sum().item() / total


WRONG = {
    ">": lambda p, y, t: shares(p > t, y),
    "<": lambda p, y, t: shares(p < t, y),
    "<=": lambda p, y, t: shares(p <= t, y),
    "0.5": lambda p, y, t: shares(p >= 0.5, y),
    "threshold + 0.01": lambda p, y, t: shares(p >= t + 0.01, y),
    "threshold - 0.01": lambda p, y, t: shares(p >= t - 0.01, y),
    "isclose": lambda p, y, t: shares((p > t) | torch.isclose(p, torch.tensor(t), rtol=0.01), y),
    "threshold among the largest": lambda p, y, t: shares(p >= t * p.max(), y),
    "rounded probabilities": lambda p, y, t: shares(p.round(decimals=1) >= t, y),
    "rounded to 2 places": lambda p, y, t: tuple(round(x, 2) for x in shares(p >= t, y)),
    "rounded to 3 places": lambda p, y, t: tuple(round(x, 3) for x in shares(p >= t, y)),
    "rounded to 4 places": lambda p, y, t: tuple(round(x, 4) for x in shares(p >= t, y)),
    "swapped": of(lambda c, y: shares(c, y)[::-1]),
    "precision twice": of(lambda c, y: (shares(c, y)[0],) * 2),
    "recall twice": of(lambda c, y: (shares(c, y)[1],) * 2),
    "precision 0 where nothing is called": of(lambda c, y: shares(c, y, 0.0)),
    "precision NaN where nothing is called": of(lambda c, y: shares(c, y, float("nan"))),
    "precision 1 where none is right": of(lambda c, y: shares(c, y) if (c & y).any() else (1.0, 0.0)),
    "recall 1 where nothing is called": of(lambda c, y: shares(c, y) if c.any() else (1.0, 1.0)),
    "accuracy for precision": of(lambda c, y: ((c == y).double().mean().item(), shares(c, y)[1])),
    "accuracy for recall": of(lambda c, y: (shares(c, y)[0], (c == y).double().mean().item())),
    "accuracy for both": of(lambda c, y: ((c == y).double().mean().item(),) * 2),
    "specificity for recall": of(lambda c, y: (shares(c, y)[0], over(~c & ~y, ~y, 1.0))),
    "false positive rate": of(lambda c, y: (over(c & ~y, ~y), shares(c, y)[1])),
    "negative predictive value": of(lambda c, y: (over(~c & ~y, ~c, 1.0), shares(c, y)[1])),
    "IoU": of(lambda c, y: (over(c & y, c | y),) * 2),
    "F1": of(lambda c, y: (2 * over(c & y, c | y) / (1 + over(c & y, c | y)),) * 2),
    "divided by all pixels": of(lambda c, y: ((c & y).double().mean().item(),) * 2),
    "hits over negatives": of(lambda c, y: (shares(c, y)[0], over(c & y, ~y))),
    "called over positive": of(lambda c, y: (shares(c, y)[0], over(c, y))),
    "false alarms and misses": of(lambda c, y: tuple(1 - x for x in shares(c, y))),
    "counts": of(lambda c, y: (float((c & y).sum()),) * 2),
    "percent": of(lambda c, y: tuple(100 * x for x in shares(c, y))),
    "epsilon of 1e-3": of(lambda c, y: ((c & y).sum().item() / (c.sum().item() + 1e-3), shares(c, y)[1])),
    "tensors": of(lambda c, y: tuple(torch.tensor(x) for x in shares(c, y))),
    "one tensor": of(lambda c, y: torch.tensor(shares(c, y))),
    "precision alone": of(lambda c, y: shares(c, y)[0]),
    "positive changed": changes_positive,
    "or for and": of(
        lambda c, y: ((c | y).sum().item() / max(1, c.sum().item()), (c | y).sum().item() / y.sum().item())
    ),
    "logical and of counts": of(lambda c, y: (shares(c, y)[0], float(bool(c.any() and y.any())))),
}

SAYS = {
    "rounded to 2 places": "rounded",
    "rounded to 3 places": "rounded",
    "rounded to 4 places": "rounded",
    "positive changed": "changes positive",
    "epsilon of 1e-3": "Input: probability = ",
}
