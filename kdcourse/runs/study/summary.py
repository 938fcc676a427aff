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


def column(rows: Sequence[Row], name: str, about: Mapping[str, Any], phase: str = "test") -> dict[int, float]:
    """Return a column by seed of the rows of the test phase, or another one, that are about exactly this."""
    return {row["seed"]: row[name] for row in rows if row["phase"] == phase and row["about"] == about}


def accuracies(rows: Sequence[Row], **about: Any) -> dict[int, float]:
    """Return the test accuracy by seed of the rows that are about exactly this."""
    return column(rows, "test_accuracy", about)


def mean(values: Mapping[int, float]) -> float:
    """Return the mean over seeds."""
    return sum(values.values()) / len(values)


def compared(
    rows: Sequence[Row], plain: Mapping[str, Any], taught: Mapping[str, Any], teacher: float
) -> dict[str, Any]:
    """Return ``plain`` and ``taught`` (see `interval`) and their comparison (see `against`), as far as rows go."""
    first, second = accuracies(rows, **plain), accuracies(rows, **taught)
    found: dict[str, Any] = {}
    if len(first) > 1:
        found["plain"] = interval(first)
    if len(second) > 1:
        found["taught"] = interval(second)
    return found | against(first, second, teacher)


def worth(accuracy: float, curve: Sequence[dict[str, Any]], what: str = "images") -> dict[str, Any]:
    """Return how many labels, or parameters, reach an accuracy, by interpolation over the logarithm of their number.

    Args:
        accuracy: 0 to 1.
        curve: entries with ``accuracy`` and the number, which increases.
        what: the name of the number.

    Returns:
        ``worth``, or beyond the curve's ends ``more_than`` or ``less_than``; nothing without a curve.
    """
    if not curve:
        return {}
    if accuracy > max(entry["accuracy"] for entry in curve):
        return {"more_than": curve[-1][what]}
    for few, many in pairwise(curve):
        if few["accuracy"] <= accuracy <= many["accuracy"] and few["accuracy"] < many["accuracy"]:
            share = (accuracy - few["accuracy"]) / (many["accuracy"] - few["accuracy"])
            return {"worth": few[what] * (many[what] / few[what]) ** share}
    return {"less_than": curve[0][what]}


def interval(values: Mapping[int, float]) -> dict[str, Any]:
    """Return the mean of accuracies by seed, its 95 % interval and the number of seeds, at least 2."""
    found = evaluation.mean_interval(list(values.values()))
    return {"accuracy": found.mean, "low": found.low, "high": found.high, "seeds": found.n}


def point(x: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point of `kdcourse.runs.study.engine.Curves` from an entry of `interval`."""
    return {"x": x} | {name: entry[name] for name in ("accuracy", "low", "high", "seeds")}


def against(plain: Mapping[int, float], taught: Mapping[int, float], teacher: float) -> dict[str, Any]:
    """Return the difference and the gap recovered over the seeds that both have; nothing for fewer than 2."""
    first, second = paired(plain, taught)
    if len(first) < 2:
        return {}
    return {
        "difference": asdict(evaluation.paired_difference(second, first)),
        "gap_recovered": asdict(evaluation.gap_recovered(first, second, teacher)),
    }


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> tuple[list[float], list[float]]:
    """Return the values of the seeds that both have, in the same order."""
    seeds = sorted(first.keys() & second.keys())
    return [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def told(entry: Mapping[str, Any] | None) -> str:
    """Return an accuracy in % with its interval, of an entry of `interval`; nothing without one."""
    if entry is None:
        return ""
    return f"{100 * entry['accuracy']:.2f} ({100 * entry['low']:.2f} to {100 * entry['high']:.2f})"


def told_difference(entry: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return the difference in points with its interval, and the gap recovered, of an entry of `against`."""
    if entry is None or "difference" not in entry:
        return "", ""
    share = entry["gap_recovered"]
    return told_points(entry["difference"]), f"{share['value']:.0%}" if share["reported"] else "within noise"


def told_points(of: Mapping[str, Any]) -> str:
    """Return a difference of accuracies in points with its interval."""
    return f"{100 * of['mean']:+.2f} ({100 * of['low']:+.2f} to {100 * of['high']:+.2f})"


def told_worth(entry: Mapping[str, Any] | None, count: int, unit: str) -> str:
    """Return what `worth` found of an entry as a multiple of ``count``; nothing without it."""
    for key, words in (("worth", ""), ("more_than", "more than "), ("less_than", "less than ")):
        if entry is not None and key in entry:
            return f"{words}{entry[key] / count:.1f} {unit}"
    return ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text under a header, the first column to the left, all others to the right."""
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    )


def line(plain: dict[str, Any] | None, taught: dict[str, Any] | None, images: int) -> str:
    """Return a line of the table below `HEADER`; ``images`` is what the worth is counted against."""
    difference, gap = told_difference(taught)
    value = told_worth(taught, images, "labels")
    return (
        f"{images:>7,}  {told(plain):<21}  {told(taught):<21}  {difference:<21}  {gap:<14}  {value}".rstrip()
    )
