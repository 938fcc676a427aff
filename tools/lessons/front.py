"""The README's badges, picture and table of lessons: ``python -m tools.lessons.front README.md``.

They are made from the lessons, from the stored notebooks, and from the repository's one address in pyproject.toml.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

from kdcourse.course import Lesson, lessons
from kdcourse.course.notebook import NOTEBOOKS, machine_time
from kdcourse.errors import LessonError
from kdcourse.files import write_atomically
from tools.lessons import links

PICTURE = "docs/soft-targets.png"  # beside the README
_SHOWN = "04_soft_targets", "Three pictures with the teacher's soft targets at temperature 1, 4"


def front(text: str, notebooks: Path = NOTEBOOKS) -> str:
    """``text`` with what stands between each pair of marks made anew.

    Raises:
        LessonError: a pair of marks is missing, or what is to stand there can't be made.
    """
    parts = {"badges": badges(), "picture": picture(notebooks)[0], "lessons": table(notebooks)}
    for name, part in parts.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise LessonError(f"The page has no {begin} ... {end}; put both marks where its {name} belong.")
        text = f"{head}{begin}\n\n{part}\n\n{end}{tail}"
    return text


def badges() -> str:
    """State of the tests, and the first lesson on Colab, on Binder and on the website."""
    home = links.home()
    first = "00_start_here"
    shown = (
        ("Tests", home.status("tests"), f"{home.repository}/actions/workflows/tests.yml"),
        ("Open in Colab", "https://colab.research.google.com/assets/colab-badge.svg", home.colab(first)),
        ("Launch on Binder", "https://mybinder.org/badge_logo.svg", home.binder(first)),
        ("Website", home.status("site"), home.website),
    )
    return "\n".join(f"[![{alt}]({image})]({address})" for alt, image, address in shown)


def picture(notebooks: Path = NOTEBOOKS) -> tuple[str, bytes]:
    """Markdown of the README's picture, and its PNG as a lesson's notebook stores it.

    Raises:
        LessonError: the notebook no longer shows it.
    """
    name, words = _SHOWN
    for cell in _notebook(notebooks / f"{name}.ipynb").cells:
        for output in cell.get("outputs", ()):
            alt = str(output.get("metadata", {}).get("image/png", {}).get("alt", ""))
            if alt.startswith(words):
                return f"![{' '.join(alt.split())}]({PICTURE})", base64.b64decode(output.data["image/png"])
    raise LessonError(
        f"{name}.ipynb shows no picture whose words begin with {words!r}; choose another for the README."
    )


def table(notebooks: Path = NOTEBOOKS) -> str:
    """Markdown: a row a lesson, with what is learnt, how long it takes, and where to open it."""
    home = links.home()
    rows = ["| lesson | afterwards you can | minutes | open in |", "|---|---|---|---|"]
    for lesson in lessons():
        objectives = "<br>".join(lesson.objectives).replace("|", "\\|")
        rows.append(
            f"| [{lesson.number} {lesson.title}](notebooks/{lesson.name}.ipynb) "
            f"| {objectives} "
            f"| {_minutes(lesson, notebooks)} "
            f"| [Colab]({home.colab(lesson.name)})<br>[Binder]({home.binder(lesson.name)})"
            f"<br>[website]({home.page(lesson.name)}) |"
        )
    return "\n".join(rows)


def _minutes(lesson: Lesson, notebooks: Path) -> str:
    """Reading, exercises, and what the machine takes."""
    seconds = int(_notebook(notebooks / f"{lesson.name}.ipynb").metadata.kdcourse.machine_seconds)
    return (
        f"{lesson.reading_minutes} to read, {lesson.exercise_minutes} for exercises, "
        f"the machine {machine_time(seconds)}"
    )


def _notebook(path: Path) -> Any:
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise LessonError(f"There is no notebook {path}; build it: python -m tools.lessons build") from None


if __name__ == "__main__":
    page = Path(sys.argv[1])
    write_atomically(page.parent / PICTURE, picture()[1])
    write_atomically(page, front(page.read_text(encoding="utf-8")))
