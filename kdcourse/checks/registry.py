"""Every exercise of the course, by name."""

from __future__ import annotations

import difflib
from functools import cache

from kdcourse.checks.exercise import Exercise
from kdcourse.errors import ArgumentError


def exercises(lesson: int | None = None) -> dict[str, Exercise]:
    """Exercises by id, in the order in which the lessons ask them: of one lesson (0 to 7), or all."""
    return {one.id: one for one in _all() if lesson is None or one.lesson == lesson}


def exercise(exercise_id: str) -> Exercise:
    """The exercise of that id.

    Raises:
        ArgumentError: there is none; names those that look alike.
    """
    known = exercises()
    if exercise_id in known:
        return known[exercise_id]
    close = difflib.get_close_matches(str(exercise_id), known, n=3, cutoff=0.5)
    advice = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(known)}."
    raise ArgumentError(f"There is no exercise {exercise_id!r}. {advice}")


@cache
def _all() -> tuple[Exercise, ...]:
    from kdcourse.checks import (
        lesson_00,
        lesson_01,
        lesson_02,
        lesson_03,
        lesson_04,
        lesson_05,
        lesson_06,
        lesson_07,
    )

    first = (lesson_00, lesson_01, lesson_02, lesson_03)
    lessons = (*first, lesson_04, lesson_05, lesson_06, lesson_07)
    return tuple(one for lesson in lessons for one in lesson.EXERCISES)
