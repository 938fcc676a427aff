from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdcourse.course import exercise
from kdcourse.coursework import flags, marking
from kdcourse.coursework.feedback import feedback
from kdcourse.coursework.records import Answer, Assignment, Graded, Handed, Mark, Submission, Task
from kdcourse.coursework.sandbox import Lost
from kdcourse.errors import ArgumentError
from tests.coursework import fakes

SOFT = "softened_probabilities"


def submission(folder: Path, text: str) -> Submission:
    path = folder / "notebook.ipynb"
    path.write_text(text, "utf-8")
    return Submission("anna", "Anna", {fakes.LESSON: Handed(path, None, path.name, len(text))})


def marks(folder: Path, text: str, sandbox: Any = None) -> tuple[Mark, Mark]:
    graded = marking.mark(submission(folder, text), fakes.ASSIGNMENT, sandbox or fakes.InProcess())
    code, essay = graded.marks
    return code, essay


class Recording(fakes.InProcess):
    """Notes with which tries answers were put to the test."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def observe(self, answers: Sequence[Answer], exercises: Mapping[str, Any]) -> dict[str, Any]:
        self.asked += [exercises[answer.task].probes for answer in answers]
        return super().observe(answers, exercises)


def test_a_right_answer_has_all_points_and_an_essay_waits(tmp_path: Path) -> None:
    code, essay = marks(tmp_path, fakes.notebook(fakes.RIGHT))
    assert (code.points, code.of, code.right, code.attempted) == (3.0, 3.0, True, True)
    assert code.message.startswith("Right ✓") and code.found_by == "id" and "softmax" in code.text
    assert essay.points is None and essay.attempted and essay.text == "They tell more."
    assert code.fingerprint and essay.fingerprint


def test_a_wrong_answer_has_none_and_its_mistake_is_named(tmp_path: Path) -> None:
    code, _ = marks(tmp_path, fakes.notebook(fakes.WRONG))
    assert (code.points, code.right, code.attempted) == (0.0, False, True)
    assert code.mistake == "temperature ignored" and "Hint:" in code.message


def test_blanks_are_no_attempts_and_wait_for_nobody(tmp_path: Path) -> None:
    code, essay = marks(tmp_path, fakes.notebook("...", essay="  "))
    assert (code.points, code.attempted) == (0.0, False)
    assert (essay.points, essay.attempted) == (0.0, False)


def test_answers_are_tried_on_what_nobody_has_seen_and_right_ones_on_nothing_else(tmp_path: Path) -> None:
    sandbox = Recording()
    marks(tmp_path, fakes.notebook(fakes.RIGHT), sandbox)
    (tries,) = sandbox.asked
    seen = {repr(probe.inputs) for probe in exercise(SOFT).probes}
    assert not seen & {repr(probe.inputs) for probe in tries}


def test_an_answer_looked_up_from_the_visible_tries_earns_nothing(tmp_path: Path) -> None:
    sums = {probe.inputs[0].sum().item() for probe in exercise(SOFT).probes}
    code, _ = marks(tmp_path, fakes.notebook(fakes.TABLE.format(sums=sums)))
    assert (code.points, code.right) == (0.0, False)
    assert "right for the inputs in your notebook, but not for others like them" in code.message


def test_what_a_student_is_told_comes_from_the_visible_tests_only(tmp_path: Path) -> None:
    # It gives everything away that it gets, in its error: hidden inputs must not come back in the message.
    body = "1 / 0 if (_ for _ in ()).throw(ValueError(repr((logits.tolist(), temperature)))) else 0"
    sandbox = Recording()
    code, _ = marks(tmp_path, fakes.notebook(body), sandbox)
    hidden, visible = sandbox.asked
    assert repr(round(visible[0].inputs[0].flatten()[0].item(), 3))[:4] in code.message
    for probe in hidden:
        assert repr(probe.inputs[0].flatten()[0].item())[:7] not in code.message


def test_a_stuck_or_lost_answer_is_not_tried_twice_nor_told_about_hidden_tries(tmp_path: Path) -> None:
    sandbox = Recording()
    code, _ = marks(tmp_path, fakes.notebook(fakes.RIGHT, orders="lose"), sandbox)
    assert len(sandbox.asked) == 1 and (code.points, code.attempted) == (0.0, True)
    assert code.message == f"Not yet ✗ {SOFT}: it took too long and was stopped."


def test_what_an_answer_says_before_it_is_called_comes_from_the_visible_tests_too(tmp_path: Path) -> None:
    def tell(probes: Any) -> float:
        return float(probes[0].inputs[0].sum())

    class Telling(Recording):
        """An answer that finds the inputs when it is defined, and puts them into its error."""

        def _one(self, answer: Answer, exercise: Any) -> Lost:
            return Lost("broken", f"its code stopped before it could be called: {tell(self.asked[-1])}.")

    sandbox = Telling()
    code, _ = marks(tmp_path, fakes.notebook(fakes.RIGHT), sandbox)
    hidden, visible = sandbox.asked
    assert tell(hidden) != tell(visible)
    assert code.message == f"Not yet ✗ {SOFT}: its code stopped before it could be called: {tell(visible)}."


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["from kdcourse.distillation import hinton_loss as h\n", "def objective(*a):\n    return h(*a)\n"],
         "It uses kdcourse.distillation.hinton_loss of the course's package."),
        (["import kdcourse.distillation as d", "objective = lambda s, t, y, T, a: d.hinton_loss(s, t, y)"],
         "It uses kdcourse.distillation.hinton_loss of the course's package."),
        (["import kdcourse", "def objective(*a):\n    return kdcourse.distillation.hinton_loss(*a)"],
         "It uses kdcourse.distillation.hinton_loss of the course's package."),
        (["from kdcourse.distillation import *", "def objective(*a):\n    return hinton_loss(*a)"],
         "It uses kdcourse.distillation.* of the course's package."),
        (["import importlib", "def objective(*a):\n    return importlib.import_module('kd' + 'course')"],
         "It uses importlib, which no exercise needs."),
        (["def objective(*a):\n    return __import__('k')"], "It uses __import__, which no exercise needs."),
        (["import torch", "from kdcourse.distillation import kd_divergence as k\n",
          "def objective(*a):\n    return k(*a)\n"], ""),
        (["from kdcourse.course import check", "def objective(*a):\n    return 1"], ""),
    ],
)  # fmt: skip
def test_an_answer_that_takes_the_courses_own_solution_is_flagged(pieces: list[str], said: str) -> None:
    def solution(logits: Any) -> Any:
        return kd_divergence(logits)  # noqa: F821

    assert flags.borrowed(pieces, solution) == said


def called_right(text: str) -> str:
    """The notebook as it looks after its check has said Right."""
    output = {
        "output_type": "stream",
        "name": "stdout",
        "text": [f"Right ✓ {SOFT}: what was\n", "asked for."],
    }
    document = json.loads(text)
    check = {"cell_type": "code", "source": "check(...)", "metadata": {}, "outputs": [output]}
    document["cells"].append(check)
    document["metadata"] = {"language_info": {"version": "3.99.1"}}
    return json.dumps(document)


@pytest.mark.parametrize("body", [fakes.WRONG, "...", "logits +", "no_such_name"])
def test_right_in_the_notebook_and_wrong_in_grading_is_shown_with_both_words(
    body: str, tmp_path: Path
) -> None:
    code, _ = marks(tmp_path, called_right(fakes.notebook(body)))
    first = code.message.split("\n")[0]
    assert code.flag == f"The check in the notebook said 'Right ✓'; grading says: {first}"
    assert marks(tmp_path, called_right(fakes.notebook(fakes.RIGHT)))[0].flag == ""
    assert marks(tmp_path, fakes.notebook(body))[0].flag == ""


def test_syntax_of_a_newer_python_is_told_as_that(tmp_path: Path) -> None:
    code, _ = marks(tmp_path, called_right(fakes.notebook("logits ++ ++ =")))
    assert f"It was run with Python 3.99.1; grading uses {marking._OUR_PYTHON}." in code.message
    assert "3.99" not in marks(tmp_path, fakes.notebook("logits ++ ++ ="))[0].message


def test_files_handed_in_beside_the_notebook_can_be_imported(tmp_path: Path) -> None:
    text = fakes.notebook(f"h and {fakes.RIGHT}").replace(
        "def softened", "import helpers as h\\n\\ndef softened", 1
    )
    handed = submission(tmp_path, text)
    (tmp_path / "helpers.py").write_text("\ufeffscale = 1\n", "utf-8")
    handed.modules["helpers"] = Handed(tmp_path / "helpers.py", None, "helpers.py", 9)
    answers, _ = marking._answers(handed, fakes.ASSIGNMENT, {})
    assert answers[SOFT].modules == (("helpers", "scale = 1\n"),)
    handed.modules["helpers"] = Handed(tmp_path / "gone.py", None, "helpers.py", 9)
    assert marking._answers(handed, fakes.ASSIGNMENT, {})[0][SOFT].modules == (("helpers", ""),)


def test_a_flag_is_for_right_answers_and_never_told_to_students(tmp_path: Path) -> None:
    code, _ = marks(tmp_path, fakes.notebook(f"eval('{fakes.RIGHT}')"))
    assert code.right and code.points == 3 and code.flag == "It uses eval, which no exercise needs."
    assert "eval" not in code.message
    assert marks(tmp_path, fakes.notebook(f"eval('{fakes.WRONG}')"))[0].flag == ""


def test_a_note_on_how_the_answer_was_found_is_told(tmp_path: Path) -> None:
    twice = fakes.notebook(fakes.RIGHT).replace(
        "def softened", "def softened_probabilities(a, b):\\n    return a\\n\\n\\ndef softened", 1
    )
    code, _ = marks(tmp_path, twice)
    assert code.right and "defined more than once" in code.message


def test_a_lesson_that_was_not_handed_in_is_worth_nothing() -> None:
    graded = marking.mark(Submission("a", "A", {}, ("Nothing there.",)), fakes.ASSIGNMENT, fakes.InProcess())
    assert [mark.points for mark in graded.marks] == [0.0, 0.0]
    assert graded.problems == ("Nothing there.",)
    assert "No notebook of this lesson" in graded.marks[0].message


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', "\0\0\0", '{"cells": [{"source": "x ="}]}'])
def test_what_cannot_be_read_is_said_and_worth_nothing(text: str, tmp_path: Path) -> None:
    graded = marking.mark(submission(tmp_path, text), fakes.ASSIGNMENT, fakes.InProcess())
    assert [mark.points for mark in graded.marks] == [0.0, 0.0]
    assert graded.problems or all(
        "There is no cell" in m.message or "is missing" in m.message for m in graded.marks
    )


def test_an_error_in_judging_costs_the_student_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RecursionError("a mistake of ours")

    monkeypatch.setattr(marking, "judge", broken)
    handed = submission(tmp_path, fakes.notebook(fakes.RIGHT))
    graded = marking.mark(handed, fakes.ASSIGNMENT, fakes.InProcess())
    assert graded.marks[0].points is None and "not your fault" in graded.marks[0].message
    # Without the text, which may hold what the answer returned for hidden inputs.
    assert "RecursionError (broken, line" in graded.problems[0] and "--marks" in graded.problems[0]
    assert "a mistake of ours" not in graded.problems[0]


def test_a_failure_gives_no_points_and_takes_none(tmp_path: Path) -> None:
    graded = marking.failure(submission(tmp_path, "{}"), fakes.ASSIGNMENT, "the disk is full")
    assert all(mark.points is None for mark in graded.marks) and "the disk is full" in graded.problems[0]


def test_marks_can_be_written_anywhere_whatever_a_student_wrote(tmp_path: Path) -> None:
    text = fakes.notebook(fakes.RIGHT, essay="half \\ud83d a \\u0000 pair" * 5000).replace("\\\\u", "\\u")
    _, essay = marks(tmp_path, text)
    essay.text.encode()
    assert "\0" not in essay.text and len(essay.text) <= 50_000


def test_an_exercise_of_another_version_is_an_error_of_the_assignment() -> None:
    other = replace(fakes.ASSIGNMENT, tasks=(Task("no_such", "code", fakes.LESSON, "T", 1.0),))
    with pytest.raises(ArgumentError, match="no exercise 'no_such'"):
        marking.prepare(other)


def test_what_a_sandbox_lost_is_said_as_it_says() -> None:
    assert marking._loss(Lost("memory", "it took too much."), own_words=False) == "it took too much."
    assert "ended without a result" in marking._loss(None, own_words=True)


# -- several attempts, and points per test case ---------------------------------------------------


def test_the_best_of_several_attempts_counts_and_all_are_named(tmp_path: Path) -> None:
    handed = {}
    for name, answer, essay in (("a", fakes.WRONG, "Long."), ("b", fakes.RIGHT, "Short."), ("c", "...", " ")):
        path = tmp_path / f"{name}.ipynb"
        path.write_text(fakes.notebook(answer, essay=essay), "utf-8")
        handed[name] = Handed(path, None, path.name, 0)
    several = Submission(
        "anna", "Anna", {fakes.LESSON: handed["a"]}, others={fakes.LESSON: (handed["b"], handed["c"])}
    )
    graded = marking.mark(several, fakes.ASSIGNMENT, fakes.InProcess())
    code, essay = graded.marks
    assert code.points == 3 and essay.text == "Short."  # a notebook counts as a whole
    assert graded.problems == (
        f"Of 3 notebooks of lesson {fakes.LESSON}, 'b.ipynb' counts; points of the checked code: 'a.ipynb' 0, "
        "'b.ipynb' 3, 'c.ipynb' 0.",
    )


HALF = "logits.softmax(1) if temperature > 1 else (logits / temperature).softmax(1)"


def test_points_per_test_case_are_for_those_exercises_that_say_so(tmp_path: Path) -> None:
    code, essay = fakes.ASSIGNMENT.tasks
    in_part = replace(fakes.ASSIGNMENT, tasks=(replace(code, partial=True), essay))

    def mark_of(answer: str, asked: Assignment = in_part) -> Mark:
        handed = submission(tmp_path, fakes.notebook(answer))
        return marking.mark(handed, asked, fakes.InProcess()).marks[0]

    half = mark_of(HALF)
    cases = len(exercise(code.id).probes)
    assert half.points is not None and 0 < half.points < 3 and not half.right
    assert re.search(
        rf"right on \d of {cases} hidden test cases, which gives {half.points:g} points", half.message
    )
    page = feedback(Graded("anna", "Anna", (half,), (), 0.0), in_part)
    assert "in part" in page and "hidden test cases" in page
    assert mark_of(fakes.RIGHT).points == 3 and mark_of("...").points == 0
    assert mark_of(HALF, fakes.ASSIGNMENT).points == 0
    # Answers that are looked up, random or change their input earn nothing on the test cases of the notebook.
    sums = tuple(probe.inputs[0].sum().item() for probe in exercise(code.id).probes)
    assert mark_of(fakes.TABLE.format(sums=sums)).points == 0
    assert mark_of("logits.div_(temperature).softmax(1) if temperature != 1 else 0").points == 0
    # A hidden test case that is the same as a visible one gives no points.
    assert len(marking._fresh("entropy_nats", 5)) == len(exercise("entropy_nats").probes) - 1
