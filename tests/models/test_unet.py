from __future__ import annotations

import pytest
import torch

from kdcourse import models
from kdcourse.errors import ArgumentError
from kdcourse.models import UNet


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (37, 51), (16, 16), (32, 32)])
def test_logits_have_the_size_of_the_picture(shape: tuple[int, int]) -> None:
    model = models.build("pocket_unet", num_classes=11, in_channels=3).eval()
    assert model(torch.randn(2, 3, *shape)).shape == (2, 11, *shape)


def test_the_pocket_student_is_small_and_at_least_forty_times_smaller_than_a_teacher() -> None:
    sizes = models.names("segmentation")
    assert sizes["pocket_unet"] <= 30_000
    assert min(sizes["unet"], sizes["unet_wide"]) >= 40 * sizes["pocket_unet"]
    assert max(sizes["unet"], sizes["unet_wide"]) <= 2_000_000


def test_every_level_is_used() -> None:
    """A change of any convolution changes the logits, and each gets a gradient."""
    torch.manual_seed(0)
    model = UNet(3, 1, widths=(4, 6, 8), depth=2)
    model(torch.randn(2, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in model.parameters())


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_no_pixel_is_skipped(stride: int) -> None:
    torch.manual_seed(0)
    picture = torch.randn(1, 1, 32, 32, requires_grad=True)
    UNet(3, 1, widths=(4, 6), depth=1, stride=stride)(picture).square().sum().backward()
    assert picture.grad is not None and bool((picture.grad != 0).all())


def test_a_pixel_sees_its_neighbourhood_and_its_own_place() -> None:
    """Moving an image by the coarsest stride moves the logits, away from the border."""
    torch.manual_seed(0)
    model = UNet(3, 1, widths=(4, 6, 8), depth=1).eval()
    picture = torch.zeros(1, 1, 64, 64)
    picture[..., 28:36, 28:36] = torch.randn(8, 8)
    moved = picture.roll(4, dims=3)
    with torch.no_grad():
        here, there = model(picture), model(moved)
    assert torch.allclose(here.roll(4, dims=3)[..., 20:44, 20:44], there[..., 20:44, 20:44], atol=1e-5)
    assert not torch.allclose(here[..., 20:44, 20:44], there[..., 20:44, 20:44], atol=1e-3)


@pytest.mark.parametrize("options", [{"widths": (8,)}, {"widths": (8, 0)}, {"depth": 0}])
def test_bad_options_are_told(options: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match="at least two widths"):
        UNet(**options)  # type: ignore[arg-type]


def test_too_small_a_picture_is_told() -> None:
    with pytest.raises(ArgumentError, match="at least 16x16"):
        models.build("unet", num_classes=3)(torch.randn(2, 1, 8, 8))
