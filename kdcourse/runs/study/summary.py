"""Derive figures from a study's rows: intervals over seeds, comparisons of paired seeds, worth in labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from kdcourse import evaluation
from kdcourse.runs.study.rows import Row

HEADER = (
    f"{'images':>7}  {'true labels':<21}  {'answers of teachers':<21}  {'difference in points':<21}  "
    f"{'gap recovered':<14}  an answer is worth"
)


def accuracies(rows: Sequence[Row], **about: Any) -> dict[int, float]:
    """Return the test accuracy by seed of the rows that are about exactly this."""
    return {
        row["seed"]: row["test_accuracy"] for row in rows if row["phase"] == "test" and row["about"] == about
    }


def worth(accuracy: float, curve: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many labels reach an accuracy, by interpolation over the logarithm of their number.

    Args:
        accuracy: 0 to 1.
        curve: entries with ``images`` and ``accuracy``, by increasing number of images.

    Returns:
        ``worth``, or beyond the curve's ends ``more_than`` or ``less_than``; nothing without a curve.
    """
    if not curve:
        return {}
    if accuracy > max(entry["accuracy"] for entry in curve):
        return {"more_than": curve[-1]["images"]}
    for few, many in pairwise(curve):
        if few["accuracy"] <= accuracy <= many["accuracy"] and few["accuracy"] < many["accuracy"]:
            share = (accuracy - few["accuracy"]) / (many["accuracy"] - few["accuracy"])
            return {"worth": few["images"] * (many["images"] / few["images"]) ** share}
    return {"less_than": curve[0]["images"]}


def interval(values: Mapping[int, float]) -> dict[str, Any]:
    """Return the mean of accuracies by seed, its 95 % interval and the number of seeds, at least 2."""
    found = evaluation.mean_interval(list(values.values()))
    return {"accuracy": found.mean, "low": found.low, "high": found.high, "seeds": found.n}


def bounds(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an entry that `interval` made."""
    return {name: entry[name] for name in ("accuracy", "low", "high", "seeds")}


def against(plain: Mapping[int, float], taught: Mapping[int, float], teacher: float) -> dict[str, Any]:
    """Return the difference and the gap recovered over the seeds that both have; nothing for fewer than 2."""
    seeds = sorted(plain.keys() & taught.keys())
    if len(seeds) < 2:
        return {}
    first, second = [plain[seed] for seed in seeds], [taught[seed] for seed in seeds]
    return {
        "difference": asdict(evaluation.paired_difference(second, first)),
        "gap_recovered": asdict(evaluation.gap_recovered(first, second, teacher)),
    }


def line(plain: dict[str, Any] | None, taught: dict[str, Any] | None, images: int) -> str:
    """Return a line of the table below `HEADER`; ``images`` is what the worth is counted against."""

    def percent(entry: dict[str, Any] | None) -> str:
        if entry is None:
            return ""
        return f"{100 * entry['accuracy']:.2f} ({100 * entry['low']:.2f} to {100 * entry['high']:.2f})"

    difference = gap = value = ""
    if taught is not None and "difference" in taught:
        of = taught["difference"]
        difference = f"{100 * of['mean']:+.2f} ({100 * of['low']:+.2f} to {100 * of['high']:+.2f})"
        share = taught["gap_recovered"]
        gap = f"{share['value']:.0%}" if share["reported"] else "within noise"
    for key, words in (("worth", ""), ("more_than", "more than "), ("less_than", "less than ")):
        if taught is not None and key in taught:
            value = f"{words}{taught[key] / images:.1f} labels"
    return f"{images:>7,}  {percent(plain):<21}  {percent(taught):<21}  {difference:<21}  {gap:<14}  {value}".rstrip()
