"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right


wrong(
    "recovered",
    gain_alone=lambda p, d, t: d - p,
    gap_still_open=lambda p, d, t: 1 - (d - p) / (t - p),
    divided_by_the_gap_still_open=lambda p, d, t: (p - d) / (d - t),
    upside_down=lambda p, d, t: 1 / ((d - p) / (t - p)),
    relative_gain=lambda p, d, t: d / p - 1,
    percent_for_share=lambda p, d, t: (d - p) / (t - p) * 100,
    harm_hidden=lambda p, d, t: (d - p) / (t - p) if d > p else 0.0,
    brackets_missing=lambda p, d, t: d - p / t - p,
    **{
        "share of the teacher's accuracy": lambda p, d, t: 1 - (t - d) / t,
        "gain as a share of the teacher's accuracy": lambda p, d, t: d / t - p / t,
        "cut to 0..1": lambda p, d, t: float(np.clip((d - p) / (t - p), 0, 1)),
    },
)
right(
    "recovered",
    lambda p, d, t: 1 - (t - d) / (t - p),
    lambda p, d, t: float(np.linalg.solve([[t - p]], [d - p])[0]),
    lambda p, d, t: ((1 - p) - (1 - d)) / ((1 - p) - (1 - t)),
)


def differences(p: list[float], d: list[float]) -> np.ndarray:
    return np.array(d) - np.array(p)


def by_scipy(p: list[float], d: list[float]) -> tuple[float, float, float]:
    result = stats.ttest_rel(d, p)
    interval = result.confidence_interval(0.95)
    return float(np.mean(differences(p, d))), float(interval.low), float(interval.high)


TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 6: 2.447}


def by_table(p: list[float], d: list[float]) -> tuple[Any, ...]:
    x = differences(p, d)
    half = TABLE[len(x) - 1] * x.std(ddof=1) / np.sqrt(len(x))
    return x.mean(), x.mean() - half, x.mean() + half


def around(x: np.ndarray, half: float) -> tuple[float, float, float]:
    return float(x.mean()), float(x.mean() - half), float(x.mean() + half)


def unpaired(p: list[float], d: list[float]) -> tuple[float, float, float]:
    interval = stats.ttest_ind(d, p).confidence_interval(0.95)
    return float(np.mean(d) - np.mean(p)), float(interval.low), float(interval.high)


def t_of(n: int, level: float = 0.975) -> float:
    return float(stats.t.ppf(level, n))


wrong(
    "paired_interval",
    normal_for_t=lambda p, d: around(x := differences(p, d), 1.96 * stats.sem(x)),
    two_for_t=lambda p, d: around(x := differences(p, d), 2 * stats.sem(x)),
    not_paired=unpaired,
    root_of_n_missing=lambda p, d: around(x := differences(p, d), t_of(len(x) - 1) * x.std(ddof=1)),
    one_degree_too_many=lambda p, d: around(x := differences(p, d), t_of(len(x)) * stats.sem(x)),
    sides_swapped=lambda p, d: by_scipy(d, p),
    mean_in_the_middle=lambda p, d: (by_scipy(p, d)[1], by_scipy(p, d)[0], by_scipy(p, d)[2]),
    wrong_length=lambda p, d: by_scipy(p, d)[1:],
    points_for_shares=lambda p, d: tuple(100 * end for end in by_scipy(p, d)),
    one_standard_error=lambda p, d: around(x := differences(p, d), stats.sem(x)),
    **{
        "n for n - 1 in the spread": lambda p, d: around(
            x := differences(p, d), t_of(len(x) - 1) * x.std() / len(x) ** 0.5
        ),
        "0.975 for 0.95": lambda p, d: around(
            x := differences(p, d), t_of(len(x) - 1, 0.9875) * stats.sem(x)
        ),
        "one-sided": lambda p, d: around(x := differences(p, d), t_of(len(x) - 1, 0.95) * stats.sem(x)),
    },
)
right("paired_interval", by_scipy, by_table)


def looped_agreement(z: Tensor, v: Tensor) -> float:
    same = [a.index(max(a)) == b.index(max(b)) for a, b in zip(z.tolist(), v.tolist(), strict=True)]
    return sum(same) / len(same)


wrong(
    "agreement_with_teacher",
    largest_over_the_wrong_axis=lambda z, v: looped_agreement(z.T, v.T),
    count_for_share=lambda z, v: looped_agreement(z, v) * float(len(z)),
    percent_for_share=lambda z, v: looped_agreement(z, v) * 100,
    disagreement=lambda z, v: 1 - looped_agreement(z, v),
    logits_compared=lambda z, v: torch.isclose(z, v).float().mean().item(),
    largest_logits_compared=lambda z, v: (z.amax(1) == v.amax(1)).float().mean().item(),
    whole_ranking_compared=lambda z, v: float(np.mean((np.argsort(z, 1) == np.argsort(v, 1)).numpy().all(1))),
    number_left_in_a_tensor=lambda z, v: (z.argmax(1) == v.argmax(1)).float().mean(),
)
right(
    "agreement_with_teacher",
    looped_agreement,
    lambda z, v: float(np.mean(z.numpy().argmax(1) == v.numpy().argmax(1))),
)


def looped_pairs(a: Tensor, b: Tensor) -> tuple[int, int]:
    one = two = 0
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        one += x and not y
        two += y and not x
    return one, two


wrong(
    "discordant_pairs",
    order_swapped=lambda a, b: looped_pairs(b, a),
    all_that_each_gets_right=lambda a, b: (sum(a.tolist()), sum(b.tolist())),
    where_they_agree=lambda a, b: (int(torch.logical_and(a, b).sum()), int(torch.logical_not(a | b).sum())),
    shares_for_counts=lambda a, b: tuple(float(n) / a.numel() for n in looped_pairs(a, b)),
    both_directions_together=lambda a, b: (int((a ^ b).sum()),) * 2,
    both_right_on_both_sides=lambda a, b: (int((a * b).sum()), int((b * a).sum())),
    or_for_and=lambda a, b: (int((a | ~b).sum()), int((b | ~a).sum())),
    won_minus_lost=lambda a, b: (int((a.int() - b.int()).sum()), int((b.int() - a.int()).sum())),
    number_left_in_a_tensor=lambda a, b: ((a & ~b).sum(), (b & ~a).sum()),
    wrong_type=lambda a, b: int((a != b).sum()),
)
right(
    "discordant_pairs",
    looped_pairs,
    lambda a, b: (int((a.int() > b.int()).sum()), int((a.int() < b.int()).sum())),
    lambda a, b: [np.sum(a.numpy() & ~b.numpy()), np.sum(b.numpy() & ~a.numpy())],
)


def wilson(right: int, images: int, z: float = 1.96) -> tuple[float, float]:
    result = stats.binomtest(right, images).proportion_ci(2 * stats.norm.cdf(z) - 1, method="wilson")
    return result.low, result.high


def plain_interval(right: int, images: int) -> tuple[float, float]:
    p = right / images
    half = 1.96 * np.sqrt(p - p**2) / np.sqrt(images)
    return p - half, p + half


wrong(
    "wilson_ends",
    one_standard_error=lambda r, n: wilson(r, n, 1.0),
    percent_for_shares=lambda r, n: tuple(100 * end for end in wilson(r, n)),
    ends_swapped=lambda r, n: (wilson(r, n)[1], wilson(r, n)[0]),
    **{
        "without the terms of z squared": plain_interval,
        "z for 90 %": lambda r, n: wilson(r, n, 1.645),
        "share of the wrong images": lambda r, n: (1 - wilson(r, n)[1], 1 - wilson(r, n)[0]),
        "fraction in front missing": lambda r, n: tuple((1 + 1.96**2 / n) * end for end in wilson(r, n)),
    },
)
right(
    "wilson_ends",
    wilson,
    lambda r, n: tuple(
        sorted(np.roots([1 + 1.96**2 / n, -(2 * r / n + 1.96**2 / n), (r / n) ** 2]).real.tolist())
    ),
)


def losses(z: Tensor, y: Tensor, temperatures: list[float]) -> list[float]:
    return [-(z / t).log_softmax(1)[torch.arange(len(y)), y].mean().item() for t in temperatures]


def lowest(z: Tensor, y: Tensor, temperatures: list[float]) -> tuple[float, float]:
    loss, temperature = min(zip(losses(z, y, temperatures), temperatures, strict=True))
    return temperature, loss


wrong(
    "best_temperature",
    highest_for_lowest=lambda z, y, c: max(zip(losses(z, y, c), c, strict=True))[::-1],
    multiplied=lambda z, y, c: (lambda found: (1 / found[0], found[1]))(lowest(z, y, [1 / t for t in c])),
    loss_first=lambda z, y, c: lowest(z, y, c)[::-1],
    sum_over_the_images=lambda z, y, c: (lowest(z, y, c)[0], len(y) * lowest(z, y, c)[1]),
    place_for_candidate=lambda z, y, c: (int(np.argmin(losses(z, y, c))), min(losses(z, y, c))),
    **{
        "softmax twice": lambda z, y, c: lowest_of_probabilities(z, y, c),
        "times T squared": lambda z, y, c: min(
            zip([t * t * one for t, one in zip(c, losses(z, y, c), strict=True)], c, strict=True)
        )[::-1],
    },
)
right(
    "best_temperature",
    lowest,
    lambda z, y, c: (lambda found: (c[int(np.argmin(found))], float(np.min(found))))(
        losses(z.double(), y, c)
    ),
)


def lowest_of_probabilities(z: Tensor, y: Tensor, temperatures: list[float]) -> tuple[float, float]:
    found = [losses((z / t).softmax(1), y, [1.0])[0] for t in temperatures]
    return temperatures[int(np.argmin(found))], min(found)
