"""Forward KL of next tokens: Hinton's divergence at every position that counts."""

from __future__ import annotations

import pytest
import torch

from kdcourse.data import IGNORE_TOKEN
from kdcourse.distillation import forward_kl, kd_divergence, methods
from tests.distillation.methods.next_tokens import as_seen_by, example, reference


def test_equals_numpy_and_hintons_divergence_of_the_positions() -> None:
    student, teacher, labels = example()
    kept = labels != IGNORE_TOKEN
    found = forward_kl(student, teacher, labels, temperature=3.0)
    assert float(found) == pytest.approx(reference(student, teacher, labels, 0, 3.0), rel=1e-12)
    assert float(found) == pytest.approx(float(kd_divergence(student[kept], teacher[kept], 3.0)), rel=1e-12)
    (method,) = methods.build("token_kl", temperature=3.0)
    assert torch.equal(as_seen_by(method, student, teacher, labels), found)
    student.requires_grad_()
    forward_kl(student, teacher, labels, temperature=3.0).backward()
    written = 3.0 / kept.sum() * ((student / 3).softmax(-1) - (teacher / 3).softmax(-1)) * kept[..., None]
    torch.testing.assert_close(student.grad, written.detach())
