"""The teacher's top k next tokens, and all others as one event."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdcourse.data import IGNORE_TOKEN
from kdcourse.distillation import forward_kl, methods, token_top_k_loss
from kdcourse.errors import ArgumentError
from tests.distillation.methods.next_tokens import as_seen_by, example


def test_equals_numpy_and_gradient() -> None:
    student, teacher, labels = example()
    found, k, temperature = [], 2, 1.5
    kept = labels != IGNORE_TOKEN
    for z, v in zip(student[kept].numpy(), teacher[kept].numpy(), strict=True):
        q, p = (np.exp(x / temperature) / np.exp(x / temperature).sum() for x in (z, v))
        top = np.argsort(-v)[:k]
        p, q = (np.append(x[top], 1 - x[top].sum()) for x in (p, q))
        found.append((p * np.log(p / q)).sum())
    loss = token_top_k_loss(student, teacher, labels, k=k, temperature=temperature)
    assert float(loss) == pytest.approx(temperature**2 * np.mean(found), rel=1e-10)
    (method,) = methods.build("token_top_k", k=k, temperature=temperature)
    assert torch.equal(as_seen_by(method, student, teacher, labels), loss)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: token_top_k_loss(z, teacher, labels, k=k), student)
    # With all tokens but one, the rest is that one.
    whole = forward_kl(student, teacher, labels)
    assert token_top_k_loss(student, teacher, labels, k=5).item() == pytest.approx(whole.item(), rel=1e-10)
    nothing = token_top_k_loss(student, teacher, torch.full_like(labels, IGNORE_TOKEN), k=k)
    nothing.backward()
    assert nothing.item() == 0 and not student.grad.any()


def test_bad_k_is_refused() -> None:
    with pytest.raises(ArgumentError, match="k is a number of tokens, 1 or more; found 0"):
        methods.build("token_top_k", k=0)
    with pytest.raises(ArgumentError, match="from 1 to 5, fewer than the 6 tokens; found 6"):
        token_top_k_loss(*example(), k=6)
