"""Make the README's tables of results from the recorded students."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from kdcourse import models
from kdcourse.figures.style import percent
from kdcourse.runs.recorded import RECORD, SEARCH, shipped_folder
from tools import headline


def lead() -> str:
    """Return Markdown: the results that the page leads with, from the stored study of labels."""
    found = headline.stored()
    tiles = headline.tiles(found)
    rows = [
        [name for name, _, _ in tiles],
        ["---"] * len(tiles),
        *zip(*(tile[1:] for tile in tiles), strict=True),
    ]
    rows[2] = [f"**{value}**" for value in rows[2]]
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*table, "", *textwrap.wrap(headline.sentence(found), 120)])


def results() -> str:
    """Return Markdown: recorded accuracies, gap recovered, and every trial of the search."""
    folder = shipped_folder()
    recorded = json.loads((folder / RECORD).read_text())
    rows = json.loads((folder / SEARCH).read_text())["rows"]
    return "\n".join([*_recorded(recorded), "", *_searched(rows)])


def _recorded(recorded: Mapping[str, Any]) -> list[str]:
    settings, rows, comparison = recorded["settings"], recorded["models"], recorded["comparison"]
    difference, gap = comparison["difference"], comparison["gap_recovered"]
    size = models.names("classification")[settings["student"]]
    lines = [
        f"Recorded: student `{settings['student']}` ({size:,} parameters), "
        f"{settings['epochs']} epochs, {len(settings['seeds'])} paired seeds, test set of Fashion-MNIST.",
        "",
        "| model | accuracy | 95 % interval | NLL | ECE | agreement with the ensemble |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows.values():
        mean, (low, high) = row["mean"], row["interval"]["accuracy"]
        lines.append(
            f"| {row['label']} | {mean['accuracy']:.2%} | {low:.2%} to {high:.2%} | {mean['nll']:.3f} "
            f"| {mean['ece']:.3f} | {mean['agreement']:.2%} |"
        )
    lines += [
        "",
        f"Distilled minus plain: {100 * difference['mean']:+.2f} percentage points "
        f"({100 * difference['low']:+.2f} to {100 * difference['high']:+.2f}). "
        + (
            f"Gap recovered: {percent(gap['value'], 0)} ({percent(gap['low'], 0)} to {percent(gap['high'], 0)})."
            if gap["reported"]
            else f"Gap recovered: not reported, as {gap['reason']}."
        ),
    ]
    return lines


def _searched(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "All trials of the search, one seed each, accuracy on the validation split:",
        "",
        "| student | optimizer, learning rate | epochs | augmentation | plain | "
        + " | ".join(f"T = {t:g}, alpha = {a:g}" for t, a in _soft(rows))
        + " |",
        "|---|---|---|---|---|" + "---|" * len(_soft(rows)),
    ]
    groups: dict[tuple[str, ...], dict[tuple[float, float], float]] = {}
    for row in rows:
        recipe = row["recipe"]
        views = f"{recipe['views']} views, {recipe['augmentation']}" if recipe["augmentation"] else "none"
        key: tuple[str, ...] = (
            recipe["model"], f"{recipe['optimizer']}, {recipe['learning_rate']:g}", str(recipe["epochs"]), views,
        )  # fmt: skip
        kind = (recipe["temperature"], recipe["alpha"]) if recipe["alpha"] else (0.0, 0.0)
        groups.setdefault(key, {})[kind] = row["validation_accuracy"]
    for setting, found in groups.items():
        cells = [f"{found[kind]:.2%}" if kind in found else "" for kind in ((0.0, 0.0), *_soft(rows))]
        lines.append(f"| {' | '.join((*setting, *cells))} |")
    return lines


def _soft(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Return the pairs (temperature, alpha) of all distilled rows, each once."""
    return sorted(
        {(row["recipe"]["temperature"], row["recipe"]["alpha"]) for row in rows if row["recipe"]["alpha"]},
        key=lambda pair: (-pair[1], pair[0]),
    )
