"""Every exercise of the course by its id, and the check that learners call."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from kdcourse.course.order import ORDER
from kdcourse.errors import ArgumentError

if TYPE_CHECKING:
    from kdcourse.checks import Exercise, Verdict


@cache
def exercises(topic: str | None = None) -> dict[str, Exercise]:
    """Return exercises by id, in the order in which the lessons ask them: those of one topic, or all.

    Raises:
        ArgumentError: there is no such topic.
    """
    if topic is not None:
        if topic not in ORDER:
            raise ArgumentError(f"There is no lesson {topic!r}; there are {', '.join(ORDER)}.")
        found = importlib.import_module(f"kdcourse.course.{topic}.exercises").EXERCISES
        return {one.id: one for one in found}
    return {name: one for each in ORDER for name, one in exercises(each).items()}


def exercise(exercise_id: str) -> Exercise:
    """Return the exercise with that id.

    Raises:
        ArgumentError: there is none; names those that look alike.
    """
    known = exercises()
    if exercise_id in known:
        return known[exercise_id]
    close = difflib.get_close_matches(str(exercise_id), known, n=3, cutoff=0.5)
    advice = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(known)}."
    raise ArgumentError(f"There is no exercise {exercise_id!r}. {advice}")


_checked: dict[str, tuple[Any, bool]] = {}  # by exercise: the answer checked last, and whether it is right


def check(exercise_id: str, answer: Any, *, limit: float = 10.0, seed: int | None = None) -> Verdict:
    """Check an answer, print the verdict and return it.

    Whatever the answer does (raise, loop for ever, return nonsense), it is met with a message. Under nbgrader,
    which sets NBGRADER_EXECUTION, anything but a right answer raises AssertionError with that message,
    so that its points are lost.

    Args:
        exercise_id: one of `exercises`.
        answer: the function written for it, not called.
        limit: seconds for all probes together.
        seed: use hidden probes, drawn from this whole number, instead of those that learners can look up.

    Raises:
        ArgumentError: there is no such exercise.
    """
    from kdcourse.checks import (
        judge,
        observe,
        varied,
    )  # imports torch, which those who only list lessons don't need

    asked = exercise(exercise_id)
    if seed is not None:
        asked = varied(asked, seed)
    verdict = judge(asked, observe(asked, answer, limit=limit))
    if seed is None:
        _checked[exercise_id] = (answer, verdict.right)
    if "NBGRADER_EXECUTION" in os.environ and not verdict.right:
        raise AssertionError(verdict.message)
    try:
        print(verdict)
    except UnicodeEncodeError:  # a console without ticks and crosses
        print(verdict.message.encode("ascii", "ignore").decode())
    return verdict


def use_answer(exercise_id: str, answer: Any, *, limit: float = 10.0) -> Callable[..., Any]:
    """Return the learner's answer if it is right, else the exercise's solution, and print which one it is.

    A lesson goes on with what is returned, so that it runs to its end even if an exercise is blank.

    Args:
        exercise_id: one of `exercises`.
        answer: the function written for it, not called. If `check` was just given the same one, it isn't tried again.
        limit: seconds for all probes together.

    Raises:
        ArgumentError: there is no such exercise.
    """
    from kdcourse.checks import judge, observe

    asked = exercise(exercise_id)
    checked, right = _checked.get(exercise_id, (None, False))
    if checked is not answer:
        right = judge(asked, observe(asked, answer, limit=limit)).right
    if right:
        print(f"This cell uses your {exercise_id}.")
        return cast("Callable[..., Any]", answer)
    print(f"This cell uses the course's {exercise_id}. Once yours is right, run the cell again to use yours.")
    return asked.solution
