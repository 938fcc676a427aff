"""Attention transfer: where a network looks, compared stage by stage (Zagoruyko and Komodakis 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_sides, check_weight
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.methods.fitnet import resized
from kdcourse.distillation.softening import at_least_float32
from kdcourse.errors import ArgumentError


def attention_map(maps: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Compute where a feature map is active: the sum of squares over its channels, divided by its length.

    Args:
        maps: floating point [B, K, H, W].
        size: height and width to which the sums are `resized` before they are divided.

    Returns:
        [B, H * W], or of ``size``, in float32, or float64 for a float64 map; each row has length 1, or 0 where the map
        is all 0.

    Source: Zagoruyko and Komodakis 2017 (https://arxiv.org/abs/1612.03928), section 3.1, F^2_sum.
    """
    largest = maps.detach().abs().amax((1, 2, 3), keepdim=True)
    # The length divides by the scale anyhow; without this, squares of large activations overflow.
    scaled = maps.to(at_least_float32(maps)) / torch.where(largest > 0, largest, 1)
    energy = scaled.square().sum(1, keepdim=True)
    return F.normalize((energy if size is None else resized(energy, size)).flatten(1), dim=1)


def attention_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Compute the mean squared difference of two attention maps; the numbers of channels may differ.

    Args:
        student_map: floating point [B, K, H, W]; gradients flow here.
        teacher_map: floating point [B, L, H, W]; detached. Another height and width than the student's is fine: the
            student's attention is then `resized` to the teacher's.

    Returns:
        Scalar, float32, or float64 for a float64 student map.

    Raises:
        ArgumentError: maps that aren't two floating-point tensors [B, channels, H, W] of one batch, or are empty.

    Source: Zagoruyko and Komodakis 2017 (https://arxiv.org/abs/1612.03928), section 3.1, equation 2. The equation has
    the length of the difference; their program, and this, its mean square, whose gradient ends where the maps agree.
    """
    check_sides(student_map, teacher_map, "map")
    if student_map.ndim != 4 or teacher_map.ndim != 4 or len(student_map) != len(teacher_map):
        raise ArgumentError(
            "student_map and teacher_map must be [batch, channels, height, width] of one batch; found "
            f"{list(student_map.shape)} and {list(teacher_map.shape)}."
        )
    if not (student_map.numel() and teacher_map.numel()):
        raise ArgumentError(
            f"A map is empty: {list(student_map.shape)} and {list(teacher_map.shape)}. Leave empty batches out."
        )
    teacher = attention_map(teacher_map.detach())
    student = attention_map(student_map, (teacher_map.shape[2], teacher_map.shape[3]))
    return F.mse_loss(student, teacher.to(student.dtype))


class Attention(Method):
    """Look where the teacher looks: the sum of `attention_loss` over the stages of the networks.

    Pixels that a mask leaves out count.

    Args:
        weight: of the term, above 0: beta in equation 2, which has half of it before the sum; 1,000 in section 4.

    Raises:
        ArgumentError: a weight that isn't above 0.
    """

    title = "Attention transfer: where the network looks"
    paper = "Zagoruyko and Komodakis 2017, https://arxiv.org/abs/1612.03928"
    tasks = ("labels", "masks", "multilabel")
    layers = "stages"

    def __init__(self, *, weight: float = 1000.0) -> None:
        super().__init__()
        check_weight(weight, "1000")
        self.weight = weight

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        pairs = zip(student.features.values(), teacher.features.values(), strict=True)
        return {"attention": self.weight / 2 * torch.stack([attention_loss(*pair) for pair in pairs]).sum()}
