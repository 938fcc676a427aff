"""Answers to paired_interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats

from kdcourse.evaluation import paired_difference, t_quantile

Triple = tuple[float, float, float]


def with_loops(plain: list[float], distilled: list[float]) -> Triple:
    differences = []
    for i in range(len(plain)):
        differences.append(distilled[i] - plain[i])
    n = len(differences)
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    half = t_quantile(0.95, n - 1) * math.sqrt(variance / n)
    return mean, mean - half, mean + half


def with_numpy(plain: list[float], distilled: list[float]) -> Triple:
    d = np.subtract(distilled, plain)
    half = stats.t.ppf(0.975, d.size - 1) * d.std(ddof=1) / np.sqrt(d.size)
    return d.mean(), d.mean() - half, d.mean() + half


def with_scipy(plain: list[float], distilled: list[float]) -> Triple:
    d = np.array(distilled) - np.array(plain)
    low, high = stats.t.interval(0.95, len(d) - 1, loc=d.mean(), scale=stats.sem(d))
    return float(d.mean()), float(low), float(high)


def with_the_package(plain: list[float], distilled: list[float]) -> Triple:
    result = paired_difference(distilled, plain)
    return result.mean, result.low, result.high


def with_torch(plain: list[float], distilled: list[float]) -> Triple:
    d = torch.tensor(distilled, dtype=torch.float64) - torch.tensor(plain, dtype=torch.float64)
    mean, half = d.mean(), t_quantile(0.95, len(d) - 1) * d.std() / len(d) ** 0.5
    return mean.item(), (mean - half).item(), (mean + half).item()


def interval(
    quantile: Callable[[int], float] = lambda n: t_quantile(0.95, n - 1),
    spread: Callable[[np.ndarray], float] = lambda d: float(np.std(d, ddof=1)),
    scale: Callable[[int], float] = math.sqrt,
) -> Callable[[list[float], list[float]], Triple]:
    def answer(plain: list[float], distilled: list[float]) -> Triple:
        d = np.array(distilled) - np.array(plain)
        mean, half = float(d.mean()), quantile(len(d)) * spread(d) / scale(len(d))
        return mean, mean - half, mean + half

    return answer


right = interval()


def half_of(p: list[float], d: list[float]) -> float:
    return right(p, d)[2] - right(p, d)[0]


def by_welch(p: list[float], d: list[float]) -> Triple:
    found = stats.ttest_ind(d, p, equal_var=False).confidence_interval(0.95)
    return float(np.mean(d) - np.mean(p)), float(found.low), float(found.high)


def two_intervals(p: list[float], d: list[float]) -> Triple:
    ends = [stats.t.interval(0.95, len(x) - 1, loc=np.mean(x), scale=stats.sem(x)) for x in (p, d)]
    mean = float(np.mean(d) - np.mean(p))
    return mean, float(ends[1][0] - ends[0][1]), float(ends[1][1] - ends[0][0])


def changes_distilled(p: list[float], d: list[float]) -> Triple:
    for n, value in enumerate(p):
        d[n] -= value
    return right([0.0] * len(d), d)


def around_the_median(p: list[float], d: list[float]) -> Triple:
    middle = statistics.median(np.array(d) - np.array(p))
    return float(middle), float(middle - half_of(p, d)), float(middle + half_of(p, d))


def percentiles(p: list[float], d: list[float]) -> Triple:
    x = np.array(d) - np.array(p)
    return float(x.mean()), float(np.percentile(x, 2.5)), float(np.percentile(x, 97.5))


RIGHT = [with_loops, with_numpy, with_scipy, with_the_package, with_torch, right]

WRONG = {
    "1.96": interval(lambda n: 1.96),
    "2": interval(lambda n: 2.0),
    "1": interval(lambda n: 1.0),
    "2.776 by heart": interval(lambda n: 2.776),
    "n degrees": interval(lambda n: t_quantile(0.95, n)),
    "n - 2 degrees": interval(lambda n: t_quantile(0.95, max(1, n - 2))),
    "2 n - 2 degrees": interval(lambda n: t_quantile(0.95, 2 * n - 2)),
    "0.975 to t_quantile": interval(lambda n: t_quantile(0.975, n - 1)),
    "0.95 to SciPy's ppf": interval(lambda n: float(stats.t.ppf(0.95, n - 1))),
    "99 %": interval(lambda n: t_quantile(0.99, n - 1)),
    "90 %": interval(lambda n: t_quantile(0.90, n - 1)),
    "half of 95 %": interval(lambda n: t_quantile(0.475, n - 1)),
    "population spread": interval(spread=lambda d: float(np.std(d))),
    "variance": interval(spread=lambda d: float(np.var(d, ddof=1))),
    "root of the spread": interval(spread=lambda d: math.sqrt(np.std(d, ddof=1))),
    "range": interval(spread=lambda d: float(np.ptp(d))),
    "mean absolute deviation": interval(spread=lambda d: float(np.abs(d - d.mean()).mean())),
    "n": interval(scale=float),
    "no root": interval(scale=lambda n: 1.0),
    "root of n - 1": interval(scale=lambda n: math.sqrt(n - 1)),
    "half the width": interval(scale=lambda n: 2 * math.sqrt(n)),
    "unpaired": by_welch,
    "two intervals subtracted": two_intervals,
    "paired with the next seed": lambda p, d: right(p, d[1:] + d[:1]),
    "sorted first": lambda p, d: right(sorted(p), sorted(d)),
    "plain - distilled": lambda p, d: right(d, p),
    "relative differences": lambda p, d: right(
        [0.0] * len(p), [b / a - 1 for a, b in zip(p, d, strict=True)]
    ),
    "percentage points": lambda p, d: tuple(100 * x for x in right(p, d)),
    "low, mean, high": lambda p, d: (right(p, d)[1], right(p, d)[0], right(p, d)[2]),
    "mean, high, low": lambda p, d: (right(p, d)[0], right(p, d)[2], right(p, d)[1]),
    "mean and half": lambda p, d: (right(p, d)[0], half_of(p, d)),
    "ends alone": lambda p, d: right(p, d)[1:],
    "mean, half, half": lambda p, d: (right(p, d)[0], -half_of(p, d), half_of(p, d)),
    "around the median": around_the_median,
    "percentiles": percentiles,
    "smallest and largest difference": lambda p, d: (
        right(p, d)[0],
        min(b - a for a, b in zip(p, d, strict=True)),
        max(b - a for a, b in zip(p, d, strict=True)),
    ),
    "distilled changed": changes_distilled,
    "rounded": lambda p, d: tuple(round(x, 3) for x in right(p, d)),
    "an array": lambda p, d: np.array(right(p, d)),
    "no negative ends": lambda p, d: (right(p, d)[0], max(0.0, right(p, d)[1]), right(p, d)[2]),
}

SAYS = {
    "distilled changed": "changes distilled",
    "rounded": "rounded",
    "root of n - 1": "too wide",
    "99 %": "Your result: ",
}
