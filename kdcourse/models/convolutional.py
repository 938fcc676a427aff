"""Convolutional teachers and students for small pictures (28x28 and thereabouts)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.errors import ArgumentError


class ResidualStage(nn.Module):
    """Halve the picture, then refine it: conv-pool, then two 3x3 convolutions around a shortcut.

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
        x = F.relu(self.expand_norm(F.max_pool2d(self.expand(x), 2)))
        y = F.relu(self.first_norm(self.first(x)))
        return x + F.relu(self.second_norm(self.second(y)))


class ResidualTeacher(nn.Module):
    """A residual network of three stages: 28 -> 14 -> 7 -> 3 pixels, then a global maximum.

    After the ResNet-9 shape of fast CIFAR-10 training (David Page, "How to Train Your ResNet",
    2018). Logits leave scaled by 1/8, which keeps them small at the start of training.

    float32 [B, in_channels, H, W], H and W at least 8 -> [B, num_classes].
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
        self.stem = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(stem)
        inputs = (stem, *widths[:-1])
        self.stages = nn.Sequential(*(ResidualStage(i, o) for i, o in zip(inputs, widths, strict=True)))
        self.head = nn.Linear(widths[-1], num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(x)))
        return self.head(self.stages(x).amax((2, 3))) / 8


class PocketCNN(nn.Module):
    """A plain small CNN: every stage is conv, max-pool (the last stage excepted), norm, ReLU.

    float32 [B, in_channels, H, W], H and W at least 8 -> [B, num_classes].

    Args:
        widths: channels of each stage; the picture halves between stages.
        deepen: further 3x3 convolutions, each around a shortcut, at the last resolution.
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, *, widths: Sequence[int] = (8, 16, 32), deepen: int = 0
    ) -> None:
        super().__init__()
        if not widths:
            raise ArgumentError("PocketCNN needs at least one width, such as widths=(8, 16, 32); found none.")
        inputs = (in_channels, *widths[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip(inputs, widths, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for o in widths)
        self.deeper = nn.ModuleList(
            nn.Conv2d(widths[-1], widths[-1], 3, padding=1, bias=False) for _ in range(deepen)
        )
        self.deeper_norms = nn.ModuleList(nn.BatchNorm2d(widths[-1]) for _ in range(deepen))
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.convs) - 1
        for k, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = conv(x)
            if k < last:
                x = F.max_pool2d(x, 2)
            x = F.relu(norm(x))
        for conv, norm in zip(self.deeper, self.deeper_norms, strict=True):
            x = x + F.relu(norm(conv(x)))
        return self.head(x.mean((2, 3)))


class DepthwiseCNN(nn.Module):
    """Depthwise-separable blocks (MobileNet, Howard et al. 2017, https://arxiv.org/abs/1704.04861).

    A strided 3x3 stem, then for every further width a depthwise 3x3 and a pointwise 1x1
    convolution; the second stage halves the picture again.

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
        for k, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
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
