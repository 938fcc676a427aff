"""Collect everything that `python -m tools.readme` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kdcourse.errors import DataError
from tools.readme import benchmarks, lessons, results, studies

ROOT = Path(__file__).resolve().parents[2]


def derived() -> dict[Path, bytes]:
    """Return path and content of each file that is derived, or has derived parts.

    Raises:
        DataError: a README lacks a pair of marks.
        LessonError: a lesson lacks what its row needs.
    """
    parts = {
        ROOT / "README.md": {
            "badges": lessons.badges(),
            "lead": results.lead(),
            "lessons": lessons.table(),
        },
        ROOT / "docs" / "results.md": {"results": results.results()},
        ROOT / "benchmarks" / "README.md": {"results": benchmarks.results()},
    }
    pages = {path: filled(path.read_text(encoding="utf-8"), its).encode() for path, its in parts.items()}
    return pages | {ROOT / studies.PATH: studies.page().encode()}


def filled(text: str, parts: Mapping[str, str]) -> str:
    """Return ``text`` with the lines between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->`` replaced.

    Args:
        text: a page in Markdown with one pair of marks per part.
        parts: the new lines by NAME.

    Raises:
        DataError: a pair of marks is missing.
    """
    for name, part in parts.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise DataError(f"The page has no {begin} ... {end}. Put both marks where its {name} belong.")
        text = f"{head}{begin}\n\n{part}\n\n{end}{tail}"
    return text
