"""`border_loss`: which pixels are near a border of the teacher's mask, and the mean over them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.distillation import border_loss, pixelwise_loss
from kdcourse.distillation.methods.borders import near_borders
from tests.distillation.methods.maps import maps
from tests.distillation.methods.test_pixelwise import pixelwise_reference


def _near(classes: Tensor, valid: Tensor, distance: int) -> Tensor:
    """Look at every pixel's neighbours, one by one."""
    found = torch.zeros_like(valid)
    for picture, row, column in np.argwhere(valid.numpy()):
        rows = slice(max(0, row - distance), row + distance + 1)
        columns = slice(max(0, column - distance), column + distance + 1)
        around = classes[picture, rows, columns][valid[picture, rows, columns]]
        found[picture, row, column] = len(around.unique()) > 1
    return found


def _blocks() -> Tensor:
    """A teacher of 3 classes for 2 pictures of 8 x 9: a square of class 1 on class 0, and class 2 alone."""
    classes = torch.zeros(2, 8, 9, dtype=torch.int64)
    classes[0, 2:6, 3:7] = 1
    classes[1] = 2
    return torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).double() * 4


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_pixels_near_borders_are_those_with_another_class_around(distance: int) -> None:
    for v in (_blocks(), maps()[1]):
        classes = v.argmax(1)
        for valid in (torch.ones_like(classes, dtype=torch.bool), torch.rand(classes.shape) < 0.6):
            expected = _near(classes, valid, distance)
            assert torch.equal(near_borders(v, valid, distance), expected)
            marked = torch.zeros_like(classes).masked_fill(~valid, IGNORE)
            z = maps(len(v), v.shape[1], (v.shape[2], v.shape[3]), seed=7)[0]
            reference = pixelwise_reference(
                z, v, torch.zeros_like(classes).masked_fill(~expected, IGNORE), 2.0, 1
            )
            found = border_loss(z, v, marked, temperature=2.0, distance=distance)
            assert float(found) == pytest.approx(reference, rel=1e-10)
    assert torch.equal(near_borders(v, None, distance), _near(classes, torch.ones_like(valid), distance))


def test_a_square_has_a_ring_of_border_inside_and_outside() -> None:
    near = near_borders(_blocks(), None, 1)
    assert near[0].sum() == 6 * 6 - 2 * 2 and not near[1].any()
    assert not near[0, 3:5, 4:6].any() and near[0, 1:7, 2:8].sum() == near[0].sum()


def test_what_is_ignored_has_no_border() -> None:
    v = _blocks()
    inside = torch.zeros(2, 8, 9, dtype=torch.int64)
    inside[0, 2:6, 3:7] = IGNORE
    assert not near_borders(v.masked_fill((inside == IGNORE)[:, None], torch.nan), inside != IGNORE, 2).any()
    z = torch.randn_like(v).requires_grad_()
    loss = border_loss(z, v, inside, temperature=1.0, distance=2)
    loss.backward()
    assert loss.item() == 0 and z.grad is not None and not z.grad.any()


def test_where_every_pixel_is_near_a_border_it_is_the_pixelwise_term() -> None:
    z, v, labels = maps()
    found = border_loss(z, v, labels, temperature=3.0, distance=9)
    several = torch.tensor([len(v[n].argmax(0)[labels[n] != IGNORE].unique()) > 1 for n in range(len(v))])
    kept = labels.masked_fill(~several[:, None, None], IGNORE)
    assert float(found) == pytest.approx(float(pixelwise_loss(z, v, kept, temperature=3.0, alpha=1)))
