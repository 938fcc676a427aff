"""A sandbox that is none, for tests of what stands around it, and a class that tells it what to do.

An answer's docstring may hold orders: ``die`` ends the worker process, ``raise`` is an error of the sandbox's own,
``lose`` gives no report, ``slow`` takes its time, ``log:PATH`` notes that the answer was tried.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kdcourse.checks import Exercise, observe
from kdcourse.coursework.batch import Batch, grade
from kdcourse.coursework.records import Answer, Assignment, Task
from kdcourse.coursework.sandbox import Lost

LESSON = "04_soft_targets"
ASSIGNMENT = Assignment(
    "week-4",
    "Soft targets",
    (LESSON,),
    (
        Task("softened_probabilities", "code", LESSON, "Soften the logits", 3.0),
        Task("soft-why", "written", LESSON, "Why soft", 2.0, "- 2: a secret criterion"),
    ),
    seed=7,
)
RIGHT = "(logits / temperature).softmax(1)"
WRONG = "logits.softmax(1)"  # temperature ignored
# Looks the inputs of the visible tries up, and is wrong on all others.
TABLE = "(logits / temperature).softmax(1) if logits.sum().item() in {sums} else logits"


class InProcess:
    """Runs answers in this very process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def observe(self, answers: Sequence[Answer], exercises: Mapping[str, Exercise]) -> dict[str, Any]:
        return {answer.task: self._one(answer, exercises[answer.task]) for answer in answers}

    def _one(self, answer: Answer, exercise: Exercise) -> Any:
        for word in answer.text.split():
            if word.startswith("log:"):
                with open(word[4:], "a") as file:
                    file.write("tried\n")
        if "die" in answer.text.split():
            os._exit(7)
        if "raise" in answer.text.split():
            raise ZeroDivisionError("a mistake of ours")
        if "slow" in answer.text.split():
            time.sleep(0.5)
        if "lose" in answer.text.split():
            return Lost("time", "it took too long and was stopped.")
        names: dict[str, Any] = {}
        for piece in answer.pieces:
            exec(piece, names)
        return observe(exercise, names[answer.function])


def in_process(unsafe: bool) -> InProcess:
    return InProcess()


def in_process_of(private: Sequence[Path], unsafe: bool) -> InProcess:
    """Stand in for the sandbox, which hides what is private."""
    return in_process(unsafe)


def definition(body: str, orders: str = "") -> str:
    return f'def softened_probabilities(logits, temperature):\n    """ {orders} """\n    return {body}\n'


def notebook(body: str, essay: str = "They tell more.", orders: str = "") -> str:
    cells = [
        {"cell_type": "code", "source": definition(body, orders), "grade": "softened_probabilities"},
        {"cell_type": "markdown", "source": essay, "grade": "soft-why"},
    ]
    full = [
        {
            "cell_type": cell["cell_type"],
            "source": cell["source"],
            "id": cell["grade"],
            "metadata": {"nbgrader": {"grade_id": cell["grade"], "schema_version": 3, "solution": True}},
            **({"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {}),
        }
        for cell in cells
    ]
    return json.dumps({"cells": full, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def hand_in(folder: Path, student: str, text: str) -> Path:
    path = folder / student / f"{LESSON}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def grade_class(folder: Path, out: Path, **more: Any) -> Batch:
    settings = {"jobs": 1, "progress": False, "open_sandbox": in_process}
    return grade(folder, ASSIGNMENT, out, **{**settings, **more})


if __name__ == "__main__":
    from tests.coursework import fakes  # under the name that workers know

    try:
        fakes.grade_class(Path(sys.argv[1]), Path(sys.argv[2]), jobs=2)
    except KeyboardInterrupt:
        sys.exit(130)
