"""Answers by independent hands: no wrong one is accepted, no right one is refused."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from kdcourse.checks import varied
from kdcourse.checks.judge import right
from kdcourse.checks.observe import observe_ours
from kdcourse.course import exercises
from tests.course.learners import verdict

NAMES = list(exercises())


def attempts(name: str) -> ModuleType:
    return importlib.import_module(f"tests.course.attempts.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_attempts(name: str) -> None:
    given = attempts(name)
    assert len(given.WRONG) >= 20 and len(given.RIGHT) >= 5
    assert set(getattr(given, "SAYS", {})) <= set(given.WRONG)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_wrong_answer_is_accepted_and_no_right_one_refused(name: str) -> None:
    given, hidden = attempts(name), varied(exercises()[name], 20_261_129)
    problems = []
    for number, answer in enumerate(given.RIGHT):
        found = verdict(name, answer, limit=60.0)
        if not found.right:
            problems.append(f"right answer {number} refused: {found}")
        elif not right(hidden, observe_ours(hidden, answer)):
            problems.append(f"right answer {number} refused on hidden probes")
    for words, answer in given.WRONG.items():
        found = verdict(name, answer, limit=60.0)
        if found.right or not found.attempted:
            problems.append(f"accepted: {words}")
        elif right(hidden, observe_ours(hidden, answer)):
            problems.append(f"accepted on hidden probes: {words}")
        elif getattr(given, "SAYS", {}).get(words, "") not in found.message:
            problems.append(f"{words}: {found}")
    assert not problems, "\n".join(problems)
