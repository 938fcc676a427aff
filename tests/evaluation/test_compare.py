from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import (
    Interval,
    gap_recovered,
    mcnemar,
    mean_interval,
    paired_difference,
    t_quantile,
    wilson_interval,
)

rates = st.floats(0, 1, allow_subnormal=False)
pairs = st.lists(st.tuples(rates, rates), min_size=2, max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.floats(0.01, 0.9999), st.integers(1, 3000))
def test_t_quantile_against_scipy(confidence: float, degrees: int) -> None:
    reference = stats.t.ppf((1 + confidence) / 2, degrees)
    assert t_quantile(confidence, degrees) == pytest.approx(reference, rel=1e-9)


def test_t_quantile_known_values() -> None:
    assert t_quantile(0.95, 1) == pytest.approx(math.tan(0.95 * math.pi / 2), rel=1e-12)
    assert t_quantile(0.95, 2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-12)
    assert t_quantile(0.95, 4) == pytest.approx(2.7764451051977987, rel=1e-12)
    assert t_quantile(0.95, 10**6) == pytest.approx(1.959966, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(pairs, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_intervals_against_scipy(values: list[tuple[float, float]], confidence: float) -> None:
    a, b = (list(column) for column in zip(*values, strict=True))
    ours = paired_difference(a, b, confidence)
    if np.ptp(np.subtract(a, b)) > 1e-9:  # below, SciPy warns of cancellation
        theirs = stats.ttest_rel(a, b).confidence_interval(confidence)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert ours.low <= ours.mean <= ours.high and ours.n == len(a)
    assert paired_difference(b, a, confidence).low == pytest.approx(-ours.high, abs=1e-12)
    single = mean_interval(a, confidence)
    half = stats.t.ppf((1 + confidence) / 2, len(a) - 1) * stats.sem(a)
    assert single.high - single.mean == pytest.approx(half, abs=1e-6)


def test_two_seeds_are_enough_and_by_hand() -> None:
    # Differences 0.01 and 0.03: mean 0.02, standard error 0.01, t(1 degree) = 12.7062.
    found = paired_difference([0.81, 0.84], [0.80, 0.81])
    assert found.mean == pytest.approx(0.02) and found.n == 2
    assert found.high == pytest.approx(0.02 + 0.127062, abs=1e-6)
    assert mean_interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 3)


def test_pairing_takes_out_what_the_seed_does_to_both() -> None:
    plain = [0.80, 0.85, 0.90, 0.82]
    better = [value + 0.01 for value in plain]
    found = paired_difference(better, plain)
    assert found.low > 0.0099 and found.high < 0.0101
    shuffled = paired_difference(better[1:] + better[:1], plain)
    assert shuffled.low < 0


@pytest.mark.parametrize("seed", range(20))
def test_gap_recovered_is_where_the_paired_t_test_turns(seed: int) -> None:
    """Fieller's bounds, found another way: SciPy's t test of gain - g * gap has p = 0.05 there."""
    generator = np.random.default_rng(seed)
    plain = generator.normal(0.88, 0.004, size=2 + seed % 7)
    distilled = plain + generator.normal(0.02, 0.004, size=len(plain))
    found = gap_recovered(plain, distilled, 0.95)
    if not found.reported:
        # SciPy agrees that the gap may be nothing.
        assert stats.ttest_1samp(0.95 - plain, 0).pvalue >= 0.05
        return
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx((distilled.mean() - plain.mean()) / (0.95 - plain.mean()))
    assert found.low < found.value < found.high and found.n == len(plain) and found.reason == ""
    for bound in (found.low, found.high):
        p = stats.ttest_1samp((distilled - plain) - bound * (0.95 - plain), 0).pvalue
        assert p == pytest.approx(0.05, abs=1e-9)
    assert stats.ttest_1samp((distilled - plain) - found.value * (0.95 - plain), 0).pvalue > 0.999


def test_gap_recovered_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    # True plain 0.86, distilled 0.90, teacher 0.94: G = 0.5; plain and distilled share noise.
    hits, runs = 0, 1500
    for _ in range(runs):
        shared, own = generator.normal(0, 0.004, 5), generator.normal(0, 0.004, (2, 5))
        found = gap_recovered(0.86 + shared + own[0], 0.90 + shared + own[1], 0.94)
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.5 <= found.high
    assert 0.935 <= hits / runs <= 0.965


def test_gap_recovered_by_hand() -> None:
    # No spread at all: half the gap, an interval of no width.
    found = gap_recovered([0.8, 0.8], [0.85, 0.85], 0.9)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.gap == pytest.approx(0.1) and found.reported
    assert gap_recovered([0.8, 0.8], [0.79, 0.79], 0.9).value == pytest.approx(-0.1)
    # Hinton et al. 2015, section 3: 146 errors plain, 74 distilled, 67 for the teacher.
    assert gap_recovered([-146, -146], [-74, -74], -67).value == pytest.approx(0.91, abs=0.005)


def test_gap_recovered_is_silent_without_a_gap() -> None:
    for plain, distilled, teacher, words in [
        ([0.80, 0.90], [0.86, 0.91], 0.86, "within seed noise"),
        ([0.90, 0.91], [0.92, 0.93], 0.89, "no better than the plain student"),
        ([0.9, 0.9], [0.92, 0.93], 0.9, "no better than the plain student"),
        ([0.80], [0.85], 0.9, "one seed"),
    ]:
        found = gap_recovered(plain, distilled, teacher)
        assert not found.reported and words in found.reason
        assert found.value is None and found.low is None and found.high is None
        assert found.gap == pytest.approx(teacher - np.mean(plain)) and found.n == len(plain)


def test_gap_recovered_turns_silent_where_the_gaps_own_interval_reaches_zero() -> None:
    plain, distilled = [0.80, 0.82, 0.84], [0.81, 0.83, 0.85]
    edge = mean_interval(plain).high
    assert gap_recovered(plain, distilled, edge + 1e-6).reported
    assert not gap_recovered(plain, distilled, edge - 1e-6).reported
    # A looser demand of confidence lets the same gap through.
    assert gap_recovered(plain, distilled, edge - 1e-6, confidence=0.9).reported


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_against_scipy(outcomes: list[tuple[bool, bool]]) -> None:
    a, b = (list(column) for column in zip(*outcomes, strict=True))
    only_a = sum(x and not y for x, y in outcomes)
    only_b = sum(y and not x for x, y in outcomes)
    reference = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(reference, rel=1e-9)
    assert mcnemar(torch.tensor(a), np.array(b)) == mcnemar(b, a)


def test_mcnemar_by_hand_and_at_size() -> None:
    # Five to none: 2 * (1/2)^5.
    assert mcnemar([True] * 5 + [True] * 90, [False] * 5 + [True] * 90) == 2 / 32
    assert mcnemar([True, False], [True, False]) == 1.0
    a = torch.arange(10_000) < 5_100
    assert mcnemar(a, ~a) == pytest.approx(stats.binomtest(4_900, 10_000).pvalue, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20_000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_against_scipy(n: int, share: float, confidence: float) -> None:
    successes = round(share * n)
    found = wilson_interval(successes, n, confidence)
    theirs = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= found.low <= found.mean == successes / n <= found.high <= 1 and found.n == n


def test_bad_arguments_are_named() -> None:
    nan = float("nan")
    for call, words in [
        (lambda: mean_interval([0.5]), "at least two seeds; found 1"),
        (lambda: paired_difference([0.5], [0.6]), "at least two seeds"),
        (lambda: mean_interval([]), r"found shape \[0\]"),
        (lambda: mean_interval([[0.5, 0.6]]), r"found shape \[1, 2\]"),
        (lambda: mean_interval([0.5, nan]), "finite; found"),
        (lambda: paired_difference([0.5, 0.6], [0.5]), "found 2 and 1"),
        (lambda: gap_recovered([0.5, 0.6], [0.5], 0.9), "plain and distilled.*found 2 and 1"),
        (lambda: gap_recovered([0.5], [nan], 0.9), "distilled must be finite"),
        (lambda: gap_recovered([0.5], [0.6], nan), "teacher must be a finite number"),
        (lambda: mean_interval([0.5, 0.6], 95), "confidence must lie between 0 and 1; found 95"),
        (lambda: gap_recovered([0.5], [0.6], 0.9, 0.0), "found 0.0"),
        (lambda: t_quantile(0.95, 0), "degrees must be at least 1"),
        (lambda: mcnemar([], []), r"found float64 \[0\]"),
        (lambda: mcnemar([1, 0], [True, False]), "correct_a must hold True or False.*int64"),
        (lambda: mcnemar([True], [True, False]), "found 1 and 2"),
        (lambda: wilson_interval(3, 2), "found 3 of 2"),
        (lambda: wilson_interval(0, 0), "found 0 of 0"),
        (lambda: wilson_interval(-1, 5), "found -1 of 5"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            call()
