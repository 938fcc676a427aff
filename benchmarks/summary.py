"""Summarise runs: medians, spreads, ratios, agreement of accuracies, growth of cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness import Benchmark, Comparison, Growth, Run

TEST_PICTURES = 10_000  # of Fashion-MNIST
HOW_JUDGED = (
    "Two sides agree when their mean accuracies differ by no more than the 95 % t interval of that difference "
    "over the repetitions (each has a seed of its own; pooled variance), or than one standard error of a "
    "difference of two accuracies on so many test pictures, whichever is larger. One repetition gives no verdict."
)


def summarise(benchmark: Benchmark, runs: Sequence[Run], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of one benchmark's runs, ready for JSON."""
    if isinstance(benchmark, Growth):
        return _growth(benchmark, runs)
    return _comparison(benchmark, runs, settings)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest value."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(ours: Sequence[Run], other: Sequence[Run]) -> list[float]:
    """Return the other side's seconds over ours, for each repetition in which both were measured."""
    mine = {run.repetition: run.seconds for run in ours if run.seconds}
    return [run.seconds / mine[run.repetition] for run in other if run.seconds and run.repetition in mine]


def agreement(ours: Sequence[float], other: Sequence[float], pictures: int) -> dict[str, Any]:
    """Judge whether two sides' accuracies (one per seed) differ by no more than noise, as `HOW_JUDGED` says.

    The second bound is needed because a few seeds can agree closely by chance.
    """
    from kdcourse.evaluation.compare import t_quantile  # imports torch

    difference = statistics.fmean(other) - statistics.fmean(ours)
    answer: dict[str, Any] = {"difference": difference, "tolerance": None, "agree": None}
    if len(ours) < 2 or len(other) < 2:
        return answer
    degrees = len(ours) + len(other) - 2
    pooled = (
        (len(ours) - 1) * statistics.variance(ours) + (len(other) - 1) * statistics.variance(other)
    ) / degrees
    over_seeds = t_quantile(0.95, degrees) * math.sqrt(pooled * (1 / len(ours) + 1 / len(other)))
    share = statistics.fmean([*ours, *other])
    over_pictures = math.sqrt(2 * share * (1 - share) / pictures)
    tolerance = max(over_seeds, over_pictures)
    return answer | {"tolerance": tolerance, "agree": abs(difference) <= tolerance}


def power_law(sizes: Sequence[float], seconds: Sequence[float]) -> dict[str, float | None]:
    """Fit ``seconds = scale * size ** exponent`` by least squares on logarithms.

    ``low`` and ``high`` bound the exponent's 95 % interval, from the residuals; ``last_exponent`` is the slope between
    the two largest sizes, where fixed costs matter least.
    """
    x, y = [math.log(size) for size in sizes], [math.log(each) for each in seconds]
    if len(set(x)) < 2:
        return {"exponent": None, "low": None, "high": None, "scale": None, "last_exponent": None}
    slope, intercept = statistics.linear_regression(x, y)
    low = high = None
    if len(x) > 2:
        from kdcourse.evaluation.compare import t_quantile

        residuals = [v - intercept - slope * u for u, v in zip(x, y, strict=True)]
        degrees = len(x) - 2
        centre = statistics.fmean(x)
        error = math.sqrt(sum(r * r for r in residuals) / degrees / sum((u - centre) ** 2 for u in x))
        half = t_quantile(0.95, degrees) * error
        low, high = slope - half, slope + half
    (u0, v0), (u1, v1) = sorted(zip(x, y, strict=True))[-2:]
    return {
        "exponent": slope, "low": low, "high": high, "scale": math.exp(intercept),
        "last_exponent": (v1 - v0) / (u1 - u0),
    }  # fmt: skip


def _comparison(benchmark: Comparison, runs: Sequence[Run], settings: Mapping[str, Any]) -> dict[str, Any]:
    by_side = {side: [run for run in runs if run.side == side] for side in benchmark.sides}
    names = list(by_side)
    ours = _measured(by_side[names[0]])
    sides: dict[str, Any] = {}
    for name, its_runs in by_side.items():
        sides[name] = _group(its_runs) | {"ours": name == names[0]}
        if name == names[0]:
            continue
        found = ratios(ours, _measured(its_runs))
        sides[name]["ratio"] = spread(found) if found else None
        if benchmark.floor:
            sides[name]["overhead"] = spread([1 / ratio - 1 for ratio in found]) if found else None
        theirs, mine = _accuracies(its_runs), _accuracies(ours)
        if benchmark.same_accuracy and theirs and mine:
            sides[name]["accuracy_against_ours"] = agreement(
                mine, theirs, int(settings.get("test_pictures", TEST_PICTURES))
            )
    verdicts = [
        each["accuracy_against_ours"]["agree"] for each in sides.values() if "accuracy_against_ours" in each
    ]
    agree = None if not verdicts or None in verdicts else all(verdicts)
    how = HOW_JUDGED if benchmark.same_accuracy else None
    return {"sides": sides, "accuracies_agree": agree, "how_judged": how}


def _growth(benchmark: Growth, runs: Sequence[Run]) -> dict[str, Any]:
    sizes = sorted({run.size for run in runs if run.size is not None})
    points = [{"size": size} | _group([run for run in runs if run.size == size]) for size in sizes]
    timed = [point for point in points if point["seconds"]]
    fit = power_law([p["size"] for p in timed], [p["seconds"]["median"] for p in timed])
    return {"unit": benchmark.unit, "points": points, "fit": fit}


def _group(runs: Sequence[Run]) -> dict[str, Any]:
    """Summarise several runs of one side or size."""
    measured, others = _measured(runs), [run for run in runs if run.status != "measured"]
    memory = [run.peak_memory for run in measured if run.peak_memory is not None]
    accuracies = _accuracies(measured)
    keys = dict.fromkeys(key for run in measured for key in run.details)
    return {
        "status": others[0].status if others else "measured" if measured else "not run",
        "message": others[0].message if others else "",
        "seconds": spread([run.seconds for run in measured if run.seconds is not None]) if measured else None,
        "accuracy": spread(accuracies) | {"mean": statistics.fmean(accuracies)} if accuracies else None,
        "peak_memory": max(memory) if memory else None,
        "details": {
            key: statistics.median([run.details[key] for run in measured if key in run.details])
            for key in keys
        },
    }


def _measured(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.status == "measured" and run.seconds is not None]


def _accuracies(runs: Sequence[Run]) -> list[float]:
    return [run.accuracy for run in runs if run.accuracy is not None]
