"""Define U-Nets: one class per pixel, from maps at several resolutions (Ronneberger, Fischer, Brox 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.errors import ArgumentError


class UNet(nn.Module):
    """Halve the image to a coarse view, then enlarge it again, joining at each level the maps of the way down.

    After Ronneberger, Fischer and Brox 2015 (https://arxiv.org/abs/1505.04597), with batch norm, padded
    convolutions, so that the output has the input's size, and bilinear upsampling in place of transposed
    convolutions.

    float32 [B, in_channels, H, W], H and W at least min(stride, 2) * 2 ** (len(widths) - 1) -> logits [B, num_classes,
    H, W]. At a larger stride, an image that is too small for all levels is enlarged first.

    Args:
        widths: channels at each level, finest first.
        depth: 3x3 convolutions at each level, on the way down and on the way up.
        stride: of the first convolution. At 2 every level works on half the height and width, for about a third of
            the time, and the logits are enlarged at the end: what is smaller than two pixels is lost. The first kernel
            has 2 * stride - 1 pixels a side, at least 3, so that it skips none.
    """

    def __init__(
        self,
        num_classes: int = 11,
        in_channels: int = 3,
        *,
        widths: Sequence[int] = (12, 24, 48, 96, 192),
        depth: int = 2,
        stride: int = 1,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1 or depth < 1 or stride < 1:
            raise ArgumentError(
                "UNet needs at least two widths, and a depth and a stride of at least 1, such as widths=(16, 32, 64), "
                f"depth=2, stride=1; found widths={tuple(widths)}, depth={depth}, stride={stride}."
            )
        self.stride = stride
        self.down = nn.ModuleList(
            _level(inputs, outputs, depth, 1 if place else stride)
            for place, (inputs, outputs) in enumerate(pairwise((in_channels, *widths)))
        )
        coarse_to_fine = widths[::-1]
        self.up = nn.ModuleList(
            _level(below + beside, beside, depth) for below, beside in pairwise(coarse_to_fine)
        )
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        size, coarsest = x.shape[2:], 2 ** (len(self.down) - 1)
        smallest = min(self.stride, 2) * coarsest
        if min(size) < smallest:
            raise ArgumentError(
                f"This UNet of {len(self.down)} levels needs images of at least {smallest}x{smallest} pixels; found "
                f"{x.shape[2]}x{x.shape[3]}. Take larger images, or fewer widths."
            )
        x = _resized(x, torch.Size(max(side, self.stride * coarsest) for side in size))
        seen: list[Tensor] = []
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if seen else x)
            seen.append(x)
        for level, beside in zip(self.up, seen[-2::-1], strict=True):
            x = level(torch.cat([_resized(x, beside.shape[2:]), beside], 1))
        return _resized(self.head(x), size)


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False)


def _level(inputs: int, outputs: int, depth: int, stride: int = 1) -> nn.Sequential:
    """Stack ``depth`` x convolution, norm, ReLU; ``stride`` in the first. [B, inputs, H, W] -> [B, outputs, ...]."""
    layers: list[nn.Module] = []
    for place in range(depth):
        size = 3 if place else max(3, 2 * stride - 1)
        layers += [
            nn.Conv2d(
                outputs if place else inputs, outputs, size, 1 if place else stride, size // 2, bias=False
            ),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
