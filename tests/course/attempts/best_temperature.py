"""Answers to best_temperature."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import log_softmax


def loop(logits: torch.Tensor, labels: torch.Tensor, candidates: list[float]) -> tuple[float, float]:
    best, lowest = candidates[0], math.inf
    for candidate in candidates:
        loss = F.cross_entropy(logits / candidate, labels).item()
        if loss < lowest:
            best, lowest = candidate, loss
    return best, lowest


def all_at_once(logits: torch.Tensor, labels: torch.Tensor, candidates: list[float]) -> tuple[float, float]:
    scaled = logits[None].double() / torch.tensor(candidates, dtype=torch.float64)[:, None, None]
    chosen = F.log_softmax(scaled, dim=-1)[:, torch.arange(len(labels)), labels].mean(dim=1)
    return candidates[int(chosen.argmax())], -float(chosen.max())


def with_numpy(logits: torch.Tensor, labels: torch.Tensor, candidates: list[float]) -> tuple[float, float]:
    z, y = logits.double().numpy(), labels.numpy()
    losses = [-log_softmax(z / t, axis=1)[np.arange(len(y)), y].mean() for t in candidates]
    return candidates[int(np.argmin(losses))], float(np.min(losses))


def sums_and_pairs(
    logits: torch.Tensor, labels: torch.Tensor, candidates: list[float]
) -> tuple[float, float]:
    pairs = [(F.nll_loss((logits / t).log_softmax(1), labels, reduction="sum").item(), t) for t in candidates]
    loss, best = min(pairs)
    return best, loss / len(labels)


def without_gradients(
    logits: torch.Tensor, labels: torch.Tensor, candidates: list[float]
) -> tuple[float, float]:
    with torch.no_grad():
        criterion = torch.nn.CrossEntropyLoss()
        losses = {t: float(criterion(logits.div(t), labels)) for t in candidates}
    best = sorted(losses, key=losses.__getitem__)[0]
    return best, losses[best]


RIGHT = [loop, all_at_once, with_numpy, sums_and_pairs, without_gradients]


def by(loss, best=min):
    """Return an answer that keeps the best value of ``loss``, and returns the right cross-entropy there."""

    def answer(logits, labels, candidates):
        chosen = best(candidates, key=lambda t: float(loss(logits, labels, t)))
        return chosen, F.cross_entropy(logits / chosen, labels).item()

    return answer


def its(loss, best=min):
    """Return an answer that keeps the best value of ``loss``, and returns that value."""

    def answer(logits, labels, candidates):
        losses = [float(loss(logits, labels, t)) for t in candidates]
        return candidates[losses.index(best(losses))], best(losses)

    return answer


def error(z, y, t, bins=10):
    confidence, predicted = (z / t).softmax(1).max(1)
    edges = torch.linspace(0, 1, bins + 1)
    total = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = confidence[inside].mean() - (predicted[inside] == y[inside]).float().mean()
            total += float(gap.abs()) * float(inside.float().mean())
    return total


WRONG = {
    "highest cross-entropy": by(lambda z, y, t: F.cross_entropy(z / t, y), max),
    "times T": its(lambda z, y, t: F.cross_entropy(z * t, y)),
    "times T, right loss": by(lambda z, y, t: F.cross_entropy(z * t, y)),
    "minus T": its(lambda z, y, t: F.cross_entropy(z - t, y)),
    "T left out": its(lambda z, y, t: F.cross_entropy(z, y)),
    "root of T": its(lambda z, y, t: F.cross_entropy(z / t**0.5, y)),
    "T squared": its(lambda z, y, t: F.cross_entropy(z / t**2, y)),
    "loss divided by T": its(lambda z, y, t: F.cross_entropy(z, y) / t),
    "loss times T": its(lambda z, y, t: t * F.cross_entropy(z / t, y)),
    "loss times T squared": its(lambda z, y, t: t**2 * F.cross_entropy(z / t, y)),
    "softmax before the cross-entropy": its(lambda z, y, t: F.cross_entropy((z / t).softmax(1), y)),
    "softmax before the division": its(lambda z, y, t: F.cross_entropy(z.softmax(1) / t, y)),
    "softmax over the images": its(lambda z, y, t: F.nll_loss((z / t).log_softmax(0), y)),
    "nll_loss of probabilities": its(lambda z, y, t: F.nll_loss((z / t).softmax(1), y)),
    "right class's probability": by(lambda z, y, t: (z / t).softmax(1)[torch.arange(len(y)), y].mean(), max),
    "predicted class for the label": its(lambda z, y, t: F.cross_entropy(z / t, z.argmax(1))),
    "accuracy": by(lambda z, y, t: ((z / t).argmax(1) == y).float().mean(), max),
    "squared error": its(lambda z, y, t: F.mse_loss((z / t).softmax(1), F.one_hot(y, z.shape[1]).float())),
    "lowest entropy": by(lambda z, y, t: torch.special.entr((z / t).softmax(1)).sum(1).mean()),
    "highest entropy": by(lambda z, y, t: torch.special.entr((z / t).softmax(1)).sum(1).mean(), max),
    "calibration error": its(error),
    "only the first 8 images": its(lambda z, y, t: F.cross_entropy(z[:8] / t, y[:8])),
    "worst image": its(lambda z, y, t: F.cross_entropy(z / t, y, reduction="none").max()),
    "median over the images": its(lambda z, y, t: F.cross_entropy(z / t, y, reduction="none").median()),
    "sum over the images": its(lambda z, y, t: F.cross_entropy(z / t, y, reduction="sum")),
    "label smoothing": its(lambda z, y, t: F.cross_entropy(z / t, y, label_smoothing=0.1)),
    "bits": its(lambda z, y, t: F.cross_entropy(z / t, y) / math.log(2)),
    "always 1": lambda z, y, c: (1.0, F.cross_entropy(z, y).item()),
    "first candidate": lambda z, y, c: (c[0], F.cross_entropy(z / c[0], y).item()),
    "last candidate": lambda z, y, c: (c[-1], F.cross_entropy(z / c[-1], y).item()),
    "place": lambda z, y, c: (c.index(loop(z, y, c)[0]), loop(z, y, c)[1]),
    "loss first": lambda z, y, c: loop(z, y, c)[::-1],
    "only the temperature": lambda z, y, c: loop(z, y, c)[0],
    "loss without scaling": lambda z, y, c: (loop(z, y, c)[0], F.cross_entropy(z, y).item()),
    "loss rounded to 2 places": lambda z, y, c: (loop(z, y, c)[0], round(loop(z, y, c)[1], 2)),
    "stops at the first rise": lambda z, y, c: next(
        (
            (a, F.cross_entropy(z / a, y).item())
            for a, b in itertools.pairwise(c)
            if F.cross_entropy(z / b, y) > F.cross_entropy(z / a, y)
        ),
        (c[-1], F.cross_entropy(z / c[-1], y).item()),
    ),
    "never below 1": lambda z, y, c: loop(z, y, [t for t in c if t >= 1]),
}
