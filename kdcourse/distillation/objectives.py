"""What a student is trained to do: fit the labels, fit the teacher, or a weighted sum of both.

The functions are pure (logits in, number out); the two classes beneath them fit them into the
training loop, which calls an objective with the student's logits and the batch they came from.

Add an objective of your own in a few lines: any callable ``(logits [B, C], batch) -> scalar Tensor``
can be handed to `kdcourse.training.fit`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data.batches import Batch
from kdcourse.distillation.ensemble import freeze
from kdcourse.distillation.soft_targets import SoftTargets, teacher_digest
from kdcourse.distillation.softening import at_least_float32, check_temperature, log_softened
from kdcourse.errors import ArgumentError

# cross_entropy leaves out labels of -100 unless told otherwise; here no label means 'leave out', so
# that a stray -100 is an error like any other label outside the classes.
_IGNORE_NOTHING = torch.iinfo(torch.int64).min


def kd_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """The distillation term, ``T^2 * KL(p || q)`` averaged over the batch.

    ``p = softmax(v / T)`` is the teacher's prediction, ``q = softmax(z / T)`` the student's. Both are
    kept as logarithms, so a probability that rounds to 0 adds 0 and never NaN.

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
    _check_logits(student_logits, teacher_logits)
    return _divergence(student_logits, teacher_logits, temperature)


def hinton_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None,
    *,
    temperature: float,
    alpha: float,
) -> Tensor:
    """Hinton's objective: fit the teacher's soft targets and the labels.

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
            a CPU, a wait for the device elsewhere); `HintonObjective` leaves it out off the CPU, since
            every `kdcourse.data.Dataset` has checked its labels once.

    Gradient: ``alpha * T / B * (softmax(z / T) - softmax(v / T)) + (1 - alpha) / B * (softmax(z) - onehot)``.

    Source: Hinton, Vinyals, Dean 2015 (https://arxiv.org/abs/1503.02531), end of section 2. They give the
    weights in words (much less for the labels); writing them as alpha and 1 - alpha is common use.
    """
    check_temperature(temperature)
    check_alpha(alpha)
    _check_logits(student_logits, teacher_logits)
    if labels is not None or alpha < 1:
        _check_labels(student_logits, labels, values=alpha < 1)
    return _weighted(student_logits, teacher_logits, labels, temperature, alpha)


class CrossEntropyObjective:
    """The plain student's objective: cross-entropy with the labels, batch mean, in nats.

    Args:
        label_smoothing: epsilon in [0, 1): targets are ``(1 - epsilon) * onehot + epsilon / C``
            (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7).

    Raises:
        ArgumentError: label_smoothing outside [0, 1); when called, logits or labels as in `hinton_loss`.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing < 1:
            raise ArgumentError(
                f"label_smoothing must lie in [0, 1); found {label_smoothing}. Take 0 for none, 0.1 is usual."
            )
        self.label_smoothing = label_smoothing

    @property
    def name(self) -> str:
        """What this objective is called in records."""
        smoothing = f"(label_smoothing={self.label_smoothing:g})" if self.label_smoothing else ""
        return f"cross_entropy{smoothing}"

    def __repr__(self) -> str:
        return f"CrossEntropyObjective(label_smoothing={self.label_smoothing})"

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Student's logits [B, C] and their batch -> scalar."""
        _check_labels(logits, batch.labels, values=is_cheap_to_read(batch.labels))
        return _cross_entropy(logits, batch.labels, self.label_smoothing)


class HintonObjective:
    """`hinton_loss` for the training loop, with the teacher's logits found for every batch.

    Args:
        targets: where those logits come from. Stored `SoftTargets` are looked up by the batch's view
            and positions. A teacher is asked on the batch's own pictures, so that it sees the very view
            that the student sees (function matching, Beyer et al. 2022,
            https://arxiv.org/abs/2106.05237); it is copied and frozen first (see `freeze`).
        temperature: T > 0.
        alpha: weight of the distillation term, 0 to 1. With 0 the teacher isn't asked at all.

    Raises:
        ArgumentError: T or alpha out of range, targets of another kind; when called, a view that isn't
            stored, positions or labels that don't belong to the split the targets were computed for,
            and what `hinton_loss` raises.
    """

    def __init__(self, targets: SoftTargets | nn.Module, *, temperature: float, alpha: float) -> None:
        check_temperature(temperature)
        check_alpha(alpha)
        if not isinstance(targets, SoftTargets | nn.Module):
            raise ArgumentError(
                "targets must be SoftTargets (from soft_targets) or a teacher (nn.Module); "
                f"found {type(targets).__name__}."
            )
        self.targets = targets if isinstance(targets, SoftTargets) else freeze(targets)
        self.teacher = targets.teacher if isinstance(targets, SoftTargets) else teacher_digest(targets)
        self.temperature = temperature
        self.alpha = alpha

    @property
    def name(self) -> str:
        """What this objective is called in records: its settings, and whose predictions are the targets."""
        return f"hinton(temperature={self.temperature:g}, alpha={self.alpha:g}, teacher={self.teacher[:16]})"

    def __repr__(self) -> str:
        return f"HintonObjective(temperature={self.temperature}, alpha={self.alpha})"

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Student's logits [B, C] and their batch -> scalar."""
        if self.alpha == 0:
            _check_labels(logits, batch.labels, values=is_cheap_to_read(batch.labels))
            return _cross_entropy(logits, batch.labels)
        in_doubt = is_cheap_to_read(batch.labels) and not self._vouched_for(logits, batch)
        _check_labels(logits, batch.labels, values=self.alpha < 1 and in_doubt)
        teacher_logits = self._ask_teacher(batch)
        _check_logits(logits, teacher_logits)
        return _weighted(logits, teacher_logits, batch.labels, self.temperature, self.alpha)

    def _vouched_for(self, logits: Tensor, batch: Batch) -> bool:
        """Whether stored targets know the batch's labels, and so their range: another look is saved every step.

        Raises:
            ArgumentError: they know other labels for these pictures.
        """
        if not isinstance(self.targets, SoftTargets):
            return False
        self.targets.check_labels(batch.index, batch.labels)
        low, high = self.targets.label_range
        return low >= 0 and high < logits.shape[-1]

    def _ask_teacher(self, batch: Batch) -> Tensor:
        if isinstance(self.targets, SoftTargets):
            return self.targets.logits(batch.view, batch.index)
        self.targets.to(batch.images.device)  # our own copy; free when it is there already
        teacher_logits: Tensor = self.targets(batch.images)
        return teacher_logits


def check_alpha(alpha: float) -> None:
    """Raise ArgumentError unless ``alpha`` lies in [0, 1]."""
    if not 0 <= alpha <= 1:
        raise ArgumentError(
            f"alpha, the weight of the distillation term, must lie in [0, 1]; found {alpha}. "
            "The labels get the weight 1 - alpha."
        )


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
    # "batchmean" divides by B alone, as the definition says; "mean" would divide by B * C.
    return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def _cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    return F.cross_entropy(
        logits.to(at_least_float32(logits)),
        labels,
        ignore_index=_IGNORE_NOTHING,
        label_smoothing=label_smoothing,
    )


def is_cheap_to_read(labels: Tensor) -> bool:
    """Whether looking at values costs no wait for a device."""
    return labels.device.type == "cpu"


def check_sides(student: Tensor, teacher: Tensor, what: str) -> None:
    """Raise ArgumentError unless these are two floating-point tensors on one device; ``what`` names them."""
    if teacher is student and student.requires_grad:
        raise ArgumentError(
            f"One tensor was passed as student_{what} and teacher_{what}; a student that is its own "
            f"teacher learns nothing. Pass the teacher's {what} as teacher_{what}."
        )
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise ArgumentError(
            f"{what} must be floating point; found {student.dtype} and {teacher.dtype}. "
            "Pass the networks' outputs, not labels."
        )
    if student.device != teacher.device:
        raise ArgumentError(
            f"The student's {what} are on {student.device}, the teacher's on {teacher.device}. "
            "Move one with .to(device)."
        )


def _check_logits(student_logits: Tensor, teacher_logits: Tensor) -> None:
    check_sides(student_logits, teacher_logits, "logits")
    if student_logits.ndim != 2 or student_logits.shape != teacher_logits.shape:
        raise ArgumentError(
            "student_logits and teacher_logits must both be [batch, classes] of one shape; found "
            f"{list(student_logits.shape)} and {list(teacher_logits.shape)}. Teacher and student need the "
            "same classes and the same pictures."
        )
    if student_logits.numel() == 0:
        raise ArgumentError(
            f"The batch is empty: logits are {list(student_logits.shape)}. Leave empty batches out."
        )


def _check_labels(logits: Tensor, labels: Tensor | None, *, values: bool) -> None:
    if labels is None:
        raise ArgumentError(
            "labels are needed as long as alpha is below 1; found None. "
            "Pass int64 labels, or take alpha=1 for a transfer set without labels."
        )
    if logits.ndim != 2 or logits.numel() == 0 or not logits.is_floating_point():
        raise ArgumentError(
            "logits must be floating point [batch, classes] with at least one picture and one class; found "
            f"{logits.dtype} {list(logits.shape)}."
        )
    if labels.dtype != torch.int64 or labels.shape != logits.shape[:1]:
        raise ArgumentError(
            f"labels must be int64 [{len(logits)}], one class index a picture; found {labels.dtype} "
            f"{list(labels.shape)}. Convert with .long(), and turn one-hot rows into indices with .argmax(1)."
        )
    if values:
        low, high = (int(end) for end in torch.aminmax(labels))
        if low < 0 or high >= logits.shape[1]:
            raise ArgumentError(
                f"labels must lie in 0..{logits.shape[1] - 1} for logits of {logits.shape[1]} classes; found "
                f"labels from {low} to {high}. Check the number of classes the network was built with."
            )
