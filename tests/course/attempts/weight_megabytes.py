"""Answers to weight_megabytes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch


def step_by_step(parameters: int, bits: int) -> float:
    total_bits = 0
    for _ in range(bits):
        total_bits += parameters
    size = total_bits / 8
    return size / 10**6


def by_kilobytes(parameters: int, bits: int) -> float:
    kilobytes = parameters * bits / 8 / 1000
    return kilobytes / 1000


def by_cases(parameters: int, bits: int) -> float:
    return parameters * {32: 4, 16: 2, 8: 1}.get(bits, 1) / 1e6


RIGHT = [
    step_by_step,
    by_kilobytes,
    lambda n, b: n * (b / 8) * 1e-6,
    lambda parameters, bits: float(Fraction(parameters * bits, 8 * 10**6)),
    lambda n, b: (n * b / 8) / 1_000_000,
    lambda n, b: np.multiply(n, b) / 8 / 1e6,
    lambda n, b: torch.tensor(n * b, dtype=torch.float64).div(8e6).item(),
]

WRONG = {
    "bits taken for bytes": lambda n, b: n * b / 1e6,
    "mebibytes": lambda n, b: n * b / 8 / 1024**2,
    "mebibytes by shifting": lambda n, b: n * b / (1 << 23),
    "kilobytes of 1,000 and megabytes of 1,024": lambda n, b: n * b / 8 / 1000 / 1024,
    "bytes": lambda n, b: n * b / 8,
    "kilobytes": lambda n, b: n * b / 8e3,
    "gigabytes": lambda n, b: n * b / 8e9,
    "a byte of ten bits": lambda n, b: n * b / 10 / 1e6,
    "bits ignored": lambda n, b: 4 * n / 1e6,
    "bits ignored, float64": lambda n, b: 8 * n / 1e6,
    "times eight": lambda n, b: n * b * 8 / 1e6,
    "int() of the megabytes": lambda n, b: int(n * b / 8 / 1e6),
    "floor division throughout": lambda n, b: n * b // 8 // 10**6,
    "half a byte rounded up": lambda n, b: math.ceil(n * b / 8) / 1e6,
    "half a byte rounded down": lambda n, b: (n * b) // 8 / 1e6,
    "whole bytes per parameter": lambda n, b: n * math.ceil(b / 8) / 1e6,
    "whole bytes per parameter by //": lambda n, b: n * (b // 8) / 1e6,
    "only the common widths known": by_cases,
    "rounded to 2 places": lambda n, b: round(n * b / 8e6, 2),
    "rounded to 3 places": lambda n, b: round(n * b / 8e6, 3),
    "rounded to 6 places": lambda n, b: round(n * b / 8e6, 6),
    "divided by 32, not by 8": lambda n, b: n * b / 32 / 1e6,
    "sum for product": lambda n, b: (n + b) / 8 / 1e6,
    "inverted": lambda n, b: 8e6 / (n * b),
    "text with a unit": lambda n, b: f"{n * b / 8e6} MB",
    "a tensor": lambda n, b: torch.tensor(n * b / 8e6),
    "power for product": lambda n, b: n**b / 8 / 1e6,
    "precedence: divides the 8 by 1e6": lambda n, b: n * b / (8 / 1e6),
}

SAYS = {
    "int() of the megabytes": "int()",
    "floor division throughout": "int()",
    "rounded to 3 places": "rounded",
    "a tensor": ".item() takes it out",
    "sum for product": "Input: parameters = ",
}
