"""Write the page on which a person marks: each answer with its rubric and pictures, and fields for points and comment.

The page sends nothing: it keeps what was typed in the browser, and saves a table that ``kdcourse grade --marks`` reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdcourse.coursework.records import Assignment, Graded
from kdcourse.coursework.tables import number, to_read
from kdcourse.pages import policy, render

_TEMPLATE = Path(__file__).with_name("marking.html")
_SCRIPT = Path(__file__).with_name("marking.js")


def marking_page(class_: Sequence[Graded], assignment: Assignment) -> str:
    """Return the page as HTML in one file; all answers to one question stand below each other."""
    script = _SCRIPT.read_text(encoding="utf-8")
    questions = []
    for task in assignment.tasks:
        answers = [
            (graded, mark)
            for graded in class_
            for mark in graded.marks
            if mark.task == task.id and (mark.points is None or mark.doubt)
        ]
        if answers:
            questions.append((task, answers))
    return render(
        _TEMPLATE,
        title=assignment.title,
        name=assignment.name,
        questions=questions,
        count=sum(map(to_read, class_)),
        number=number,
        script=script,
        policy=policy(script),
    )
