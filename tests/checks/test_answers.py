"""Every exercise: learners' mistakes are recognised, right answers of any make accepted."""

from __future__ import annotations

from collections import Counter

import pytest

from kdcourse.checks import exercises, judge, observe
from tests.checks import answers_00_to_03, answers_04_to_06, answers_07
from tests.checks.answers import Answer, verdict

GIVEN = (answers_00_to_03.ANSWERS, answers_04_to_06.ANSWERS, answers_07.ANSWERS)
WRONG = {name: given for answers in GIVEN for name, given in answers.wrong.items()}
RIGHT = {name: given for answers in GIVEN for name, given in answers.right.items()}
EXERCISES = exercises()

ASKED = {
    0: ["count_parameters", "fraction_correct", "points_gained"],
    1: ["weight_megabytes", "conv_macs", "median_latency"],
    2: ["cross_entropy_by_hand", "momentum_step", "validation_accuracy", "diagnose"],
    3: ["mean_of_logits", "mean_of_probabilities", "pairwise_disagreement", "calibration_error"],
    4: ["softened_probabilities", "entropy_nats", "soft_gradient", "matching_logits_gradient"],
    5: ["distillation_term", "objective", "targets_for_batch", "distil_step"],
    6: ["recovered", "paired_interval", "agreement_with_teacher", "discordant_pairs"],
    7: ["class_iou", "iou_over_classes", "pixel_term", "precision_recall_at"],
}


def test_every_lesson_has_its_exercises() -> None:
    for lesson, ids in ASKED.items():
        assert list(exercises(lesson)) == ids
        assert all(one.id == name and one.lesson == lesson for name, one in exercises(lesson).items())
    assert list(EXERCISES) == [name for ids in ASKED.values() for name in ids]


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
def test_the_tries_tell_all_mistakes_of_an_exercise_apart(name: str) -> None:
    """Each mistake's own wrong implementation is recognised as that mistake, not as one before it."""
    exercise = EXERCISES[name]
    for mistake in exercise.mistakes:
        if mistake.wrong is not None:
            found = judge(exercise, observe(exercise, mistake.wrong))
            assert found.mistake == mistake.name, f"{mistake.name}: {found.message}"
    assert verdict(name, exercise.solution).right


@pytest.mark.parametrize("name", EXERCISES)
def test_every_exercise_has_enough_answers_here_and_hints_of_its_own(name: str) -> None:
    exercise = EXERCISES[name]
    assert len({mistake for mistake, _ in WRONG[name]}) >= 5
    assert len(RIGHT[name]) >= 2
    assert len(exercise.mistakes) >= 5
    assert max(Counter(mistake.name for mistake in exercise.mistakes).values()) == 1
    assert all(len(mistake.hint) > 20 and mistake.hint[-1] in ".?!" for mistake in exercise.mistakes)
    assert exercise.solution.__doc__, "what is asked stands in the solution's docstring"
    assert exercise.title and "\n" not in exercise.title
    assert len({probe.where for probe in exercise.probes}) == len(exercise.probes) >= 3
