"""Studies: results as rows that one command makes, stores and summarises.

`engine` runs any of them; every study is a file of its own, listed here.
"""

from __future__ import annotations

from pathlib import Path

from kdcourse.data import fashion_mnist
from kdcourse.errors import ArgumentError
from kdcourse.runs.study.budgets import Budgets
from kdcourse.runs.study.engine import Study
from kdcourse.runs.study.labels import Labels
from kdcourse.runs.study.members import Members
from kdcourse.runs.study.missing import Missing
from kdcourse.runs.study.noise import Noise
from kdcourse.runs.study.size import Size
from kdcourse.runs.study.temperature import Temperature

STUDIES: dict[str, type[Study]] = {
    study.name: study for study in (Labels, Missing, Noise, Budgets, Temperature, Size, Members)
}
FOLDER = "study"  # of the course's own rows, see `kdcourse.files.shipped`


def study_named(name: str, folder: Path) -> Study:
    """Return a study of Fashion-MNIST whose rows are in ``folder``.

    Raises:
        ArgumentError: there is no such study (those that exist are listed).
    """
    if name not in STUDIES:
        raise ArgumentError(f"There is no study {name!r}; choose one of {', '.join(STUDIES)}.")
    return STUDIES[name](fashion_mnist, folder)
