"""Label smoothing as distillation: a teacher made up from the labels, as a control (Yuan et al. 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_labels
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.methods.kd import kd_divergence
from kdcourse.distillation.softening import at_least_float32, check_temperature
from kdcourse.errors import ArgumentError


def virtual_logits(logits: Tensor, labels: Tensor, correct: float) -> Tensor:
    """Return the logits [B, C] of a teacher that gives each label the probability ``correct``.

    All other classes share the rest equally, so it knows nothing about which classes are alike.

    Args:
        logits: of the student, floating point [B, C], C >= 2, for shape, type and device.
        labels: int64 [B] in 0..C-1.
        correct: between 0 and 1; more than 1 / C, or another class would be likelier.

    Returns:
        Logarithms of the probabilities, float32 or float64.

    Raises:
        ArgumentError: logits of a single class, labels of another length or type or outside the classes, ``correct``
            out of range.

    Source: Yuan et al. 2020 (https://arxiv.org/abs/1909.11723), section 4.2.
    """
    check_labels(logits, labels, values=True)
    classes = logits.shape[1]
    if classes < 2 or not 1 / classes < correct < 1:
        raise ArgumentError(
            f"correct, the label's probability, must lie above 1 / classes = {1 / classes:g} and below 1; found "
            f"{correct:g}. 0.99 is usual."
        )
    rest = torch.full_like(
        logits.detach(), math.log((1 - correct) / (classes - 1)), dtype=at_least_float32(logits)
    )
    return rest.scatter(1, labels[:, None], math.log(correct))


class TfKD(Method):
    """Fit a teacher made up from the labels, which is label smoothing: a control for what real teachers add.

    Its term is `kd_divergence` from `virtual_logits`; nothing of the teacher is used. (The paper's name is Tf-KD_reg,
    teacher-free. Their loss lacks the factor T^2 that `kd_divergence` has; the weight of the term makes up for
    it.)

    Args:
        temperature: T > 0; 20 and 40 in the paper.
        correct: the probability of the label before softening, between 0.5 and 1; 0.99 in their program.

    Raises:
        ArgumentError: a setting out of range.
    """

    title = "Label smoothing: a teacher made up from labels"
    paper = "Yuan, Tay, Li, Wang, Feng 2020, https://arxiv.org/abs/1909.11723"

    def __init__(self, *, temperature: float = 20.0, correct: float = 0.99) -> None:
        super().__init__()
        check_temperature(temperature)
        if not 0.5 <= correct < 1:
            raise ArgumentError(f"correct must be at least 0.5 and below 1; found {correct}. 0.99 is usual.")
        self.temperature, self.correct = temperature, correct

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        made_up = virtual_logits(student.logits, batch.labels, self.correct)
        return {"tfkd": kd_divergence(student.logits, made_up, self.temperature)}
