"""Answers to conv_macs."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def by_loops(in_channels: int, out_channels: int, kernel: int, height: int, width: int) -> int:
    macs = 0
    for _ in range(out_channels):
        for _ in range(height):
            macs += width * in_channels * kernel * kernel
    return macs


def by_counter(i: int, o: int, k: int, h: int, w: int) -> int:
    conv = nn.Conv2d(i, o, k, padding="same", bias=False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        conv(torch.zeros(1, i, h, w))
    return counter.get_total_flops() // 2


def by_names(in_channels: int, out_channels: int, kernel: int, height: int, width: int) -> int:
    outputs = out_channels * height * width
    each = in_channels * kernel**2
    return outputs * each


RIGHT = [
    by_loops,
    by_counter,
    by_names,
    lambda *sizes: math.prod(sizes) * sizes[2],
    lambda i, o, k, h, w: int(np.prod([i, o, k, k, h, w])),
    lambda i, o, k, h, w: torch.empty(o, i, k, k, device="meta").numel() * (h * w),
]

WRONG = {
    "kernel once": lambda i, o, k, h, w: i * o * k * h * w,
    "twice the kernel": lambda i, o, k, h, w: i * o * 2 * k * h * w,
    "kernel cubed": lambda i, o, k, h, w: i * o * k**3 * h * w,
    "kernel 3 by heart": lambda i, o, k, h, w: i * o * 9 * h * w,
    "bias added once": lambda i, o, k, h, w: i * o * k * k * h * w + o,
    "bias added per output": lambda i, o, k, h, w: (i * k * k + 1) * o * h * w,
    "flops": lambda i, o, k, h, w: 2 * i * o * k * k * h * w,
    "no padding": lambda i, o, k, h, w: i * o * k * k * (h - k + 1) * (w - k + 1),
    "padding added to the size": lambda i, o, k, h, w: i * o * k * k * (h + k - 1) * (w + k - 1),
    "padding of one pixel whatever the kernel": lambda i, o, k, h, w: (
        i * o * k * k * (h + 3 - k) * (w + 3 - k)
    ),
    "output size one too large": lambda i, o, k, h, w: i * o * k * k * (h + 1) * (w + 1),
    "square images only": lambda i, o, k, h, w: i * o * k * k * w * w,
    "height alone": lambda i, o, k, h, w: i * o * k * k * h,
    "input channels left out": lambda i, o, k, h, w: o * k * k * h * w,
    "output channels left out": lambda i, o, k, h, w: i * k * k * h * w,
    "depthwise": lambda i, o, k, h, w: max(i, o) * k * k * h * w,
    "depthwise and pointwise": lambda i, o, k, h, w: (i * k * k + i * o) * h * w,
    "weights only": lambda i, o, k, h, w: i * o * k * k,
    "in and out channels added": lambda i, o, k, h, w: (i + o) * k * k * h * w,
    "every pixel with every pixel": lambda i, o, k, h, w: i * o * (h * w) ** 2,
    "strides of one kernel": lambda i, o, k, h, w: i * o * k * k * (h // k) * (w // k),
    "additions one fewer": lambda i, o, k, h, w: (i * k * k - 1) * o * h * w,
    "only the middle of the window": lambda i, o, k, h, w: i * o * h * w,
    "millions": lambda i, o, k, h, w: i * o * k * k * h * w / 1e6,
    "a float": lambda i, o, k, h, w: i * o * k**2.0 * h * w,
    "^ for a power": lambda i, o, k, h, w: i * o * k ^ 2 * h * w,
    "border pixels counted without their padding": lambda i, o, k, h, w: (
        i
        * o
        * sum(min(h, y + k // 2 + 1) - max(0, y - k // 2) for y in range(h))
        * sum(min(w, x + k // 2 + 1) - max(0, x - k // 2) for x in range(w))
    ),
}

SAYS = {"every pixel with every pixel": "Your result: ", "output size one too large": "Expected: "}
