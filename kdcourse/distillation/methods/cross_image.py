"""Cross-image distillation: which places of other images a place resembles (Yang et al. 2022)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE, Batch
from kdcourse.distillation.maps import check_maps, check_masks, valid_pixels
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.methods.pairwise import alive, check_patch, nodes
from kdcourse.distillation.softening import at_least_float32, check_temperature, divergence


class CrossImage(Method):
    """Make each place resemble the same places of all images of a batch as it does for the teacher.

    It compares the logits by `cross_image_loss`. (Yang et al. take the features before the last layer; the function
    takes any maps.)

    Args:
        patch: side of a node in pixels.
        temperature: T > 0, of the cosines.

    Raises:
        ArgumentError: a patch that is no whole number of at least 1; T out of range.
    """

    title = "Places across images"
    paper = "Yang et al. 2022, https://arxiv.org/abs/2204.06986"
    tasks = ("masks",)

    def __init__(self, *, patch: int = 8, temperature: float = 0.1) -> None:
        super().__init__()
        check_patch(patch)
        check_temperature(temperature)
        self.patch, self.temperature = patch, temperature

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        check_maps(student.logits, teacher.logits, "logits")
        return {
            "cross_image": cross_image_loss(
                student.logits, teacher.logits, batch.labels, patch=self.patch, temperature=self.temperature
            )
        }


def cross_image_loss(
    student_features: Tensor,
    teacher_features: Tensor,
    labels: Tensor | None = None,
    *,
    patch: int,
    temperature: float,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Compare which places of each image a place resembles most, to the teacher and to the student.

    Nodes are those of `pairwise_loss`. A node of image i has a cosine with each node of image j; their softmax at
    temperature T is a distribution over the places of image j. The loss is KL(teacher's || student's), averaged over
    all nodes and all images j of the batch, i = j included. Nodes without a valid pixel are left out on both sides.

    It takes memory for a few times (B * N)^2 numbers, where N is the number of nodes of an image.

    Args:
        student_features: floating point [B, K, H, W]; gradients flow here.
        teacher_features: floating point [B, K', H, W], where K' may differ from K; detached.
        labels: int64 [B, H, W], of which only ``ignore_index`` matters, or a bool mask, True where a pixel
            counts; ``None`` where all do. Shrink it to the features' height and width by nearest neighbour.
        patch: side of a node in pixels of the feature map.
        temperature: T > 0; 0.1 in the authors' program.
        ignore_index: the label that says 'leave out'.

    Returns:
        Scalar in nats, float32, or float64 for float64 student features.

    Raises:
        ArgumentError: T out of range; otherwise as `pairwise_loss`.

    Source: Yang, Zhou, An, Jiang, Xu, Zhang 2022, Cross-Image Relational Knowledge Distillation for Semantic
    Segmentation (https://arxiv.org/abs/2204.06986), the mini-batch-based pixel-to-pixel distillation. Departures: nodes
    are patches of any size (the authors' program can halve the map), and ignored pixels are left out. The paper's two
    further terms, with memories of pixels and regions of earlier batches, are not here.
    """
    check_maps(student_features, teacher_features, "features")
    check_temperature(temperature)
    if labels is not None:
        check_masks(student_features, labels, ignore_index, classes=False)
    check_patch(patch, student_features)
    dtype, valid = at_least_float32(student_features), valid_pixels(labels, ignore_index)
    counts = None if valid is None else alive(valid, patch)  # [B, N]
    with torch.autocast(student_features.device.type, enabled=False):  # it would multiply in half precision
        log_q, log_p = (
            _log_resemblance(nodes(maps.to(dtype), valid, patch), counts, temperature)
            for maps in (student_features, teacher_features.detach())
        )
    if counts is None:
        return divergence(log_q, log_p) / math.prod(log_q.shape[:-1])
    rows = counts.sum() * counts.any(1).sum()
    return divergence(log_q, log_p) / rows.clamp(min=1)


def _log_resemblance(directions: Tensor, counts: Tensor | None, temperature: float) -> Tensor:
    """Return log probabilities [B, N, B, N]: of each node, over the nodes of each image; equal where none count."""
    batch, _, number = directions.shape
    flat = directions.transpose(1, 2).flatten(0, 1)  # [B * N, K]
    cosines = (flat @ flat.T).view(batch, number, batch, number) / temperature
    if counts is None:
        return F.log_softmax(cosines, dim=-1)
    # Not minus infinity, of which the difference of two logarithms would be NaN.
    cosines = cosines.masked_fill(~counts, torch.finfo(cosines.dtype).min)
    # A row that doesn't count is the same for both, so that it adds exactly 0; so is an image without a node.
    return F.log_softmax(cosines.masked_fill(~counts[:, :, None, None], 0), dim=-1)
