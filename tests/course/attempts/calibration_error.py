"""Answers to calibration_error."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def by_edges(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    edges = torch.linspace(0, 1, bins + 1)
    error = 0.0
    for k in range(bins):
        low, high = edges[k], edges[k + 1]
        last = k == bins - 1
        inside = (confidence >= low) & ((confidence <= high) if last else (confidence < high))
        if inside.sum() == 0:
            continue
        gap = (correct[inside].float().mean() - confidence[inside].mean()).abs()
        error += (inside.sum() / len(confidence) * gap).item()
    return error


def by_bincount(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = torch.minimum((confidence * bins).floor().long(), torch.tensor(bins - 1))
    sums = torch.bincount(where, weights=confidence.double(), minlength=bins)
    rights = torch.bincount(where, weights=correct.double(), minlength=bins)
    return ((rights - sums).abs().sum() / len(confidence)).item()


def by_numpy(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    c, r = confidence.numpy().astype(float), correct.numpy().astype(float)
    number = np.clip((c * bins).astype(int), 0, bins - 1)
    return sum(abs(r[number == k].sum() - c[number == k].sum()) for k in range(bins)) / c.size


def by_dictionary(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    groups: dict[int, list[float]] = {}
    for c, r in zip(confidence.tolist(), correct.tolist(), strict=True):
        groups.setdefault(min(int(c * bins), bins - 1), []).append(r - c)
    return sum(abs(sum(gaps)) for gaps in groups.values()) / len(confidence)


def by_scatter(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64)
    gaps.scatter_add_(0, where, correct.double() - confidence.double())
    return gaps.abs().sum().item() / confidence.numel()


RIGHT = [by_edges, by_bincount, by_numpy, by_dictionary, by_scatter]


def where_of(confidence: Tensor, bins: int, most: int | None = None) -> Tensor:
    return (confidence * bins).long().clamp(max=bins - 1 if most is None else most)


def over_bins(confidence: Tensor, correct: Tensor, where: Tensor, bins: int, power: float = 1.0) -> float:
    error = 0.0
    for k in range(bins):
        inside = where == k
        if inside.any():
            gap = correct[inside].double().mean() - confidence[inside].double().mean()
            error += inside.double().mean().item() * abs(gap.item()) ** power
    return error


def nan_bins(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = where_of(confidence, bins)
    error = 0.0
    for k in range(bins):
        inside = where == k
        gap = correct[inside].double().mean() - confidence[inside].double().mean()
        error += inside.double().mean().item() * abs(gap.item())
    return error


def unweighted(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = where_of(confidence, bins)
    gaps = [
        abs((correct[where == k].double().mean() - confidence[where == k].double().mean()).item())
        for k in where.unique()
    ]
    return float(np.mean(gaps))


def signed(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    return abs((correct.double() - confidence.double()).mean().item())


def overconfidence_only(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = where_of(confidence, bins)
    gaps = [(confidence[where == k] - correct[where == k].float()).sum().clamp(min=0) for k in range(bins)]
    return (sum(gaps) / len(confidence)).item()


def weighted_by_the_right(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = where_of(confidence, bins)
    error = 0.0
    for k in where.unique():
        inside = where == k
        gap = correct[inside].double().mean() - confidence[inside].double().mean()
        error += (correct[inside].sum() / correct.sum()).item() * abs(gap.item())
    return error


def median_confidence(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = where_of(confidence, bins)
    error = 0.0
    for k in where.unique():
        inside = where == k
        gap = correct[inside].double().mean() - confidence[inside].double().median()
        error += inside.double().mean().item() * abs(gap.item())
    return error


def open_bins(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    """Leave out a confidence of 1, which no half-open bin holds."""
    return over_bins(confidence, correct, (confidence * bins).long(), bins)


def returns_early(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = where_of(confidence, bins)
    for k in range(bins):
        inside = where == k
        if inside.any():
            gap = correct[inside].double().mean() - confidence[inside].double().mean()
            return inside.double().mean().item() * abs(gap.item())
    return 0.0


def stops_at_an_empty_bin(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = where_of(confidence, bins)
    error = 0.0
    for k in reversed(range(bins)):
        inside = where == k
        if not inside.any():
            break
        gap = correct[inside].double().mean() - confidence[inside].double().mean()
        error += inside.double().mean().item() * abs(gap.item())
    return error


def sorts_confidence_alone(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    ordered = confidence.sort().values
    return over_bins(ordered, correct, where_of(ordered, bins), bins)


WRONG = {
    "clamp(max=9)": lambda c, r, bins=10: over_bins(c, r, where_of(c, bins, most=9), bins),
    "clamp(max=9) and ten bins gone through": lambda c, r, bins=10: over_bins(
        c, r, where_of(c, bins, most=9), 10
    ),
    "clamp(max=bins)": lambda c, r, bins=10: over_bins(c, r, where_of(c, bins, most=bins), bins),
    "a confidence of 1 left out": open_bins,
    "a confidence of 1 in a bin of its own": lambda c, r, bins=10: over_bins(
        c, r, (c * bins).long(), bins + 1
    ),
    "ten bins always": lambda c, r, bins=10: over_bins(c, r, where_of(c, 10), 10),
    "first bin left out": lambda c, r, bins=10: over_bins(c, r, where_of(c, bins) - 1, bins),
    "last bin left out": lambda c, r, bins=10: over_bins(c, r, where_of(c, bins), bins - 1),
    "rounded to the nearest edge": lambda c, r, bins=10: over_bins(c, r, (c * bins).round().long(), bins + 1),
    "bins from the smallest to the largest confidence": lambda c, r, bins=10: over_bins(
        c, r, ((c - c.min()) / (c.max() - c.min() + 1e-9) * bins).long().clamp(max=bins - 1), bins
    ),
    "bins from one half to 1": lambda c, r, bins=10: over_bins(
        c, r, ((2 * c - 1) * bins).long().clamp(0, bins - 1), bins
    ),
    "bins of equal count": lambda c, r, bins=10: over_bins(
        c, r, (c.argsort().argsort() * bins / len(c)).long(), bins
    ),
    "bins not weighted": unweighted,
    "signed gaps": signed,
    "squared gaps": lambda c, r, bins=10: over_bins(c, r, where_of(c, bins), bins, power=2.0),
    "image by image": lambda c, r, bins=10: (c.double() - r.double()).abs().mean().item(),
    "Brier score": lambda c, r, bins=10: (c.double() - r.double()).square().mean().item(),
    "overconfidence only": overconfidence_only,
    "weighted by the right ones": weighted_by_the_right,
    "median confidence": median_confidence,
    "middle of the bin": lambda c, r, bins=10: over_bins(
        (where_of(c, bins) + 0.5) / bins, r, where_of(c, bins), bins
    ),
    "lower edge of the bin": lambda c, r, bins=10: over_bins(
        where_of(c, bins) / bins, r, where_of(c, bins), bins
    ),
    "NaN for an empty bin": nan_bins,
    "return inside the loop": returns_early,
    "stops at an empty bin": stops_at_an_empty_bin,
    "confidence sorted without correct": sorts_confidence_alone,
    "sum of counts, not of shares": lambda c, r, bins=10: len(c) * over_bins(c, r, where_of(c, bins), bins),
    "percent": lambda c, r, bins=10: 100 * over_bins(c, r, where_of(c, bins), bins),
    "1 - error": lambda c, r, bins=10: 1 - over_bins(c, r, where_of(c, bins), bins),
    "wrong ones for right ones": lambda c, r, bins=10: over_bins(c, ~r, where_of(c, bins), bins),
    "rounded": lambda c, r, bins=10: round(over_bins(c, r, where_of(c, bins), bins), 3),
    "a tensor": lambda c, r, bins=10: torch.tensor(over_bins(c, r, where_of(c, bins), bins)),
}

SAYS = {"a confidence of 1 left out": "exactly 1", "rounded": "rounded", "NaN for an empty bin": "NaN"}
