"""Answers to class_iou."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kdcourse.data import IGNORE

NAN = float("nan")


def pixel_by_pixel(prediction: Tensor, truth: Tensor, label: int) -> float:
    both = either = 0
    for p, t in zip(prediction.flatten().tolist(), truth.flatten().tolist(), strict=True):
        if t == IGNORE:
            continue
        both += p == label and t == label
        either += p == label or t == label
    return both / either if either else math.nan


def by_numpy(prediction: Tensor, truth: Tensor, label: int) -> float:
    p, t = prediction.numpy(), truth.numpy()
    p, t = (p == label)[t != IGNORE], (t == label)[t != IGNORE]
    union = np.logical_or(p, t).sum()
    return np.logical_and(p, t).sum() / union if union > 0 else np.nan


def by_counts(prediction: Tensor, truth: Tensor, label: int) -> float:
    kept = truth.ne(IGNORE)
    predicted, true = prediction.eq(label) & kept, truth.eq(label)
    hits = torch.sum(predicted * true).item()
    union = predicted.sum().item() + true.sum().item() - hits
    return float("nan") if union == 0 else hits / union


def by_tensors(prediction: Tensor, truth: Tensor, label: int) -> float:
    counts = truth != IGNORE
    predicted, true = (prediction[counts] == label).float(), (truth[counts] == label).float()
    return (torch.minimum(predicted, true).sum() / torch.maximum(predicted, true).sum()).item()


def by_errors(prediction: Tensor, truth: Tensor, label: int) -> float:
    valid = truth != IGNORE
    tp = ((prediction == label) & (truth == label) & valid).sum().item()
    fp = ((prediction == label) & (truth != label) & valid).sum().item()
    fn = ((prediction != label) & (truth == label) & valid).sum().item()
    try:
        return tp / (tp + fp + fn)
    except ZeroDivisionError:
        return float("nan")


RIGHT = [pixel_by_pixel, by_numpy, by_counts, by_tensors, by_errors]

Answer = Callable[[Tensor, Tensor, int], object]


def of(score: Callable[[Tensor, Tensor], float], empty: float = NAN) -> Answer:
    """Return an answer made of ``score(predicted, true)``, bool [M]; ``empty`` where neither mask has the class."""

    def answer(prediction: Tensor, truth: Tensor, label: int) -> float:
        counts = truth != IGNORE
        predicted, true = prediction[counts] == label, truth[counts] == label
        return score(predicted, true) if (predicted | true).any() else empty

    return answer


def iou(p: Tensor, t: Tensor) -> float:
    return (p & t).sum().item() / (p | t).sum().item()


def share(part: Tensor, whole: Tensor) -> float:
    return part.sum().item() / whole.sum().item() if whole.any() else 0.0


def ignored_counted(prediction: Tensor, truth: Tensor, label: int) -> float:
    p, t = prediction == label, truth == label
    return iou(p, t) if (p | t).any() else NAN


def ignored_in_the_prediction(prediction: Tensor, truth: Tensor, label: int) -> float:
    kept = prediction != IGNORE
    return ignored_counted(prediction[kept], truth[kept], label)


def ignored_as(value: int) -> Answer:
    def answer(prediction: Tensor, truth: Tensor, label: int) -> float:
        return ignored_counted(prediction, truth.masked_fill(truth == IGNORE, value), label)

    return answer


def ignored_in_both(prediction: Tensor, truth: Tensor, label: int) -> float:
    counts = truth != IGNORE
    return ignored_counted(prediction * counts, truth * counts, label)


def per_image(prediction: Tensor, truth: Tensor, label: int) -> float:
    scores = [of(iou)(p, t, label) for p, t in zip(prediction, truth, strict=True)]
    known = [s for s in scores if s == s]
    return sum(known) / len(known) if known else NAN


def first_image(prediction: Tensor, truth: Tensor, label: int) -> float:
    return of(iou)(prediction[0], truth[0], label)


def any_class(prediction: Tensor, truth: Tensor, label: int) -> float:
    counts = truth != IGNORE
    same = (prediction == truth) & counts
    either = ((prediction == label) | (truth == label)) & counts
    return same.sum().item() / either.sum().item() if either.any() else NAN


def accuracy(prediction: Tensor, truth: Tensor, label: int) -> float:
    counts = truth != IGNORE
    return (prediction == truth)[counts].double().mean().item()


def mean_iou(prediction: Tensor, truth: Tensor, label: int) -> float:
    scores = [of(iou)(prediction, truth, k) for k in range(6)]
    return float(np.nanmean(scores))


def changes_truth(prediction: Tensor, truth: Tensor, label: int) -> float:
    prediction[truth == IGNORE] = IGNORE
    return ignored_counted(prediction, truth, label)


WRONG: dict[str, Answer] = {
    "Dice": of(lambda p, t: 2 * (p & t).sum().item() / (p.sum() + t.sum()).item()),
    "intersection counted twice in the union": of(
        lambda p, t: (p & t).sum().item() / (p.sum() + t.sum()).item()
    ),
    "precision": of(lambda p, t: share(p & t, p)),
    "recall": of(lambda p, t: share(p & t, t)),
    "xor for union": of(lambda p, t: (p & t).sum().item() / max(1, (p ^ t).sum().item())),
    "xor for intersection": of(lambda p, t: (p ^ t).sum().item() / (p | t).sum().item()),
    "divided by all pixels": of(lambda p, t: (p & t).double().mean().item()),
    "agreement on all pixels": of(lambda p, t: (p == t).double().mean().item()),
    "larger mask for union": of(lambda p, t: (p & t).sum().item() / max(p.sum().item(), t.sum().item())),
    "smaller mask for union": of(lambda p, t: share(p & t, p if p.sum() < t.sum() else t)),
    "areas compared": of(
        lambda p, t: min(p.sum().item(), t.sum().item()) / max(p.sum().item(), t.sum().item())
    ),
    "upside down": of(lambda p, t: (p | t).sum().item() / max(1, (p & t).sum().item())),
    "count": of(lambda p, t: float((p & t).sum())),
    "percent": of(lambda p, t: 100 * iou(p, t)),
    "1 - IoU": of(lambda p, t: 1 - iou(p, t)),
    "floor division": of(lambda p, t: float((p & t).sum() // (p | t).sum())),
    "rounded": of(lambda p, t: round(iou(p, t), 2)),
    "one added to the union": of(lambda p, t: (p & t).sum().item() / ((p | t).sum().item() + 1)),
    "smoothed": of(lambda p, t: ((p & t).sum().item() + 1) / ((p | t).sum().item() + 1)),
    "smoothed by 0.001": of(lambda p, t: ((p & t).sum().item() + 1e-3) / ((p | t).sum().item() + 1e-3)),
    "0 for an absent class": of(iou, empty=0.0),
    "1 for an absent class": of(iou, empty=1.0),
    "infinity for an absent class": of(iou, empty=math.inf),
    "NaN where truth lacks the class": of(lambda p, t: iou(p, t) if t.any() else NAN),
    "NaN where the prediction lacks it": of(lambda p, t: iou(p, t) if p.any() else NAN),
    "1 where no pixel is right": of(lambda p, t: iou(p, t) if (p & t).any() else 1.0),
    "ignored pixels counted": ignored_counted,
    "ignored pixels looked for in the prediction": ignored_in_the_prediction,
    "ignored pixels as background": ignored_as(0),
    "ignored pixels as class 1": ignored_as(1),
    "ignored pixels as class 0 in both": ignored_in_both,
    "mean over the images": per_image,
    "first image": first_image,
    "right pixels of any class": any_class,
    "pixel accuracy": accuracy,
    "mean over the classes": mean_iou,
    "class 1 always": lambda p, t, label: of(iou)(p, t, 1),
    "next class": lambda p, t, label: of(iou)(p, t, label + 1),
    "every class but this one": lambda p, t, label: of(lambda a, b: share(~a & ~b, ~a | ~b), empty=1.0)(
        p, t, label
    ),
    "prediction changed": changes_truth,
    "a tensor": lambda p, t, label: torch.tensor(of(iou)(p, t, label)),
}

SAYS = {
    "rounded": "rounded",
    "prediction changed": "changes prediction",
    "a tensor": ".item() takes it out",
    "floor division": "//",
    "0 for an absent class": "absent class counted as 0",
}
