"""Temperature: how logits become softer probabilities."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.distillation.arguments import check_tensor
from kdcourse.errors import ArgumentError


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Compute probabilities at a temperature: ``q_i = exp(z_i / T) / sum_j exp(z_j / T)``.

    Args:
        logits: floating point [..., C].
        temperature: T > 0; 1 is the plain softmax, higher is softer.

    Returns:
        [..., C] in float32, or float64 for float64 logits; each row sums to 1.

    Raises:
        ArgumentError: T not a finite number above 0, logits not floating point.

    Source: Hinton, Vinyals, Dean 2015 (https://arxiv.org/abs/1503.02531), section 2, equation 1.
    """
    check_temperature(temperature)
    return log_softened(logits, temperature, at_least_float32(logits)).exp()


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute the entropy in nats of the softened prediction, ``-sum_i q_i log q_i``: 0 if certain, log C at most.

    Args:
        logits: floating point [..., C]. For probabilities at hand, pass ``probabilities.log()``.
        temperature: T > 0.

    Returns:
        [...], float32 or float64. A measure, not an objective: its gradient is infinite where a
        probability is 0.

    Raises:
        ArgumentError: as `softened`.
    """
    return torch.special.entr(softened(logits, temperature)).sum(dim=-1)


def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    """Sum ``p * (log p - log q)`` over everything, where p = 0 adds 0 whatever q is; arguments aren't checked."""
    gone = log_p == -math.inf
    log_q, log_p = log_q.masked_fill(gone, 0), log_p.masked_fill(gone, 0)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True)


def check_temperature(temperature: float) -> None:
    """Raise ArgumentError unless ``temperature`` is a finite number above 0."""
    if not 0 < temperature < math.inf:
        raise ArgumentError(
            f"temperature must be a finite number above 0; found {temperature}. "
            "1 leaves predictions as they are; 1 to 10 is usual."
        )


def log_softened(logits: Tensor, temperature: float, dtype: torch.dtype) -> Tensor:
    """Return ``log softmax(logits / T)`` [..., C], computed in ``dtype``; arguments aren't checked."""
    return F.log_softmax(logits.to(dtype) / temperature, dim=-1)


def largest(logits: Tensor) -> float:
    """Return the largest absolute value of logits, -inf, which rules a class out, left out."""
    return float(logits.masked_fill(logits == -torch.inf, 0).abs().max())


def at_least_float32(logits: Tensor) -> torch.dtype:
    """Return float32 for logits of half precision, their own type otherwise.

    Raises:
        ArgumentError: not floating point.
    """
    check_tensor(logits, "logits")
    if not logits.is_floating_point():
        raise ArgumentError(
            f"logits must be floating point; found {logits.dtype}. Pass the network's outputs, not labels."
        )
    return torch.promote_types(logits.dtype, torch.float32)
