"""Answers to scale_and_zero_point."""

from __future__ import annotations

import math

import numpy as np
import torch


def exact(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    bottom, top = min(0.0, low), max(0.0, high)
    step = (top - bottom) / (2**bits - 1)
    return step, round(-bottom / step) - 2 ** (bits - 1)


def with_torch(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    ends = torch.tensor([low, high, 0.0], dtype=torch.float64)
    step = (ends.max() - ends.min()) / (2**bits - 1)
    return step.item(), int(torch.round(-(2 ** (bits - 1)) - ends.min() / step))


def with_ifs(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    if low > 0:
        low = 0.0
    if high < 0:
        high = 0.0
    smallest, largest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = high / (largest - smallest) - low / (largest - smallest)
    return scale, math.floor(smallest - low / scale + 0.5)


RIGHT = [
    exact,
    with_torch,
    with_ifs,
    lambda low, high, bits=8: (
        (s := np.ptp([low, high, 0.0]).item() / (2**bits - 1)),
        int(np.rint(2 ** (bits - 1) - 1 - max(high, 0) / s)),
    ),
    lambda a, b, n=8: (
        (np.clip(b, 0, None) - np.clip(a, None, 0)) / (2**n - 1),
        round(-np.clip(a, None, 0) * (2**n - 1) / (np.clip(b, 0, None) - np.clip(a, None, 0)) - 2 ** (n - 1)),
    ),
]


def scale(low: float, high: float, bits: int = 8) -> float:
    return exact(low, high, bits)[0]


def zero(low: float, high: float, bits: int = 8) -> int:
    return exact(low, high, bits)[1]


WRONG = {
    "0 forgotten": lambda a, b, n=8: (s := (b - a) / (2**n - 1), round(-(2 ** (n - 1)) - a / s)),
    "only low widened": lambda a, b, n=8: exact(min(a, 0), b, n) if b > 0 else (-b, 0),
    "only high widened": lambda a, b, n=8: (
        s := (max(b, 0) - a) / (2**n - 1), round(-(2 ** (n - 1)) - a / s)
    ),
    "256 steps": lambda a, b, n=8: (s := (max(b, 0) - min(a, 0)) / 2**n, round(-(2 ** (n - 1)) - min(a, 0) / s)),
    "127 steps": lambda a, b, n=8: ((2**n - 1) / (2 ** (n - 1) - 1) * scale(a, b, n), zero(a, b, n)),
    "absolute maximum": lambda a, b, n=8: (max(abs(a), abs(b)) / (2 ** (n - 1) - 1), 0),
    "symmetric with 255 steps": lambda a, b, n=8: (2 * max(abs(a), abs(b)) / (2**n - 1), 0),
    "unsigned": lambda a, b, n=8: (scale(a, b, n), zero(a, b, n) + 2 ** (n - 1)),
    "zero point negated": lambda a, b, n=8: (scale(a, b, n), -zero(a, b, n)),
    "zero point one higher": lambda a, b, n=8: (scale(a, b, n), zero(a, b, n) + 1),
    "zero point one lower": lambda a, b, n=8: (scale(a, b, n), zero(a, b, n) - 1),
    "zero point 0": lambda a, b, n=8: (scale(a, b, n), 0),
    "zero point smallest": lambda a, b, n=8: (scale(a, b, n), -(2 ** (n - 1))),
    "zero point as a float": lambda a, b, n=8: (scale(a, b, n), float(zero(a, b, n))),
    "zero point not rounded": lambda a, b, n=8: (scale(a, b, n), -(2 ** (n - 1)) - min(a, 0) / scale(a, b, n)),
    "zero point down": lambda a, b, n=8: (scale(a, b, n), int(-(2 ** (n - 1)) - min(a, 0) / scale(a, b, n))),
    "zero point up": lambda a, b, n=8: (scale(a, b, n), math.ceil(-(2 ** (n - 1)) - min(a, 0) / scale(a, b, n))),
    "inverse scale": lambda a, b, n=8: (1 / scale(a, b, n), zero(a, b, n)),
    "always 8 bits": lambda a, b, n=8: exact(a, b),
    "one bit more": lambda a, b, n=8: exact(a, b, n + 1),
    "swapped": lambda a, b, n=8: exact(a, b, n)[::-1],
    "scale alone": lambda a, b, n=8: scale(a, b, n),
    "ends swapped": lambda a, b, n=8: exact(-b, -a, n),
    "scale rounded": lambda a, b, n=8: (round(scale(a, b, n), 3), zero(a, b, n)),
    "scale a power of two": lambda a, b, n=8: (2.0 ** math.ceil(math.log2(scale(a, b, n))), zero(a, b, n)),
    "tensors": lambda a, b, n=8: (torch.tensor(scale(a, b, n)), torch.tensor(zero(a, b, n))),
}  # fmt: skip

SAYS = {"0 forgotten": "0 not in the range", "256 steps": "as many steps as numbers"}
