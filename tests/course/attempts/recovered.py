"""Answers to recovered."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch


def in_words(plain: float, distilled: float, teacher: float) -> float:
    gain = distilled - plain
    gap = teacher - plain
    return gain / gap


def by_errors(plain: float, distilled: float, teacher: float) -> float:
    errors = [1 - accuracy for accuracy in (plain, distilled, teacher)]
    return (errors[0] - errors[1]) / (errors[0] - errors[2])


def by_fractions(p: float, d: float, t: float) -> float:
    p, d, t = Fraction(p), Fraction(d), Fraction(t)
    return float((d - p) / (t - p))


RIGHT = [
    in_words,
    by_errors,
    by_fractions,
    lambda p, d, t: np.float64(d - p) / np.float64(t - p),
    lambda p, d, t: 1 - (t - d) / (t - p),
    lambda p, d, t: (p - d) / (p - t),
    lambda p, d, t: (
        torch.sub(d, p, alpha=1).div(t - p).item() if torch.is_tensor(d) else (d - p) * (t - p) ** -1
    ),
]


def g(p: float, d: float, t: float) -> float:
    return (d - p) / (t - p)


WRONG = {
    "abs of the gap": lambda p, d, t: (d - p) / abs(t - p),
    "abs of the gain": lambda p, d, t: abs(d - p) / (t - p),
    "abs of both": lambda p, d, t: abs(d - p) / abs(t - p),
    "abs of the share": lambda p, d, t: abs(g(p, d, t)),
    "cut to 0..1": lambda p, d, t: min(1.0, max(0.0, g(p, d, t))),
    "cut at 1": lambda p, d, t: min(1.0, g(p, d, t)),
    "cut at 0": lambda p, d, t: max(0.0, g(p, d, t)),
    "cut to -1..1": lambda p, d, t: float(np.clip(g(p, d, t), -1, 1)),
    "0 for a teacher that isn't better": lambda p, d, t: g(p, d, t) if t > p else 0.0,
    "NaN for a teacher that isn't better": lambda p, d, t: g(p, d, t) if t > p else float("nan"),
    "0 for a harm": lambda p, d, t: g(p, d, t) if d > p else 0.0,
    "gain": lambda p, d, t: d - p,
    "gap left": lambda p, d, t: (t - d) / (t - p),
    "divided by the gap left": lambda p, d, t: (d - p) / (t - d),
    "upside down where it can be": lambda p, d, t: (t - p) / (d - p) if d != p else 0.0,
    "relative gain": lambda p, d, t: (d - p) / p,
    "of the teacher's accuracy": lambda p, d, t: d / t,
    "gain over the teacher": lambda p, d, t: (d - p) / t,
    "brackets missing": lambda p, d, t: d - p / t - p,
    "first brackets only": lambda p, d, t: (d - p) / t - p,
    "percent": lambda p, d, t: 100 * g(p, d, t),
    "rounded to 2 places": lambda p, d, t: round(g(p, d, t), 2),
    "rounded to 3 places": lambda p, d, t: round(g(p, d, t), 3),
    "sign turned": lambda p, d, t: -g(p, d, t),
    "gap against a perfect teacher": lambda p, d, t: (d - p) / (1 - p),
    "errors divided": lambda p, d, t: (1 - d) / (1 - p),
    "epsilon in the gap": lambda p, d, t: (d - p) / (t - p + 1e-3),
    "sorted first": lambda p, d, t: g(*sorted((p, d, t))) if len({p, d, t}) == 3 else 0.0,
    "arguments in another order": lambda t, d, p: g(p, d, t),
    "plain and distilled swapped": lambda p, d, t: g(d, p, t),
    "floor division": lambda p, d, t: (d - p) // (t - p),
    "text": lambda p, d, t: f"{100 * g(p, d, t):.0f} %",
    "a tensor": lambda p, d, t: torch.tensor(g(p, d, t)),
    "product": lambda p, d, t: (d - p) * (t - p),
}

SAYS = {
    "0 for a teacher that isn't better": "as it is, also where the teacher is worse",
    "NaN for a teacher that isn't better": "as it is, also where the teacher is worse",
    "abs of the gap": "sign lost where the teacher is worse",
    "rounded to 2 places": "rounded",
    "rounded to 3 places": "rounded",
    "gap against a perfect teacher": "Expected: ",
}
