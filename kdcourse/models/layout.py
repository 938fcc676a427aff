"""Decide how images and kernels lie in memory for a network: channels last where that suits it, else channels first."""

from __future__ import annotations

import copy
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from kdcourse.models.mode import evaluating
from kdcourse.models.preprocessed import Preprocessed

_Case = tuple[
    torch.Size, torch.device, bool
]  # images' shape without the batch, their device, training or not
_found: WeakKeyDictionary[nn.Module, dict[_Case, bool]] = WeakKeyDictionary()


def suits_channels_last(network: nn.Module, images: Tensor) -> bool:
    """Return whether a network works on images and kernels that lie channels last, and answers the same.

    Convolutions take about half the time so, but ``x.view(x.size(0), -1)``, which many networks hold, raises an error
    there. Networks of this package are known to work. Any other, also one inside a `Preprocessed`, is tried once per
    image shape, device and mode: a copy gets two images in both layouts. One that can't be copied keeps PyTorch's
    usual layout.

    Args:
        network: is left as it is; a compiled or wrapped one is judged by what is inside.
        images: floating point [B, C, H, W], of which the first two are tried.
    """
    network = unwrapped(network)
    if type(network).__module__.startswith("kdcourse.") and not isinstance(network, Preprocessed):
        return True
    case = (images.shape[1:], images.device, network.training)
    known = _found.setdefault(network, {})
    if case not in known:
        known[case] = _tried(network, images[:2].detach())
    return known[case]


def arranged(network: nn.Module, images: Tensor) -> Tensor:
    """Return ``images`` [B, C, H, W] as they should lie in memory for ``network``; anything else as it is."""
    if images.ndim != 4 or torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return images
    last = suits_channels_last(network, images)
    return images.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def arrange_kernels(network: nn.Module, images: Tensor) -> None:
    """Lay a network's kernels out for images such as these, in place; the values stay."""
    if images.ndim == 4 and suits_channels_last(network, images):
        network.to(memory_format=torch.channels_last)


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside ``torch.compile``'s or a data-parallel wrapper, which may hold one another."""
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif isinstance(getattr(network, "_orig_mod", None), nn.Module):
            network = cast(nn.Module, network._orig_mod)
        else:
            return network


def _tried(network: nn.Module, images: Tensor) -> bool:
    devices = [images.device] if images.device.type == "cuda" else []
    try:
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.random.fork_rng(devices),
            torch.autocast(images.device.type, enabled=False),
        ):
            twin = copy.deepcopy(network)
            with evaluating(twin):
                usual = _answer(twin, images, torch.contiguous_format)
                twin.to(memory_format=torch.channels_last)
                other = _answer(twin, images, torch.channels_last)
            if network.training:
                _answer(twin, images, torch.channels_last)
    except (
        Exception
    ):  # whatever it is, the network's own call will raise it where it concerns the usual layout
        return False
    return isinstance(usual, Tensor) and isinstance(other, Tensor) and _same(usual, other)


def _answer(network: nn.Module, images: Tensor, layout: torch.memory_format) -> object:
    torch.manual_seed(0)
    return network(images.clone(memory_format=layout))


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.numel() == 0:
        return False
    precise = one.dtype in (torch.float32, torch.float64)
    one, other = one.double().cpu(), other.double().cpu()
    size = float(one.nan_to_num(posinf=0, neginf=0).abs().max())
    return torch.allclose(
        one, other, rtol=0, atol=(1e-3 if precise else 0.05) * (size + 1e-6), equal_nan=True
    )
