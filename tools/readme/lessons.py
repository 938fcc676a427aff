"""Make the README's badges, image and table of lessons.

They come from the lessons, their stored notebooks, and the repository's address in pyproject.toml.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from kdcourse.course import COURSE, lessons
from kdcourse.course.notebook import NOTEBOOKS
from kdcourse.errors import LessonError
from tools.lessons import links

IMAGE = "docs/soft-targets.png"  # path from the README
_SHOWN = "soft_targets", "Three images with the teacher's soft targets at temperature 1, 4"


def badges() -> str:
    """Return the badges as Markdown: tests, Colab, Binder, website."""
    home = links.home()
    first = COURSE.names[0]
    shown = (
        ("Tests", home.status("tests"), f"{home.repository}/actions/workflows/tests.yml"),
        ("Open in Colab", "https://colab.research.google.com/assets/colab-badge.svg", home.colab(first)),
        ("Launch on Binder", "https://mybinder.org/badge_logo.svg", home.binder(first)),
        ("Website", home.status("site"), home.website),
    )
    return "\n".join(f"[![{alt}]({image})]({address})" for alt, image, address in shown)


def image(notebooks: Path = NOTEBOOKS) -> tuple[str, bytes]:
    """Return the README's image: its Markdown with alt text, and its PNG from a lesson's stored notebook.

    Raises:
        LessonError: the notebook has no such image.
    """
    topic, words = _SHOWN
    name = COURSE.lesson(topic).name
    for cell in _notebook(notebooks / f"{name}.ipynb").cells:
        for output in cell.get("outputs", ()):
            alt = str(output.get("metadata", {}).get("image/png", {}).get("alt", ""))
            if alt.startswith(words):
                return f"![{' '.join(alt.split())}]({IMAGE})", base64.b64decode(output.data["image/png"])
    raise LessonError(
        f"{name}.ipynb has no image whose alt text begins with {words!r}. "
        f"Choose another image in {Path(__file__).name}."
    )


def table() -> str:
    """Return the table of lessons as Markdown: one row per lesson with its first objective, minutes and links."""
    home = links.home()
    rows = ["| lesson | you learn to | minutes | open in |", "|---|---|---|---|"]
    for lesson in lessons():
        objective = lesson.objectives[0].replace("|", "\\|")
        rows.append(
            f"| [{lesson.number} {lesson.title}]({links.OPENED}/{lesson.name}.ipynb) | {objective} "
            f"| {lesson.reading_minutes + lesson.exercise_minutes} "
            f"| [Colab]({home.colab(lesson.name)}), [Binder]({home.binder(lesson.name)}), "
            f"[website]({home.page(lesson.name)}) |"
        )
    return "\n".join(rows)


def _notebook(path: Path) -> Any:
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise LessonError(f"There is no notebook {path}. Build it: python -m tools.lessons build") from None
