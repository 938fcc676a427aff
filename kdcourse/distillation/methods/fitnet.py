"""FitNets: hints from a feature map of the teacher (Romero et al. 2015)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_sides
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32
from kdcourse.errors import ArgumentError


def hint_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Compute the mean squared difference of two feature maps of one shape.

    Args:
        student_map: the student's map after the regressor, floating point [B, K, H, W]; gradients flow here.
        teacher_map: floating point [B, K, H, W]; detached.

    Returns:
        Scalar, float32, or float64 for a float64 student map.

    Raises:
        ArgumentError: maps that aren't two floating-point tensors of one shape on one device, or are empty.

    Source: Romero et al. 2015 (https://arxiv.org/abs/1412.6550), section 2.2, equation 3, which has half the sum of
    squares; the mean doesn't depend on the size of the maps.
    """
    check_sides(student_map, teacher_map, "map")
    if student_map.shape != teacher_map.shape or student_map.ndim != 4 or not student_map.numel():
        raise ArgumentError(
            "student_map and teacher_map must be [batch, channels, height, width], of one shape and not empty; found "
            f"{list(student_map.shape)} and {list(teacher_map.shape)}. A 1x1 convolution and `resized` bring one to "
            "the other's."
        )
    dtype = at_least_float32(student_map)
    return F.mse_loss(student_map.to(dtype), teacher_map.detach().to(dtype))


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps [B, K, H, W] at another height and width: means over cells where they shrink, else bilinear."""
    if tuple(maps.shape[2:]) == size:
        return maps
    if maps.shape[2] >= size[0] and maps.shape[3] >= size[1]:
        return F.adaptive_avg_pool2d(maps, size)
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


class FitNet(Method):
    """Make a feature map of the student, after a 1x1 convolution trained along, equal the teacher's.

    Its term is `hint_loss` of the last maps, or of those named by ``layers``; a student map of another size is
    `resized` to the teacher's. Romero et al. train up to the hint first and distil afterwards; here both happen at
    once. Their regressor's kernel makes up for the sizes; here it is 1x1. Pixels that a mask leaves out count.
    """

    title = "FitNets: hints from a feature map"
    paper = "Romero et al. 2015, https://arxiv.org/abs/1412.6550"
    tasks = ("labels", "masks", "multilabel")
    layers = "map"

    def prepare(self, student: Outputs, teacher: Outputs) -> None:
        for role, outputs in (("student", student), ("teacher", teacher)):
            if outputs.feature.ndim != 4:
                raise ArgumentError(
                    f"fitnet compares maps [B, channels, H, W]; the {role}'s layer {next(iter(outputs.features))!r} "
                    f"returns {list(outputs.feature.shape)}. Name another one with layers=."
                )
        channels = student.feature.shape[1], teacher.feature.shape[1]
        self.regressor = nn.Conv2d(*channels, 1).to(student.feature.device)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        height, width = teacher.feature.shape[2:]
        return {"hint": hint_loss(self.regressor(resized(student.feature, (height, width))), teacher.feature)}
