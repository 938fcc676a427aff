"""BatchNorm as a part of convolutions, and pooling without a gradient: the same answers for less work."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse import models
from kdcourse.distillation import Ensemble
from kdcourse.distillation.ensemble import freeze
from kdcourse.distillation.inference import teacher_inference
from kdcourse.distillation.targets.digest import teacher_digest
from kdcourse.models.convolutional import halved
from kdcourse.models.folded import folded

IMAGES = torch.randn(3, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def used(network: nn.Module) -> nn.Module:
    """Give a network's BatchNorm layers statistics and scales as training leaves them, in float64, eval mode."""
    generator = torch.Generator().manual_seed(1)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.normal_(generator=generator)
            if part.running_mean is not None:
                part.running_mean.normal_(generator=generator)
                part.running_var.uniform_(0.5, 2, generator=generator)
    return network.double().eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())


def teacher() -> nn.Module:
    return used(models.build("teacher"))


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (teacher, 3),  # those after pooling, which isn't the same for a negative scale
        (lambda: used(models.build("pocket_60k")), 3),
        (lambda: used(models.build("depthwise_4k")), 0),
        (lambda: freeze(teacher()), 3),
        (lambda: Ensemble([teacher(), used(models.build("pocket_6k"))]), 6),
    ],
)
def test_answers_stay_and_the_network_too(make: Callable[[], nn.Module], left: int) -> None:
    network = make()
    before, digest = copy.deepcopy(network.state_dict()), teacher_digest(network)
    fewer = folded(network, IMAGES)
    assert norms(fewer) == left < norms(network)
    with torch.no_grad():
        expected = network(IMAGES)
        torch.testing.assert_close(fewer(IMAGES), expected, rtol=0, atol=1e-9)
    with teacher_inference(network) as ask:
        torch.testing.assert_close(ask(IMAGES), expected, rtol=0, atol=1e-9)
    assert teacher_digest(network) == digest
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Wired(nn.Module):
    """A convolution and its BatchNorm, wired as ``how`` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.conv = how, nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, track_running_stats=how != "batch")

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        if self.how == "twice":
            x = self.conv(images.flip(3))
        if self.how == "between":
            x = x * 2
        y = self.norm(x)
        if self.how == "read":  # the width of the layer, which Identity doesn't have
            y = y * self.norm.num_features
        return (y + x if self.how == "shortcut" else y).mean((2, 3))


@pytest.mark.parametrize("how", ["shortcut", "twice", "between", "read", "batch", "hook", "uncopied", "half"])
def test_what_cannot_be_folded_stays_itself(how: str) -> None:
    network, images = used(Wired(how)), IMAGES
    if how == "hook":
        network.conv.register_forward_hook(lambda part, inputs, output: output * 2)
    if how == "uncopied":
        network.graph = network.conv(IMAGES)  # a tensor that is computed, which can't be copied
    if how == "half":
        network, images = network.bfloat16(), IMAGES.bfloat16()
    assert folded(network, images) is network
    assert norms(folded(used(Wired("plain")), IMAGES)) == 0


@pytest.mark.parametrize("side", [(8, 8), (7, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_without_a_gradient_is_the_same(side: tuple[int, int], dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, *side, generator=torch.Generator().manual_seed(0)).to(dtype)
    x[0, 0, 0, 0] = torch.nan
    for images in (x, x.contiguous(memory_format=torch.channels_last)):
        with torch.no_grad():
            found = halved(images)
        torch.testing.assert_close(found, F.max_pool2d(images, 2), rtol=0, atol=0, equal_nan=True)
    x.requires_grad_()
    halved(x).sum().backward()
    assert x.grad is not None and int((x.grad != 0).sum()) == 2 * 3 * (side[0] // 2) * (side[1] // 2)
