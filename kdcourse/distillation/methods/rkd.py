"""Relational distillation: distances and angles among the images of a batch (Park et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_sides, check_weights
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32
from kdcourse.errors import ArgumentError


def relative_distances(vectors: Tensor) -> Tensor:
    """Compute the distances between all vectors of a batch, divided by their mean.

    Args:
        vectors: floating point [B, ...]; each image's values are taken as one vector.

    Returns:
        [B, B], float32 or float64; 0 on the diagonal, and everywhere if all vectors are equal. The mean is over pairs
        at a distance.

    Source: Park et al. 2019 (https://arxiv.org/abs/1904.05068), section 3.2.1, equations 6 and 7.
    """
    flat = flattened(vectors)
    # Differences, and not squares and products, which cancel between neighbours. The gradient of a root at 0 is
    # infinite, so equal vectors get another number before the root, and 0 after it.
    squares = (flat[:, None] - flat[None]).square().sum(2)
    apart = squares > 0
    distances = squares.masked_fill(~apart, 1).sqrt().masked_fill(~apart, 0)
    return distances / (distances.sum() / apart.sum().clamp(min=1)).clamp(min=torch.finfo(flat.dtype).tiny)


def angles(vectors: Tensor) -> Tensor:
    """Compute the cosine of the angle at each image between the lines to two others, for all triplets of a batch.

    Args:
        vectors: floating point [B, ...].

    Returns:
        [B, B, B], float32 or float64: at [i, j, k] the cosine at i between j and k; 0 where two of them are equal. Its
        size grows with the cube of the batch: 1 MB for 64 images in float32, 67 MB for 256.

    Source: Park et al. 2019 (https://arxiv.org/abs/1904.05068), section 3.2.2, equation 9.
    """
    flat = flattened(vectors)
    lines = flat[None] - flat[:, None]  # [i, j]: from i to j
    squares = lines.square().sum(2, keepdim=True)
    lines = lines / squares.masked_fill(squares == 0, 1).sqrt()
    return lines @ lines.transpose(1, 2)


def rkd_loss(
    student_vectors: Tensor, teacher_vectors: Tensor, *, distance: float = 25.0, angle: float = 50.0
) -> Tensor:
    """Compute ``distance`` times the Huber loss of distances plus ``angle`` times that of angles.

    Args:
        student_vectors: floating point [B, ...]; gradients flow here.
        teacher_vectors: floating point [B, ...], of any other size per image; detached.
        distance, angle: weights, 0 or more.

    Returns:
        Scalar, float32, or float64 for float64 student vectors; each Huber loss is a mean over pairs or triplets, those
        of an image with itself among them, as in the authors' program.

    Raises:
        ArgumentError: vectors that aren't floating point of one batch, or of a single image; a weight out of range.

    Source: Park, Kim, Lu, Cho 2019 (https://arxiv.org/abs/1904.05068), section 3.2, equations 5 to 10.
    """
    check_weights(distance=distance, angle=angle)
    terms = _terms(student_vectors, teacher_vectors, distance, angle)
    return torch.stack(list(terms.values())).sum()


class RKD(Method):
    """Arrange the images of a batch as the teacher does: distances and angles of their vectors (`rkd_loss`).

    The vectors are the inputs of the last linear layer, whose sizes may differ: only relations are compared.

    Args:
        distance: weight of the distances; 25 in the paper, section 4.2, for use beside labels.
        angle: weight of the angles; 50 in the paper.

    Raises:
        ArgumentError: a weight out of range, or both 0.
    """

    title = "Relational: distances and angles between images"
    paper = "Park et al. 2019, https://arxiv.org/abs/1904.05068"
    tasks = ("labels", "multilabel")
    layers = "vector"

    def __init__(self, *, distance: float = 25.0, angle: float = 50.0) -> None:
        super().__init__()
        check_weights(distance=distance, angle=angle)
        self.distance, self.angle = distance, angle

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        if (
            len(student.feature) < 2
        ):  # the last batch of an epoch may hold a single image, which has no relations
            return {"distance": student.feature.sum() * 0}
        return _terms(student.feature, teacher.feature, self.distance, self.angle)


def _terms(student: Tensor, teacher: Tensor, distance: float, angle: float) -> dict[str, Tensor]:
    check_sides(student, teacher, "vectors")
    if student.ndim < 2 or teacher.ndim < 2 or len(student) != len(teacher) or len(student) < 2:
        raise ArgumentError(
            "student_vectors and teacher_vectors must be [batch, ...] of one batch of at least two images; found "
            f"{list(student.shape)} and {list(teacher.shape)}."
        )
    terms = {}
    for name, weight, relation in (("distance", distance, relative_distances), ("angle", angle, angles)):
        if weight:
            of_student = relation(student)
            terms[name] = weight * F.smooth_l1_loss(
                of_student, relation(teacher.detach()).to(of_student.dtype)
            )
    return terms


def flattened(vectors: Tensor) -> Tensor:
    """Return values [B, ...] as vectors [B, D] in float32 or float64, scaled so that their products don't overflow.

    For relations between images, which don't depend on the scale.
    """
    flat = vectors.to(at_least_float32(vectors)).flatten(1)
    largest = flat.detach().abs().amax() if flat.numel() else flat.new_zeros(())
    return flat / torch.where(largest > 0, largest, 1)
