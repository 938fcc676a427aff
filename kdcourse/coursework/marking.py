"""One submission, from its files to its marks.

    notebooks -> cells -> answers -> (sandbox) what they do on tries -> judged here -> marks

Answers are tried on inputs that students haven't seen, so that one looked up from the visible tries earns nothing. What
a student is told comes from the visible tries alone: hidden ones must not leak through a message.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from kdcourse.checks import Exercise, Verdict, judge, varied
from kdcourse.checks.outcomes import Observed
from kdcourse.course import exercise
from kdcourse.coursework import notebooks
from kdcourse.coursework.finding import find
from kdcourse.coursework.notebooks import Cell
from kdcourse.coursework.page import clean
from kdcourse.coursework.records import Answer, Assignment, Graded, Handed, Mark, Submission, Task
from kdcourse.coursework.sandbox import Lost

_MOST_TEXT = 50_000  # characters of an answer that are kept to be shown
_MOST_MESSAGE = 2_000
_NO_NOTEBOOK = "No notebook of this lesson was handed in."
_READER = "A person reads this answer."


class Observer(Protocol):
    """What marking needs of a sandbox: `kdcourse.coursework.sandbox.Sandbox` is one."""

    def observe(self, answers: Sequence[Answer], exercises: Mapping[str, Exercise]) -> Mapping[str, Any]:
        """What each answer does on the tries of its exercise, by task; anything but `Observed` is a loss."""
        ...


Given = Mapping[str, tuple[Cell, ...]]  # lesson -> cells of the notebook as students got it


def mark(
    submission: Submission, assignment: Assignment, sandbox: Observer, given: Given | None = None
) -> Graded:
    """The marks of one submission.

    Args:
        submission: what one student handed in.
        assignment: what was asked; its seed decides what answers are tried on.
        sandbox: runs the student's code.
        given: see `released`; helps where a student deleted cells that an answer needs.

    Raises:
        ArgumentError: the assignment asks for an exercise that this version doesn't have.
    """
    began = time.perf_counter()
    answers, problems = _answers(submission, assignment, given or {})
    code = [answers[task.id] for task in assignment.tasks if task.kind == "code" and task.id in answers]
    verdicts, errors = _judged([answer for answer in code if not answer.problem], assignment.seed, sandbox)
    marks = []
    for task in assignment.tasks:
        answer = answers.get(task.id)
        if answer is None:
            marks.append(Mark(task.id, 0.0, task.points, False, False, None, _NO_NOTEBOOK))
        elif task.kind == "written":
            marks.append(_written(task, answer))
        elif task.id in errors:
            marks.append(_unjudged(task, answer))
        else:
            marks.append(_code(task, answer, verdicts.get(task.id)))
    said = tuple(dict.fromkeys(clean(text)[:_MOST_MESSAGE] for text in [*problems, *errors.values()]))
    return Graded(submission.student, clean(submission.name), tuple(marks), said, time.perf_counter() - began)


def failure(submission: Submission, assignment: Assignment, reason: str) -> Graded:
    """Stands for a submission that could not be graded through no fault of the student's: nothing is worth 0."""
    marks = tuple(
        Mark(
            task.id,
            None,
            task.points,
            False,
            True,
            None,
            "This could not be graded yet; it is not your fault.",
        )
        for task in assignment.tasks
    )
    said = (
        *submission.problems,
        f"This submission could not be graded: {reason}. Run the command again; if that doesn't help, mark it by hand "
        "(--marks) and please report the error.",
    )
    return Graded(
        submission.student,
        clean(submission.name),
        marks,
        tuple(clean(text)[:_MOST_MESSAGE] for text in said),
        0.0,
    )


def described(error: BaseException) -> str:
    """An error of ours in a line: what, and where in the code."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


# -- from files to answers ----------------------------------------------------------------------


def released(folder: Path | None, assignment: Assignment) -> Given:
    """The cells of the notebooks that students got; nothing for lessons whose notebook isn't there."""
    cells: dict[str, tuple[Cell, ...]] = {}
    if folder is None:
        return cells
    for lesson in assignment.lessons:
        path = folder / f"{lesson}.ipynb"
        if path.is_file():
            cells[lesson] = notebooks.read(Handed(path, None, path.name, path.stat().st_size)).cells
    return cells


def _answers(
    submission: Submission, assignment: Assignment, given: Given
) -> tuple[dict[str, Answer], list[str]]:
    """Task -> answer, for lessons that were handed in; and what could not be read."""
    answers: dict[str, Answer] = {}
    problems = list(submission.problems)
    for lesson in assignment.lessons:
        handed = submission.notebooks.get(lesson)
        if handed is None:
            continue
        notebook = notebooks.read(handed)
        problems += notebook.problems
        for task in assignment.of_lesson(lesson):
            answers[task.id] = find(notebook.cells, task, given.get(lesson, ()))
    return answers, problems


# -- from answers to verdicts -------------------------------------------------------------------


@lru_cache(maxsize=512)
def _varied(task: str, seed: int) -> Exercise:
    """The same object every time: what our own solutions do on its tries is remembered by it."""
    return varied(exercise(task), seed)


def prepare(assignment: Assignment) -> None:
    """Draw the hidden tries once.

    Raises:
        ArgumentError: the assignment asks for an exercise that this version doesn't have.
    """
    for task in assignment.tasks:
        if task.kind == "code":
            _varied(task.id, assignment.seed)


def _judged(
    answers: Sequence[Answer], seed: int, sandbox: Observer
) -> tuple[dict[str, Verdict], dict[str, str]]:
    """Task -> verdict, in words for the student; and task -> error of ours where there can be no verdict."""
    hidden = {answer.task: _varied(answer.task, seed) for answer in answers}
    seen = sandbox.observe(answers, hidden) if answers else {}
    verdicts: dict[str, Verdict] = {}
    errors: dict[str, str] = {}
    again = []
    for answer in answers:
        verdict = _verdict(hidden[answer.task], seen.get(answer.task), errors)
        if verdict is None:
            continue
        verdicts[answer.task] = verdict
        finished = isinstance(seen[answer.task], Observed) and not seen[answer.task].stuck
        if verdict.attempted and not verdict.right and finished:
            again.append(answer)
    open_ = {answer.task: exercise(answer.task) for answer in again}
    shown = sandbox.observe(again, open_) if again else {}
    for answer in again:
        visible = _verdict(open_[answer.task], shown.get(answer.task), {})
        verdicts[answer.task] = _in_open_words(answer.task, verdicts[answer.task], visible)
    return verdicts, errors


def _verdict(asked: Exercise, seen: Any, errors: dict[str, str]) -> Verdict | None:
    """The verdict on what was seen; None, and an entry in ``errors``, where judging itself fails."""
    if not isinstance(seen, Observed):
        return Verdict(False, True, None, f"Not yet ✗ {asked.id}: {_loss(seen)}")
    try:
        verdict = judge(asked, seen)
    except Exception as error:
        errors[asked.id] = (
            f"The answer to {asked.id} could not be judged: {described(error)}. Mark it by hand (--marks) and please "
            "report the error."
        )
        return None
    if seen.stuck and not verdict.right and verdict.attempted:
        return Verdict(
            False, True, None, f"Not yet ✗ {asked.id} took too long.\n  Does each loop come nearer its end?"
        )
    return verdict


def _loss(seen: Any) -> str:
    """Why there is nothing to judge, in words for the student."""
    return seen.reason if isinstance(seen, Lost) else "its process ended without an answer."


def _in_open_words(task: str, hidden: Verdict, visible: Verdict | None) -> Verdict:
    """A wrong answer's verdict as the student may see it: by the visible tries, where they show it."""
    if visible is not None and not visible.right:
        return Verdict(False, True, visible.mistake or hidden.mistake, visible.message)
    like = f" It looks like '{hidden.mistake}'." if hidden.mistake else ""
    return Verdict(
        False,
        True,
        hidden.mistake,
        f"Not yet ✗ {task}: right on the tries in your notebook, but not on others like them.{like}\n"
        "  Does it use something that holds for those inputs alone?",
    )


# -- from verdicts to marks ---------------------------------------------------------------------


def _code(task: Task, answer: Answer, verdict: Verdict | None) -> Mark:
    if verdict is None:
        message = answer.problem or "Nothing was found for this task."
        return _mark(task, answer, 0.0, False, bool(answer.fingerprint), None, message)
    points = task.points if verdict.right else 0.0
    return _mark(task, answer, points, verdict.right, verdict.attempted, verdict.mistake, verdict.message)


def _written(task: Task, answer: Answer) -> Mark:
    if answer.text.strip() and not answer.problem:
        return _mark(task, answer, None, False, True, None, _READER)
    return _mark(task, answer, 0.0, False, False, None, answer.problem or "There is no answer.")


def _unjudged(task: Task, answer: Answer) -> Mark:
    return _mark(task, answer, None, False, True, None, "This could not be judged yet; it is not your fault.")


def _mark(
    task: Task,
    answer: Answer,
    points: float | None,
    right: bool,
    attempted: bool,
    mistake: str | None,
    message: str,
) -> Mark:
    return Mark(
        task=task.id,
        points=points,
        of=task.points,
        right=right,
        attempted=attempted,
        mistake=clean(mistake)[:200] if mistake else None,
        message=clean(f"{message}\n{answer.note}".strip())[:_MOST_MESSAGE],
        found_by=answer.found_by,
        text=clean(answer.text)[:_MOST_TEXT],
        fingerprint=answer.fingerprint,
    )
