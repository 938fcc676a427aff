"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

import math
import statistics

import numpy as np
import torch
from torch import nn

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right


wrong(
    "weight_megabytes",
    bits_for_bytes=lambda n, b: n / 1_000_000 * b,
    mebibytes=lambda n, b: n * (b / 8) / 1024 / 1024,
    bytes_for_megabytes=lambda n, b: n * (b / 8),
    kilobytes=lambda n, b: n * (b / 8) / 1000,
    always_four_bytes=lambda n, b: n * 32 / 8 / 10**6,
    multiplied_by_eight=lambda n, b: 8 * n * b / 10**6,
    whole_bytes_per_parameter=lambda n, b: float(n * int(b / 8)) / 10**6,
    whole_bytes=lambda n, b: math.floor(n * b / 8) / 10**6,
    rounded=lambda n, b: float(f"{n * b / 8e6:.2f}"),
)
right(
    "weight_megabytes",
    lambda n, b: n * b / 8_000_000,
    lambda n, b: float(np.float64(n) * b * 0.125e-6),
)


def macs_by_loops(i: int, o: int, k: int, h: int, w: int) -> int:
    total = 0
    for _ in range(h):
        for _ in range(w):
            total += i * o * k * k
    return total


def macs_by_torch(i: int, o: int, k: int, h: int, w: int) -> int:
    conv = nn.Conv2d(i, o, k, padding=k // 2, bias=False)
    return conv.weight.numel() * conv(torch.zeros(1, i, h, w))[0, 0].numel()


wrong(
    "conv_macs",
    kernel_not_squared=lambda i, o, k, h, w: macs_by_loops(i, o, 1, h, w) * k,
    **{"operations for multiply-accumulates": lambda i, o, k, h, w: macs_by_loops(i, o, k, h, w) * 2},
    image_size_forgotten=lambda i, o, k, h, w: nn.Conv2d(i, o, k, bias=False).weight.numel(),
    padding_forgotten=lambda i, o, k, h, w: i * o * k * k * (h - (k - 1)) * (w - (k - 1)),
    input_channels_missing=lambda i, o, k, h, w: macs_by_loops(1, o, k, h, w),
    output_channels_missing=lambda i, o, k, h, w: macs_by_loops(i, 1, k, h, w),
    bias_counted=lambda i, o, k, h, w: macs_by_loops(i, o, k, h, w) + o * h * w,
    image_taken_for_a_square=lambda i, o, k, h, w: macs_by_loops(i, o, k, h, h),
)
right("conv_macs", macs_by_loops, macs_by_torch)


def middle(times: list[float]) -> float:
    times = sorted(times[3:])
    half = len(times) // 2
    return times[half] if len(times) % 2 else (times[half - 1] + times[half]) / 2


def sorts_its_input(times: list[float]) -> float:
    del times[:3]
    return statistics.median(times)


wrong(
    "median_latency",
    **{"warm-up kept": lambda s: float(np.median(s))},
    mean_for_median=lambda s: sum(s[3:]) / len(s[3:]),
    **{"mean with warm-up": lambda s: sum(s) / len(s)},
    **{"warm-up alone kept": lambda s: sorted(s[:3])[1]},
    fastest_for_typical=lambda s: sorted(s[3:])[0],
    lower_of_two_in_the_middle=lambda s: torch.tensor(s[3:]).median().item(),
    sorted_before_dropping=lambda s: float(np.median(np.sort(s)[3:])),
    upper_of_two_in_the_middle=lambda s: statistics.median_high(s[3:]),
    two_dropped=lambda s: middle([s[0], *s]),
    milliseconds=lambda s: middle(s) * 1e3,
    inputs_changed=sorts_its_input,
)
right("median_latency", middle, lambda s: float(np.median(s[3:])), lambda s: np.quantile(s[3:], 0.5))
