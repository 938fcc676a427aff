"""Compute boundary IoU: whether masks are right where it is hardest, along their borders.

For a class with true mask G and predicted mask P (Cheng et al. 2021, "Boundary IoU: Improving Object-Centric
Image Segmentation Evaluation", https://arxiv.org/abs/2103.16562, section "Boundary IoU"):

    boundary IoU = |(G_d and G) and (P_d and P)| / |(G_d and G) or (P_d and P)|

G_d holds the pixels within d pixels of G's contour, so G_d and G is the band just inside it, d pixels wide. As in
the authors' own code, distance counts a diagonal step as one, d is a share of the image's diagonal, rounded and
at least 1 pixel, and the edge of the image is a contour too. Two things are ours, since that code scores single
objects: intersections and unions are summed over all images before dividing, as mean IoU does, and ignored
pixels neither count nor make a contour.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.data.borders import near_another_class
from kdcourse.errors import ArgumentError

SHARE = 0.02  # of the diagonal: what Cheng et al. use for COCO and LVIS; 2 pixels at 64x64
_AT_ONCE = 1 << 20  # pixels: the working memory stays the same for any number of images


def boundary_width(height: int, width: int, share: float = SHARE) -> int:
    """Return how many pixels from a contour count as its boundary: ``share`` of the diagonal, at least 1.

    Raises:
        ArgumentError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ArgumentError(
            f"The boundary's width is a share of the image's diagonal, above 0 and at most 1; found {share}. "
            "Cheng et al. use 0.02."
        )
    return max(1, round(share * math.hypot(height, width)))


def boundary_counts(predictions: Tensor, masks: Tensor, classes: int, share: float = SHARE) -> Tensor:
    """Count pixels of the boundaries' intersection (row 0) and union (row 1) by class: int64 [2, C] on the CPU.

    predictions, masks: whole numbers [N, H, W]; where ``masks`` holds `kdcourse.data.IGNORE`, predictions don't
    matter.
    """
    height, width = masks.shape[-2:]
    distance = boundary_width(height, width, share)
    total = torch.zeros(2, classes, dtype=torch.int64)
    images = max(1, _AT_ONCE // masks[0].numel())
    for chunk in zip(predictions.split(images), masks.split(images), strict=True):
        said, truth = (labels.cpu().to(torch.int16) for labels in chunk)
        counted = truth != IGNORE
        band_said, band_true = (boundary(labels, counted, distance) for labels in (said, truth))
        one, other, both = (
            # Class C gathers what is not on the boundary, which is quicker than leaving it out.
            torch.bincount(labels.where(band, classes).flatten(), minlength=classes + 1)[:classes]
            for labels, band in (
                (said, band_said),
                (truth, band_true),
                (truth, band_said & band_true & (said == truth)),
            )
        )
        total += torch.stack([both, one + other - both])
    return total


def boundary(labels: Tensor, counted: Tensor, distance: int) -> Tensor:
    """Find pixels within ``distance`` of one of another class or of the image's edge: bool [N, H, W].

    labels: int16 [N, H, W]. counted: bool [N, H, W], False where a pixel is ignored: such pixels belong
    to no boundary, and neighbours don't see them.
    """
    found = near_another_class(labels, counted, distance)
    found[:, :distance] = found[:, -distance:] = True
    found[..., :distance] = found[..., -distance:] = True
    return found & counted
