from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from kdcourse.course import Course, lessons
from kdcourse.course.notebook import NOTEBOOKS
from kdcourse.coursework import questions
from kdcourse.errors import LessonError
from tests.coursework import small


def test_every_lesson_has_at_least_two_questions_after_exercises_of_its_own() -> None:
    known = questions.read()
    counts = Counter(one.lesson for one in known.values())
    assert sorted(counts) == [lesson.name for lesson in lessons()] and min(counts.values()) >= 2
    for lesson in lessons():
        found = questions.of_lesson(lesson, known.values())  # raises where the exercise is another lesson's
        places = [next(e.place for e in lesson.exercises if e.id == one.after) for one in found]
        assert len(found) == counts[lesson.name] and places == sorted(places)


def test_questions_are_complete_and_give_nothing_away() -> None:
    for one in questions.read().values():
        assert len(one.criteria) >= 3 and one.prompt.endswith((".", "?")), one.id
        assert len(one.answer) > len(one.title)
        for _, criterion in one.criteria:
            assert criterion not in one.prompt
        assert not set(sentences(one.answer)) & set(sentences(one.prompt)), one.id


def sentences(text: str) -> list[str]:
    return [part.strip() for part in " ".join(text.split()).split(". ") if len(part) > 25]


def test_learners_own_notebooks_have_none_of_it() -> None:
    shown = "\n".join(
        "".join(cell["source"])
        for path in NOTEBOOKS.glob("*.ipynb")
        for cell in json.loads(path.read_text())["cells"]
    )
    for one in questions.read().values():
        assert one.prompt not in shown and one.answer not in shown


def test_a_rubric_is_scaled_to_other_points(tmp_path: Path) -> None:
    one = questions.read(small.write(tmp_path))["why_warm"]
    assert one.rubric() == (
        "- 1 point: small probabilities become visible\n"
        "- 2 points: the order of the classes stays, and says so in words"
    )
    assert one.rubric(4.5).startswith("- 1.5 points: ") and "\n- 3 points: " in one.rubric(4.5)
    assert one.rubric(0).startswith("- 0 points: ")


def test_a_lesson_without_questions_has_none(tmp_path: Path) -> None:
    assert questions.read(Course(tmp_path, ("warm",))) == {}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("minutes = 4", "minutes = 4\nhint = 'none'", "unknown key 'hint'"),
        ("minutes = 4\n", "", "has no 'minutes'"),
        ("minutes = 4", "minutes = '4'", "minutes = '4', which is of the wrong kind"),
        ("minutes = 4", "minutes = true", "wrong kind"),
        ("minutes = 4", "minutes = 0", "at least one minute"),
        ("points = 3", "points = nan", "points above 0"),
        ('"why_warm"', '"Why warm"', "an id that is not"),
        ("points = 3", "points = 4", "worth 4, but its rubric gives 3"),
        ("- 1 point: small", "1 point: small", "'1 point: small probabilities become visible' in its rubric"),
        ('prompt = "Why is a temperature above 1 of use?"', 'prompt = " "', "empty 'prompt'"),
        ("[[question]]", "[[questions]]", "[[question]] tables alone; found questions"),
        ("minutes = 4", "minutes = ", "not TOML"),
    ],
)
def test_a_malformed_question_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in small.QUESTIONS
    count = -1 if new == "[[questions]]" else 1
    course = small.write(tmp_path, small.QUESTIONS.replace(old, new, count))
    with pytest.raises(LessonError) as told:
        questions.read(course)
    assert said in str(told.value) and "warm/questions.toml" in str(told.value)


def test_a_question_has_an_id_of_its_own_among_all_lessons(tmp_path: Path) -> None:
    course = small.write(tmp_path, more_questions=small.QUESTIONS.replace("entropy_nats", "objective"))
    with pytest.raises(LessonError, match=r"taught/questions\.toml: 'why_warm' is there twice"):
        questions.read(course)


def test_a_question_must_stand_after_an_exercise_of_its_lesson(tmp_path: Path) -> None:
    course = small.write(tmp_path)
    lesson, known = course.lesson("warm"), questions.read(course)["why_warm"]
    with pytest.raises(LessonError, match=r"after 'objective', which 00_warm doesn't have; it has softened"):
        questions.of_lesson(lesson, [replace(known, after="objective")])
    with pytest.raises(LessonError, match="'entropy_nats' is an exercise's id"):
        questions.of_lesson(lesson, [replace(known, id="entropy_nats")])
