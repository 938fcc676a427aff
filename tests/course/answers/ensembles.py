"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right


def added_up(z: Tensor) -> Tensor:
    total = torch.zeros_like(z[0])
    for member in z:
        total = total + member
    return total / len(z)


wrong(
    "mean_of_logits",
    sum_for_mean=lambda z: added_up(z) * len(z),
    mean_over_the_images=lambda z: torch.mean(z, 1),
    mean_over_the_classes=lambda z: torch.mean(z, -1),
    probabilities_averaged=lambda z: added_up(torch.softmax(z, -1)),
    softmax_at_the_end=lambda z: torch.softmax(added_up(z), -1),
    first_member_only=lambda z: next(iter(z)),
    most_certain_member=lambda z: torch.amax(z, 0),
)
right(
    "mean_of_logits", added_up, lambda z: torch.from_numpy(z.numpy().mean(0)), lambda z: z.sum(0) / z.shape[0]
)


def naive_probabilities(z: Tensor) -> Tensor:
    e = torch.exp(z)
    return (e / e.sum(-1, keepdim=True)).mean(0)


wrong(
    "mean_of_probabilities",
    logits_averaged_first=lambda z: F.softmax(added_up(z), dim=-1),
    softmax_over_the_members=lambda z: F.softmax(z, dim=0).mean(0),
    softmax_over_the_images=lambda z: F.softmax(z, dim=1).mean(0),
    softmax_left_out=added_up,
    sum_for_mean=lambda z: F.softmax(z, dim=-1).sum(0),
    log_at_the_end=lambda z: torch.log(F.softmax(z, dim=-1).mean(0)),
    probabilities_multiplied=lambda z: F.softmax(z, dim=-1).prod(0) ** (1 / len(z)),
    overflow=naive_probabilities,
)
right(
    "mean_of_probabilities",
    lambda z: added_up(torch.stack([F.softmax(member, dim=-1) for member in z])),
    lambda z: (z.log_softmax(-1).logsumexp(0) - math.log(len(z))).exp(),
)


def all_pairs(p: Any) -> list[float]:
    p = np.asarray(p)
    return [float((p[i] != p[j]).mean()) for i in range(len(p)) for j in range(i + 1, len(p))]


def overwritten(p: Tensor) -> float:
    pairs = list(itertools.combinations(range(len(p)), 2))
    total = 0.0
    for i, j in pairs:
        total = (p[i] != p[j]).float().mean().item()
    return total / len(pairs)


def columns_for_rows(p: Tensor) -> float:
    pairs = list(itertools.combinations(range(p.shape[1]), 2))
    total = 0.0
    for i, j in pairs:
        total += (p[:, i] != p[:, j]).float().mean().item()
    return total / len(pairs)


wrong(
    "pairwise_disagreement",
    pairs_of_a_member_with_itself=lambda p: float(np.mean([[(a != b).float().mean() for a in p] for b in p])),
    agreement_for_disagreement=lambda p: 1 - statistics.mean(all_pairs(p)),
    sum_over_the_pairs=lambda p: sum(all_pairs(p)),
    neighbours_only=lambda p: float(np.mean([(p[i] != p[i + 1]).float().mean() for i in range(len(p) - 1)])),
    all_compared_with_the_first=lambda p: float(np.mean([(p[0] != q).float().mean() for q in p[1:]])),
    any_disagreement=lambda p: float(np.mean([len(set(column)) > 1 for column in p.T.tolist()])),
    count_for_share=lambda p: statistics.mean(all_pairs(p)) * p.size(1),
    images_paired=columns_for_rows,
    last_pair_only=overwritten,
)
right(
    "pairwise_disagreement",
    lambda p: statistics.mean(all_pairs(p)),
    lambda p: (torch.pdist(p.double(), p=0) / p.shape[1]).mean().item(),
)


def in_bins(confidence: Tensor, correct: Tensor, bins: int) -> list[tuple[int, float]]:
    c, k = confidence.double().numpy(), correct.numpy()
    found = []
    for b in range(bins):
        inside = (c > b / bins) & (c <= (b + 1) / bins)
        if inside.any():
            found.append((int(inside.sum()), float(k[inside].mean() - c[inside].mean())))
    return found


def edges(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    return sum(count * abs(gap) for count, gap in in_bins(confidence, correct, bins)) / len(confidence)


def by_counting(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1)[1:-1])
    hits = torch.bincount(where, weights=correct.double(), minlength=bins)
    sure = torch.bincount(where, weights=confidence.double(), minlength=bins)
    return float((hits - sure).abs().sum() / len(confidence))


def against_the_middles(c: Tensor, k: Tensor, bins: int = 10) -> float:
    error = 0.0
    for b in range(bins):
        inside = (c > b / bins) & (c <= (b + 1) / bins)
        if inside.any():
            error += float(
                inside.float().mean() * (k[inside].float().mean() - (2 * b + 1) / (2 * bins)).abs()
            )
    return error


wrong(
    "calibration_error",
    bins_not_weighted=lambda c, k, bins=10: float(np.mean([abs(g) for _, g in in_bins(c, k, bins)])),
    empty_bins_counted=lambda c, k, bins=10: sum(abs(g) for _, g in in_bins(c, k, bins)) / bins,
    gaps_cancel=lambda c, k, bins=10: sum(n * g for n, g in in_bins(c, k, bins)) / len(c),
    one_bin=lambda c, k, bins=10: abs(c.mean() - k.float().mean()).item(),
    image_by_image=lambda c, k, bins=10: float(np.mean(np.abs(c.numpy() - k.numpy()))),
    largest_gap=lambda c, k, bins=10: max(abs(g) for _, g in in_bins(c, k, bins)),
    squared_gaps=lambda c, k, bins=10: sum(n * g * g for n, g in in_bins(c, k, bins)) / len(c),
    number_of_bins_ignored=lambda c, k, bins=10: edges(c, k, 10),
    middle_of_the_bin_for_its_confidence=against_the_middles,
)
right("calibration_error", edges, by_counting)
