"""Make the README's badges and table of lessons, from the lessons and the repository's address in pyproject.toml."""

from __future__ import annotations

from kdcourse.course import COURSE, lessons
from tools.lessons import links


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
