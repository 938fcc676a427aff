"""Pair-wise distillation: which places of an image resemble each other (Liu et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE, Batch
from kdcourse.distillation.maps import check_maps, check_masks, scored, valid_pixels
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32
from kdcourse.errors import ArgumentError

_NO_LENGTH = 1e-8  # a vector shorter than this has no direction worth comparing


class Pairwise(Method):
    """Make the places of an image that resemble each other to the teacher do so to the student: `pairwise_loss`.

    It compares the logits. (Liu et al. take the features before the last layer; `pairwise_loss` takes any maps.)

    Args:
        patch: side of a node in pixels.

    Raises:
        ArgumentError: a patch that is no whole number of at least 1.
    """

    title = "Pairs of places"
    paper = "Liu et al. 2019, https://arxiv.org/abs/1903.04197"
    tasks = ("masks",)

    def __init__(self, *, patch: int = 4) -> None:
        super().__init__()
        check_patch(patch)
        self.patch = patch

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        check_maps(student.logits, teacher.logits, "logits")
        return {"pairwise": pairwise_loss(student.logits, teacher.logits, batch.labels, patch=self.patch)}


def pairwise_loss(
    student_features: Tensor,
    teacher_features: Tensor,
    labels: Tensor | None = None,
    *,
    patch: int,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Compare which places of an image resemble each other, to the teacher and to the student.

    A node is a patch of ``patch`` x ``patch`` pixels, its feature f the mean over the patch's valid pixels. Two
    nodes i and j of one image have the similarity ``a_ij = f_i . f_j / (|f_i| |f_j|)``, and the
    loss is ``(a_ij of the student - a_ij of the teacher)^2``, averaged over all pairs (i, j) of all images,
    i = j included. Nodes without a valid pixel are left out. Patches at the right and lower edge may be smaller.
    A node whose f is 0 has no direction: its similarities count as 0 and give it no gradient.

    It takes memory for a few times B * N^2 numbers, where N is the number of nodes of an image.

    Args:
        student_features: floating point [B, K, H, W]; gradients flow here.
        teacher_features: floating point [B, K', H, W], channels of its own; detached.
        labels: int64 [B, H, W], of which only ``ignore_index`` matters, or a bool mask, True where a pixel
            counts; ``None`` where all do. Shrink it to the features' height and width by nearest neighbour.
        patch: side of a node in pixels of the feature map. The paper finds 2 best for maps of 65 x 65.
        ignore_index: the label that says 'leave out'.

    Returns:
        Scalar from 0 to 4, float32, or float64 for float64 student features.

    Raises:
        ArgumentError: features that aren't two floating-point maps of one batch, height and width on one
            device; one trainable tensor passed as both; a patch that is no whole number of at least 1
            or leaves a single node; a mask of another shape or type.

    Source: Liu et al. 2019, Structured Knowledge Distillation for Semantic Segmentation
    (https://arxiv.org/abs/1903.04197), section 3, pair-wise distillation, every node connected to every other,
    which they find best. Departures: ignored pixels are left out, of which they say nothing; the divisor is
    the number of pairs (for granularity beta and connection range alpha the version of Liu, Shu, Wang, Shen
    2020 divides by W' H' alpha / beta). The authors' published program takes the maximum over patches in place
    of the mean that the paper describes, and holds |f| constant in the gradient; here both follow the paper.
    """
    check_maps(student_features, teacher_features, "features")
    if labels is not None:
        check_masks(student_features, labels, ignore_index, classes=False)
    check_patch(patch, student_features)
    dtype, valid = at_least_float32(student_features), valid_pixels(labels, ignore_index)
    with torch.autocast(student_features.device.type, enabled=False):  # it would multiply in half precision
        student = nodes(student_features.to(dtype), valid, patch)  # [B, K, N]
        teacher = nodes(teacher_features.detach().to(dtype), valid, patch)
        gap = student.transpose(1, 2) @ student - teacher.transpose(1, 2) @ teacher  # [B, N, N]
    if valid is None:
        return gap.square().mean()
    count = alive(valid, patch).sum(1).to(dtype)  # [B]
    return gap.square().sum() / count.square().sum().clamp(min=1)


def alive(valid: Tensor, patch: int) -> Tensor:
    """Return bool [B, N]: which patches have a valid pixel, of ``valid``, bool [B, H, W]."""
    return F.max_pool2d(valid[:, None].float(), patch, ceil_mode=True).flatten(1) > 0


def nodes(features: Tensor, valid: Tensor | None, patch: int) -> Tensor:
    """Return the direction of every patch's mean feature, [B, K, N]: unit vectors, or 0 where there is no direction."""
    # Zeros for pixels left out shorten a mean but don't turn it, and nothing but its direction is used.
    means = F.avg_pool2d(scored(features, valid), patch, ceil_mode=True).flatten(2)
    length = means.norm(dim=1, keepdim=True)
    short = length < _NO_LENGTH
    return (means / length.masked_fill(short, 1)).masked_fill(short, 0)


def check_patch(patch: int, features: Tensor | None = None) -> None:
    """Raise ArgumentError unless ``patch`` is a side in pixels, and divides ``features`` into several nodes."""
    if not isinstance(patch, int) or patch < 1:
        raise ArgumentError(f"patch is a side in pixels, a whole number of at least 1; found {patch!r}.")
    if features is not None and patch >= max(features.shape[2:]):
        raise ArgumentError(
            f"With patch={patch} a map of {features.shape[2]}x{features.shape[3]} is a single node, which has no other "
            "to be compared with. Take a smaller patch."
        )
