"""Studies: results as rows that one command makes, stores and summarises.

`engine` runs any of them; every study is a file of its own, listed here.
"""

from __future__ import annotations

from pathlib import Path

from kdcourse.data import fashion_mnist
from kdcourse.errors import ArgumentError
from kdcourse.runs.study.engine import Study
from kdcourse.runs.study.labels import Labels

STUDIES: dict[str, type[Study]] = {study.name: study for study in (Labels,)}
FOLDER = "study"  # of the course's own rows, see `kdcourse.files.shipped`


def study_named(name: str, folder: Path) -> Study:
    """Return a study of Fashion-MNIST whose rows are in ``folder``.

    Raises:
        ArgumentError: there is no such study (those that exist are listed).
    """
    if name not in STUDIES:
        raise ArgumentError(f"There is no study {name!r}; choose one of {', '.join(STUDIES)}.")
    return STUDIES[name](fashion_mnist, folder)
