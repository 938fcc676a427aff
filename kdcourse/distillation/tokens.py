"""Select the positions of a text that count, and compare predictions there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdcourse.data import IGNORE_TOKEN
from kdcourse.distillation.arguments import check_sides, check_tensor
from kdcourse.distillation.softening import at_least_float32, check_temperature, divergence, log_softened
from kdcourse.errors import ArgumentError


def scored_tokens(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return both networks' logits at the positions that count, [P, V] each; the teacher's are detached.

    Args:
        student_logits: [B, T, V].
        teacher_logits: [B, T, V].
        labels: int64 [B, T], `kdcourse.data.IGNORE_TOKEN` where a position doesn't count.

    Raises:
        ArgumentError: logits that aren't two floating-point tensors of one shape on one device, one trainable tensor
            passed as both, labels of another shape or type.
    """
    check_sides(student_logits, teacher_logits, "logits")
    check_tensor(labels, "labels")
    if student_logits.ndim != 3 or student_logits.shape != teacher_logits.shape:
        raise ArgumentError(
            "student_logits and teacher_logits must both be [batch, tokens, vocabulary] of one shape; found "
            f"{list(student_logits.shape)} and {list(teacher_logits.shape)}. Token by token, only models of one "
            "vocabulary can be compared."
        )
    if labels.shape != student_logits.shape[:2] or labels.dtype != torch.int64:
        raise ArgumentError(
            f"labels must be int64 {list(student_logits.shape[:2])}, the next token of each position or "
            f"{IGNORE_TOKEN}; found {labels.dtype} {list(labels.shape)}."
        )
    kept = labels != IGNORE_TOKEN
    return student_logits[kept], teacher_logits.detach()[kept]


def check_beta(beta: float) -> None:
    """Raise ArgumentError unless ``beta`` lies in [0, 1]."""
    if not 0 <= beta <= 1:
        raise ArgumentError(
            f"beta, the teacher's share of the mixture, must lie in [0, 1]; found {beta}. 0 stands for the forward KL, "
            "1 for the reverse KL; 0.1 to 0.9 is usual."
        )


def token_divergence(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, beta: float, temperature: float = 1.0
) -> Tensor:
    """Compute the generalized Jensen-Shannon divergence of two models' next tokens, mean over the positions that count.

    With ``p = softmax(v / T)`` of the teacher, ``q = softmax(z / T)`` of the student and
    ``m = beta * p + (1 - beta) * q`` it is ``T^2 * (beta * KL(p || m) + (1 - beta) * KL(q || m))``. For ``beta=0`` it
    is the forward ``T^2 * KL(p || q)``, for ``beta=1`` the reverse ``T^2 * KL(q || p)``: the limits of the divergence
    divided by ``beta``, and by ``1 - beta``.

    Args:
        student_logits: z, floating point [B, T, V]; gradients flow here.
        teacher_logits: v, floating point [B, T, V]; detached.
        labels: int64 [B, T], `kdcourse.data.IGNORE_TOKEN` where a position doesn't count, whatever the logits there.
        beta: 0 to 1.
        temperature: above 0.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits. 0, with gradient 0, where no position counts.
        The reverse KL is infinite where the teacher rules out (-inf) a token that the student doesn't.

    Raises:
        ArgumentError: beta or temperature out of range; see `scored_tokens`.

    Source: Agarwal, Vieillard, Zhou, Stanczyk, Ramos, Geist, Bachem 2024, On-Policy Distillation of Language Models
    (https://arxiv.org/abs/2306.13649), section 2, equation 1. The factor T^2, which they don't have, keeps the
    gradient's size while T changes (Hinton et al. 2015).
    """
    check_beta(beta)
    check_temperature(temperature)
    z, v = scored_tokens(student_logits, teacher_logits, labels)
    dtype = at_least_float32(student_logits)
    log_q, log_p = log_softened(z, temperature, dtype), log_softened(v, temperature, dtype)
    if beta == 0:
        total = divergence(log_q, log_p)
    elif beta == 1:
        total = divergence(log_p, log_q)
    else:
        log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
        total = beta * divergence(log_m, log_p) + (1 - beta) * divergence(log_m, log_q)
    return temperature**2 * (total / max(1, len(z)))
