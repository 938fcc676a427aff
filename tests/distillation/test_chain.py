"""Chains of students: each learns from the one before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from kdcourse.distillation import distil, distil_chain, teacher_digest
from kdcourse.errors import ArgumentError
from kdcourse.training import fit
from tests.distillation import tiny
from tests.training.toys import FIT, net

HOW: dict[str, Any] = FIT | {"temperature": 2.0, "alpha": 0.5, "cache": False}


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    model = net(1, width=6)
    fit(model, tiny.dataset(), **FIT)
    return model


def test_each_student_learns_from_the_one_before_as_if_distilled_by_hand(teacher: nn.Module) -> None:
    data, chain, by_hand = tiny.dataset(), [net(2), net(3, width=2)], [net(2), net(3, width=2)]
    before = tiny.state(teacher)
    histories = distil_chain(chain, teacher, data, **HOW)
    distil(by_hand[0], teacher, data, **HOW)
    first = tiny.state(by_hand[0])
    distil(by_hand[1], by_hand[0], data, **HOW)
    for found, expected in zip(chain, by_hand, strict=True):
        assert tiny.same_state(found, tiny.state(expected))
    assert tiny.same_state(chain[0], first) and tiny.same_state(teacher, before)
    digests = [teacher_digest(each)[:16] for each in (teacher, chain[0])]
    for history, digest in zip(histories, digests, strict=True):
        assert f"teacher={digest}" in history.settings["objective"]


def test_an_interrupted_chain_continues(teacher: nn.Module, tmp_path: Path) -> None:
    data, whole = tiny.dataset(), [net(2), net(3)]
    distil_chain(whole, teacher, data, **HOW)

    calls = 0

    def stop(epoch: int, step: int, loss: float) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:  # 12 steps each: in the second student's training
            raise KeyboardInterrupt

    path = tmp_path / "chain.safetensors"
    with pytest.raises(KeyboardInterrupt):
        distil_chain([net(2), net(3)], teacher, data, checkpoint=path, after_step=stop, **HOW)
    again = [net(8), net(9)]
    taken: list[int] = []
    distil_chain(
        again, teacher, data, checkpoint=path, after_step=lambda epoch, step, loss: taken.append(step), **HOW
    )
    assert len(taken) < 12, "the first student isn't trained again"
    for found, expected in zip(again, whole, strict=True):
        assert tiny.same_state(found, tiny.state(expected))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chain-1.safetensors", "chain.safetensors"]


def test_networks_that_appear_twice_or_not_at_all_are_refused(teacher: nn.Module) -> None:
    one = net()
    for students, found in (([], "0 students"), ([one, one], "2 different"), ([one, teacher], "2 different")):
        with pytest.raises(ArgumentError, match=found):
            distil_chain(students, teacher, tiny.dataset(), **HOW)
