"""Which number format trains fastest on this machine."""

from __future__ import annotations

import statistics
import time
from contextlib import AbstractContextManager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from kdcourse.errors import ArgumentError

Precision = Literal["float32", "bfloat16"]
_WORTH = 1.15  # a format must win by this factor: a closer race is decided by noise


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which forward passes run.

    Raises:
        ArgumentError: a precision other than ``float32`` or ``bfloat16``. (float16 needs loss
            scaling, which bfloat16 spares us.)
    """
    if precision not in ("float32", "bfloat16"):
        raise ArgumentError(f"precision must be float32, bfloat16 or auto; found {precision!r}.")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def measure(
    device: torch.device | str = "cpu",
    model: nn.Module | None = None,
    images: torch.Tensor | None = None,
    repeats: int = 3,
) -> dict[str, float]:
    """Seconds for one forward and backward pass, by precision; lower is better.

    Args:
        device: where to measure.
        model: measured on a copy, so that neither its weights nor its statistics change; left out,
            a small convolution stack stands in.
        images: float32 [B, C, H, W], what the model would see.
        repeats: the median of this many passes counts, after one to warm up.
    """
    device = torch.device(device)
    if model is None or images is None:
        images = torch.zeros(64, 32, 14, 14)
        model = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
    import copy

    state = torch.get_rng_state()
    twin = copy.deepcopy(model).to(device, memory_format=torch.channels_last).train()
    images = images.to(device).contiguous(memory_format=torch.channels_last)
    found: dict[str, float] = {}
    for precision in ("float32", "bfloat16"):
        times = []
        for _ in range(repeats + 1):
            _synchronise(device)
            start = time.perf_counter()
            with autocast(device, precision):
                out = twin(images)
            F.mse_loss(out.float(), torch.zeros_like(out, dtype=torch.float32)).backward()
            _synchronise(device)
            times.append(time.perf_counter() - start)
        found[precision] = statistics.median(times[1:])
    torch.set_rng_state(state)
    return found


def fastest(
    device: torch.device | str = "cpu", model: nn.Module | None = None, images: torch.Tensor | None = None
) -> Precision:
    """``bfloat16`` where that is clearly faster here, else ``float32``."""
    times = measure(device, model, images)
    return "bfloat16" if times["bfloat16"] * _WORTH < times["float32"] else "float32"


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
