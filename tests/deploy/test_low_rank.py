from __future__ import annotations

import pytest
import torch
from torch import nn

from kdcourse import evaluation, models
from kdcourse.deploy import low_rank
from kdcourse.errors import ArgumentError


@pytest.mark.parametrize("form", ["in", "out", "separable", "pointwise"])
def test_convolution_of_low_rank_is_replaced_without_loss(form: str) -> None:
    torch.manual_seed(0)
    small, one = (3, 2), (1, 1)
    kernels = {
        "in": (small, one),
        "out": (one, small),
        "separable": ((3, 1), (1, 2)),
        "pointwise": (one, one),
    }[form]
    first, second = nn.Conv2d(6, 2, kernels[0], bias=False), nn.Conv2d(2, 8, kernels[1], bias=False)
    size = (max(kernels[0][0], kernels[1][0]), max(kernels[0][1], kernels[1][1]))
    conv = nn.Conv2d(6, 8, size, stride=(2, 1), padding=(1, 0)).eval()
    with torch.no_grad():
        conv.weight.copy_(
            torch.einsum("oryx,riYX->oiyYxX", second.weight, first.weight).reshape(conv.weight.shape)
        )
    model = nn.Sequential(conv)
    smaller = low_rank(model, 0.7)
    assert (type(model[0]) is nn.Conv2d and not smaller.training) or not smaller[0].training
    images = torch.randn(3, 6, 9, 7)
    torch.testing.assert_close(smaller(images), model(images), rtol=1e-4, atol=1e-5)
    weights = sum(part.weight.numel() for part in smaller[0])
    assert weights <= 0.7 * conv.weight.numel()


def test_whole_network_has_fewer_weights_and_less_work() -> None:
    model = models.PocketCNN(3, 1, widths=(8, 12))
    smaller = low_rank(model, 0.5)
    before, after = (evaluation.cost(each, (1, 12, 12), latency=False) for each in (model, smaller))
    assert after.parameters < 0.6 * before.parameters and after.macs < 0.7 * before.macs
    assert type(smaller.stages[0].expand) is nn.Conv2d  # type: ignore[union-attr,index] # one input channel


def test_what_cannot_be_divided_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"share must be above 0 and below 1; found 1"):
        low_rank(models.PocketCNN(3, 1), 1)
    with pytest.raises(ArgumentError, match="Sequential has no convolution that two smaller ones with 50%"):
        low_rank(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)), 0.5)
