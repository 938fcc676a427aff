"""Write one page for each student: points, what each answer looks like, and the answer itself.

The page shows nothing of the hidden tests, no rubric and no model answer: `Mark.message` is written for students, from
the tests that their notebook shows. A student's own words are shown as text, never as HTML (see `kdcourse.pages`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from kdcourse.coursework.records import Assignment, Graded, Mark, Task
from kdcourse.coursework.tables import number, waiting
from kdcourse.pages import render

_TEMPLATE = Path(__file__).with_name("feedback.html")
_MOST_SHOWN = 20_000  # characters of one answer


def feedback(graded: Graded, assignment: Assignment) -> str:
    """Return the page of one student, as HTML in one file."""
    tasks = {task.id: task for task in assignment.tasks}
    return render(
        _TEMPLATE,
        title=assignment.title,
        student=graded.name,
        points=number(graded.points),
        of=number(assignment.points),
        waiting=waiting(graded),
        problems=graded.problems,
        late=graded.late,
        answers=[_answer(mark, tasks[mark.task]) for mark in graded.marks],
    )


def _answer(mark: Mark, task: Task) -> dict[str, object]:
    return {
        "task": task.id,
        "title": task.title,
        "points": "–" if mark.points is None else number(mark.points),
        "of": number(mark.of),
        "result": result(mark),
        "message": [line.strip() for line in mark.message.splitlines() if line.strip()],
        "comment": mark.comment,
        "text": mark.text[:_MOST_SHOWN] if mark.text.strip() else "",
        "code": task.kind == "code",
        "cut": f"{_MOST_SHOWN:,}" if len(mark.text) > _MOST_SHOWN else "",
    }


def result(mark: Mark) -> str:
    """Describe a mark in two or three words."""
    if mark.points is None:
        return "not marked yet"
    if mark.points >= mark.of:
        return "right ✓" if mark.right else "full points"
    if mark.points > 0:
        return "in part"
    return "not yet ✗" if mark.attempted else "not attempted ○"


def file_names(students: Iterable[str]) -> dict[str, str]:
    """Return student -> name of the page's file, valid on every system.

    No two names differ in upper and lower case alone.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for student in students:
        stem = student
        plain = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}", student) and not student.endswith(".")
        if not plain or student.casefold() in taken or student.split(".")[0].casefold() in _DEVICES:
            ending = hashlib.sha256(student.encode("utf-8", "replace")).hexdigest()[:12]
            stem = f"{re.sub('[^A-Za-z0-9]+', '_', student)[:40]}-{ending}"
        taken.add(stem.casefold())
        names[student] = f"{stem}.html"
    return names


# Names that Windows keeps for devices.
_DEVICES = {
    "con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))
}  # fmt: skip
