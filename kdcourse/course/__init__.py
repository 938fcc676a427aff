"""The lessons, one folder per topic, and what their notebooks import.

A lesson's folder holds

    lesson.py        its source, a notebook in jupytext's percent format
    exercises.py     for each exercise: the solution, the probes, the known mistakes (`kdcourse.checks`)
    fixtures.py      where its exercises are about models: the tiny models that answers are given
    questions.toml   written questions, for assignments

and `ORDER` lists the topics. The notebook, the assignment, the page of the website and the row of the README are
derived from these. A notebook imports `check` and `use_answer`, `claim` with `at_least`, `at_most` and `between`,
`show`, `show_here`, `progress_bar` and `live_loss`.
"""

from __future__ import annotations

from kdcourse.course.catalogue import COURSE, Course, lessons
from kdcourse.course.claims import at_least, at_most, between, claim
from kdcourse.course.order import ORDER
from kdcourse.course.registry import check, exercise, exercises, use_answer
from kdcourse.course.showing import live_loss, progress_bar, show, show_here
from kdcourse.course.source import Lesson

__all__ = [
    "COURSE",
    "ORDER",
    "Course",
    "Lesson",
    "at_least",
    "at_most",
    "between",
    "check",
    "claim",
    "exercise",
    "exercises",
    "lessons",
    "live_loss",
    "progress_bar",
    "show",
    "show_here",
    "use_answer",
]
