"""SimKD: the teacher's head stays in the student, and nothing trains it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kdcourse import evaluation
from kdcourse.distillation import simkd, simkd_loss
from kdcourse.distillation.simkd import TeachersHead
from kdcourse.errors import ArgumentError
from kdcourse.training import fit
from tests.distillation import tiny
from tests.distillation.methods.losses import check, pair
from tests.training.toys import FIT, net

LONG: dict[str, Any] = FIT | {"epochs": 10}


def test_agrees_with_float64_reference() -> None:
    check(simkd_loss, lambda z, v: float(np.mean((z - v) ** 2)), pair((5, 3)))
    one, other = pair((5, 3))
    for wrong in (other[:, :2], other[:0], other[0]):
        with pytest.raises(ArgumentError, match="of one shape and not empty"):
            simkd_loss(one, wrong)


def test_the_trained_student_ends_in_the_teachers_head_and_needs_no_label() -> None:
    data, teacher, student = tiny.dataset(), net(1, width=6), net()
    fit(teacher, data, **LONG)
    before, body = tiny.state(teacher), tiny.state(student)
    data.train.labels.zero_()
    history = simkd(student, teacher, data, **(LONG | {"epochs": 25}))
    assert isinstance(student.head, TeachersHead) and tiny.same_state(teacher, before)
    assert torch.equal(student.head.head.weight, teacher.head.weight)
    assert student.head.head.weight is not teacher.head.weight
    assert not torch.equal(student.first.weight, body["first.weight"])
    assert history.part("simkd")[-1] < history.part("simkd")[0] / 2
    logits, wanted = (evaluation.predict(each, data.train, data) for each in (student, teacher))
    assert evaluation.agreement(logits, wanted) > 0.7


def test_bad_arguments() -> None:
    teacher, student = net(1), net()
    with pytest.raises(ArgumentError, match="one and the same"):
        simkd(teacher, teacher, tiny.dataset(), **FIT)
    with pytest.raises(ArgumentError, match="sets alpha, method itself"):
        simkd(student, teacher, tiny.dataset(), alpha=0.5, method="kd", **FIT)
    dense = nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten())
    with pytest.raises(ArgumentError, match="vector"):
        simkd(dense, teacher, tiny.dataset(), **FIT)
    assert isinstance(student.head, nn.Linear)
