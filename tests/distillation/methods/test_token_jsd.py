"""Divergences of next tokens: by NumPy, by the published formula, and what never counts."""

from __future__ import annotations

import pytest
import torch

from kdcourse.data import IGNORE_TOKEN
from kdcourse.distillation import methods, token_divergence
from kdcourse.errors import ArgumentError
from tests.distillation.methods.next_tokens import as_seen_by, example, reference

BETAS = (0, 0.1, 0.5, 0.9, 1)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_equals_numpy_in_float64(beta: float, temperature: float) -> None:
    student, teacher, labels = example()
    found = token_divergence(student, teacher, labels, beta=beta, temperature=temperature)
    assert float(found) == pytest.approx(reference(student, teacher, labels, beta, temperature), rel=1e-12)
    (method,) = methods.build("token_jsd", beta=beta, temperature=temperature)
    assert torch.equal(as_seen_by(method, student, teacher, labels), found)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_equals_trl(beta: float, temperature: float) -> None:
    """TRL 1.16 (https://github.com/huggingface/trl), where it is installed; it leaves out the factor T^2."""
    trainer = pytest.importorskip("trl.experimental.gkd", reason="pip install trl").GKDTrainer
    student, teacher, labels = example()
    expected = trainer.generalized_jsd_loss(student, teacher, labels, beta=beta, temperature=temperature)
    found = token_divergence(student, teacher, labels, beta=beta, temperature=temperature)
    assert float(found) == pytest.approx(temperature**2 * float(expected), rel=1e-9)


@pytest.mark.parametrize("beta", BETAS)
def test_gradient(beta: float) -> None:
    student, teacher, labels = example()
    student.requires_grad_(), teacher.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: token_divergence(z, teacher.detach(), labels, beta=beta, temperature=2.0), student
    )
    token_divergence(student, teacher, labels, beta=beta).backward()
    assert teacher.grad is None
    assert student.grad is not None and not student.grad[labels == IGNORE_TOKEN].any()


def test_the_ends_are_the_limits_of_what_lies_between() -> None:
    student, teacher, labels = example(spread=1)
    near = 1e-6
    low, high = (token_divergence(student, teacher, labels, beta=beta) for beta in (near, 1 - near))
    for beta, limit in (0, low / near), (1, high / near):
        assert float(limit) == pytest.approx(
            float(token_divergence(student, teacher, labels, beta=beta)), rel=1e-4
        )


@pytest.mark.parametrize("beta", BETAS)
def test_what_does_not_count_never_does(beta: float) -> None:
    student, teacher, labels = example()
    expected = token_divergence(student, teacher, labels, beta=beta)
    out = labels == IGNORE_TOKEN
    student[out], teacher[out] = torch.nan, torch.inf
    student.requires_grad_()
    found = token_divergence(student, teacher, labels, beta=beta)
    found.backward()
    assert torch.equal(found.detach(), expected)
    assert student.grad is not None and bool(student.grad.isfinite().all())
    # One row more that doesn't count, as a longer text beside it would bring.
    longer = [torch.cat([x.detach(), x.detach()[:1]]) for x in (student, teacher)]
    ignored = torch.cat([labels, torch.full_like(labels[:1], IGNORE_TOKEN)])
    assert float(token_divergence(*longer, ignored, beta=beta)) == pytest.approx(float(expected), rel=1e-12)
    student.grad = None
    nothing = token_divergence(student, teacher, torch.full_like(labels, IGNORE_TOKEN), beta=beta)
    nothing.backward()
    assert nothing.item() == 0 and not student.grad.any()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_far_apart_and_coarse_logits(beta: float, dtype: torch.dtype) -> None:
    student, teacher, labels = example(dtype)
    student, teacher = student * 3000, teacher * 3000
    teacher[..., 0] = -torch.inf if beta < 1 else -1e4
    student.requires_grad_()
    found = token_divergence(student, teacher, labels, beta=beta)
    found.backward()
    assert found.dtype == torch.float32 and bool(found.isfinite())
    assert student.grad is not None and bool(student.grad.isfinite().all())
    assert float(token_divergence(teacher, teacher, labels, beta=beta)) == pytest.approx(0, abs=1e-6)


def test_bad_input_is_refused() -> None:
    student, teacher, labels = example()
    with pytest.raises(ArgumentError, match=r"beta.*must lie in \[0, 1\]; found 1.5"):
        methods.build("token_jsd", beta=1.5)
    with pytest.raises(ArgumentError, match="only models of one vocabulary"):
        token_divergence(student, teacher[..., :5], labels, beta=0.5)
    with pytest.raises(ArgumentError, match=r"labels must be int64 \[3, 4\]"):
        token_divergence(student, teacher, labels[:, :3], beta=0.5)
    student.requires_grad_()
    with pytest.raises(ArgumentError, match="its own teacher"):
        token_divergence(student, student, labels, beta=0.5)
