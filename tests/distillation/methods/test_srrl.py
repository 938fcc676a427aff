"""`srrl`: the teacher's head on both networks' vectors, against NumPy, and a head that nothing trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdcourse.distillation import Outputs, distil, methods
from kdcourse.distillation.methods.srrl import SRRL, srrl_loss
from kdcourse.errors import ArgumentError
from kdcourse.training import fit
from tests.distillation import tiny
from tests.distillation.methods.losses import pair
from tests.training.toys import FIT, net

SIDES = pair((5, 3))
HEAD = nn.Linear(3, 4).double().requires_grad_(False)


def reference(student: Any, teacher: Any) -> float:
    weight, bias = (p.numpy() for p in (HEAD.weight, HEAD.bias))
    vectors = np.mean((student - teacher) ** 2)
    logits = np.mean(((student @ weight.T + bias) - (teacher @ weight.T + bias)) ** 2)
    return float(2 * vectors + 3 * logits)


def loss(student: Tensor, teacher: Tensor) -> Tensor:
    return srrl_loss(student, teacher, HEAD, features=2.0, head_weight=3.0)


def test_agrees_with_float64_reference() -> None:
    one, other = SIDES
    assert float(loss(one, other)) == pytest.approx(reference(one.numpy(), other.numpy()), rel=1e-12)
    assert torch.autograd.gradcheck(lambda z: loss(z, other), one.clone().requires_grad_())
    theirs = other.clone().requires_grad_()
    loss(one.clone().requires_grad_(), theirs).backward()
    assert theirs.grad is None
    low = srrl_loss(one.bfloat16(), other.bfloat16(), nn.Linear(3, 4))
    assert low.dtype == torch.float32


def test_what_the_head_ignores_counts_in_the_vectors_alone() -> None:
    blind = nn.Linear(3, 4).double().requires_grad_(False)
    blind.weight[:, 0] = 0
    one = SIDES[0]
    moved = one + torch.tensor([5.0, 0, 0])
    assert float(srrl_loss(one, moved, blind, features=0.0)) == pytest.approx(0, abs=1e-12)
    assert float(srrl_loss(one, moved, blind, head_weight=0.0)) == pytest.approx(25 / 3)


def test_bad_arguments() -> None:
    one, other = SIDES
    for wrong, found in (
        ((one, other[:, :2]), r"\[5, 3\] and \[5, 2\]"),
        ((one[:0], other[:0]), "not empty"),
    ):
        with pytest.raises(ArgumentError, match=found):
            loss(*wrong)
    with pytest.raises(ArgumentError, match="both 0"):
        methods.build("srrl", features=0.0, head_weight=0.0)
    with pytest.raises(ArgumentError, match=r"'maps'.*:input"):
        SRRL().prepare(Outputs(one), Outputs(one, {"maps": torch.zeros(2, 3, 4, 4)}))


def test_in_training_the_head_is_the_teachers_and_stays_while_the_connector_learns() -> None:
    teacher, student = net(1, width=6), net()
    fit(teacher, tiny.dataset(), **(FIT | {"epochs": 6}))
    (method,) = methods.build("srrl")
    assert isinstance(method, SRRL)
    settings: dict[str, Any] = FIT | {"alpha": 0.5, "method": method, "cache": False, "epochs": 6}
    history = distil(student, teacher, tiny.dataset(), **settings)
    assert torch.equal(method.head.weight, teacher.head.weight) and method.head is not teacher.head
    assert teacher.head.weight.requires_grad and not method.head.weight.requires_grad
    for part in ("srrl.features", "srrl.head"):
        assert history.part(part)[-1] < history.part(part)[0]
    with pytest.raises(ArgumentError, match="'second_norm'"):
        layers = {"student": "second_norm", "teacher": "second_norm"}
        distil(net(), teacher, tiny.dataset(), **(settings | {"method": "srrl", "layers": layers}))
