"""Multi-label distillation: each class's yes or no on its own (Yang et al. 2023)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_logits
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32, check_temperature


def mld_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute ``T^2 * KL(Bernoulli(p) || Bernoulli(q))``, averaged over images and classes.

    ``p = sigmoid(v / T)`` is the teacher's answer to whether the image shows the class, ``q = sigmoid(z / T)`` the
    student's. Both are kept as logarithms, so that logits of any size give no NaN.

    Args:
        student_logits: z, floating point [B, C]; gradients flow here.
        teacher_logits: v, floating point [B, C]; detached. A class at -inf is ruled out.
        temperature: T > 0.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits.

    Raises:
        ArgumentError: T not a finite number above 0, logits as in `kd_divergence`.

    Gradient: ``d loss / d z_bi = T / (B * C) * (sigmoid(z_bi / T) - sigmoid(v_bi / T))``.

    Source: Yang, Xie, Zong, Feng, Niu, Sugiyama, Huang 2023, Multi-Label Knowledge Distillation
    (https://arxiv.org/abs/2308.06453), multi-label logits distillation. Departures: they sum over the classes, where
    the mean is on the scale of the labels' binary cross-entropy; their T is 1 (the factor T^2 keeps the gradient's
    size while T changes, as in Hinton et al. 2015); their program clamps probabilities, here logarithms need none.
    """
    check_temperature(temperature)
    check_logits(student_logits, teacher_logits)
    dtype = at_least_float32(student_logits)
    z, v = student_logits.to(dtype) / temperature, teacher_logits.detach().to(dtype) / temperature
    p = v.sigmoid()
    # p * log(p / q) + (1 - p) * log((1 - p) / (1 - q)); where p is 0 or 1, its own half is 0 rather than 0 * inf.
    yes, no = F.logsigmoid(v) - F.logsigmoid(z), F.logsigmoid(-v) - F.logsigmoid(-z)
    divergence = p * yes.masked_fill(p == 0, 0) + (1 - p) * no.masked_fill(p == 1, 0)
    return temperature**2 * divergence.mean()


class MLD(Method):
    """Fit the teacher's answer for each class on its own, a yes or no: `mld_loss`.

    Args:
        temperature: T > 0; 1 in the paper.

    Raises:
        ArgumentError: T out of range.
    """

    title = "Multi-label logits, class by class"
    paper = "Yang et al. 2023, https://arxiv.org/abs/2308.06453"
    tasks = ("multilabel",)

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {"mld": mld_loss(student.logits, teacher.logits, self.temperature)}
