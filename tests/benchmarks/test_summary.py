"""Medians, spreads, ratios, agreement of accuracies and fitted exponents, on runs whose answer is known."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks.harness import Comparison, Measured, Run
from benchmarks.summary import agreement, power_law, ratios, summarise
from tests.benchmarks import fake

COMPARISON = Comparison(
    "c", "Which?", {"ours": lambda s: Measured(1.0), "theirs": lambda s: Measured(2.0)}, {}, {}
)


def runs(side: str, seconds: list[float], accuracies: list[float] | None = None) -> list[Run]:
    return [
        Run(side, at, "measured", seconds=each, accuracy=accuracies[at] if accuracies else None, peak_memory=100 + at,
            details={"part": each / 2})
        for at, each in enumerate(seconds)
    ]  # fmt: skip


def test_ratios_pair_repetitions_and_their_median_is_not_the_ratio_of_medians() -> None:
    ours, theirs = [1.0, 2.0, 4.0], [10.0, 30.0, 12.0]
    assert ratios(runs("ours", ours), runs("theirs", theirs)) == [10.0, 15.0, 3.0]
    found = summarise(COMPARISON, runs("ours", ours) + runs("theirs", theirs), {})["sides"]
    assert found["theirs"]["ratio"] == {"median": 10.0, "min": 3.0, "max": 15.0}
    assert found["theirs"]["seconds"] == {"median": 12.0, "min": 10.0, "max": 30.0}
    assert found["ours"]["peak_memory"] == 102
    assert found["ours"]["details"] == {"part": 1.0}
    assert (found["ours"]["ours"], found["theirs"]["ours"]) == (True, False)


def test_a_repetition_that_lacks_one_side_has_no_ratio() -> None:
    assert ratios(runs("ours", [1.0, 2.0])[1:], runs("theirs", [8.0, 6.0, 7.0])) == [3.0]


def test_overhead_is_ours_over_the_floor() -> None:
    both = runs("ours", [1.2, 1.1]) + runs("theirs", [1.0, 1.0])
    found = summarise(replace(COMPARISON, floor=True), both, {})["sides"]["theirs"]["overhead"]
    assert found["median"] == pytest.approx(0.15)
    assert (found["min"], found["max"]) == (pytest.approx(0.1), pytest.approx(0.2))


def test_accuracies_agree_within_the_t_interval_over_seeds() -> None:
    ours, theirs = [0.80, 0.84, 0.88], [0.86, 0.90, 0.94]
    found = agreement(ours, theirs, pictures=10**9)
    # SciPy's own two-sample t interval of the difference.
    interval = stats.ttest_ind(theirs, ours).confidence_interval(0.95)
    assert found["difference"] == pytest.approx(statistics.fmean(theirs) - statistics.fmean(ours))
    assert found["tolerance"] == pytest.approx((interval.high - interval.low) / 2)
    assert found["agree"] is True
    assert agreement(ours, [each + 0.04 for each in theirs], pictures=10**9)["agree"] is False


def test_seeds_that_lie_close_by_chance_still_leave_the_noise_of_the_pictures() -> None:
    one_error = math.sqrt(2 * 0.9 * 0.1 / 10_000)
    near, far = 0.9 + 0.9 * one_error, 0.9 + 1.2 * one_error
    assert agreement([0.9] * 3, [near] * 3, 10_000)["agree"] is True
    assert agreement([0.9] * 3, [far] * 3, 10_000)["agree"] is False
    assert agreement([0.9] * 3, [far] * 3, 1_000)["agree"] is True


def test_one_repetition_gives_no_verdict() -> None:
    assert agreement([0.9], [0.1], 10_000) == {
        "difference": pytest.approx(-0.8),
        "tolerance": None,
        "agree": None,
    }
    alone = summarise(COMPARISON, runs("ours", [1.0], [0.9]) + runs("theirs", [1.0], [0.1]), {})
    assert alone["accuracies_agree"] is None


@pytest.mark.parametrize(("other", "verdict"), [([0.9, 0.91, 0.89], True), ([0.5, 0.51, 0.49], False)])
def test_a_comparison_says_whether_accuracies_agree_and_how_that_was_judged(
    other: list[float], verdict: bool
) -> None:
    both = runs("ours", [1.0] * 3, [0.9, 0.9, 0.91]) + runs("theirs", [1.0] * 3, other)
    found = summarise(COMPARISON, both, {"test_pictures": 10_000})
    assert found["accuracies_agree"] is verdict
    assert "95 % t interval" in found["how_judged"]
    loose = summarise(replace(COMPARISON, same_accuracy=False), both, {})
    assert loose["accuracies_agree"] is None and loose["how_judged"] is None


def test_failed_and_missing_sides_are_kept_with_their_words() -> None:
    found = summarise(COMPARISON, [*runs("ours", [1.0]), Run("theirs", 0, "failed", message="why")], {})[
        "sides"
    ]
    assert (found["theirs"]["status"], found["theirs"]["message"], found["theirs"]["seconds"]) == (
        "failed",
        "why",
        None,
    )
    assert found["theirs"]["ratio"] is None
    assert summarise(COMPARISON, [], {})["sides"]["theirs"]["status"] == "not run"


def test_power_law_finds_the_exponent_and_its_interval() -> None:
    sizes = [10, 100, 1000, 10_000, 60_000]
    exact = power_law(sizes, [3 * size**0.8 for size in sizes])
    assert exact["exponent"] == pytest.approx(0.8) and exact["scale"] == pytest.approx(3)
    assert exact["last_exponent"] == pytest.approx(0.8)
    noisy = [3 * size**0.8 * factor for size, factor in zip(sizes, (1.1, 0.9, 1.2, 1.0, 0.95), strict=True)]
    found, known = power_law(sizes, noisy), stats.linregress(np.log(sizes), np.log(noisy))
    half = stats.t.ppf(0.975, len(sizes) - 2) * known.stderr
    assert found["exponent"] == pytest.approx(known.slope)
    assert (found["low"], found["high"]) == (
        pytest.approx(known.slope - half),
        pytest.approx(known.slope + half),
    )


def test_fixed_costs_hide_in_the_fit_and_show_between_the_largest_sizes() -> None:
    found = power_law([1, 10, 100, 1000], [100 + size for size in (1, 10, 100, 1000)])
    assert found["exponent"] is not None and found["last_exponent"] is not None
    assert found["last_exponent"] > 2 * found["exponent"]


def test_too_few_sizes_have_no_interval_or_no_law() -> None:
    two = power_law([1, 10], [1.0, 10.0])
    assert two["exponent"] == pytest.approx(1) and two["low"] is None
    assert power_law([5], [1.0])["exponent"] is None


def test_growth_gathers_sizes_and_their_spread() -> None:
    growing = next(each for each in fake.BENCHMARKS if each.name == "growing")
    several = [
        Run(f"{size} pictures", at, "measured", size=size, seconds=size * (1 + 0.1 * at))
        for at in range(3)
        for size in (100, 1, 10)
    ]
    found = summarise(growing, several, {})
    assert [point["size"] for point in found["points"]] == [1, 10, 100]
    assert found["points"][1]["seconds"] == {"median": pytest.approx(11), "min": 10, "max": pytest.approx(12)}
    assert found["fit"]["exponent"] == pytest.approx(1)
