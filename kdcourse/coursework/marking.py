"""Mark one submission.

    notebooks -> cells -> answers -> (sandbox) outputs for test inputs -> judged here -> marks

Answers are tested with inputs that students haven't seen, so that returning the results of the visible tests earns
nothing. Messages to students come from the visible tests only, so that hidden ones don't leak.
"""

from __future__ import annotations

import sys
import time
import traceback
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from kdcourse.checks import Exercise, Verdict, judge, varied
from kdcourse.checks.compare import same
from kdcourse.checks.judge import right_probes
from kdcourse.checks.outcomes import Observed
from kdcourse.course import exercise
from kdcourse.coursework import notebooks
from kdcourse.coursework.finding import INVALID, find
from kdcourse.coursework.flags import borrowed
from kdcourse.coursework.notebooks import Cell
from kdcourse.coursework.records import Answer, Assignment, Graded, Handed, Mark, Submission, Task
from kdcourse.coursework.sandbox import BROKEN, Lost
from kdcourse.coursework.tables import number
from kdcourse.pages import clean

_MOST_TEXT = 50_000  # characters of an answer that are kept for display
_MOST_MESSAGE = 2_000
_MOST_MODULE = 100_000  # bytes of a student's own Python file
_OUR_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_NO_NOTEBOOK = "No notebook of this lesson was handed in."
_BY_A_PERSON = "A person marks this answer."


class Observer(Protocol):
    """Define what marking needs of a sandbox, such as `kdcourse.coursework.sandbox.Sandbox`."""

    def observe(self, answers: Sequence[Answer], exercises: Mapping[str, Exercise]) -> Mapping[str, Any]:
        """Observe each answer on the inputs of its exercise, by task; anything but `Observed` means that it failed."""
        ...


Given = Mapping[str, tuple[Cell, ...]]  # lesson -> cells of the notebook as students got it


def mark(
    submission: Submission, assignment: Assignment, sandbox: Observer, given: Given | None = None
) -> Graded:
    """Return the marks of one submission.

    Args:
        submission: what one student handed in.
        assignment: what was asked; its seed determines the hidden test inputs.
        sandbox: runs the student's code.
        given: see `released`; used if a student deleted cells that an answer needs.

    Raises:
        ArgumentError: the assignment asks for an exercise that this version doesn't have.
    """
    began = time.perf_counter()
    found = _marked(submission, assignment, sandbox, given or {})
    for lesson, others in submission.others.items():
        part = replace(assignment, lessons=(lesson,), tasks=assignment.of_lesson(lesson))
        tries = {submission.notebooks[lesson].label: found}
        for handed in others:
            alone = replace(submission, notebooks={lesson: handed}, problems=())
            tries[handed.label] = _marked(alone, part, sandbox, given or {})
        found = _best(found, tries, part)
    return replace(found, seconds=time.perf_counter() - began)


def _best(found: Graded, tries: Mapping[str, Graded], part: Assignment) -> Graded:
    """Return marks with those of the best attempt at a lesson, the first of equally good ones."""
    tasks = {task.id for task in part.tasks}
    marks = {label: [mark for mark in tried.marks if mark.task in tasks] for label, tried in tries.items()}
    points = {label: sum(mark.points or 0.0 for mark in marks[label]) for label in tries}
    label = max(points, key=lambda one: points[one])
    counts = {mark.task: mark for mark in marks[label]}
    listed = ", ".join(f"'{one}' {number(points[one])}" for one in tries)
    said = (
        f"Of {len(tries)} notebooks of lesson {part.lessons[0]}, '{label}' counts; points of the checked code: "
        f"{listed}."
    )
    problems = tuple(dict.fromkeys([*found.problems, *tries[label].problems, clean(said)[:_MOST_MESSAGE]]))
    return replace(found, marks=tuple(counts.get(mark.task, mark) for mark in found.marks), problems=problems)


def _marked(submission: Submission, assignment: Assignment, sandbox: Observer, given: Given) -> Graded:
    """Return the marks of the submission's notebooks, with further attempts left out."""
    answers, problems = _answers(submission, assignment, given)
    code = [answers[task.id] for task in assignment.tasks if task.kind == "code" and task.id in answers]
    verdicts, errors, shares = _judged(
        [answer for answer in code if not answer.problem], assignment.seed, sandbox
    )
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
            marks.append(_code(task, answer, verdicts.get(task.id), shares.get(task.id, (0, 0))))
    said = tuple(dict.fromkeys(clean(text)[:_MOST_MESSAGE] for text in [*problems, *errors.values()]))
    return Graded(submission.student, clean(submission.name), tuple(marks), said, 0.0)


def failure(submission: Submission, assignment: Assignment, reason: str) -> Graded:
    """Return open marks (not 0 points) for a submission that could not be graded for reasons other than its content."""
    marks = tuple(
        Mark(
            task.id,
            None,
            task.points,
            False,
            True,
            None,
            "This could not be graded yet. It is not your fault.",
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


def described(error: BaseException, text: bool = True) -> str:
    """Describe an error in our code in one line: what, with its text if wanted, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    said = " ".join(str(error).split())[:300] if text else ""
    return f"{type(error).__name__}{': ' if said else ''}{said}{where}"


# -- from files to answers ----------------------------------------------------------------------


def released(folder: Path | None, assignment: Assignment) -> Given:
    """Read the cells of the notebooks that students got; lessons without a notebook are left out."""
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
    """Return task -> answer, for lessons that were handed in; and what could not be read."""
    answers: dict[str, Answer] = {}
    problems = list(submission.problems)
    modules = {name: _module(handed) for name, handed in submission.modules.items()}
    for lesson in assignment.lessons:
        handed = submission.notebooks.get(lesson)
        if handed is None:
            continue
        notebook = notebooks.read(handed)
        problems += notebook.problems
        for task in assignment.of_lesson(lesson):
            answer = find(notebook.cells, task, given.get(lesson, ()), modules)
            if INVALID in answer.problem and _newer(notebook.python):
                problem = (
                    f"{answer.problem} It was run with Python {notebook.python}; grading uses {_OUR_PYTHON}."
                )
                answer = replace(answer, problem=problem)
            answers[task.id] = answer
    return answers, problems


def _module(handed: Handed) -> str:
    try:
        with handed.open() as stream:
            return clean(stream.read(_MOST_MODULE).decode("utf-8-sig", "replace"))
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return ""


def _newer(python: str) -> bool:
    """Tell whether a version, such as "3.13.1", is newer than the one that grades."""
    return [int(part) for part in python.split(".")[:2]] > [*sys.version_info[:2]] if python else False


# -- from answers to verdicts -------------------------------------------------------------------


_Share = tuple[int, int]  # on how many of how many hidden test cases an answer is right


@lru_cache(maxsize=512)
def _varied(task: str, seed: int) -> Exercise:
    """Return the exercise with hidden inputs, always the same object: by it, results of our solutions are cached."""
    return varied(exercise(task), seed)


def prepare(assignment: Assignment) -> None:
    """Draw the hidden test inputs once.

    Raises:
        ArgumentError: the assignment asks for an exercise that this version doesn't have.
    """
    for task in assignment.tasks:
        if task.kind == "code":
            _varied(task.id, assignment.seed)


def _judged(
    answers: Sequence[Answer], seed: int, sandbox: Observer
) -> tuple[dict[str, Verdict], dict[str, str], dict[str, _Share]]:
    """Return task -> verdict for the student, task -> error in our code where there is none, and task -> share."""
    hidden = {answer.task: _varied(answer.task, seed) for answer in answers}
    seen = sandbox.observe(answers, hidden) if answers else {}
    verdicts: dict[str, Verdict] = {}
    errors: dict[str, str] = {}
    shares: dict[str, _Share] = {}
    again = []
    for answer in answers:
        verdict = _verdict(hidden[answer.task], seen.get(answer.task), errors)
        if verdict is None:
            continue
        verdicts[answer.task] = verdict
        if verdict.attempted and isinstance(observed := seen.get(answer.task), Observed):
            fresh = _fresh(answer.task, seed)
            shares[answer.task] = len(fresh & right_probes(hidden[answer.task], observed)), len(fresh)
        # Replaces the student's own words, which may hold hidden inputs, by those for the visible tests.
        if verdict.attempted and not verdict.right and _speaks(seen.get(answer.task)):
            again.append(answer)
    open_ = {answer.task: exercise(answer.task) for answer in again}
    shown = sandbox.observe(again, open_) if again else {}
    for answer in again:
        visible = _verdict(open_[answer.task], shown.get(answer.task), {}, own_words=True)
        verdicts[answer.task] = _visible_verdict(answer.task, verdicts[answer.task], visible)
    return verdicts, errors, shares


@lru_cache(maxsize=512)
def _fresh(task: str, seed: int) -> frozenset[int]:
    """Return the numbers of the hidden test cases that differ from the visible one of the same number."""
    pairs = zip(exercise(task).probes, _varied(task, seed).probes, strict=True)
    return frozenset(
        n for n, (one, other) in enumerate(pairs) if not same(one.inputs, other.inputs, 0.0, 0.0)
    )


def _verdict(asked: Exercise, seen: Any, errors: dict[str, str], own_words: bool = False) -> Verdict | None:
    """Return the verdict on what was observed; None and an entry in ``errors`` if judging itself fails."""
    if not isinstance(seen, Observed):
        return Verdict(False, True, None, f"Not yet ✗ {asked.id}: {_loss(seen, own_words)}")
    try:
        verdict = judge(asked, seen)
    except Exception as error:
        # Without the error's text, which may hold what the answer returned for hidden inputs.
        errors[asked.id] = (
            f"The answer to {asked.id} could not be judged: {described(error, text=False)}. Mark it by hand (--marks) "
            "and please report the error."
        )
        return None
    if seen.stuck and not verdict.right and verdict.attempted:
        return Verdict(False, True, None, f"Not yet ✗ {asked.id} took too long.\n  Does every loop end?")
    return verdict


def _speaks(seen: Any) -> bool:
    """Tell whether something observed holds the student's own words, such as those of an error."""
    if isinstance(seen, Observed):
        return not seen.stuck
    return isinstance(seen, Lost) and seen.kind == BROKEN


def _loss(seen: Any, own_words: bool) -> str:
    """Return why there is nothing to judge, for the student."""
    if isinstance(seen, Lost) and seen.kind == BROKEN and not own_words:
        return "its code stopped before it could be called."
    return seen.reason if isinstance(seen, Lost) else "its process ended without a result."


def _visible_verdict(task: str, hidden: Verdict, visible: Verdict | None) -> Verdict:
    """Return a wrong answer's verdict as the student may see it: by the visible tests, if they show it."""
    if visible is not None and not visible.right:
        return Verdict(False, True, visible.mistake or hidden.mistake, visible.message)
    like = f" It looks like '{hidden.mistake}'." if hidden.mistake else ""
    return Verdict(
        False,
        True,
        hidden.mistake,
        f"Not yet ✗ {task}: right for the inputs in your notebook, but not for others like them.{like}\n"
        "  Does it use something that is true for those inputs only?",
    )


# -- from verdicts to marks ---------------------------------------------------------------------


def _code(task: Task, answer: Answer, verdict: Verdict | None, share: _Share) -> Mark:
    if verdict is None:
        message = answer.problem or "Nothing was found for this task."
        mark = _mark(task, answer, 0.0, False, bool(answer.fingerprint), None, message)
    else:
        points, message = task.points if verdict.right else 0.0, verdict.message
        passed, count = share
        if task.partial and not verdict.right and verdict.attempted and passed:
            points = round(task.points * passed / count, 2)
            message += f"\nIt is right on {passed} of {count} hidden test cases, which gives {number(points)} points."
        mark = _mark(task, answer, points, verdict.right, verdict.attempted, verdict.mistake, message)
    if mark.right:
        sources = [*answer.pieces, *(source for _, source in answer.modules)]
        return replace(mark, flag=borrowed(sources, exercise(task.id).solution))
    if answer.called_right:
        said = mark.message.split("\n")[0]
        return replace(mark, flag=clean(f"The check in the notebook said 'Right ✓'; grading says: {said}"))
    return mark


def _written(task: Task, answer: Answer) -> Mark:
    if answer.text.strip() and not answer.problem:
        return _mark(task, answer, None, False, True, None, _BY_A_PERSON)
    return _mark(task, answer, 0.0, False, False, None, answer.problem or "There is no answer.")


def _unjudged(task: Task, answer: Answer) -> Mark:
    return _mark(task, answer, None, False, True, None, "This could not be judged yet. It is not your fault.")


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
        pictures=answer.pictures,
    )
