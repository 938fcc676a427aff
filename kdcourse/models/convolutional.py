"""Define convolutional teachers and students for small images (28x28 and thereabouts)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.errors import ArgumentError


class ResidualStage(nn.Module):
    """Halve the image, then refine it: conv-pool, then two 3x3 convolutions around a shortcut.

    [B, inputs, H, W] -> [B, outputs, H // 2, W // 2]
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.expand_norm = nn.BatchNorm2d(outputs)
        self.first = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        # Pooling before the normalisation leaves it a quarter of the work; the maximum commutes
        # with the monotone steps after it.
        x = F.relu(self.expand_norm(halved(self.expand(x))))
        y = F.relu(self.first_norm(self.first(x)))
        return x + F.relu(self.second_norm(self.second(y)))


class ResidualTeacher(nn.Module):
    """Build a residual network of, usually, three stages: 28 -> 14 -> 7 -> 3 pixels, then a global maximum.

    After the ResNet-9 shape of fast CIFAR-10 training (David Page, "How to Train Your ResNet",
    2018). Logits leave scaled by 1/8, which keeps them small at the start of training.

    float32 [B, in_channels, H, W], H and W at least 2 ** len(widths) -> [B, num_classes].
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        *,
        stem: int = 16,
        widths: Sequence[int] = (24, 64, 192),
    ) -> None:
        super().__init__()
        if not widths:
            raise ArgumentError(
                "ResidualTeacher needs one width a stage, such as widths=(24, 64, 192); found none."
            )
        self.stem = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(stem)
        inputs = (stem, *widths[:-1])
        self.stages = nn.Sequential(*(ResidualStage(i, o) for i, o in zip(inputs, widths, strict=True)))
        self.head = nn.Linear(widths[-1], num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        _check_size(x, len(self.stages))
        x = F.relu(self.stem_norm(self.stem(x)))
        return self.head(self.stages(x).amax((2, 3))) / 8


class PocketCNN(nn.Module):
    """Build a small residual CNN: halve the image, refine it, halve it again, refine it.

    Conv-pool to the first width, ``depths[0]`` 3x3 convolutions each around a shortcut, and so on
    for every further width; then a global maximum and one linear layer. Spending convolutions on
    14x14 pixels rather than on channels buys accuracy with work instead of weights.

    float32 [B, in_channels, H, W], H and W at least 2 ** len(widths) -> [B, num_classes].

    Args:
        widths: channels after each halving.
        depths: shortcut convolutions after each halving; as many numbers as ``widths``.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        *,
        widths: Sequence[int] = (16, 32),
        depths: Sequence[int] = (1, 1),
    ) -> None:
        super().__init__()
        if not widths or len(widths) != len(depths):
            raise ArgumentError(
                "PocketCNN needs one depth for each width, such as widths=(16, 32), depths=(1, 1); found "
                f"widths={tuple(widths)}, depths={tuple(depths)}."
            )
        inputs = (in_channels, *widths[:-1])
        self.stages = nn.Sequential(
            *(PocketStage(*shape) for shape in zip(inputs, widths, depths, strict=True))
        )
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        _check_size(x, len(self.stages))
        return self.head(self.stages(x).amax((2, 3)))


class PocketStage(nn.Module):
    """Apply conv, max-pool, norm, ReLU; then ``depth`` convolutions, each around a shortcut.

    [B, inputs, H, W] -> [B, outputs, H // 2, W // 2]
    """

    def __init__(self, inputs: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.expand_norm = nn.BatchNorm2d(outputs)
        self.refine = nn.ModuleList(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False) for _ in range(depth)
        )
        self.refine_norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.expand_norm(halved(self.expand(x))))
        for conv, norm in zip(self.refine, self.refine_norms, strict=True):
            x = x + F.relu(norm(conv(x)))
        return x


class DepthwiseCNN(nn.Module):
    """Build depthwise-separable blocks (MobileNet, Howard et al. 2017, https://arxiv.org/abs/1704.04861).

    A strided 3x3 stem, then for every further width a depthwise 3x3 and a pointwise 1x1
    convolution; the second stage halves the image again.

    float32 [B, in_channels, H, W], H and W at least 8 -> [B, num_classes].
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, *, widths: Sequence[int] = (16, 24, 32, 32)
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ArgumentError(f"DepthwiseCNN needs at least two widths; found {tuple(widths)}.")
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, widths[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for k, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += [
                nn.Conv2d(inputs, inputs, 3, stride=2 if k == 1 else 1, padding=1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def halved(x: Tensor) -> Tensor:
    """Return the maxima of squares of 2x2 pixels: floating point [B, C, H, W] -> [B, C, H // 2, W // 2]."""
    traced = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    if torch.is_grad_enabled() or x.device.type != "cpu" or traced:
        return F.max_pool2d(x, 2)
    # Without a gradient it doesn't matter where a maximum was, and writing that down takes longer than finding it.
    height, width = (side // 2 * 2 for side in x.shape[2:])
    x = torch.maximum(x[:, :, 0:height:2, :width], x[:, :, 1:height:2, :width])
    return torch.maximum(x[..., 0::2], x[..., 1::2])


def _check_size(x: Tensor, halvings: int) -> None:
    """Raise ArgumentError where an image [B, C, H, W] would be halved to nothing."""
    if min(x.shape[-2:]) < 2**halvings:
        raise ArgumentError(
            f"Images must be at least {2**halvings} pixels high and wide for {halvings} halvings; found "
            f"{x.shape[-2]}x{x.shape[-1]}. Build the model with fewer widths, or enlarge the images."
        )
