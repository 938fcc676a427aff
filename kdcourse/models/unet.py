"""U-Nets: a class for every pixel, from what is seen far and near (Ronneberger, Fischer, Brox 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.errors import ArgumentError


class UNet(nn.Module):
    """Down by halves to a coarse view of the whole, and up again, beside each level what was seen on the way down.

    After Ronneberger, Fischer and Brox 2015 (https://arxiv.org/abs/1505.04597), with batch norm, padded
    convolutions, so that the output has the input's size, and bilinear upsampling in place of transposed
    convolutions.

    float32 [B, in_channels, H, W], H and W at least 2 ** (len(widths) - 1) -> logits [B, num_classes, H, W].

    Args:
        widths: channels at each level, finest first.
        depth: 3x3 convolutions at each level, on the way down and on the way up.
    """

    def __init__(
        self,
        num_classes: int = 11,
        in_channels: int = 3,
        *,
        widths: Sequence[int] = (12, 24, 48, 96, 192),
        depth: int = 2,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1 or depth < 1:
            raise ArgumentError(
                "UNet needs at least two widths and a depth of at least 1, such as widths=(16, 32, 64), depth=2; "
                f"found widths={tuple(widths)}, depth={depth}."
            )
        self.down = nn.ModuleList(
            _level(inputs, outputs, depth) for inputs, outputs in pairwise((in_channels, *widths))
        )
        coarse_to_fine = widths[::-1]
        self.up = nn.ModuleList(
            _level(below + beside, beside, depth) for below, beside in pairwise(coarse_to_fine)
        )
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        smallest = 2 ** (len(self.down) - 1)
        if min(x.shape[2:]) < smallest:
            raise ArgumentError(
                f"This UNet of {len(self.down)} levels needs pictures of at least {smallest}x{smallest} pixels; found "
                f"{x.shape[2]}x{x.shape[3]}. Take larger pictures, or fewer widths."
            )
        seen: list[Tensor] = []
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if seen else x)
            seen.append(x)
        for level, beside in zip(self.up, seen[-2::-1], strict=True):
            x = F.interpolate(x, beside.shape[2:], mode="bilinear", align_corners=False)
            x = level(torch.cat([x, beside], 1))
        return self.head(x)


def _level(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    """``depth`` times convolution, norm, ReLU: [B, inputs, H, W] -> [B, outputs, H, W]."""
    layers: list[nn.Module] = []
    for channels in (inputs, *[outputs] * (depth - 1)):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
