"""Logit standardization: each image's logits at one scale before they are softened (Sun et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_logits, check_weight
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import (
    at_least_float32,
    check_temperature,
    divergence,
    log_softened,
)
from kdcourse.errors import ArgumentError

_EPSILON = 1e-7  # as in the authors' program, added to the deviation


def standardized(logits: Tensor) -> Tensor:
    """Return logits with mean 0 and standard deviation 1 for each image (Z-scores).

    Args:
        logits: floating point [B, C], C >= 2.

    Returns:
        [B, C], float32 or float64; all 0 where the logits of an image are equal.

    Source: Sun et al. 2024 (https://arxiv.org/abs/2403.01427), section 4.2, algorithm 1. The deviation divides by
    C - 1, as in their program.
    """
    logits = logits.to(at_least_float32(logits))
    centred = logits - logits.mean(1, keepdim=True)
    variance = centred.square().sum(1, keepdim=True) / (logits.shape[1] - 1)
    # The gradient of a root at 0 is infinite, so equal logits get another number before it.
    deviation = torch.where(variance > 0, variance, 1).sqrt()
    return centred / (deviation + _EPSILON)


def standardized_loss(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 2.0, weight: float = 9.0
) -> Tensor:
    """Compute ``weight * T^2 * KL(p || q)`` of the predictions that the standardized logits give at temperature T.

    The student needn't match how large the teacher's logits are, only how they are related: each image has, in
    effect, temperatures of its own, one for the teacher and one for the student.

    Args:
        student_logits: floating point [B, C], C >= 2; gradients flow here.
        teacher_logits: floating point [B, C], all finite; detached.
        temperature: T > 0, the base temperature; 2 in the paper.
        weight: above 0; 9 in the paper, beside labels of weight 0.1.

    Returns:
        Scalar in nats, averaged over the batch; float32, or float64 for float64 student logits.

    Raises:
        ArgumentError: a setting out of range, logits as in `kd_divergence`, of a single class or not finite.

    Source: Sun, Ren, Li, Wang, Cao 2024 (https://arxiv.org/abs/2403.01427), section 4, algorithm 2.
    """
    check_temperature(temperature)
    check_weight(weight, "9")
    check_logits(student_logits, teacher_logits)
    if student_logits.shape[1] < 2:
        raise ArgumentError(
            f"Logits of a single class have no deviation; found {list(student_logits.shape)}."
        )
    if not bool(teacher_logits.isfinite().all()):
        raise ArgumentError(
            "Logits that aren't finite have no deviation, and some of the teacher's rule a class out. Take another "
            "method, such as kd."
        )
    z = standardized(student_logits)
    log_q, log_p = (
        log_softened(side, temperature, z.dtype) for side in (z, standardized(teacher_logits.detach()))
    )
    return weight * temperature**2 * divergence(log_q, log_p) / len(z)


class Standardized(Method):
    """Match the teacher's predictions after both networks' logits were brought to one scale: `standardized_loss`.

    Args:
        temperature: T > 0, the base temperature.
        weight: of the term.

    Raises:
        ArgumentError: a setting out of range.
    """

    title = "Standardized logits: one scale for both networks"
    paper = "Sun et al. 2024, https://arxiv.org/abs/2403.01427"

    def __init__(self, *, temperature: float = 2.0, weight: float = 9.0) -> None:
        super().__init__()
        check_temperature(temperature)
        check_weight(weight, "9")
        self.temperature, self.weight = temperature, weight

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        loss = standardized_loss(
            student.logits, teacher.logits, temperature=self.temperature, weight=self.weight
        )
        return {"standardized": loss}
