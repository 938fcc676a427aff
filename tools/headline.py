"""Derive the results that README and website lead with from the stored study of labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdcourse.errors import CheckpointError
from kdcourse.figures.style import percent
from kdcourse.files import shipped
from kdcourse.runs.study import FOLDER, study_named
from kdcourse.runs.study.rows import Rows

STUDY = "labels"


def stored() -> dict[str, Any]:
    """Return the summary of the stored study of labels.

    Raises:
        CheckpointError: its rows are missing, damaged or too few.
    """
    return summary_of(shipped(FOLDER))


def summary_of(folder: Path) -> dict[str, Any]:
    """Return the summary of the study of labels whose rows are in ``folder``, as `stored` does."""
    found = study_named(STUDY, folder).summary(Rows(folder, STUDY).checked())
    if not found["few"] or "gap_recovered" not in found["few"][0]:
        raise CheckpointError(
            f"The rows in {folder} don't compare few labels with answers yet. Train them: kdcourse study {STUDY}"
        )
    return found


def tiles(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return triples of name, value and note: size, accuracy, labels, and the gap recovered where it is reported."""
    best, few = found["few"][-1], found["few"][-1]["about"]
    ratio = found["teachers"]["parameters"] / found["student"]["parameters"]
    gap = best["gap_recovered"]
    rows = [
        ("Size", f"1/{ratio:.0f}", f"{found['student']['parameters']:,} parameters; its teachers together have "
         f"{found['teachers']['parameters']:,}"),
        ("Accuracy", percent(best["accuracy"], 1), f"teachers together {percent(found['teachers']['accuracy'], 1)}; "
         f"the same student on the labels alone {percent(best['plain']['accuracy'], 1)}"),
        ("Labels", f"{few['labels']:,}", f"and {few['images']:,} images without a label"),
    ]  # fmt: skip
    if gap["reported"]:
        interval = f"95 % interval {percent(gap['low'], 0)} to {percent(gap['high'], 0)}"
        rows.append(("Gap recovered", percent(gap["value"], 0), f"of the gap to the teachers; {interval}"))
    return rows


def sentence(found: Mapping[str, Any]) -> str:
    """Return what was measured, in three sentences."""
    best = found["few"][-1]
    mean, low, high = (f"{100 * best['difference'][name]:.1f}" for name in ("mean", "low", "high"))
    return (
        f"Test images of Fashion-MNIST. The student learns from {best['about']['labels']:,} labels and from its "
        f"teachers' answers to images that they never saw. It gains {mean} percentage points ({low} to {high}, 95 % "
        f"interval over {best['difference']['n']} paired seeds) over the same student, trained as long "
        "on the labels alone."
    )
