"""One page for each student: points, what each answer looks like, and the answer itself.

Nothing on it comes from hidden tries, and no expected value, rubric or model answer is on it: `Mark.message` is
written for students. All of a student's own words are shown as text, never as HTML.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from kdcourse.coursework.page import items, name, page, safe, table
from kdcourse.coursework.records import Assignment, Graded, Mark, Task
from kdcourse.coursework.tables import number, waiting

_MOST_SHOWN = 20_000  # characters of one answer


def feedback(graded: Graded, assignment: Assignment) -> str:
    """The page of one student, as HTML in one file."""
    tasks = {task.id: task for task in assignment.tasks}
    title = f"{assignment.title}: feedback for {graded.name}"
    body = [
        f"<h1>{safe(assignment.title)}: feedback for {name(graded.name)}</h1>",
        f"<p>{_total(graded, assignment)}</p>",
    ]
    if graded.problems:
        body += [
            "<h2>What could not be read, or was set aside</h2>",
            items(name(text) for text in graded.problems),
        ]
    body += [
        "<h2>Your points</h2>",
        table(
            "Points for each task",
            ["Task", "Points", "Of", "Result"],
            (
                [_link(place, tasks[mark.task]), _points(mark), number(mark.of), result(mark)]
                for place, mark in enumerate(graded.marks, start=1)
            ),
            numbers=(1, 2),
        ),
    ]  # fmt: skip
    for place, mark in enumerate(graded.marks, start=1):
        body += _answer(place, mark, tasks[mark.task])
    return page(title, "\n".join(body))


def result(mark: Mark) -> str:
    """A mark in two or three words."""
    if mark.points is None:
        return "waits for a reader"
    if mark.points >= mark.of:
        return "right ✓" if mark.right else "full points"
    if mark.points > 0:
        return "in part"
    return "not yet ✗" if mark.attempted else "not attempted ○"


def file_names(students: Iterable[str]) -> dict[str, str]:
    """Student -> name of the page's file: plain on every system, and no two differ in upper and lower case alone."""
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


def _total(graded: Graded, assignment: Assignment) -> str:
    text = f"<strong>{number(graded.points)} of {number(assignment.points)} points</strong>"
    count = waiting(graded)
    if count:
        text += f" so far; {count} answer{'s wait' if count > 1 else ' waits'} for a person to read"
    return text + "."


def _points(mark: Mark) -> str:
    return "–" if mark.points is None else number(mark.points)


def _link(place: int, task: Task) -> str:
    return f'<a href="#task-{place}">{safe(task.title)}</a>'


def _answer(place: int, mark: Mark, task: Task) -> list[str]:
    parts = [
        f'<h2 id="task-{place}">{safe(task.title)}</h2>',
        f'<p class="quiet">{safe(task.id)}, {_points(mark)} of {number(mark.of)} points: {result(mark)}</p>',
    ]
    if mark.message:
        parts.append(
            "".join(f"<p>{name(line.strip())}</p>" for line in mark.message.splitlines() if line.strip())
        )
    if mark.comment:
        parts += [
            "<h3>What your reader says</h3>",
            f"<blockquote><pre>{safe(mark.comment)}</pre></blockquote>",
        ]
    if mark.text.strip():
        cut = len(mark.text) > _MOST_SHOWN
        inner = (
            f"<code>{safe(mark.text[:_MOST_SHOWN])}</code>"
            if task.kind == "code"
            else safe(mark.text[:_MOST_SHOWN])
        )
        parts += [
            "<h3>Your answer</h3>",
            f'<pre dir="auto">{inner}</pre>',
        ]
        if cut:
            parts.append(f"<p>Only the first {_MOST_SHOWN:,} characters of it are shown.</p>")
    return parts
