"""Every exercise: learners' mistakes are recognised, right answers of any make accepted."""

from __future__ import annotations

from collections import Counter

import pytest

from kdcourse.checks import judge, observe
from kdcourse.course import ORDER, exercises, lessons
from tests.course.learners import RIGHT, WRONG, Answer, verdict

EXERCISES = exercises()


@pytest.mark.parametrize("topic", ORDER)
def test_a_lesson_asks_for_its_exercises_in_their_order(topic: str) -> None:
    (lesson,) = (one for one in lessons() if one.topic == topic)
    assert [cell.id for cell in lesson.exercises] == list(exercises(topic))
    assert all(one.id == name for name, one in exercises(topic).items())


@pytest.mark.parametrize(
    ("name", "mistake", "answer"),
    [
        pytest.param(name, mistake, answer, id=f"{name}: {mistake}")
        for name, given in WRONG.items()
        for mistake, answer in given
    ],
)
def test_a_wrong_answer_is_met_with_its_own_message(name: str, mistake: str, answer: Answer) -> None:
    found = verdict(name, answer)
    assert not found.right and found.attempted
    assert found.mistake == mistake, found.message
    assert mistake in found.message and found.message.startswith(f"Not yet ✗ {name}")
    assert len(found.message.splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param(name, answer, id=f"{name} {number}")
        for name, given in RIGHT.items()
        for number, answer in enumerate(given)
    ],
)
def test_a_right_answer_is_accepted_however_it_is_written(name: str, answer: Answer) -> None:
    found = verdict(name, answer)
    assert found.right and found.attempted and found.mistake is None, found.message
    assert found.message.startswith(f"Right ✓ {name}: ") and "\n" not in found.message


@pytest.mark.parametrize("name", EXERCISES)
def test_probes_tell_all_mistakes_of_an_exercise_apart(name: str) -> None:
    """Each mistake's own example is recognised as that mistake, not as one before it."""
    exercise = EXERCISES[name]
    for mistake in exercise.mistakes:
        found = judge(exercise, observe(exercise, mistake.example))
        assert found.mistake == mistake.name, f"{mistake.name}: {found.message}"
    assert verdict(name, exercise.solution).right


@pytest.mark.parametrize("name", EXERCISES)
def test_every_exercise_has_enough_mistakes_with_hints_and_right_answers(name: str) -> None:
    exercise = EXERCISES[name]
    assert len(RIGHT[name]) >= 2, f"write two right answers to {name} in other words, in tests/course/answers"
    assert len(exercise.mistakes) >= 5
    assert max(Counter(mistake.name for mistake in exercise.mistakes).values()) == 1
    assert all(len(mistake.hint) > 20 and mistake.hint[-1] in ".?!" for mistake in exercise.mistakes)
    assert exercise.solution.__doc__, "what is asked stands in the solution's docstring"
    assert exercise.title and "\n" not in exercise.title
    assert len({probe.where for probe in exercise.probes}) == len(exercise.probes) >= 3
