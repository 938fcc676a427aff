"""Answers as learners write them: every file in `tests.course.answers` has some, for the lesson of its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from kdcourse.checks import Verdict, judge, observe
from kdcourse.course import ORDER, exercise

Answer = Callable[..., Any]


class Answers:
    """``wrong[id]`` pairs the name of a mistake with an answer; ``right[id]`` holds answers."""

    def __init__(self) -> None:
        self.wrong: dict[str, list[tuple[str, Answer]]] = {}
        self.right: dict[str, list[Answer]] = {}

    def add_wrong(self, exercise_id: str, **answers: Answer) -> None:
        """Names of mistakes with _ for every space."""
        self.wrong.setdefault(exercise_id, []).extend(
            (name.replace("_", " "), answer) for name, answer in answers.items()
        )

    def add_right(self, exercise_id: str, *answers: Answer) -> None:
        self.right.setdefault(exercise_id, []).extend(answers)


def verdict(exercise_id: str, answer: Any, limit: float = 10.0) -> Verdict:
    asked = exercise(exercise_id)
    return judge(asked, observe(asked, answer, limit=limit))


GIVEN = [importlib.import_module(f"tests.course.answers.{topic}").ANSWERS for topic in ORDER]
WRONG = {name: given for answers in GIVEN for name, given in answers.wrong.items()}
RIGHT = {name: given for answers in GIVEN for name, given in answers.right.items()}
