"""Decoupled knowledge distillation: the label's class and the other classes weighed apart (Zhao et al. 2022)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_labels, check_logits, check_weights
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32, check_temperature, divergence
from kdcourse.errors import ArgumentError


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    target_weight: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """Compute ``target_weight * TCKD + beta * NCKD``: `kd_divergence`, taken apart and weighed anew.

    With p and q the teacher's and the student's predictions at temperature T, t the label's class, and p' and q' the
    predictions among the other classes alone, ``p'_i = p_i / (1 - p_t)``::

        TCKD = T^2 * KL([p_t, 1 - p_t] || [q_t, 1 - q_t])
        NCKD = T^2 * KL(p' || q')

    both averaged over the batch. `kd_divergence` is the mean of ``TCKD + (1 - p_t) * NCKD``: the surer the teacher is
    of the label, the less it says about the others. Here beta says how much, whatever the teacher's certainty.

    Args:
        student_logits: z, floating point [B, C], C >= 2; gradients flow here.
        teacher_logits: v, floating point [B, C]; detached. A class at -inf is ruled out.
        labels: int64 [B] in 0..C-1.
        temperature: T > 0; 4 in the paper.
        target_weight: of TCKD, 0 or more; called alpha in the paper, 1.
        beta: of NCKD, 0 or more; 8 is the paper's choice for CIFAR-100 with networks of one family.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits.

    Raises:
        ArgumentError: a setting out of range, logits as in `kd_divergence` or of a single class, labels of another
            length or type or outside the classes.

    Source: Zhao, Cui, Song, Qiu, Liang 2022 (https://arxiv.org/abs/2203.08679), section 3, equation 7. Departures:
    their program multiplies both terms by a weight that rises from 0 over the first epochs, and takes the label's
    class out of NCKD by subtracting 1000 from its logit; here the weights stay, and the class is really left out.
    """
    check_temperature(temperature)
    check_weights(target_weight=target_weight, beta=beta)
    check_logits(student_logits, teacher_logits)
    check_labels(student_logits, labels, values=True)
    target, others = _terms(student_logits, teacher_logits, labels, temperature)
    return target_weight * target + beta * others


class DKD(Method):
    """Fit the label's class and the other classes as the teacher sees them, weighed apart: `dkd_loss`.

    Args:
        temperature: T > 0; 4 in the paper.
        target_weight: of the label's class against all others (TCKD).
        beta: of the other classes among themselves (NCKD).

    Raises:
        ArgumentError: a setting out of range.
    """

    title = "Decoupled: label's class and other classes"
    paper = "Zhao et al. 2022, https://arxiv.org/abs/2203.08679"
    tries = ({"beta": 0.5}, {"beta": 2.0}, {"beta": 8.0})  # the paper, too, tunes this weight

    def __init__(self, *, temperature: float = 4.0, target_weight: float = 1.0, beta: float = 8.0) -> None:
        super().__init__()
        check_temperature(temperature)
        check_weights(target_weight=target_weight, beta=beta)
        self.temperature, self.target_weight, self.beta = temperature, target_weight, beta

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        check_logits(student.logits, teacher.logits)
        target, others = _terms(student.logits, teacher.logits, batch.labels, self.temperature)
        return {"target": self.target_weight * target, "others": self.beta * others}


def _terms(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return TCKD and NCKD."""
    if student_logits.shape[1] < 2:
        raise ArgumentError("dkd compares the label's class with others; found logits of a single class.")
    dtype, scale = at_least_float32(student_logits), temperature**2 / len(labels)
    of_label = labels[:, None] == torch.arange(student_logits.shape[1], device=labels.device)
    two, rest = zip(
        *(
            _decoupled(logits.to(dtype) / temperature, labels, of_label)
            for logits in (student_logits, teacher_logits.detach())
        ),
        strict=True,
    )
    # Where the teacher rules out all other classes, there is nothing to say about them.
    silent = (teacher_logits == -math.inf).logical_or(of_label).all(1, keepdim=True)
    log_q, log_p = (side.masked_fill(silent, 0) for side in rest)
    return scale * divergence(*two), scale * divergence(log_q, log_p)


def _decoupled(logits: Tensor, labels: Tensor, of_label: Tensor) -> tuple[Tensor, Tensor]:
    """Return log [p_t, 1 - p_t], [B, 2], and log p' [B, C], -inf at the label's class."""
    log_p = F.log_softmax(logits, dim=1)
    others = log_p.masked_fill(of_label, -math.inf).logsumexp(1)
    two = torch.stack([log_p.gather(1, labels[:, None])[:, 0], others], 1)
    return two, F.log_softmax(logits.masked_fill(of_label, -math.inf), dim=1)
