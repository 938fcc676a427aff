"""Choose the number format of a training, and measure what formats cost here."""

from __future__ import annotations

import copy
import os
import statistics
import time
from contextlib import AbstractContextManager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from kdcourse.errors import ArgumentError
from kdcourse.models.layout import arrange_kernels, arranged

Precision = Literal["float32", "bfloat16"]
FORCED = "KDCOURSE_PRECISION"  # environment variable


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which forward passes run.

    ``float64`` is no autocast: model and images must be float64 themselves, as `fit` sees to.

    Raises:
        ArgumentError: a precision other than ``float32``, ``bfloat16`` or ``float64``. (float16 needs
            loss scaling, which bfloat16 spares us.)
    """
    check_precision(precision)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def check_precision(precision: str, *, auto: bool = False) -> None:
    """Raise ArgumentError unless ``precision`` is the name of one, or ``auto`` where that is allowed."""
    if precision not in ("float32", "bfloat16", "float64") and not (auto and precision == "auto"):
        raise ArgumentError(
            f"precision must be one of float32, bfloat16, float64 or, in training, auto; found {precision!r}."
        )


def measure(
    device: torch.device | str = "cpu",
    model: nn.Module | None = None,
    images: torch.Tensor | None = None,
    repeats: int = 3,
) -> dict[str, float]:
    """Return the seconds that a forward and backward pass takes, by precision; nothing is chosen by it.

    Args:
        device: where to measure.
        model: measured on a copy, so that neither its weights nor its statistics change; left out,
            a small convolution stack stands in.
        images: float32, usually [B, C, H, W]: what the model would see.
        repeats: the median of this many passes counts, after one to warm up; a format that took three
            times as long as the best at its first is not tried again.

    Raises:
        ArgumentError: a model without images, or images without a model.
    """
    device = torch.device(device)
    if (model is None) != (images is None):
        raise ArgumentError("measure needs both model and images, or neither; found one of the two.")
    if model is None or images is None:
        images = torch.zeros(64, 32, 14, 14)
        model = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
    twin, images = copy.deepcopy(model).to(device).train(), images.to(device)
    arrange_kernels(twin, images)
    images = arranged(twin, images)
    found: dict[str, float] = {}
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for precision in ("float32", "bfloat16"):
            _pass(twin, images, precision)
            times: list[float] = []
            while len(times) < repeats and not (
                times and times[0] > 3 * min(found.values(), default=times[0])
            ):
                times.append(_pass(twin, images, precision))
            found[precision] = statistics.median(times)
    return found


def _pass(model: nn.Module, images: torch.Tensor, precision: str) -> float:
    """Return the seconds that one forward and backward pass takes."""
    _synchronise(images.device)
    start = time.perf_counter()
    with autocast(images.device, precision):
        out = model(images)
    F.mse_loss(out.float(), torch.zeros_like(out, dtype=torch.float32)).backward()
    _synchronise(images.device)
    return time.perf_counter() - start


def usual_precision(device: torch.device | str = "cpu") -> Precision:
    """Return the number format that ``precision="auto"`` stands for on a device: the same in every run.

    - ``bfloat16`` where the processor multiplies matrices in it by units of their own: CPUs with Intel AMX (Xeon of
      the fourth generation, Sapphire Rapids, and later), NVIDIA GPUs from compute capability 8.0 (Ampere) on.
    - ``float32`` everywhere else: other x86 CPUs, also those with AVX512-BF16 alone, ARM CPUs, Apple GPUs.

    It depends on neither the network nor the load of the machine, so all models of a comparison are trained alike.
    The environment variable ``KDCOURSE_PRECISION`` decides instead where it is set, so that a run, or all
    lessons, can be tried as on another processor.

    Raises:
        ArgumentError: ``KDCOURSE_PRECISION`` names another format.
    """
    forced = os.environ.get(FORCED, "")
    if forced == "float32":
        return "float32"
    if forced == "bfloat16":
        return "bfloat16"
    if forced:
        raise ArgumentError(f"{FORCED} must be float32 or bfloat16, or not set; found {forced!r}.")
    return "bfloat16" if _has_bfloat16_units(torch.device(device)) else "float32"


def _has_bfloat16_units(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # No public function tells; without this one, as in a future PyTorch, float32 is right everywhere.
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return device.type == "cpu" and bool(amx())


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
