"""Checks that tell a learner whether an exercise is right, and which mistake it looks like."""

from __future__ import annotations

import os
from typing import Any

from kdcourse.checks.exercise import Exercise, Mistake, Probe, Verdict
from kdcourse.checks.judge import judge
from kdcourse.checks.observe import observe
from kdcourse.checks.registry import exercise, exercises

__all__ = [
    "Exercise",
    "Mistake",
    "Probe",
    "Verdict",
    "check",
    "exercise",
    "exercises",
    "judge",
    "observe",
]


def check(exercise_id: str, answer: Any, *, limit: float = 10.0, seed: int | None = None) -> Verdict:
    """Check an answer, print the verdict and return it.

    Whatever the answer does (raise, loop for ever, return nonsense), it is met with a message. Under nbgrader,
    which sets NBGRADER_EXECUTION, anything but a right answer raises AssertionError with that message,
    so that its points are lost.

    Args:
        exercise_id: one of `exercises`.
        answer: the function written for it, not called (or the value, for an exercise that asks for one).
        limit: seconds that all tries may take together.
        seed: puts it to tries of other values, which follow from this whole number, rather than to those that every
            learner can look up.

    Raises:
        ArgumentError: there is no such exercise.
    """
    asked = exercise(exercise_id)
    if seed is not None:
        asked = asked.varied(seed)
    verdict = judge(asked, observe(asked, answer, limit=limit))
    if "NBGRADER_EXECUTION" in os.environ and not verdict.right:
        raise AssertionError(verdict.message)
    try:
        print(verdict)
    except UnicodeEncodeError:  # a console without ticks and crosses
        print(verdict.message.encode("ascii", "ignore").decode())
    return verdict
