"""Multi-label distillation: its loss against an independent computation, and a student that learns by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit
from torch import Tensor

from kdcourse.distillation import mld_loss
from kdcourse.errors import ArgumentError


def reference(z: Tensor, v: Tensor, temperature: float) -> float:
    q, p = z.double().numpy() / temperature, v.double().numpy() / temperature
    yes = expit(p) * (log_expit(p) - log_expit(q))
    no = expit(-p) * (log_expit(-p) - log_expit(-q))
    return float(temperature**2 * np.mean(yes + no))


def published(z: Tensor, v: Tensor) -> Tensor:
    """Return the loss of the authors' program, which sums over the classes."""
    z, v = (torch.sigmoid(side).clamp(1e-8, 1 - 1e-8) for side in (z, v))
    kl = torch.nn.KLDivLoss(reduction="none")
    return (kl(z.log(), v) + kl((1 - z).log(), 1 - v)).sum() / len(z)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_loss_and_its_gradient(temperature: float) -> None:
    torch.manual_seed(0)
    z, v = torch.randn(5, 3, requires_grad=True), 3 * torch.randn(5, 3)
    loss = mld_loss(z, v, temperature)
    assert float(loss.detach()) == pytest.approx(reference(z.detach(), v, temperature), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, z)
    wanted = temperature / 15 * ((z / temperature).sigmoid() - (v / temperature).sigmoid())
    torch.testing.assert_close(gradient, wanted.detach())
    assert float(mld_loss(v, v.clone(), temperature)) == 0


def test_it_is_the_published_one_divided_by_the_classes() -> None:
    torch.manual_seed(1)
    z, v = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    assert float(mld_loss(z, v)) == pytest.approx(float(published(z, v)) / 4, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_logits_far_apart_and_classes_ruled_out(dtype: torch.dtype) -> None:
    z = torch.tensor([[5e3, -5e3, 0.0, 1.0]], dtype=dtype, requires_grad=True)
    v = torch.tensor([[-5e3, 5e3, -torch.inf, 1e4]], dtype=dtype)
    loss = mld_loss(z, v, 2.0)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert float(loss.detach()) == pytest.approx(4 * (2500 + 2500 + np.log(2) - log_expit(0.5)) / 4, rel=1e-2)
    (gradient,) = torch.autograd.grad(loss, z)
    assert bool(gradient.isfinite().all())


def test_arguments() -> None:
    with pytest.raises(ArgumentError, match="temperature must be a finite number above 0; found 0"):
        mld_loss(torch.zeros(2, 3), torch.zeros(2, 3), 0)
    with pytest.raises(ArgumentError, match=r"found \[2, 3\] and \[2, 4\]"):
        mld_loss(torch.zeros(2, 3), torch.zeros(2, 4))
