"""Reverse KL of next tokens: the sides exchanged."""

from __future__ import annotations

import pytest
import torch

from kdcourse.data import IGNORE_TOKEN
from kdcourse.distillation import forward_kl, methods, reverse_kl
from tests.distillation.methods.next_tokens import as_seen_by, example, reference


def test_equals_numpy_and_its_written_gradient() -> None:
    student, teacher, labels = example()
    found = reverse_kl(student, teacher, labels, temperature=2.0)
    assert float(found) == pytest.approx(reference(student, teacher, labels, 1, 2.0), rel=1e-12)
    assert float(found) == pytest.approx(
        float(forward_kl(teacher, student, labels, temperature=2.0)), rel=1e-12
    )
    (method,) = methods.build("token_reverse_kl", temperature=2.0)
    assert torch.equal(as_seen_by(method, student, teacher, labels), found)
    student.requires_grad_()
    reverse_kl(student, teacher, labels, temperature=2.0).backward()
    log_q, log_p = ((x.detach() / 2).log_softmax(-1) for x in (student, teacher))
    apart = log_q - log_p
    kept = (labels != IGNORE_TOKEN)[..., None]
    written = 2.0 / kept.sum() * log_q.exp() * (apart - (log_q.exp() * apart).sum(-1, keepdim=True)) * kept
    torch.testing.assert_close(student.grad, written)
