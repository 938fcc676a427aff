"""What holds for every loss that compares two tensors of one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from kdcourse.errors import ArgumentError

Loss = Callable[[Tensor, Tensor], Tensor]


def pair(
    student: tuple[int, ...], teacher: tuple[int, ...] | None = None, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return float64 values of two networks for one batch."""
    generator = torch.Generator().manual_seed(seed)
    shapes = student, teacher or student
    one, other = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return one, other


def check(loss: Loss, reference: Callable[[Any, Any], float], sides: tuple[Tensor, Tensor]) -> None:
    """Compare with the reference, in float64 and in lower precision, far out too; the teacher gets no gradient."""
    one, other = sides
    assert float(loss(one, other)) == pytest.approx(reference(one.numpy(), other.numpy()), rel=1e-9)
    assert torch.autograd.gradcheck(lambda z: loss(z, other), one.clone().requires_grad_())
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        z, v = (side.to(dtype).requires_grad_() for side in sides)
        found = loss(z, v)
        found.backward()
        assert found.dtype == torch.float32 and v.grad is None
        assert z.grad is not None and bool(z.grad.isfinite().all())
        expected = reference(z.detach().double().numpy(), v.detach().double().numpy())
        assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for scale in (1e4, 1e-4, 0.0):
        z, v = ((scale * side).float().requires_grad_() for side in sides)
        found = loss(z, v)
        found.backward()
        assert bool(found.isfinite()) and z.grad is not None and bool(z.grad.isfinite().all())
    with pytest.raises(ArgumentError, match="its own teacher"):
        loss(z, z)
    with pytest.raises(ArgumentError, match="floating point"):
        loss(one.long(), other)


def tells_apart(loss: Loss, wrong: Mapping[str, Loss], sides: tuple[Tensor, Tensor]) -> None:
    """Assert that known mistakes give another value."""
    right = float(loss(*sides))
    for name, mistaken in wrong.items():
        assert float(mistaken(*sides)) != pytest.approx(right, rel=1e-3), name
