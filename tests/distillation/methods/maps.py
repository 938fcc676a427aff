"""Maps and masks for the losses on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE

Loss = Callable[..., Tensor]
Array = npt.NDArray[Any]
TEMPERATURES = (0.5, 1.0, 4.0)
ALPHAS = (0.0, 0.3, 1.0)
CLASSES = 5


def maps(
    batch: int = 4, channels: int = CLASSES, size: tuple[int, int] = (6, 5), seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Two maps, and labels of which about a third is ignored: all of the third picture, none of the last."""
    generator = torch.Generator().manual_seed(seed)
    z, v = torch.randn(2, batch, channels, *size, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(channels, (batch, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = IGNORE
    labels[0, :2, :2] = IGNORE  # a node without a single pixel
    labels[2:3] = IGNORE
    labels[-1] = torch.randint(channels, size, generator=generator)
    return z, v, labels


def everything(labels: Tensor) -> Tensor:
    return labels.masked_fill(labels == IGNORE, 1)


def kl_map(z: Tensor, v: Tensor, temperature: float) -> Tensor:
    """T^2 p (log p - log q), [B, C, H, W]."""
    log_q, log_p = F.log_softmax(z / temperature, 1), F.log_softmax(v / temperature, 1)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True)
