"""Judge whether a difference is real: intervals over seeds, share of the gap recovered, paired tests.

The quantile of Student's t comes from its closed form for whole degrees of freedom, so that the
package needs no SciPy to run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from torch import Tensor

from kdcourse.errors import ArgumentError


@dataclass(frozen=True)
class Interval:
    """Hold an estimate with its confidence interval, from ``n`` observations, in their own unit."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class GapRecovered:
    """Hold the share of the gap between baseline student and teacher that distillation closes.

    ``value``, ``low`` and ``high`` are None unless ``reported``: a ratio over a gap that may be
    zero means nothing. ``reason`` then says why, in words; it is "" otherwise. ``gap`` is teacher
    minus mean plain student, ``n`` the number of paired seeds.
    """

    value: float | None
    low: float | None
    high: float | None
    gap: float
    n: int
    reported: bool
    reason: str


def _confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ArgumentError(f"confidence must lie between 0 and 1; found {confidence}. 0.95 is usual.")


def _values(values: Sequence[float], name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ArgumentError(
            f"{name} must be a list of numbers, one per seed; found shape {list(array.shape)}. "
            "Give the result of every seed."
        )
    if not np.isfinite(array).all():
        raise ArgumentError(
            f"{name} must be finite; found {array.tolist()}. Leave out no seed: "
            "find out why one diverged, and train it again in both arms."
        )
    return array


def _pairs(a: Sequence[float], b: Sequence[float], names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    first, second = _values(a, names[0]), _values(b, names[1])
    if len(first) != len(second):
        raise ArgumentError(
            f"{names[0]} and {names[1]} are paired by seed and must have one length; found {len(first)} "
            f"and {len(second)}. Run the same seeds in both."
        )
    return first, second


def t_quantile(confidence: float, degrees: int) -> float:
    """Return the t with P(-t < T < t) = confidence, for Student's T with ``degrees`` degrees of freedom.

    Bisection on the angle theta = atan(t / sqrt(degrees)), for which the probability is a finite
    sum of powers of its cosine (Abramowitz and Stegun 1964, 26.7.3 for odd and 26.7.4 for even
    degrees).

    Raises:
        ArgumentError: confidence outside (0, 1), fewer than one degree of freedom.
    """
    _confidence(confidence)
    if degrees < 1:
        raise ArgumentError(f"degrees must be at least 1; found {degrees}. An interval needs two seeds.")
    odd = degrees % 2 == 1
    # Ratios of successive terms: odd 2/3, 4/5, ... up to degrees - 3; even 1/2, 3/4, ...
    steps = np.arange(2 if odd else 1, degrees - 2, 2, dtype=np.float64)
    ratios = steps / (steps + 1)

    def probability(theta: float) -> float:
        sine, cosine = math.sin(theta), math.cos(theta)
        series = float(np.cumprod(ratios * cosine**2).sum()) + 1
        if not odd:
            return sine * series
        return 2 / math.pi * (theta + (sine * cosine * series if degrees > 1 else 0.0))

    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Compute the mean over seeds with its two-sided interval by Student's t.

    mean +- t * s / sqrt(n), s with n - 1 in the denominator, t at n - 1 degrees of freedom.

    Raises:
        ArgumentError: fewer than two values (one seed says nothing about spread), NaN or infinity,
            confidence outside (0, 1).
    """
    array = _values(values, "values")
    n = len(array)
    if n < 2:
        raise ArgumentError("An interval needs at least two seeds; found 1. Run more, 5 or more for a claim.")
    mean = float(array.mean())
    half = t_quantile(confidence, n - 1) * float(array.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """Compute the mean of a - b over paired seeds, with its interval by Student's t.

    ``a[i]`` and ``b[i]`` share seed i (initial weights, order of the batches): what the seed alone
    does to both cancels, so the interval is narrower than that of two separate means.

    Raises:
        ArgumentError: lengths that differ, and as `mean_interval`.
    """
    first, second = _pairs(a, b, ("a", "b"))
    return mean_interval((first - second).tolist(), confidence)


def gap_recovered(
    plain: Sequence[float], distilled: Sequence[float], teacher: float, confidence: float = 0.95
) -> GapRecovered:
    """Compute G = (mean distilled - mean plain) / (teacher - mean plain), paired by seed.

    All three are scores where more is better, in one unit (for errors or losses pass them negated).
    0: distillation adds nothing; 1: the student is as good as its teacher; below 0: it hurts.

    The interval is Fieller's (1954, "Some problems in interval estimation", for two correlated
    means): all g for which a paired t test doesn't reject mean(gain - g * gap) = 0, with gain_i =
    distilled_i - plain_i and gap_i = teacher - plain_i. It is bounded exactly where the gap's own
    t interval excludes 0, which is the rule for reporting G at all. The teacher counts as a
    fixed number: the interval covers the students' seeds, not those of the teacher.

    Never fails for want of evidence: one seed, or a gap within seed noise, gives ``reported=False``.

    Raises:
        ArgumentError: lengths that differ, no seed, NaN or infinity, confidence outside (0, 1).
    """
    _confidence(confidence)
    first, second = _pairs(plain, distilled, ("plain", "distilled"))
    if not math.isfinite(teacher):
        raise ArgumentError(f"teacher must be a finite number; found {teacher}. Evaluate the teacher first.")
    n = len(first)
    gains, gaps = second - first, teacher - first
    gain, gap = float(gains.mean()), float(gaps.mean())

    def unreported(reason: str) -> GapRecovered:
        return GapRecovered(None, None, None, gap, n, False, reason)

    if gap <= 0:
        return unreported(
            f"the teacher ({teacher:.4g}) is no better than the plain student "
            f"({float(first.mean()):.4g} on average)"
        )
    if n < 2:
        return unreported("one seed says nothing about seed noise; run two or more")
    # k * variance is the square of the half-width of a t interval.
    k = t_quantile(confidence, n - 1) ** 2 / n
    covariance = np.cov(gains, gaps)
    a = gap**2 - k * float(covariance[1, 1])
    if a <= 0:
        half = math.sqrt(k * float(covariance[1, 1]))
        return unreported(
            f"the gap between teacher and plain student ({gap:.4g} +- {half:.4g} at {confidence:.4g} "
            "confidence) is within seed noise; run more seeds or choose a smaller student"
        )
    b = gain * gap - k * float(covariance[0, 1])
    c = gain**2 - k * float(covariance[0, 0])
    root = math.sqrt(max(0.0, b * b - a * c))
    return GapRecovered(gain / gap, (b - root) / a, (b + root) / a, gap, n, True, "")


def mcnemar(correct_a: Sequence[bool] | Tensor, correct_b: Sequence[bool] | Tensor) -> float:
    """Compute the exact two-sided p that two models, scored on the same images, are equally accurate.

    correct_a, correct_b: bool [N]. Only images that one model alone gets right count; if the models
    are equal, each falls to either with probability 1/2 (McNemar 1947; exact binomial form). It speaks
    of these two trained models, not of other seeds: for those, `paired_difference`.

    Raises:
        ArgumentError: lengths that differ, nothing inside, values other than True and False.
    """
    flags = []
    for name, value in (("correct_a", correct_a), ("correct_b", correct_b)):
        array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        if array.ndim != 1 or len(array) == 0 or array.dtype != np.bool_:
            raise ArgumentError(
                f"{name} must hold True or False for each image; found {array.dtype} {list(array.shape)}. "
                "Pass logits.argmax(1) == labels."
            )
        flags.append(array)
    first, second = flags
    if len(first) != len(second):
        raise ArgumentError(
            f"correct_a and correct_b must speak of the same images; found {len(first)} and {len(second)}. "
            "Predict the same split with both models."
        )
    only_a, only_b = int((first & ~second).sum()), int((~first & second).sum())
    n, fewer = only_a + only_b, min(only_a, only_b)
    # Whole numbers throughout: no rounding, however many images there are.
    term = total = 1
    for k in range(1, fewer + 1):
        term = term * (n - k + 1) // k
        total += term
    return min(1.0, float(2 * total / 2**n))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Compute a rate, such as the accuracy on ``n`` test images, with Wilson's score interval.

    Wilson 1927; stays inside 0..1 and is sound at 0 and n successes too. It covers the draw of the
    test images, not the seed of the training.

    Raises:
        ArgumentError: n below 1, successes outside 0..n, confidence outside (0, 1).
    """
    _confidence(confidence)
    if n < 1 or not 0 <= successes <= n:
        raise ArgumentError(
            f"successes must lie in 0..n, n at least 1; found {successes} of {n}. Pass counts, not shares."
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At the ends the bound is 0 or 1 exactly; the subtraction leaves a rounding error.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(rate, low, high, n)
