"""Answers to points_gained."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np


def step_by_step(plain: float, distilled: float) -> float:
    gain = distilled - plain
    return gain / 0.01


RIGHT = [
    step_by_step,
    lambda plain, distilled: 100 * (distilled - plain),
    lambda a, b: 100 * b - 100 * a,
    lambda a, b: float(100 * (Fraction(b) - Fraction(a))),
    lambda a, b: float((Decimal(str(b)) - Decimal(str(a))) * 100),
    lambda a, b: float(np.diff([100 * a, 100 * b])[0]),
]

WRONG = {
    "share for points": lambda a, b: b - a,
    "sides swapped": lambda a, b: 100 * (a - b),
    "sign lost": lambda a, b: abs(100 * (b - a)),
    "harm hidden": lambda a, b: max(0.0, 100 * (b - a)),
    "relative gain": lambda a, b: 100 * (b - a) / a,
    "relative to the distilled": lambda a, b: 100 * (b - a) / b,
    "ratio": lambda a, b: b / a,
    "ratio in percent": lambda a, b: 100 * b / a,
    "times 10": lambda a, b: 10 * (b - a),
    "times 1,000": lambda a, b: 1_000 * (b - a),
    "divided by 100": lambda a, b: (b - a) / 100,
    "brackets missing": lambda a, b: 100 * b - a,
    "brackets missing, other side": lambda a, b: b - 100 * a,
    "sum": lambda a, b: 100 * (a + b),
    "mean": lambda a, b: 50 * (a + b),
    "distilled alone": lambda a, b: 100 * b,
    "plain alone": lambda a, b: 100 * a,
    "share of the errors removed": lambda a, b: 100 * (b - a) / (1 - a) if a < 1 else 0.0,
    "ratio of the errors": lambda a, b: (1 - a) / (1 - b) if b < 1 else 0.0,
    "whole points": lambda a, b: round(100 * (b - a)),
    "whole points, cut": lambda a, b: int(100 * (b - a)),
    "whole points, down": lambda a, b: math.floor(100 * (b - a)),
    "accuracies rounded first": lambda a, b: round(100 * b) - round(100 * a),
    "one place": lambda a, b: round(100 * (b - a), 1),
    "squared": lambda a, b: 100 * (b - a) ** 2,
    "a text": lambda a, b: f"{100 * (b - a):.1f}",
    "nothing": lambda a, b: 0.0,
}
