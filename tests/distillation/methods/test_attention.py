"""`attention`: where a network looks, against a reference, torchdistill, and in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdcourse.distillation import Outputs, methods
from kdcourse.distillation.methods.attention import attention_loss, attention_map
from kdcourse.distillation.methods.fitnet import hint_loss
from kdcourse.errors import ArgumentError
from tests.distillation.methods.losses import check, pair, tells_apart


def reference(student: Any, teacher: Any) -> float:
    def attention(maps: Any) -> Any:
        energy = np.array(
            [[(picture[:, y, x] ** 2).sum() for y in range(4) for x in range(5)] for picture in maps]
        )
        return np.array([row / np.sqrt((row**2).sum()) for row in energy])

    return float(((attention(student) - attention(teacher)) ** 2).mean())


SIDES = pair((3, 2, 4, 5), (3, 6, 4, 5))  # fewer channels than the teacher's


def test_agrees_with_float64_reference() -> None:
    check(attention_loss, reference, SIDES)
    one, _ = SIDES
    tells_apart(
        attention_loss,
        {
            "sum of values": lambda z, v: _apart(z.sum(1), v.sum(1)),
            "absolute values": lambda z, v: _apart(z.abs().sum(1), v.abs().sum(1)),
            "not divided by the length": lambda z, v: (z.square().sum(1) - v.square().sum(1)).square().mean(),
            "one length for the batch": lambda z, v: _apart(z.square().sum(1)[None], v.square().sum(1)[None]),
        },
        SIDES,
    )
    assert float(attention_loss(3 * one, one)) == pytest.approx(0, abs=1e-15)  # it is where, not how strongly
    assert float(hint_loss(3 * one, one)) > 1


def _apart(student: Tensor, teacher: Tensor) -> Tensor:
    one, other = (torch.nn.functional.normalize(side.flatten(1), dim=1) for side in (student, teacher))
    return (one - other).square().mean()


def test_agrees_with_torchdistill() -> None:
    mid_level = pytest.importorskip("torchdistill.losses.mid_level")
    theirs = mid_level.ATLoss(at_pairs={}, mode="code").compute_at_loss(*SIDES)
    assert float(attention_loss(*SIDES)) == pytest.approx(float(theirs), rel=1e-12)


def test_a_map_of_another_size_is_compared_by_its_energy() -> None:
    one = (
        torch.tensor([1.0, -1.0]).repeat(4, 2).view(1, 1, 4, 4)
    )  # its mean over cells of four is 0, not its energy
    found = attention_map(one, (2, 2))
    assert torch.allclose(found, torch.full((1, 4), 0.5))
    assert float(attention_loss(one, torch.ones(1, 3, 2, 2))) == pytest.approx(0, abs=1e-12)
    assert bool(attention_map(torch.zeros(1, 2, 3, 3)).eq(0).all())


def test_bad_arguments() -> None:
    one, other = SIDES
    for wrong, found in (
        ((one[0], other[0]), r"\[2, 4, 5\]"),
        ((one[:2], other), r"\[2, 2, 4, 5\] and \[3, 6, 4, 5\]"),
        ((one[:0], other[:0]), "empty"),
    ):
        with pytest.raises(ArgumentError, match=found):
            attention_loss(*wrong)
    for weight in (0, -1, float("nan")):
        with pytest.raises(ArgumentError, match="weight"):
            methods.build("attention", weight=weight)


def test_the_method_adds_its_stages() -> None:
    (method,) = methods.build("attention", weight=10.0)
    first, second = pair((2, 3, 8, 8), (2, 5, 8, 8)), pair((2, 4, 4, 4), (2, 7, 4, 4), seed=1)
    student, teacher = (
        Outputs(torch.zeros(2, 4), {"a": one, "b": other}) for one, other in zip(first, second, strict=True)
    )
    (term,) = method(student, teacher, None).values()
    assert float(term) == pytest.approx(5 * float(attention_loss(*first) + attention_loss(*second)))
