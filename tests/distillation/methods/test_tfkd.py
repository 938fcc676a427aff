"""`tfkd`: a teacher made up from labels, against SciPy and against label smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

from kdcourse.data import Batch, View
from kdcourse.distillation import Outputs, methods
from kdcourse.distillation.methods.tfkd import virtual_logits
from kdcourse.errors import ArgumentError

LOGITS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 3, 1, 1, 2])


def loss(logits: Tensor, labels: Tensor = LABELS, teacher: Tensor | None = None, **settings: Any) -> Tensor:
    (method,) = methods.build("tfkd", **settings)
    batch = Batch(torch.zeros(len(labels), 1, 2, 2), labels, torch.arange(len(labels)), View())
    (term,) = method(
        Outputs(logits), Outputs(logits.detach() if teacher is None else teacher), batch
    ).values()
    return term


def reference(logits: Any, labels: Any, temperature: float, correct: float) -> float:
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        p = np.full(len(row), (1 - correct) / (len(row) - 1))
        p[label] = correct
        p = p ** (1 / temperature)
        p /= p.sum()
        total += (p * (np.log(p) - special.log_softmax(row / temperature))).sum()
    return temperature**2 * total / len(logits)


@pytest.mark.parametrize(("temperature", "correct"), [(20.0, 0.99), (1.0, 0.9), (3.0, 0.6)])
def test_agrees_with_float64_reference(temperature: float, correct: float) -> None:
    settings = {"temperature": temperature, "correct": correct}
    expected = reference(LOGITS.numpy(), LABELS.numpy(), temperature, correct)
    assert float(loss(LOGITS, **settings)) == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.gradcheck(lambda z: loss(z, **settings), LOGITS.clone().requires_grad_())
    for dtype in (torch.float16, torch.bfloat16):
        low = LOGITS.to(dtype)
        found = loss(low, **settings)
        assert found.dtype == torch.float32
        expected = reference(low.double().numpy(), LABELS.numpy(), temperature, correct)
        assert float(found) == pytest.approx(expected, rel=1e-3)


def test_at_temperature_one_its_gradient_is_that_of_label_smoothing() -> None:
    one, other = (LOGITS.clone().requires_grad_() for _ in range(2))
    loss(one, temperature=1.0, correct=0.9).backward()
    F.cross_entropy(
        other, LABELS, label_smoothing=0.1 * 4 / 3
    ).backward()  # epsilon goes to all classes alike
    torch.testing.assert_close(one.grad, other.grad)


def test_the_teacher_makes_no_difference_and_logits_far_apart_stay_finite() -> None:
    assert float(loss(LOGITS, teacher=LOGITS + 5)) == float(loss(LOGITS, teacher=LOGITS.flip(1)))
    far = (1e4 * LOGITS).float().requires_grad_()
    found = loss(far)
    found.backward()
    assert bool(found.isfinite()) and far.grad is not None and bool(far.grad.isfinite().all())
    made_up = virtual_logits(LOGITS, LABELS, 0.7)
    torch.testing.assert_close(made_up.exp().sum(1), torch.ones(5, dtype=torch.float64))
    assert torch.equal(made_up.argmax(1), LABELS)


def test_bad_arguments() -> None:
    for settings, found in (
        ({"temperature": 0.0}, "found 0"),
        ({"correct": 1.0}, "found 1.0"),
        ({"correct": 0.2}, "0.2"),
    ):
        with pytest.raises(ArgumentError, match=found):
            loss(LOGITS, **settings)
    with pytest.raises(ArgumentError, match=r"above 1 / classes = 0.25 and below 1; found 0.25"):
        virtual_logits(LOGITS, LABELS, 0.25)
    with pytest.raises(ArgumentError, match=r"labels must lie in 0\.\.3"):
        loss(LOGITS, LABELS + 1)
