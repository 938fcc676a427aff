"""What the tests of methods on next tokens share: logits with positions that don't count, and NumPy's divergences."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kdcourse.data import IGNORE_TOKEN, Batch, View
from kdcourse.distillation import Outputs


def example(dtype: torch.dtype = torch.float64, spread: float = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return student's and teacher's logits [3, 4, 6] and labels [3, 4]; rows of 4, 2 and 0 tokens."""
    draw = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(3, 4, 6, generator=draw, dtype=torch.float64) * spread for _ in range(2))
    labels = torch.randint(6, (3, 4), generator=draw)
    labels[1, 2:] = labels[2] = IGNORE_TOKEN
    return student.to(dtype), teacher.to(dtype), labels


def reference(student: Tensor, teacher: Tensor, labels: Tensor, beta: float, temperature: float) -> float:
    """Compute the mean over positions one by one, probabilities as such; T^2 included."""

    def kl(p: np.ndarray, q: np.ndarray) -> float:
        return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())

    found = []
    for z, v, y in zip(
        student.flatten(0, 1).numpy(), teacher.flatten(0, 1).numpy(), labels.flatten(), strict=True
    ):
        if int(y) == IGNORE_TOKEN:
            continue
        q, p = (np.exp(x / temperature) / np.exp(x / temperature).sum() for x in (z, v))
        m = beta * p + (1 - beta) * q
        found.append(
            kl(p, q) if beta == 0 else kl(q, p) if beta == 1 else beta * kl(p, m) + (1 - beta) * kl(q, m)
        )
    return temperature**2 * float(np.mean(found))


def as_seen_by(method: torch.nn.Module, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Return the one term of a method for a batch of tokens."""
    batch = Batch(labels.clamp(min=0), labels, torch.arange(len(labels)), View())
    (term,) = method(Outputs(student), Outputs(teacher), batch).values()
    assert isinstance(term, Tensor)
    return term
