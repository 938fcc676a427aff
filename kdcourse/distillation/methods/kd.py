"""Knowledge distillation: fit the teacher's softened predictions (Hinton, Vinyals, Dean 2015)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_alpha, check_labels, check_logits
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32, check_temperature, divergence, log_softened
from kdcourse.distillation.top import TopLogits
from kdcourse.errors import ArgumentError

# cross_entropy leaves out labels of -100 unless told otherwise; here no label means 'leave out', so
# that a stray -100 is an error like any other label outside the classes.
_IGNORE_NOTHING = torch.iinfo(torch.int64).min


class KD(Method):
    """Fit the teacher's softened predictions: `kd_divergence`.

    With the labels, `distil` adds up `hinton_loss`.

    Args:
        temperature: T > 0.

    Raises:
        ArgumentError: T out of range.
    """

    title = "Hinton's soft targets"
    paper = "Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531"
    top_k = True
    closed_form = True

    def __init__(self, *, temperature: float = 4.0) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        if teacher.top is not None:
            return {"kd": top_k_divergence(student.logits, teacher.top, self.temperature)}
        return {"kd": kd_divergence(student.logits, teacher.logits, self.temperature)}


def kd_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Compute the distillation term, ``T^2 * KL(p || q)`` averaged over the batch.

    ``p = softmax(v / T)`` is the teacher's prediction, ``q = softmax(z / T)`` the student's. Both are
    kept as logarithms, so a probability that rounds to 0, or that a logit of -inf rules out, adds 0 and never NaN.

    Args:
        student_logits: z, floating point [B, C]; gradients flow here.
        teacher_logits: v, floating point [B, C]; detached.
        temperature: T > 0.

    Returns:
        Scalar in nats, float32 (float64 for float64 student logits) whatever the precision of the logits.
        In float32 its rounding error is about ``1e-7 * T^2``, which only matters for T in the hundreds;
        its gradient has no such trouble. ``logits / T`` must itself be a finite float32.

    Raises:
        ArgumentError: T not a finite number above 0; logits that aren't two floating-point tensors of
            one shape [B, C] with B, C >= 1 on one device; one trainable tensor passed as both.

    Gradient, with the factor T^2 and the batch mean included::

        d loss / d z_bi = T / B * (softmax(z_b / T)_i - softmax(v_b / T)_i)

    Source: Hinton, Vinyals, Dean 2015 (https://arxiv.org/abs/1503.02531). Their equation 2 (section 2.1)
    gives (q_i - p_i) / T for the cross-entropy with soft targets, which differs from KL by the teacher's
    entropy, a constant for the student. The factor T^2 is their remark at the end of section 2: it keeps
    the gradient's size while T changes. For large T the gradient tends to
    ((z_i - mean z) - (v_i - mean v)) / (B * C), equations 3 and 4: matching logits.
    """
    check_temperature(temperature)
    check_logits(student_logits, teacher_logits)
    return _divergence(student_logits, teacher_logits, temperature)


def top_k_divergence(student_logits: Tensor, top: TopLogits, temperature: float) -> Tensor:
    """Compute `kd_divergence` where only the teacher's top k logits are known, all other classes taken as one.

    ``T^2 * KL(p' || q')`` averaged over the batch, over k + 1 events: the teacher's k likeliest classes, and any other.
    Their probabilities are exact, at T too; how the teacher divides the rest among the other classes isn't known, and
    the student is free there. So it is at most `kd_divergence`, by the data-processing inequality, and with k = C - 1
    it is the same.

    Args:
        student_logits: z, floating point [B, C]; gradients flow here.
        top: of the same B images.
        temperature: T, one of ``top.temperatures``.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits.

    Raises:
        ArgumentError: a temperature that isn't stored, student logits of another batch or of too few classes.
    """
    rest, dtype = top.rest_at(temperature), at_least_float32(student_logits)
    if student_logits.ndim != 2 or len(student_logits) != len(rest) or not student_logits.numel():
        raise ArgumentError(
            f"student_logits must be [{len(rest)}, classes], one row per image; found {list(student_logits.shape)}."
        )
    if student_logits.shape[1] <= top.classes.shape[1]:
        raise ArgumentError(
            f"student_logits have {student_logits.shape[1]} classes, and {top.classes.shape[1]} of the teacher's are "
            "stored besides the rest. Teacher and student need the same classes."
        )
    log_p = F.log_softmax(torch.cat([top.values.to(dtype) / temperature, rest[:, None].to(dtype)], 1), 1)
    log_q = log_softened(student_logits, temperature, dtype)
    others = log_q.scatter(1, top.classes, -math.inf).logsumexp(1, keepdim=True)
    log_q = torch.cat([log_q.gather(1, top.classes), others], 1)
    return temperature**2 * (divergence(log_q, log_p) / len(log_q))


def hinton_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None,
    *,
    temperature: float,
    alpha: float,
) -> Tensor:
    """Compute Hinton's objective: fit the teacher's soft targets and the labels.

    ``alpha * T^2 * KL(softmax(v / T) || softmax(z / T)) + (1 - alpha) * cross_entropy(z, labels)``,
    both averaged over the batch. The cross-entropy is taken at temperature 1.

    Args:
        student_logits: z, floating point [B, C]; gradients flow here.
        teacher_logits: v, floating point [B, C]; detached.
        labels: int64 [B] in 0..C-1. With ``alpha=1`` they aren't used: their values are then not looked
            at, and ``None`` will do (a transfer set without labels).
        temperature: T > 0.
        alpha: weight of the distillation term, 0 (labels alone) to 1 (teacher alone). T^2 is there for
            every alpha.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits.

    Raises:
        ArgumentError: T or alpha out of range, logits as in `kd_divergence`, labels missing, of another
            length or type, or outside the classes. The last costs one look at the labels (microseconds on
            a CPU, a wait for the device elsewhere); `distil` leaves it out, since every `kdcourse.data.Dataset` has
            checked its labels once.

    Gradient: ``alpha * T / B * (softmax(z / T) - softmax(v / T)) + (1 - alpha) / B * (softmax(z) - onehot)``.

    Source: Hinton, Vinyals, Dean 2015 (https://arxiv.org/abs/1503.02531), end of section 2. They give the
    weights in words (much less for the labels); writing them as alpha and 1 - alpha is common use.
    """
    check_temperature(temperature)
    check_alpha(alpha)
    check_logits(student_logits, teacher_logits)
    if labels is not None or alpha < 1:
        check_labels(student_logits, labels, values=alpha < 1)
    return _weighted(student_logits, teacher_logits, labels, temperature, alpha)


def _weighted(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None, temperature: float, alpha: float
) -> Tensor:
    # A term of weight 0 is left out rather than multiplied by 0: it saves time, and a term that
    # is infinite can't turn the sum into NaN.
    if labels is None or alpha == 1:
        return _divergence(student_logits, teacher_logits, temperature)
    if alpha == 0:
        return _cross_entropy(student_logits, labels)
    return alpha * _divergence(student_logits, teacher_logits, temperature) + (1 - alpha) * _cross_entropy(
        student_logits, labels
    )


def _divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    dtype = at_least_float32(student_logits)
    log_q = log_softened(student_logits, temperature, dtype)
    log_p = log_softened(teacher_logits.detach(), temperature, dtype)
    return temperature**2 * (divergence(log_q, log_p) / len(log_q))  # by B alone, not by B * C


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.to(at_least_float32(logits)), labels, ignore_index=_IGNORE_NOTHING)
