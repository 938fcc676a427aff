"""Answers to median_latency."""

from __future__ import annotations

import heapq
import statistics

import numpy as np
import torch


def by_sorting(seconds: list[float]) -> float:
    rest = sorted(seconds[3:])
    n = len(rest)
    if n % 2 == 1:
        return rest[n // 2]
    return (rest[n // 2 - 1] + rest[n // 2]) / 2


def without_slices(seconds: list[float]) -> float:
    kept = []
    for place, time in enumerate(seconds):
        if place > 2:
            kept.append(time)
    kept.sort()
    return 0.5 * (kept[(len(kept) - 1) // 2] + kept[len(kept) // 2])


def by_heap(seconds: list[float]) -> float:
    rest = seconds[3:]
    small = heapq.nsmallest(len(rest) // 2 + 1, rest)
    return small[-1] if len(rest) % 2 else sum(small[-2:]) / 2


def pops_three(seconds: list[float]) -> float:
    seconds.pop(0), seconds.pop(0), seconds.pop(0)
    return statistics.median(seconds)


def sorts_in_place(seconds: list[float]) -> float:
    seconds.sort()
    return statistics.median(seconds[3:])


def trimmed(seconds: list[float]) -> float:
    rest = sorted(seconds[3:])
    cut = len(rest) // 3
    return statistics.fmean(rest[cut : len(rest) - cut])


RIGHT = [
    by_sorting,
    without_slices,
    by_heap,
    lambda times: statistics.median(times[3:]),
    lambda seconds: np.percentile(np.array(seconds)[3:], 50),
    lambda s: torch.tensor(s, dtype=torch.float64)[3:].quantile(0.5).item(),
    lambda s: statistics.quantiles(s[3:], n=2, method="inclusive")[0] if len(s) > 4 else s[3],
]

WRONG = {
    "warm-up kept": lambda s: statistics.median(s),
    "mean": lambda s: statistics.fmean(s[3:]),
    "mean of everything": lambda s: float(np.mean(s)),
    "minimum": lambda s: min(s[3:]),
    "maximum": lambda s: max(s[3:]),
    "middle of the unsorted list": lambda s: s[3:][len(s[3:]) // 2],
    "upper middle": lambda s: statistics.median_high(s[3:]),
    "lower middle": lambda s: statistics.median_low(s[3:]),
    "torch.median takes the lower one": lambda s: torch.tensor(s[3:], dtype=torch.float64).median().item(),
    "sorted before the warm-up is dropped": lambda s: statistics.median(sorted(s)[3:]),
    "largest three dropped": lambda s: statistics.median(sorted(s)[:-3]),
    "last three dropped": lambda s: statistics.median(s[:-3]),
    "one dropped": lambda s: statistics.median(s[1:]),
    "two dropped": lambda s: statistics.median(s[2:]),
    "four dropped where there are enough": lambda s: statistics.median(s[4:] or s[3:]),
    "three dropped at both ends where there are enough": lambda s: statistics.median(s[3:-3] or s[3:]),
    "the first three alone": lambda s: statistics.median(s[:3]),
    "milliseconds": lambda s: 1e3 * statistics.median(s[3:]),
    "rounded to 3 places": lambda s: round(statistics.median(s[3:]), 3),
    "rounded to 2 places": lambda s: round(statistics.median(s[3:]), 2),
    "rounded to 4 places": lambda s: round(statistics.median(s[3:]), 4),
    "the caller's list emptied": pops_three,
    "the caller's list sorted": sorts_in_place,
    "trimmed mean": trimmed,
    "mean of smallest and largest": lambda s: (min(s[3:]) + max(s[3:])) / 2,
    "geometric mean": lambda s: statistics.geometric_mean(s[3:]),
    "half of the middle two's sum forgotten": lambda s: sum(
        sorted(s[3:])[(len(s) - 4) // 2 : (len(s) - 3) // 2 + 1]
    ),
    "every second time": lambda s: statistics.median(s[3::2]),
    "repeated times counted once": lambda s: statistics.median(set(s[3:])),
    "most common time": lambda s: statistics.mode(s[3:]),
    "a tensor": lambda s: torch.tensor(s[3:]).quantile(0.5),
    "a third dropped, not three": lambda s: statistics.median(s[len(s) // 3 :]),
    "slice beyond three": lambda s: statistics.median(s[3:8]),
}

SAYS = {"rounded to 3 places": "rounded", "the caller's list sorted": "sorted before dropping"}
