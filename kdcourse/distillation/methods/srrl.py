"""Reuse the teacher's head: the student's vector must mean to it what the teacher's does (Yang et al. 2021)."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_sides, check_weights
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32
from kdcourse.errors import ArgumentError


def srrl_loss(
    student_vectors: Tensor,
    teacher_vectors: Tensor,
    head: nn.Module,
    *,
    features: float = 1.0,
    head_weight: float = 1.0,
) -> Tensor:
    """Compute ``features`` times the squared difference of vectors plus ``head_weight`` times that of their logits.

    Both logits come from the teacher's head. Differences of vectors that don't matter to the head count in the first
    term alone.

    Args:
        student_vectors: after the connector, floating point [B, D]; gradients flow here.
        teacher_vectors: floating point [B, D]; detached.
        head: the teacher's, [B, D] -> logits [B, C]; nothing changes it.
        features, head_weight: weights, 0 or more; both 1 in the paper.

    Returns:
        Scalar, float32, or float64 for float64 student vectors; each term is a mean over all values.

    Raises:
        ArgumentError: vectors that aren't two floating-point tensors [B, D] of one shape, or are empty; a weight out of
            range, or both 0.

    Source: Yang, Martinez, Bulat, Tzimiropoulos 2021 (https://openreview.net/forum?id=ZzwDy_wiWv), section 3, L_FM and
    L_SR, the latter as the squared difference of logits, which their program uses.
    """
    check_weights(features=features, head_weight=head_weight)
    terms = _terms(student_vectors, teacher_vectors, head)
    return features * terms[0] + head_weight * terms[1]


class SRRL(Method):
    """Make the teacher's head see in the student's vectors what it sees in the teacher's: `srrl_loss`.

    The student's vectors, the inputs of its last linear layer, pass through a linear layer that is trained along. The
    student keeps a head of its own, which learns from the labels or another method. (SimKD, Chen et al. 2022,
    https://arxiv.org/abs/2203.14001, deploys the student with the connector and the teacher's head instead.) Departure:
    the paper's connector has batch normalization and ReLU behind its linear layer.

    Args:
        features: weight of the difference of vectors.
        head_weight: weight of the difference of what the teacher's head makes of them.

    Raises:
        ArgumentError: a weight out of range, or both 0; layers that aren't inputs of a linear layer.
    """

    title = "The teacher's head reads the student's vectors"
    paper = "Yang, Martinez, Bulat, Tzimiropoulos 2021, https://openreview.net/forum?id=ZzwDy_wiWv"
    tasks = ("labels", "multilabel")
    layers = "vector"

    def __init__(self, *, features: float = 1.0, head_weight: float = 1.0) -> None:
        super().__init__()
        check_weights(features=features, head_weight=head_weight)
        self.features, self.head_weight = features, head_weight

    def prepare(self, student: Outputs, teacher: Outputs) -> None:
        head = next(iter(teacher.modules.values()), None)
        if not isinstance(head, nn.Linear):
            raise ArgumentError(
                "srrl needs what the teacher's last linear layer is given; found the layer "
                f"{next(iter(teacher.features), None)!r}. Name that layer with ':input' behind it, or leave layers out."
            )
        self.head = copy.deepcopy(head).float().requires_grad_(False)
        self.connector = nn.Linear(student.feature.shape[1], head.in_features).to(student.feature.device)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        vectors, logits = _terms(self.connector(student.feature), teacher.feature, self.head)
        return {"features": self.features * vectors, "head": self.head_weight * logits}


def _terms(student: Tensor, teacher: Tensor, head: nn.Module) -> tuple[Tensor, Tensor]:
    check_sides(student, teacher, "vectors")
    if student.ndim != 2 or student.shape != teacher.shape or not student.numel():
        raise ArgumentError(
            "student_vectors and teacher_vectors must be [batch, values] of one shape and not empty; found "
            f"{list(student.shape)} and {list(teacher.shape)}. A linear layer brings one to the other's."
        )
    z, v = (side.to(at_least_float32(student)) for side in (student, teacher.detach()))
    return F.mse_loss(z, v), F.mse_loss(head(z), head(v).detach())
