"""Boundary IoU against erosion by SciPy, one class and one image at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import boundary_iou, boundary_iou_per_class
from kdcourse.evaluation.boundary import boundary_width


def blobs(seed: int, n: int, size: tuple[int, int], classes: int, ignored: float = 0.0) -> Tensor:
    """Masks of patches, so that there is an inside to them: uint8 [n, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(classes, (n, 1, size[0] // 4 + 1, size[1] // 4 + 1), generator=generator)
    mask = torch.nn.functional.interpolate(coarse.float(), size=size).to(torch.uint8)[:, 0]
    mask[torch.rand(mask.shape, generator=generator) < ignored] = IGNORE
    return mask


def reference(predictions: Tensor, masks: Tensor, classes: int, share: float) -> list[float]:
    """Erosion by a 3x3 square, d times, with nothing outside the image; ignored pixels are no contour."""
    height, width = masks.shape[1:]
    distance = max(1, round(share * math.sqrt(height**2 + width**2)))

    def band(labels: np.ndarray, of: int, ignored: np.ndarray) -> np.ndarray:
        mask = (labels == of) | ignored
        inner = binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)
        return mask & ~inner & ~ignored

    found = []
    for of in range(classes):
        both = either = 0
        for said, truth in zip(predictions.numpy(), masks.numpy(), strict=True):
            ignored = truth == IGNORE
            one, other = band(said, of, ignored), band(truth, of, ignored)
            both += int((one & other).sum())
            either += int((one | other).sum())
        found.append(both / either if either else math.nan)
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(2, 6),
    st.sampled_from([0.0, 0.05, 0.5]),
    st.sampled_from([0.001, 0.02, 0.1, 0.2, 1.0]),
)
def test_against_erosion_by_scipy(
    seed: int, size: tuple[int, int], classes: int, ignored: float, share: float
) -> None:
    masks = blobs(seed, 3, size, classes, ignored)
    masks[0, 0, 0] = 0
    predictions = blobs(seed + 1, 3, size, classes).where(torch.rand(3, 1, 1) < 0.5, masks)
    predictions[masks == IGNORE] = seed % classes
    wanted = reference(predictions, masks, classes, share)
    found = boundary_iou_per_class(predictions, masks, classes, share=share)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(
        boundary_iou(predictions, masks, classes, share=share), np.nanmean(wanted), atol=1e-12
    )


def test_by_hand() -> None:
    # A 7x7 image of background with a 3x3 square: with a distance of 1 the band inside the square is its ring of
    # 8; the background's is the ring of 16 around the square and the 24 pixels along the image's edge.
    masks = torch.zeros(1, 7, 7, dtype=torch.uint8)
    masks[0, 2:5, 2:5] = 1
    hollow = masks.clone()
    hollow[0, 3, 3] = 0
    # Without its middle the square keeps its ring; the background gains a band of one pixel.
    assert boundary_iou_per_class(hollow, masks, 2, share=0.1).tolist() == [40 / 41, 1.0]
    # A square twice as far along: [2, 5) against [3, 6) in both directions.
    moved = masks.roll((1, 1), (1, 2))
    ring = 8
    shared = 2  # of two 3x3 rings moved by (1, 1), the two corners where they cross
    assert boundary_iou_per_class(moved, masks, 2, share=0.1)[1] == shared / (2 * ring - shared)


def test_a_wide_boundary_is_the_whole_mask_and_gives_plain_iou() -> None:
    masks, predictions = blobs(0, 4, (16, 16), 3), blobs(1, 4, (16, 16), 3)
    wanted = [
        ((predictions == of) & (masks == of)).sum() / ((predictions == of) | (masks == of)).sum()
        for of in range(3)
    ]
    found = boundary_iou_per_class(predictions, masks, 3, share=1.0)
    np.testing.assert_allclose(found, torch.stack(wanted), rtol=1e-6)


def test_errors_along_the_border_weigh_more_than_in_mean_iou() -> None:
    masks = torch.zeros(1, 64, 64, dtype=torch.uint8)
    masks[0, 10:50, 10:50] = 1
    grown = torch.zeros_like(masks)
    grown[0, 9:51, 9:51] = 1
    overlap = (40 * 40) / (42 * 42)
    assert boundary_iou_per_class(grown, masks, 2)[1] < 0.4 < overlap


def test_a_perfect_prediction_scores_one_whatever_is_ignored_or_absent() -> None:
    masks = blobs(3, 5, (12, 17), 4, ignored=0.4)
    masks[masks == 2] = 1
    assert boundary_iou(masks, masks, 9) == 1.0
    filled = masks.where(masks != IGNORE, 3)
    assert boundary_iou(filled, masks, 9) == 1.0, "what is said of an ignored pixel must not matter"
    assert boundary_iou_per_class(filled, masks, 9)[[2, 4, 8]].isnan().all()


def test_pictures_add_up_and_any_whole_numbers_will_do() -> None:
    masks, predictions = blobs(4, 6, (16, 16), 3), blobs(5, 6, (16, 16), 3)
    wanted = boundary_iou_per_class(predictions, masks, 3)
    for dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        assert torch.equal(boundary_iou_per_class(predictions.to(dtype), masks.to(dtype), 3), wanted)


def test_width_is_a_share_of_the_diagonal_and_at_least_a_pixel() -> None:
    assert boundary_width(64, 64) == 2  # 0.02 of 90.5
    assert boundary_width(480, 640) == 16
    assert boundary_width(8, 8) == 1
    assert boundary_width(3, 4, share=1.0) == 5
    for share in (0, -0.1, 1.5, math.nan):
        with pytest.raises(ArgumentError, match=f"found {share}"):
            boundary_width(64, 64, share)
