"""Mutual learning: its loss against SciPy, and students that teach each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

from kdcourse import evaluation
from kdcourse.distillation import mutual_learning, mutual_loss
from kdcourse.errors import ArgumentError
from tests.distillation import tiny
from tests.runs.tiny import scenes
from tests.training.toys import FIT, net, without_seconds

LOGITS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 3, 1, 1, 2])


def reference(logits: Any, labels: Any, temperature: float) -> tuple[float, float]:
    entropy = apart = 0.0
    for own, mine in enumerate(logits):
        entropy -= special.log_softmax(mine, axis=1)[range(len(labels)), labels].mean()
        for other, theirs in enumerate(logits):
            if other != own:
                p = special.softmax(theirs / temperature, axis=1)
                log_q = special.log_softmax(mine / temperature, axis=1)
                kl = special.rel_entr(p, special.softmax(mine / temperature, axis=1)).sum(1)
                assert kl == pytest.approx(
                    (p * (special.log_softmax(theirs / temperature, axis=1) - log_q)).sum(1)
                )
                apart += temperature**2 * kl.mean() / (len(logits) - 1)
    return entropy, apart


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_agrees_with_float64_reference(temperature: float) -> None:
    found = [float(part) for part in mutual_loss(LOGITS, LABELS, temperature)]
    assert found == pytest.approx(reference(LOGITS.numpy(), LABELS.numpy(), temperature), rel=1e-10)


def test_each_student_gets_the_gradient_of_its_own_loss_alone() -> None:
    logits = LOGITS.clone().requires_grad_()
    sum(mutual_loss(logits, LABELS)).backward()  # type: ignore[union-attr]
    assert logits.grad is not None
    for own in range(3):

        def alone(z: Tensor, own: int = own) -> Tensor:
            total = F.cross_entropy(z, LABELS)
            for other in set(range(3)) - {own}:
                p = LOGITS[other].softmax(1)
                total = total + (p * (p.log() - z.log_softmax(1))).sum(1).mean() / 2
            return total

        mine = LOGITS[own].clone().requires_grad_()
        (expected,) = torch.autograd.grad(alone(mine), mine)
        torch.testing.assert_close(logits.grad[own], expected)
        assert torch.autograd.gradcheck(alone, mine)


def test_equal_students_have_nothing_to_say_to_each_other_and_far_logits_stay_finite() -> None:
    assert float(mutual_loss(LOGITS[:1].expand(2, -1, -1), LABELS)[1]) == pytest.approx(0, abs=1e-12)
    far = (1e4 * LOGITS).float().requires_grad_()
    total = sum(mutual_loss(far, LABELS))
    total.backward()  # type: ignore[union-attr]
    assert far.grad is not None and bool(far.grad.isfinite().all())


def test_students_learn_and_come_closer_to_each_other() -> None:
    data, students = tiny.dataset(), [net(1), net(2, width=6)]
    history = mutual_learning(students, data, **(FIT | {"epochs": 8}))
    assert history.last.parts["mutual"] < history.epochs[0].parts["mutual"]
    assert history.last.parts["labels"] < history.epochs[0].parts["labels"]
    logits = [evaluation.predict(student, data.validation, data) for student in students]
    assert not any(student.training for student in students)
    together = evaluation.accuracy((logits[0] + logits[1]) / 2, data.validation.labels)
    assert history.last.validation_accuracy == pytest.approx(together)


def test_a_broken_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, resumed = [net(1), net(2)], [net(8), net(9)]
    told = mutual_learning(whole, tiny.dataset(), **FIT)

    def stop(epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (1, 3):
            raise KeyboardInterrupt

    stored: dict[str, Any] = {"checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 3}
    with pytest.raises(KeyboardInterrupt):
        mutual_learning([net(1), net(2)], tiny.dataset(), after_step=stop, **stored, **FIT)
    again = mutual_learning(resumed, tiny.dataset(), **stored, **FIT)
    assert without_seconds(again) == without_seconds(told)
    for found, expected in zip(resumed, whole, strict=True):
        assert tiny.same_state(found, tiny.state(expected))


def test_bad_arguments() -> None:
    one = net()
    for students, found in (([one], "found 1, 1 of them"), ([one, one], "found 2, 1 of them")):
        with pytest.raises(ArgumentError, match=found):
            mutual_learning(students, tiny.dataset(), **FIT)
    with pytest.raises(ArgumentError, match="one label each"):
        mutual_learning([net(), net()], scenes(), **FIT)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"found \[1, 5, 4\]"):
        mutual_loss(LOGITS[:1], LABELS)
