"""Tries of other values: as hard as the visible ones, and nothing that a table of those knows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from kdcourse.checks import Exercise, Probe, Verdict, judge, observe, varied
from kdcourse.checks.observe import observe_ours
from kdcourse.checks.outcomes import ANSWER, Observed
from kdcourse.course import check, exercise, exercises
from kdcourse.data import IGNORE, IGNORE_TOKEN
from kdcourse.errors import ArgumentError
from tests.course.learners import RIGHT, WRONG

EXERCISES = exercises()
SEEDS = (1, 20_261_122)


def verdict(asked: Exercise, answer: Any) -> Verdict:
    return judge(asked, observe(asked, answer))


def tensors(probe: Probe) -> list[Tensor]:
    return [value for value in probe.inputs if isinstance(value, Tensor)]


def numbers(probe: Probe) -> list[float]:
    flat = [item for value in probe.inputs for item in (value if isinstance(value, list) else [value])]
    return [item for item in flat if isinstance(item, int | float)]


@pytest.mark.parametrize("name", EXERCISES)
def test_solutions_are_right_and_every_known_mistake_is_known(name: str) -> None:
    for seed in SEEDS:
        other = varied(EXERCISES[name], seed)
        assert verdict(other, other.solution).right
        for mistake in other.mistakes:
            found = judge(other, Observed(observe_ours(other, mistake.example)))
            assert not found.right and found.mistake == mistake.name, (seed, found.message)


@pytest.mark.parametrize("name", EXERCISES)
def test_answers_of_learners_are_told_as_on_the_visible_tries(name: str) -> None:
    other = varied(EXERCISES[name], SEEDS[0])
    for answer in RIGHT[name]:
        assert verdict(other, answer).right
    for mistake, answer in WRONG.get(name, []):
        assert verdict(other, answer).mistake == mistake


@pytest.mark.parametrize("name", EXERCISES)
def test_a_table_of_the_visible_tries_earns_nothing(name: str) -> None:
    """Looked up by the try's number, which even an input that never changes doesn't prevent."""
    visible = EXERCISES[name]
    known = [outcome.parts[ANSWER] for outcome in observe_ours(visible, visible.solution)]
    for seed in SEEDS:
        calls = iter([*known, *known])
        other = varied(visible, seed)
        found = observe(other, lambda *_, calls=calls: next(calls))
        assert not judge(other, found).right and len(found.outcomes) == len(known)
        changed = [
            one.inputs for one in other.probes if not any(same(one, before) for before in visible.probes)
        ]
        assert len(changed) >= 0.6 * len(known)


def same(one: Probe, other: Probe) -> bool:
    return str(one.inputs) == str(other.inputs)


@pytest.mark.parametrize("name", EXERCISES)
def test_structure_and_meaning_stay(name: str) -> None:
    visible = EXERCISES[name]
    for seed in SEEDS:
        other = varied(visible, seed)
        assert len({probe.where for probe in other.probes}) == len(visible.probes)
        probes = {probe.where: probe for probe in visible.probes}
        for number, now in enumerate(other.probes):
            before = probes.get(now.where) or visible.probes[number]
            assert now.extreme == before.extreme
            assert now.where == before.where or "the lesson doesn't show" in now.where
            assert [type(value) for value in now.inputs] == [type(value) for value in before.inputs]
            for one, two in zip(tensors(now), tensors(before), strict=True):
                assert (one.shape, one.dtype) == (two.shape, two.dtype)
                still_means_the_same(one, two, classes=tensors(before)[0].shape[-1])
            still_ordered(numbers(now), numbers(before))


def still_means_the_same(now: Tensor, before: Tensor, classes: int) -> None:
    if now.is_floating_point():
        assert torch.equal(now.isfinite(), before.isfinite())
        if before.ndim == 1 and before.min() >= 0 and before.max() <= 1:
            assert now.min() >= 0 and now.max() <= 1
        if before.ndim == 2 and torch.allclose(before.sum(1), torch.ones(len(before))):
            assert torch.allclose(now.sum(1), torch.ones(len(now)))
            assert torch.equal(now == 0, before == 0)
        assert (now == 1.0).sum() == (before == 1.0).sum() or before.ndim > 1
        assert (now.abs() > 9e3).sum() == (before.abs() > 9e3).sum()
    else:
        assert now.ndim == 2 or set(now.flatten().tolist()) <= {*before.flatten().tolist(), *range(classes)}
        assert torch.equal(now < 0, before < 0) and set(now[now < 0].tolist()) <= {IGNORE_TOKEN}
        assert (now == IGNORE).any() == (before == IGNORE).any()


def still_ordered(now: list[float], before: list[float]) -> None:
    assert len(now) == len(before)
    if all(isinstance(number, int) for number in before):
        assert all(isinstance(number, int) and number >= 0 for number in now)
        return
    for (a, b), (c, d) in zip(pairwise(now), pairwise(before), strict=True):
        assert (a > b, a == b) == (c > d, c == d)
    assert all((a > 1) <= (max(before) > 1) and (a > 0) == (b > 0) for a, b in zip(now, before, strict=True))


def test_what_a_try_says_of_itself_still_holds() -> None:
    def expected(name: str, where: str) -> list[Any]:
        found = []
        for seed in SEEDS:
            other = varied(EXERCISES[name], seed)
            places = [n for n, probe in enumerate(other.probes) if where in probe.where]
            found += [observe_ours(other, other.solution)[n].parts[ANSWER] for n in places]
        assert found
        return found

    assert set(expected("fraction_correct", "every prediction is right")) == {1.0}
    assert all(gain < 0 for gain in expected("points_gained", "distilled student is worse"))
    assert set(expected("points_gained", "nothing changes")) == {0.0}
    assert set(expected("pairwise_disagreement", "all members agree")) == {0.0}
    assert all(share > 1 for share in expected("recovered", "better than its teacher"))
    assert all(mean < 0 for mean, _, _ in expected("paired_interval", "does harm"))
    assert set(expected("agreement_with_teacher", "both always agree")) == {1.0}
    assert all(only == 0 for _, only in expected("discordant_pairs", "never right alone"))
    assert set(expected("discordant_pairs", "same images")) == {(0, 0)}
    assert set(expected("class_iou", "perfect prediction")) == {1.0}
    assert all(score != score for score in expected("class_iou", "in neither mask"))
    assert set(expected("iou_over_classes", "perfect prediction")) == {1.0}
    assert all(one[0] == 1.0 for one in expected("precision_recall_at", "nothing is called positive"))
    diagnoses = {
        probe.where: outcome.parts[ANSWER]
        for probe, outcome in zip(
            EXERCISES["diagnose"].probes,
            observe_ours(EXERCISES["diagnose"], EXERCISES["diagnose"].solution),
            strict=True,
        )
    }
    for where, word in diagnoses.items():
        assert set(expected("diagnose", where)) == {word}


def test_a_seed_says_all_and_none_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    one = exercise("softened_probabilities")
    again = Exercise(
        **{field: getattr(one, field) for field in one.__dataclass_fields__}
    )  # nothing remembered of it
    for first, second in zip(varied(one, 3).probes, varied(again, 3).probes, strict=True):
        assert torch.equal(first.inputs[0], second.inputs[0])
    assert not torch.equal(varied(one, 3).probes[0].inputs[0], varied(one, 4).probes[0].inputs[0])
    assert varied(one, 3) is varied(one, 3)

    seen: list[Tensor] = []

    def answer(logits: Tensor, temperature: float) -> Tensor:
        seen.append(logits)
        return (logits / temperature).softmax(1)

    assert check(one.id, answer).right and torch.equal(seen[0], one.probes[0].inputs[0])
    seen.clear()
    assert check(one.id, answer, seed=3).right and torch.equal(seen[0], varied(one, 3).probes[0].inputs[0])
    assert capsys.readouterr().out.count("Right") == 2
    with pytest.raises(ArgumentError, match="whole number"):
        check(one.id, answer, seed="3")  # type: ignore[arg-type]


def test_a_teacher_that_would_be_trained_is_known_only_where_the_answer_is_right() -> None:
    other = varied(exercise("pixel_term"), 1)

    def undetached(factor: float) -> Callable[..., Tensor]:
        def answer(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
            log_q, log_p = (z / t).log_softmax(1), (v / t).log_softmax(1)
            return factor * t**2 * (log_p.exp() * (log_p - log_q)).sum(1)[masks != IGNORE].mean()

        return answer

    assert verdict(other, undetached(1.0)).mistake == "teacher trained as well"
    assert verdict(other, undetached(1.7)).mistake is None
