"""Studies: results as rows that one command makes, stores and summarises.

`engine` runs any of them; every study is a file of its own, listed here.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from kdcourse.errors import ArgumentError
from kdcourse.files import shipped
from kdcourse.runs.study.budgets import Budgets
from kdcourse.runs.study.engine import Curves, Study
from kdcourse.runs.study.labels import Labels
from kdcourse.runs.study.language import Language
from kdcourse.runs.study.masks import Masks
from kdcourse.runs.study.members import Members
from kdcourse.runs.study.methods import Methods
from kdcourse.runs.study.missing import Missing
from kdcourse.runs.study.noise import Noise
from kdcourse.runs.study.rows import Rows
from kdcourse.runs.study.ship import Ship
from kdcourse.runs.study.size import Size
from kdcourse.runs.study.temperature import Temperature

STUDIES: dict[str, type[Study]] = {
    study.name: study
    for study in (Labels, Missing, Noise, Budgets, Temperature, Size, Members, Masks, Methods, Ship, Language)
}
FOLDER = "study"  # of the course's own rows, see `kdcourse.files.shipped`


def study_named(name: str, folder: Path) -> Study:
    """Return a study of the course's own data whose rows are in ``folder``.

    Raises:
        ArgumentError: there is no such study (those that exist are listed).
    """
    if name not in STUDIES:
        raise ArgumentError(f"There is no study {name!r}; choose one of {', '.join(STUDIES)}.")
    return STUDIES[name](STUDIES[name].reads, folder)


def stored() -> dict[str, Curves]:
    """Return the course's own studies as curves, by name; one whose rows don't suffice is left out.

    Raises:
        CheckpointError: stored rows are damaged or were changed.
    """
    folder = shipped(FOLDER)
    found = {
        name: study_named(name, folder).curves(rows.checked())
        for name in STUDIES
        if (rows := Rows(folder, name)).path.exists()
    }
    return {name: curves for name, curves in found.items() if curves is not None}


def curves(score: str) -> dict[str, dict[str, Any]]:
    """Return those of `stored` with a score, such as "accuracy", as plain data, for the results of a run."""
    return {name: asdict(each) for name, each in stored().items() if each.score == score}
