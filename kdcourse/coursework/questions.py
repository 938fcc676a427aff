"""Read written questions, with the rubrics by which markers give points.

    kdcourse/course/TOPIC/questions.toml  ->  Question by id

They are for instructors: a learner's own notebook has none of them, and an assignment shows students the prompt alone.
A rubric's points add up to the question's. An answer in other words, or with another sound reason, counts as well.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdcourse.course import COURSE, Course, Lesson
from kdcourse.errors import LessonError

QUESTIONS = "questions.toml"
_KEYS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "after": str,
    "title": str,
    "minutes": int,
    "points": (int, float),
    "prompt": str,
    "rubric": str,
    "answer": str,
}
_CRITERION = re.compile(r"- (\d+(?:\.\d+)?) points?: (\S.*)")


@dataclass(frozen=True)
class Question:
    """Describe one question that is answered in words and marked by a person.

    Args:
        id: lower-case words joined by underscores; the answer cell's nbgrader grade_id.
        lesson: such as "04_soft_targets".
        after: the exercise of that lesson; the question follows its check.
        title: one line, the question in short.
        minutes: time for an answer.
        points: the highest number of points; those of the rubric add up to it.
        prompt: what is asked, in markdown.
        criteria: points and what they are given for.
        answer: a model answer, in markdown.
    """

    id: str
    lesson: str
    after: str
    title: str
    minutes: int
    points: float
    prompt: str
    criteria: tuple[tuple[float, str], ...]
    answer: str

    def rubric(self, points: float | None = None) -> str:
        """Return the rubric as a markdown list, scaled to ``points`` if they differ from the question's own."""
        share = 1.0 if points is None or not self.points else points / self.points
        return "\n".join(f"- {points_in_words(share * worth)}: {what}" for worth, what in self.criteria)


def points_in_words(points: float) -> str:
    """Return points in words, such as "1 point" or "2.5 points"."""
    number = format(round(points, 2), "g")
    return f"{number} point" if number == "1" else f"{number} points"


def read(course: Course = COURSE) -> dict[str, Question]:
    """Read every question of a course, by id, in the order of the lessons and their files; a lesson may have none.

    Raises:
        LessonError: not TOML, a key that is missing, unknown or of the wrong kind, an id twice, or a rubric whose
            points don't add up to the question's.
    """
    questions: dict[str, Question] = {}
    for topic, name in zip(course.order, course.names, strict=True):
        for question in _questions(course.folder / topic / QUESTIONS, name):
            if question.id in questions:
                raise LessonError(
                    f"{topic}/{QUESTIONS}: {question.id!r} is there twice; give each question its own id."
                )
            questions[question.id] = question
    return questions


def _questions(path: Path, lesson: str) -> list[Question]:
    if not path.is_file():
        return []
    label = f"{path.parent.name}/{path.name}"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LessonError(f"{label} is not TOML: {error}.") from None
    entries = content.get("question", [])
    if set(content) - {"question"} or not isinstance(entries, list):
        found = ", ".join(content)
        raise LessonError(f"{label} holds [[question]] tables alone; found {found}.")
    return [_question(label, lesson, number, entry) for number, entry in enumerate(entries, start=1)]


def of_lesson(lesson: Lesson, questions: Iterable[Question]) -> tuple[Question, ...]:
    """Return the questions of one lesson, in the order in which its notebook asks them.

    Raises:
        LessonError: a question stands after an exercise that the lesson doesn't have, or has an exercise's id.
    """
    places = {exercise.id: exercise.place for exercise in lesson.exercises}
    found = [question for question in questions if question.lesson == lesson.name]
    for question in found:
        if question.after not in places:
            raise LessonError(
                f"{lesson.topic}/{QUESTIONS}: {question.id!r} stands after {question.after!r}, which "
                f"{lesson.name} doesn't have; it has {', '.join(places)}."
            )
        if question.id in places:
            raise LessonError(
                f"{lesson.topic}/{QUESTIONS}: {question.id!r} is an exercise's id; take another one."
            )
    return tuple(sorted(found, key=lambda question: places[question.after]))


def _question(label: str, lesson: str, number: int, entry: Mapping[str, Any]) -> Question:
    name = f"{label}, question {number} ({entry.get('id', 'without id')!r})"
    for key in entry:
        if key not in _KEYS:
            raise _wrong(name, f"has the unknown key {key!r}; the keys are {', '.join(_KEYS)}")
    for key, kind in _KEYS.items():
        value = entry.get(key)
        if value is None:
            raise _wrong(name, f"has no {key!r}; it needs {', '.join(_KEYS)}")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _wrong(name, f"has {key} = {value!r}, which is of the wrong kind")
        if isinstance(value, str) and not value.strip():
            raise _wrong(name, f"has an empty {key!r}; fill it")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", entry["id"]):
        raise _wrong(name, "has an id that is not lower-case letters, digits and underscores")
    if entry["minutes"] < 1 or not 0 < entry["points"] < math.inf:
        raise _wrong(name, "needs at least one minute, and points above 0")
    question = Question(
        entry["id"], lesson, entry["after"], entry["title"].strip(), entry["minutes"],
        float(entry["points"]), entry["prompt"].strip(), _criteria(name, entry["rubric"]), entry["answer"].strip(),
    )  # fmt: skip
    total = sum(points for points, _ in question.criteria)
    if not math.isclose(total, question.points):
        raise _wrong(name, f"is worth {question.points:g}, but its rubric gives {total:g}; make them agree")
    return question


def _criteria(name: str, rubric: str) -> tuple[tuple[float, str], ...]:
    found: list[tuple[float, str]] = []
    for line in rubric.strip().splitlines():
        if criterion := _CRITERION.fullmatch(line.rstrip()):
            found.append((float(criterion[1]), criterion[2]))
        elif found and line.startswith("  "):  # continues the criterion
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            raise _wrong(
                name, f"has the line {line!r} in its rubric; write '- 2 points: what they are given for'"
            )
    return tuple(found)


def _wrong(name: str, problem: str) -> LessonError:
    return LessonError(f"{name}: it {problem}.")
