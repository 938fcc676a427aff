"""Find the pixels of masks that lie near another class."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = -torch.iinfo(torch.int16).max


def near_another_class(labels: Tensor, counted: Tensor, distance: int) -> Tensor:
    """Find pixels within ``distance`` rows and columns of one of another class: bool [N, H, W].

    labels: int16 [N, H, W], from 0. counted: bool [N, H, W], False where a pixel is ignored: such pixels are near
    nothing, and neighbours don't see them.

    All classes at once: where no border is near, the largest and the smallest class index around are the same.
    """
    # Ignored pixels take the value that never wins.
    largest = _largest_around(labels.where(counted, _LEAST), distance)
    smallest = -_largest_around((-labels).where(counted, _LEAST), distance)
    return (largest != smallest) & counted


def _largest_around(values: Tensor, distance: int) -> Tensor:
    """Return the largest value within ``distance`` rows and columns, [N, H, W] -> [N, H, W]."""
    for axis in (1, 2):
        inner = values.shape[axis] - 1
        for _ in range(distance):
            grown = values.clone()
            for here, there in ((0, 1), (1, 0)):
                part = grown.narrow(axis, here, inner)
                torch.maximum(part, values.narrow(axis, there, inner), out=part)
            values = grown
    return values
