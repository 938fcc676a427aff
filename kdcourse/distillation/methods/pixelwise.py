"""Pixel-wise distillation: fit the teacher's softened prediction of every pixel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE, Batch
from kdcourse.distillation.arguments import check_alpha
from kdcourse.distillation.maps import check_maps, check_masks, scored, valid_pixels
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32, check_temperature, divergence
from kdcourse.training import MASKS


class Pixelwise(Method):
    """Fit the teacher's softened prediction of every pixel: the distillation term of `pixelwise_loss`.

    Args:
        temperature: T > 0.

    Raises:
        ArgumentError: T out of range.
    """

    title = "Pixel-wise soft targets"
    paper = "Liu et al. 2019, https://arxiv.org/abs/1903.04197"
    tasks = ("masks",)
    per_label = True

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        check_maps(student.logits, teacher.logits, "logits")
        return {"pixelwise": _term(student.logits, teacher.logits, batch.labels, self.temperature, IGNORE)}


def pixelwise_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None,
    *,
    temperature: float,
    alpha: float,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Compute Hinton's objective at every pixel, averaged over the valid pixels of all images together.

    ``alpha * T^2 * KL(softmax(v / T) || softmax(z / T)) + (1 - alpha) * cross_entropy(z, labels)``, the
    softmax over the classes of a pixel. Pixels count alike, as if each were an image of its own:
    for one pixel per image this is `hinton_loss`.

    Args:
        student_logits: z, floating point [B, C, H, W]; gradients flow here.
        teacher_logits: v, floating point [B, C, H, W]; detached.
        labels: int64 [B, H, W] in 0..C-1, or ``ignore_index`` where a pixel is left out, of both terms. With
            ``alpha=1`` a bool mask, True where a pixel counts, will do, or ``None`` where all do.
        temperature: T > 0.
        alpha: weight of the distillation term, 0 (labels alone) to 1 (teacher alone).
        ignore_index: the label that says 'leave out'.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits. 0, with gradient 0, where no
        pixel is valid.

    Raises:
        ArgumentError: T or alpha out of range; logits that aren't two floating-point tensors of one shape
            [B, C, H, W] on one device; one trainable tensor passed as both; labels missing, of another
            shape or type, or outside the classes.

    Gradient at a valid pixel, of P in all:
    ``alpha * T / P * (softmax(z / T) - softmax(v / T)) + (1 - alpha) / P * (softmax(z) - onehot)``.

    Source: Hinton, Vinyals, Dean 2015 (https://arxiv.org/abs/1503.02531), section 2, for an image; for
    pixels, Liu et al. 2019 (https://arxiv.org/abs/1903.04197), section 3, who print the sides of KL the other way
    round and have no temperature.
    """
    check_temperature(temperature)
    check_alpha(alpha)
    check_maps(student_logits, teacher_logits, "logits")
    if labels is not None or alpha < 1:
        check_masks(student_logits, labels, ignore_index, classes=alpha < 1)
    # A term of weight 0 is left out: one that is infinite can't turn the sum into NaN.
    if alpha == 0 and labels is not None:
        return _hard(student_logits, labels, ignore_index)
    term = _term(student_logits, teacher_logits, labels, temperature, ignore_index)
    if alpha == 1 or labels is None:
        return term
    return alpha * term + (1 - alpha) * _hard(student_logits, labels, ignore_index)


def _term(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None,
    temperature: float,
    ignore_index: int,
) -> Tensor:
    dtype, valid = at_least_float32(student_logits), valid_pixels(labels, ignore_index)
    z, v = scored(student_logits.to(dtype), valid), scored(teacher_logits.detach().to(dtype), valid)
    log_q, log_p = F.log_softmax(z / temperature, dim=1), F.log_softmax(v / temperature, dim=1)
    # Where a pixel is left out both are uniform, so that it adds exactly 0.
    total = temperature**2 * divergence(log_q, log_p)
    return total / (z[:, 0].numel() if valid is None else valid.sum().clamp(min=1))


def _hard(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    valid = labels != ignore_index
    z = scored(logits.to(at_least_float32(logits)), valid)
    return MASKS.cross_entropy(z, labels.where(valid, IGNORE))
