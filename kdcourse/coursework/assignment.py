"""Plan an assignment from lessons, or read it from an instructor's variant, and store it as a file.

A variant is a small TOML file, in which everything except the lessons is optional:

    name = "week-4"
    title = "Soft targets"
    lessons = ["04"]
    exercises = ["softened_probabilities", "soft_gradient"]   # by default all; the others stay as practice
    questions = []                                            # by default all
    seed = 20270914
    due = 2027-09-21T23:59:00+02:00                           # with its time zone
    late_penalty = 10                                         # percent of the points per started day
    attempts = "latest"                                       # or "best", "fullest": which of several notebooks counts
    partial_credit = ["soft_gradient"]                        # points per test case; true: all that allow it

    [points]
    soft_gradient = 5
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import secrets
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from kdcourse.course import COURSE, Course, Lesson, exercise
from kdcourse.course.source import ExerciseCell
from kdcourse.coursework import questions as written
from kdcourse.coursework.records import ATTEMPTS, Assignment, Task
from kdcourse.errors import ArgumentError, LessonError
from kdcourse.files import write_atomically

POINTS = {"easy": 1.0, "medium": 2.0, "hard": 3.0}
FORMAT = 1  # of assignment.json
MOST_SEED = 2**31 - 1
_KEYS = (
    "name", "title", "lessons", "exercises", "questions", "seed", "due", "late_penalty", "attempts", "partial_credit",
    "points",
)  # fmt: skip


def plan(
    lessons: Sequence[str],
    *,
    name: str = "",
    title: str = "",
    exercises: Collection[str] | None = None,
    questions: Collection[str] | None = None,
    points: Mapping[str, float] | None = None,
    seed: int | None = None,
    due: datetime | None = None,
    late_penalty: float = 0.0,
    attempts: str = ATTEMPTS[0],
    partial_credit: Collection[str] | None = (),
    course: Course = COURSE,
) -> Assignment:
    """Plan an assignment from some lessons.

    Args:
        lessons: such as "04" or "04_soft_targets".
        name: the name of the folder and of nbgrader's assignment; by default derived from the lessons.
        title: one line for people; by default the lesson's own.
        exercises, questions: ids of those that count; None means all of them.
        points: points by task id, in place of the default: 1 for an easy exercise, 2 for a medium one, 3 for a hard
            one, and for a question the points of its rubric.
        seed: 0 to 2^31 - 1, determines the hidden test inputs of grading; None: see `own_seed`.
        due: the deadline, with a time zone; None: there is none.
        late_penalty: percentage of the points that each started day after it costs, 0 to 100.
        attempts: which of several notebooks of a lesson counts, see `Assignment`.
        partial_credit: exercises whose wrong answers get points for the test cases on which they are right; None means
            all that allow it. Exercises with so few possible answers that guesses would get points don't.
        course: the lessons.

    Raises:
        ArgumentError: a lesson, exercise or question is unknown, there is no task, or a value is out of range.
    """
    if not lessons:
        raise ArgumentError("An assignment needs a lesson; name at least one, such as 04.")
    try:
        topics = course.topics(lessons)
    except LessonError as error:
        raise ArgumentError(str(error)) from None
    chosen = [course.lesson(topic) for topic in topics]
    known = written.read(course)
    tasks = {lesson.name: _tasks(lesson, known) for lesson in chosen}
    every = {task.id: task for of_lesson in tasks.values() for task in of_lesson}
    worth = _checked_points(points or {}, every)
    kept = _kept("exercise", exercises, every, "code") | _kept("question", questions, every, "written")
    in_part = _checked_partial(partial_credit, [task for task in every.values() if task.id in kept])
    asked = tuple(
        replace(_worth(task, worth, known), partial=task.id in in_part)
        for task in every.values()
        if task.id in kept
    )
    if not asked:
        raise ArgumentError("This assignment asks nothing; choose at least one exercise or question.")
    idle = sorted(set(worth) - kept)
    if idle:
        raise ArgumentError(
            f"points are given to {idle[0]!r}, which is not among the chosen tasks; choose it too."
        )
    names = tuple(lesson.name for lesson in chosen)
    name = _checked_name(name or _usual_name(names))
    seed = own_seed(name) if seed is None else _checked_seed(seed)
    deadline = _checked_due(due, late_penalty)
    title = title.strip() or _usual_title(chosen)
    return Assignment(
        name, title, names, asked, seed, deadline, float(late_penalty), checked_attempts(attempts)
    )


def read_variant(
    path: Path, lessons: Sequence[str] = (), *, seed: int | None = None, course: Course = COURSE
) -> Assignment:
    """Read an instructor's own assignment from a TOML file, as shown at the top of this module.

    Args:
        path: the file.
        lessons: the lessons, for a file that names none.
        seed: a seed in place of the file's.
        course: the lessons.

    Raises:
        ArgumentError: the file doesn't exist or isn't TOML, a key is unknown, or `plan` refuses a value.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ArgumentError(f"The variant {path} can't be read: {error.strerror or error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(f"The variant {path} is not TOML: {error}.") from None
    try:
        wanted = _checked_variant(content)
        if lessons and "lessons" in wanted:
            raise ArgumentError(
                "it already names its lessons; name them there or on the command line, not in both."
            )
        if seed is not None:
            wanted["seed"] = seed
        if (in_part := wanted.get("partial_credit")) in (True, False):
            wanted["partial_credit"] = None if in_part else ()
        return plan(wanted.pop("lessons", lessons), **wanted, course=course)
    except ArgumentError as error:
        raise ArgumentError(f"{path.name}: {error}") from None


def listing(assignment: Assignment) -> str:
    """Return an assignment's tasks and their points, one line each."""
    width = max(len(task.id) for task in assignment.tasks)
    rows = [
        f"  {task.id:<{width}}  {task.kind:<7}  {task.points:>5g}  {task.title}"
        f"{' (points per test case)' if task.partial else ''}"
        for task in assignment.tasks
    ]
    total = written.points_in_words(assignment.points)
    return "\n".join([f"{assignment.name}: {assignment.title}, {total}", *rows])


def as_json(assignment: Assignment) -> str:
    """Return the text of ``assignment.json``, which `load` reads."""
    content = {"format": FORMAT, **asdict(assignment)}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def save(assignment: Assignment, path: Path) -> None:
    """Store an assignment as a file, written whole or not at all. It holds the seed: keep it from students."""
    write_atomically(path, as_json(assignment))


def load(path: Path) -> Assignment:
    """Load an assignment that `save` stored.

    Raises:
        ArgumentError: the file doesn't exist or is not an assignment.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ArgumentError(
                f"{path} was written by another version of kdcourse; build it again: kdcourse assign"
            )
        tasks = tuple(Task(**task) for task in content.pop("tasks"))
        return Assignment(**content | {"lessons": tuple(content["lessons"]), "tasks": tasks})
    except OSError as error:
        raise ArgumentError(
            f"The assignment {path} can't be read: {error.strerror or error}. Name the assignment.json that kdcourse "
            "assign wrote."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(
            f"{path} is not an assignment ({type(error).__name__}: {error}). Name the assignment.json that kdcourse "
            "assign wrote, or build it again."
        ) from None


def own_seed(name: str) -> int:
    """Return this instructor's seed for an assignment of that name: always the same, and secret.

    It is derived from a secret that is drawn once and stored in the user's data folder. If it were derived from the
    lessons only, everybody who has them could compute the hidden test inputs.

    Raises:
        ArgumentError: the secret can't be stored.
    """
    from platformdirs import user_data_path

    path = user_data_path("kdcourse") / "instructor-secret"
    try:
        if not path.is_file():
            write_atomically(path, secrets.token_hex(32))
            path.chmod(0o600)
        secret = path.read_bytes()
    except OSError as error:
        raise ArgumentError(
            f"No secret can be stored in {path} ({error.strerror or error}). Give a seed instead: --seed, "
            "or seed = NUMBER in a variant."
        ) from None
    digest = hmac.digest(secret, name.encode(), hashlib.sha256)
    return int.from_bytes(digest[:8], "big") % (MOST_SEED + 1)


# -- tasks --------------------------------------------------------------------------------------


def _tasks(lesson: Lesson, known: Mapping[str, written.Question]) -> list[Task]:
    """Return all tasks of a lesson, in the order of its notebook, with the default points."""
    asked = written.of_lesson(lesson, known.values())
    tasks = []
    for cell in lesson.exercises:
        if cell.blanks:
            tasks.append(_code_task(lesson, cell))
        tasks += [
            Task(one.id, "written", lesson.name, one.title, one.points, one.rubric())
            for one in asked
            if one.after == cell.id
        ]
    return tasks


def _code_task(lesson: Lesson, cell: ExerciseCell) -> Task:
    return Task(cell.id, "code", lesson.name, exercise(cell.id).title, POINTS[cell.difficulty])


def _worth(task: Task, points: Mapping[str, float], known: Mapping[str, written.Question]) -> Task:
    if task.id not in points:
        return task
    worth = points[task.id]
    rubric = known[task.id].rubric(worth) if task.kind == "written" else ""
    return Task(task.id, task.kind, task.lesson, task.title, worth, rubric)


def _kept(what: str, wanted: Collection[str] | None, every: Mapping[str, Task], kind: str) -> set[str]:
    there = [task.id for task in every.values() if task.kind == kind]
    for one in wanted or ():
        if one not in there:
            raise ArgumentError(
                f"There is no {what} {one!r} in these lessons; there are {', '.join(there) or 'none'}."
            )
    return set(there if wanted is None else wanted)


# -- checks of values ---------------------------------------------------------------------------


def _checked_variant(content: Mapping[str, Any]) -> dict[str, Any]:
    for key in content:
        if key not in _KEYS:
            raise ArgumentError(f"it has the unknown key {key!r}; the keys are {', '.join(_KEYS)}.")
    for key in ("name", "title", "attempts"):
        if not isinstance(content.get(key, ""), str):
            raise ArgumentError(f'{key} = {content[key]!r} is not text; write {key} = "...".')
    for key in ("lessons", "exercises", "questions", "partial_credit"):
        value = content.get(key, [])
        if key == "partial_credit" and isinstance(value, bool):
            continue
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ArgumentError(f'{key} = {value!r} is not a list of words; write {key} = ["...", "..."].')
    if not isinstance(content.get("points", {}), dict):
        raise ArgumentError("points must be a table: [points], and below it lines such as soft_gradient = 5.")
    return dict(content)


def _checked_points(points: Mapping[str, Any], every: Mapping[str, Task]) -> dict[str, float]:
    for task, worth in points.items():
        if task not in every:
            raise ArgumentError(
                f"points are given to {task!r}, which these lessons don't have; they have {', '.join(every)}."
            )
        number = isinstance(worth, int | float) and not isinstance(worth, bool)
        if not number or not 0 <= worth < math.inf:
            raise ArgumentError(f"the points of {task!r} must be a number of at least 0; found {worth!r}.")
    return {task: float(worth) for task, worth in points.items()}


def _checked_name(name: str) -> str:
    # It is the name of a folder, and nbgrader puts it into paths and addresses.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise ArgumentError(
            f"The name {name!r} can't be a folder's name on every system; use letters, digits, dashes and underscores."
        )
    return name


def _checked_seed(seed: Any) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MOST_SEED:
        raise ArgumentError(f"The seed must be a whole number from 0 to {MOST_SEED}; found {seed!r}.")
    return seed


def _checked_due(due: Any, penalty: Any) -> str:
    number = isinstance(penalty, int | float) and not isinstance(penalty, bool)
    if not number or not 0 <= penalty <= 100:
        raise ArgumentError(f"late_penalty must be a percentage per day, 0 to 100; found {penalty!r}.")
    if due is None:
        if penalty:
            raise ArgumentError("late_penalty needs a deadline: due = 2026-12-06T23:59:00+01:00")
        return ""
    if not isinstance(due, datetime) or due.tzinfo is None:
        raise ArgumentError(
            f"due must be a time with its zone, such as 2026-12-06T23:59:00+01:00, without quotes; found {due}."
        )
    return due.isoformat()


def checked_attempts(attempts: str) -> str:
    """Return which of several notebooks counts.

    Raises:
        ArgumentError: there is no such policy.
    """
    if attempts not in ATTEMPTS:
        raise ArgumentError(f"attempts must be one of {', '.join(ATTEMPTS)}; found {attempts!r}.")
    return attempts


def _checked_partial(wanted: Collection[str] | None, tasks: Sequence[Task]) -> Collection[str]:
    code = [task.id for task in tasks if task.kind == "code"]
    allowed = [one for one in code if not exercise(one).shuffled]
    if wanted is None:
        return allowed
    for one in wanted:
        if one not in code:
            raise ArgumentError(
                f"partial_credit names {one!r}, which is not among the chosen exercises: {', '.join(code) or 'none'}."
            )
        if one not in allowed:
            raise ArgumentError(
                f"partial_credit names {one!r}, which has so few possible answers that guesses would get points. "
                f"Exercises that allow it: {', '.join(allowed) or 'none'}."
            )
    return wanted


def _usual_name(lessons: Sequence[str]) -> str:
    return lessons[0] if len(lessons) == 1 else "lessons_" + "_".join(name[:2] for name in lessons)


def _usual_title(lessons: Sequence[Lesson]) -> str:
    if len(lessons) == 1:
        return lessons[0].title
    numbers = [lesson.number for lesson in lessons]
    return f"Lessons {', '.join(numbers[:-1])} and {numbers[-1]}"
