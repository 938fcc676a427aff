"""Replace each convolution by two smaller ones, whose product is nearest to it.

The repair is ordinary training: pass the network to `kdcourse.distillation.distil` with the teacher.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from kdcourse.errors import ArgumentError


@torch.no_grad()
def low_rank(model: nn.Module, share: float) -> nn.Module:
    """Return a copy in which each convolution is two convolutions in a row, with a share of its weights.

    The kernel is divided between the two, as k x k and 1 x 1, 1 x 1 and k x k, or k x 1 and 1 x k; of these, each
    convolution gets the one that loses least, by the truncated singular value decomposition of its weights. (Zhang et
    al. 2016, https://arxiv.org/abs/1505.06798; Jaderberg et al. 2014, https://arxiv.org/abs/1405.3866, section 2.)
    Convolutions of one input channel, of several groups, with dilation or with another padding than zeros are kept,
    and so are those whose share is too small for rank 1.

    Args:
        model: it isn't changed.
        share: of the weights of each convolution to keep, above 0 and below 1.

    Raises:
        ArgumentError: another share, or a model that has no such convolution.
    """
    if not 0 < share < 1:
        raise ArgumentError(f"share must be above 0 and below 1; found {share}.")
    twin = copy.deepcopy(model)
    found = False
    for parent in list(twin.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Conv2d and _divisible(layer) and (pair := _nearest(layer, share)):
                setattr(parent, name, pair.train(layer.training))
                found = True
    if not found:
        raise ArgumentError(
            f"{type(model).__name__} has no convolution that two smaller ones with {share:.0%} of its weights could "
            "replace. Keep a larger share, or use narrowed or prune_weights."
        )
    return twin


def _divisible(layer: nn.Conv2d) -> bool:
    usual = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    return usual and layer.in_channels > 1 and not isinstance(layer.padding, str)


def _nearest(layer: nn.Conv2d, share: float) -> nn.Sequential | None:
    """Return the pair whose product is nearest to a convolution's weights, or None if rank 1 is too large."""
    outputs, inputs, height, width = layer.weight.shape
    best: tuple[float, Tensor, Tensor] | None = None
    for a, b in ((height, width), (1, 1), (height, 1)):  # kernel of the first; the second has the rest
        c, d = height // a, width // b
        parts = layer.weight.view(outputs, inputs, a, c, b, d).permute(0, 3, 5, 1, 2, 4)
        matrix = parts.reshape(outputs * c * d, inputs * a * b)
        rank = min(int(share * matrix.numel() / sum(matrix.shape)), *matrix.shape)
        if rank < 1:
            continue
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        lost = float(values[rank:].square().sum())
        if best is None or lost < best[0]:
            root = values[:rank].sqrt()  # half of the scale to each, so that both train alike
            first = (root[:, None] * right[:rank]).view(rank, inputs, a, b)
            second = (left[:, :rank] * root).view(outputs, c, d, rank).permute(0, 3, 1, 2)
            best = lost, first, second
    return None if best is None else nn.Sequential(*_pair(layer, *best[1:]))


def _pair(layer: nn.Conv2d, first: Tensor, second: Tensor) -> tuple[nn.Conv2d, nn.Conv2d]:
    assert not isinstance(layer.padding, str)  # see `_divisible`
    made = []
    for weight, bias in ((first, None), (second, layer.bias)):
        # Stride and padding of a direction go with the kernel's extent in it, which the other part lacks.
        own = [
            size > 1 or (whole == 1 and weight is second)
            for size, whole in zip(weight.shape[2:], layer.kernel_size, strict=True)
        ]
        stride = [step if mine else 1 for step, mine in zip(layer.stride, own, strict=True)]
        padding = [more if mine else 0 for more, mine in zip(layer.padding, own, strict=True)]
        part = nn.Conv2d(
            weight.shape[1], weight.shape[0], (weight.shape[2], weight.shape[3]), (stride[0], stride[1]),
            (padding[0], padding[1]), bias=bias is not None, device=weight.device, dtype=weight.dtype,
        )  # fmt: skip
        part.weight.copy_(weight)
        if bias is not None and part.bias is not None:
            part.bias.copy_(bias)
        made.append(part)
    return made[0], made[1]
