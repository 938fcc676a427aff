"""Write results: a table in the terminal, a JSON file and a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import written
from kdcourse.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = Mapping[str, Any]


def write(result: Result, folder: Path) -> None:
    """Write ``NAME.json`` and, if something was measured, ``NAME.png``, each atomically."""
    from kdcourse.figures import alt_text
    from kdcourse.figures.output import png

    figure = draw(result)
    told = {"alt_text": alt_text(figure) if figure else None}
    write_atomically(folder / f"{result['name']}.json", json.dumps(dict(result) | told, indent=1) + "\n")
    if figure:
        write_atomically(folder / f"{result['name']}.png", png(figure))


def draw(result: Result) -> Figure | None:
    """Draw a result; return None if there is nothing to draw."""
    from benchmarks.figures.times import GrowthPoint, SideTimes, growth, side_by_side

    if result["kind"] == "comparison":
        timed = {name: side for name, side in result["sides"].items() if side["seconds"]}
        bars = [
            SideTimes(
                name,
                side["seconds"]["median"],
                (side["seconds"]["min"], side["seconds"]["max"]),
                side["ratio"]["median"] if side.get("ratio") else None,
            )
            for name, side in timed.items()
        ]
        return side_by_side(bars, result["question"]) if bars else None
    points = [
        GrowthPoint(
            point["size"],
            point["seconds"]["median"],
            (point["seconds"]["min"], point["seconds"]["max"]),
        )
        for point in result["points"]
        if point["seconds"]
    ]
    fit = result["fit"]
    if not points:
        return None
    interval = None if fit["low"] is None else (fit["low"], fit["high"])
    return growth(
        points,
        result["question"],
        unit=result["unit"],
        exponent=fit["exponent"],
        interval=interval,
        scale=fit["scale"],
    )


def table(result: Result) -> str:
    """Return a result as an aligned table."""
    rows = rows_of(result)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(
        [f"{result['name']}: {result['question']}", *lines, *("  " + line for line in verdicts(result))]
    )


def rows_of(result: Result) -> list[list[str]]:
    """Return the head and one row per side or size."""
    if result["kind"] == "growth":
        rows = [[result["unit"], "median s", "spread", "accuracy", "peak memory"]]
        return rows + [[f"{point['size']:,}", *_measures(point)] for point in result["points"]]
    rows = [["side", "median s", "spread", "times ours", "accuracy", "peak memory"]]
    for name, side in result["sides"].items():
        seconds, span, *rest = _measures(side)
        ratio = side.get("ratio")
        told = (
            f"{written(ratio['median'], 3)} ({written(ratio['min'], 3)} to {written(ratio['max'], 3)})"
            if ratio
            else ""
        )
        rows.append([name, seconds, span, "1" if side["ours"] and seconds else told, *rest])
    return rows


def verdicts(result: Result) -> list[str]:
    """Return the lines below the table."""
    lines = []
    if result["kind"] == "growth":
        fit = result["fit"]
        if fit["exponent"] is not None:
            span = "" if fit["low"] is None else f" (95 % interval {fit['low']:.2f} to {fit['high']:.2f})"
            lines.append(
                f"grows with the number of {result['unit']} to the power {fit['exponent']:.2f}{span}; "
                f"between the two largest sizes {fit['last_exponent']:.2f}"
            )
        groups = {f"{point['size']:,} {result['unit']}": point for point in result["points"]}
    else:
        groups = result["sides"]
        for name, side in groups.items():
            if side.get("overhead"):
                lines.append(f"our overhead over {name}: {side['overhead']['median']:+.1%}")
        lines += _accuracy_lines(groups)
    for name, group in groups.items():
        if group["status"] != "measured":
            lines.append(f"{name}: {group['status']}{': ' * bool(group['message'])}{group['message']}")
        if group["details"]:
            told = ", ".join(
                f"{key.replace('_', ' ')} {written(value)}" for key, value in group["details"].items()
            )
            lines.append(f"{name}: {told}")
    return lines


def _accuracy_lines(sides: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, side in sides.items():
        judged = side.get("accuracy_against_ours")
        if judged is None:
            continue
        told = f"accuracy of {name} minus ours {100 * judged['difference']:+.2f} percentage points"
        if judged["agree"] is None:
            lines.append(f"{told}; one repetition, so whether that is noise isn't judged")
        else:
            word = "within noise" if judged["agree"] else "NOT within noise"
            lines.append(f"{told}: {word} ({100 * judged['tolerance']:.2f})")
    return lines


def _measures(group: Mapping[str, Any]) -> list[str]:
    seconds, accuracy, memory = group["seconds"], group["accuracy"], group["peak_memory"]
    return [
        written(seconds["median"]) if seconds else "",
        f"{written(seconds['min'])} to {written(seconds['max'])}" if seconds else group["status"],
        f"{accuracy['mean']:.2%}" if accuracy else "",
        f"{memory / 1e6:,.0f} MB" if memory else "",
    ]
