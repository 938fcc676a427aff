"""Similarity-preserving distillation: which images of a batch excite a network alike (Tung and Mori 2019)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_sides, check_weight
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.methods.rkd import flattened
from kdcourse.errors import ArgumentError


def similarities(maps: Tensor) -> Tensor:
    """Compute how similar a network finds each two images of a batch: products of their activations, rows of length 1.

    Args:
        maps: floating point [B, ...]; each image's values are taken as one vector.

    Returns:
        [B, B], float32 or float64.

    Source: Tung and Mori 2019 (https://arxiv.org/abs/1907.09682), section 3, equations 2 and 3.
    """
    flat = flattened(maps)
    return F.normalize(flat @ flat.T, dim=1)


def similarity_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Compute the mean squared difference of the two networks' similarities; their maps may differ in every size.

    Args:
        student_map: floating point [B, ...]; gradients flow here.
        teacher_map: floating point [B, ...]; detached.

    Returns:
        Scalar, float32, or float64 for a float64 student map: the squared Frobenius norm divided by B squared.

    Raises:
        ArgumentError: maps that aren't floating point of one batch, or are empty.

    Source: Tung and Mori 2019 (https://arxiv.org/abs/1907.09682), section 3, equation 4.
    """
    check_sides(student_map, teacher_map, "map")
    if student_map.ndim < 2 or teacher_map.ndim < 2 or len(student_map) != len(teacher_map):
        raise ArgumentError(
            "student_map and teacher_map must be [batch, ...] of one batch; found "
            f"{list(student_map.shape)} and {list(teacher_map.shape)}."
        )
    if not (student_map.numel() and teacher_map.numel()):
        raise ArgumentError(
            f"A map is empty: {list(student_map.shape)} and {list(teacher_map.shape)}. Leave empty batches out."
        )
    student, teacher = similarities(student_map), similarities(teacher_map.detach())
    return F.mse_loss(student, teacher.to(student.dtype))


class Similarity(Method):
    """Find those images alike that the teacher finds alike: `similarity_loss` of the last feature maps.

    Args:
        weight: of the term, above 0; 3,000 in the paper, section 4.1 (gamma), beside the labels' loss.

    Raises:
        ArgumentError: a weight that isn't above 0.
    """

    title = "Similarity-preserving: which images are alike"
    paper = "Tung and Mori 2019, https://arxiv.org/abs/1907.09682"
    tasks = ("labels", "multilabel")
    layers = "map"

    def __init__(self, *, weight: float = 3000.0) -> None:
        super().__init__()
        check_weight(weight, "3000")
        self.weight = weight

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {"similarity": self.weight * similarity_loss(student.feature, teacher.feature)}
