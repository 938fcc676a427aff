"""Put the lessons into the learner's own folder, and leave what the learner has worked on as it is.

A lesson is handed out in a form without results, which `python -m tools.lessons build` writes. Its text carries its
version: a digest of the text itself. So each file tells which version it came from, and whether anyone has changed it.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from kdcourse.errors import LessonError
from kdcourse.files import write_atomically

PACKAGE = Path(__file__).resolve().parents[1]
FORMS = PACKAGE.parent / "notebooks" / "open"  # in a checkout
SHIPPED = PACKAGE / "shipped" / "lessons"  # in an installed package
UNSTAMPED = '"version": ""'
_DIGITS = 16
_VERSION = re.compile(rf'"version": "([0-9a-f]{{{_DIGITS}}})"')


@dataclass(frozen=True)
class Copy:
    """Hold what became of one file: ``state`` is "new", "same", "updated" (an unchanged older version), or "older".

    "older": the learner has changed an earlier version; the file is as it was.
    """

    path: Path
    state: str


def forms() -> Path:
    """Return the folder of the lessons without results: in a checkout, else in the installed package.

    Raises:
        LessonError: the installation has none.
    """
    for folder in (FORMS, SHIPPED):
        if any(folder.glob("*.ipynb")):
            return folder
    cure = "git restore notebooks" if FORMS.parent.is_dir() else "install kdcourse again"
    raise LessonError(f"There are no lessons in {FORMS} or {SHIPPED}. To get them back: {cure}")


def own_folder() -> Path:
    """Return the learner's folder: ``$KDCOURSE_LESSONS``, else ``kdcourse-lessons`` in the home folder."""
    return Path(os.environ.get("KDCOURSE_LESSONS") or Path.home() / "kdcourse-lessons").expanduser()


def hand_out(folder: Path, source: Path | None = None) -> list[Copy]:
    """Copy the lessons that ``folder`` lacks, and replace older versions that nobody has changed.

    Args:
        folder: the learner's; made if it is missing.
        source: the lessons without results; by default those of this installation.

    Returns:
        One entry per file, in order.

    Raises:
        LessonError: no lessons, or a folder that can't be written.
    """
    copies = [Copy(folder / form.name, _state(folder / form.name, form)) for form in _files(source)]
    try:
        for copy in copies:
            if copy.state in ("new", "updated"):
                write_atomically(copy.path, ((source or forms()) / copy.path.name).read_bytes())
    except OSError as error:
        raise LessonError(
            f"The lessons can't be copied to {folder}: {error.strerror or error}. Name a folder that you can write to "
            "with --notebooks, or in the environment variable KDCOURSE_LESSONS."
        ) from None
    return copies


def older(folder: Path, source: Path | None = None) -> list[Path]:
    """Return the learner's files that come from an earlier version of their lesson and were changed since.

    Raises:
        LessonError: no lessons.
    """
    return [folder / form.name for form in _files(source) if _state(folder / form.name, form) == "older"]


def set_aside(path: Path, source: Path | None = None) -> Path:
    """Rename a learner's file, put the present version in its place, and return the new name of the learner's.

    That is ``05_distil_before.ipynb``, or ``05_distil_before_2.ipynb`` and so on if there is such a file already.

    Raises:
        OSError: the folder can't be written.
    """
    number, aside = 1, path.with_name(f"{path.stem}_before{path.suffix}")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.stem}_before_{number}{path.suffix}")
    form = ((source or forms()) / path.name).read_bytes()
    path.rename(aside)
    write_atomically(path, form)
    return aside


def stamped(text: str) -> str:
    """Return ``text`` with its version in place of `UNSTAMPED`, which must occur once."""
    if text.count(UNSTAMPED) != 1:
        raise ValueError(f"The text must hold {UNSTAMPED} once; found it {text.count(UNSTAMPED)} times.")
    return text.replace(UNSTAMPED, f'"version": "{_digest(text)}"')


def _files(source: Path | None) -> list[Path]:
    folder = source or forms()
    return sorted(path for path in folder.iterdir() if path.suffix in (".ipynb", ".md"))


def _state(path: Path, form: Path) -> str:
    if not path.exists():
        return "new"
    text, present = (each.read_text(encoding="utf-8", errors="replace") for each in (path, form))
    found, wanted = _VERSION.search(text), _VERSION.search(present)
    # Without a version nobody knows where a file comes from: it is the learner's.
    if found is None or (wanted is not None and found[1] == wanted[1]):
        return "same"
    untouched = _digest(text.replace(found[0], UNSTAMPED)) == found[1]
    return "updated" if untouched else "older"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
