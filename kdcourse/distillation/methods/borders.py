"""Fit the teacher's prediction where it changes from one class to another: an edge loss (after Liu et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from kdcourse.data import IGNORE, Batch
from kdcourse.data.borders import near_another_class
from kdcourse.distillation.maps import check_maps, check_masks, scored, valid_pixels
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.methods.pixelwise import pixelwise_loss
from kdcourse.distillation.softening import check_temperature
from kdcourse.errors import ArgumentError


class Borders(Method):
    """Fit the teacher's softened prediction near the borders of its mask: `border_loss`.

    Added to ``pixelwise``, it gives these pixels a larger weight.

    Args:
        temperature: T > 0.
        distance: in pixels, how far from another class a pixel may be.

    Raises:
        ArgumentError: T out of range; a distance that is no whole number of at least 1.
    """

    title = "Soft targets near borders"
    paper = "Liu et al. 2024, https://arxiv.org/abs/2306.08075"
    tasks = ("masks",)
    per_label = True

    def __init__(self, *, temperature: float = 1.0, distance: int = 2) -> None:
        super().__init__()
        check_temperature(temperature)
        _check_distance(distance)
        self.temperature, self.distance = temperature, distance

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {
            "borders": border_loss(
                student.logits,
                teacher.logits,
                batch.labels,
                temperature=self.temperature,
                distance=self.distance,
            )
        }


def border_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float,
    distance: int,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Compute the distillation term of `pixelwise_loss` over the pixels near a border of the teacher's mask.

    A valid pixel is near a border if the valid pixels in the square of ``2 * distance + 1`` pixels a side around it
    don't all have the same likeliest class for the teacher. The mean is over these pixels of all images together.

    Args:
        student_logits: floating point [B, C, H, W]; gradients flow here.
        teacher_logits: floating point [B, C, H, W]; detached.
        labels: int64 [B, H, W], of which only ``ignore_index`` matters, or a bool mask, True where a pixel
            counts; ``None`` where all do.
        temperature: T > 0.
        distance: in pixels, at least 1.
        ignore_index: the label that says 'leave out'.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits. 0, with gradient 0, where no pixel is near a
        border.

    Raises:
        ArgumentError: a distance that is no whole number of at least 1; otherwise as `pixelwise_loss`.

    Source: Liu, Wang, Phan, Zhang, Ge, Liu 2024, Boundary Privileged Knowledge Distillation for Semantic Segmentation
    (https://arxiv.org/abs/2306.08075), whose edge loss compares predictions where a class of the true mask ends.
    Departures: borders are those of the teacher's own mask, because a scene without a true mask has no others; one
    term for all classes, where the paper has one for each; no body loss: ``pixelwise`` covers all pixels.
    """
    check_maps(student_logits, teacher_logits, "logits")
    _check_distance(distance)
    if labels is not None:
        check_masks(student_logits, labels, ignore_index, classes=False)
    near = near_borders(teacher_logits, valid_pixels(labels, ignore_index), distance)
    return pixelwise_loss(student_logits, teacher_logits, near, temperature=temperature, alpha=1)


def near_borders(logits: Tensor, valid: Tensor | None, distance: int) -> Tensor:
    """Return bool [B, H, W]: which pixels have a valid pixel of another class within ``distance``, in both axes.

    Args:
        logits: [B, C, H, W], whose largest one is a pixel's class.
        valid: bool [B, H, W], ``None`` where all pixels are.
        distance: in pixels.
    """
    counted = torch.ones_like(logits[:, 0], dtype=torch.bool) if valid is None else valid
    classes = scored(logits.detach(), valid).argmax(1).to(torch.int16)
    return near_another_class(classes, counted, distance)


def _check_distance(distance: int) -> None:
    if not isinstance(distance, int) or distance < 1:
        raise ArgumentError(f"distance is in pixels, a whole number of at least 1; found {distance!r}.")
