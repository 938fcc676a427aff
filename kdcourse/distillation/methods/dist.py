"""DIST: correlations of predictions instead of equal ones, for teachers much stronger than the student (Huang 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_logits, check_weights
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32, check_temperature


def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    inter: float = 1.0,
    intra: float = 1.0,
) -> Tensor:
    """Compute one minus the correlation of the softened predictions, within each image and within each class.

    With p and q the predictions of teacher and student [B, C] at temperature T, and r Pearson's correlation::

        T^2 * (inter * mean_b (1 - r(q[b, :], p[b, :])) + intra * mean_c (1 - r(q[:, c], p[:, c])))

    A correlation doesn't change if one side is scaled or shifted, so the student may be less sure than the teacher, as
    long as it orders classes, and images, alike.

    Args:
        student_logits: floating point [B, C]; gradients flow here.
        teacher_logits: floating point [B, C]; detached.
        temperature: T > 0; 1 in the paper for ImageNet, 4 for CIFAR-100.
        inter: weight of the relations between classes (beta in the paper), 0 or more.
        intra: weight of the relations within a class (gamma), 0 or more. It needs two images; of one it is 0.

    Returns:
        Scalar, float32, or float64 for float64 student logits.

    Raises:
        ArgumentError: a setting out of range, logits as in `kd_divergence`.

    Source: Huang, You, Wang, Qian, Xu 2022 (https://arxiv.org/abs/2205.10536), section 4, equations 6 to 10; the
    factor T^2 is from their program.
    """
    check_temperature(temperature)
    check_weights(inter=inter, intra=intra)
    check_logits(student_logits, teacher_logits)
    terms = _terms(student_logits, teacher_logits, temperature, inter, intra)
    return torch.stack(list(terms.values())).sum()


class DIST(Method):
    """Order classes and images as the teacher does, however sure it is: `dist_loss`.

    Args:
        temperature: T > 0.
        inter: weight of the relations between the classes of an image; 2 in the paper, beside labels of weight 1.
        intra: weight of the relations between the images of a batch, class by class; 2 in the paper.

    Raises:
        ArgumentError: a setting out of range, or both weights 0.
    """

    title = "DIST: correlated predictions, from a stronger teacher"
    paper = "Huang et al. 2022, https://arxiv.org/abs/2205.10536"
    tries = ({"temperature": 1.0}, {"temperature": 2.0}, {"temperature": 4.0})  # the paper uses 1 and 4

    def __init__(self, *, temperature: float = 4.0, inter: float = 2.0, intra: float = 2.0) -> None:
        super().__init__()
        check_temperature(temperature)
        check_weights(inter=inter, intra=intra)
        self.temperature, self.inter, self.intra = temperature, inter, intra

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        check_logits(student.logits, teacher.logits)
        return _terms(student.logits, teacher.logits, self.temperature, self.inter, self.intra)


def _terms(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, inter: float, intra: float
) -> dict[str, Tensor]:
    dtype = at_least_float32(student_logits)
    q, p = (F.softmax(z.to(dtype) / temperature, dim=1) for z in (student_logits, teacher_logits.detach()))
    return {
        "inter": inter * temperature**2 * _apart(q, p),
        "intra": intra * temperature**2 * _apart(q.T, p.T),
    }


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Return one minus the correlation of the rows, averaged; a row without variance correlates with nothing."""
    one, other = (side - side.mean(1, keepdim=True) for side in (one, other))
    if one.shape[1] < 2:
        return one.sum() * 0
    return (1 - F.cosine_similarity(one, other, dim=1, eps=1e-8)).mean()
