"""Channel-wise distillation: where in an image each class is strongest (Shu et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE, Batch
from kdcourse.distillation.maps import check_maps, check_masks, valid_pixels
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32, check_temperature, divergence


class Channelwise(Method):
    """Make each channel of the student strongest where the teacher's is: `channelwise_loss` on the logits.

    Args:
        temperature: T > 0; 4 in the paper.

    Raises:
        ArgumentError: T out of range.
    """

    title = "Channels as distributions over places"
    paper = "Shu, Liu, Gao, Yan, Shen 2021, https://arxiv.org/abs/2011.13256"
    tasks = ("masks",)

    def __init__(self, *, temperature: float = 4.0) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        loss = channelwise_loss(student.logits, teacher.logits, batch.labels, temperature=self.temperature)
        return {"channelwise": loss}


def channelwise_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Compare where each channel is strongest, in the teacher and in the student.

    The softmax at temperature T goes over the valid places of an image, one channel at a time, so that a
    channel becomes a distribution over places: ``T^2 * KL(teacher's || student's)``, averaged over
    channels and over the images that have a valid pixel.

    Args:
        student_logits: logits or features, floating point [B, C, H, W]; gradients flow here.
        teacher_logits: floating point [B, C, H, W]; detached.
        labels: int64 [B, H, W], of which only ``ignore_index`` matters, or a bool mask, True where a pixel
            counts; ``None`` where all do.
        temperature: T > 0; 4 in the paper.
        ignore_index: the label that says 'leave out'.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits.

    Raises:
        ArgumentError: T out of range; logits as in `pixelwise_loss`; a mask of another shape or type.

    Gradient at a valid place: ``T / (C * images) * (student's probability of the place - teacher's)``. The
    probabilities of an image's places sum to 1, so a gradient gets smaller the more places there are,
    while the loss does not: beside a loss per pixel, choose its weight on images of the size that you train on.

    Source: Shu, Liu, Gao, Yan, Shen 2021, Channel-wise Knowledge Distillation for Dense Prediction
    (https://arxiv.org/abs/2011.13256), section 3: T^2 / C times the sum over channels and places, for an image.
    The mean over the batch and the mask are ours.
    """
    check_temperature(temperature)
    check_maps(student_logits, teacher_logits, "logits")
    if labels is not None:
        check_masks(student_logits, labels, ignore_index, classes=False)
    dtype, valid = at_least_float32(student_logits), valid_pixels(labels, ignore_index)
    log_q = _log_over_places(student_logits.to(dtype) / temperature, valid)
    log_p = _log_over_places(teacher_logits.detach().to(dtype) / temperature, valid)
    total = temperature**2 * divergence(log_q, log_p)
    batch, channels = student_logits.shape[:2]
    images = batch if valid is None else valid.flatten(1).any(1).sum().clamp(min=1)
    return total / (channels * images)


def _log_over_places(logits: Tensor, valid: Tensor | None) -> Tensor:
    """Return the log probability [B, C, H * W] of each place, per channel; about log 0 where not valid."""
    if valid is not None:
        # Not minus infinity, of which the difference of two logarithms would be NaN.
        logits = logits.masked_fill(~valid[:, None], torch.finfo(logits.dtype).min)
    return F.log_softmax(logits.flatten(2), dim=-1)
