"""List the tensors of a stored network, with those of quantized layers unpacked."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from kdcourse.errors import ArgumentError


def check_not_lazy(model: nn.Module) -> None:
    """Raise ArgumentError if lazy layers (``nn.LazyLinear``) have no weights yet, because the model has never run."""
    lazy = [
        name for name, weight in chain(model.named_parameters(), model.named_buffers()) if is_lazy(weight)
    ]
    if lazy:
        raise ArgumentError(
            f"{type(model).__name__} has lazy layers without weights ({', '.join(lazy[:3])}). Train it or load its "
            "weights first; a forward pass of one batch gives it random ones."
        )


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, each once; quantized ones as integers and scales."""
    check_not_lazy(model)
    kept = model.state_dict()
    # named_parameters and named_buffers yield a shared tensor once, state_dict under each of its names.
    stored = {
        name: tensor.detach()
        for name, tensor in chain(model.named_parameters(), model.named_buffers())
        if name in kept
    }
    seen = {
        name
        for named in (model.named_parameters, model.named_buffers)
        for name, _ in named(remove_duplicate=False)
    }
    for name, value in kept.items():
        if name not in seen:
            for place, tensor in enumerate(value if isinstance(value, tuple) else (value,)):
                if isinstance(tensor, Tensor):
                    stored |= unpacked(f"{name}.{place}", tensor.detach())
    return stored


def unpacked(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return a tensor by its name; a quantized one as its integers, scales and zero points.

    Both kinds of quantized tensors are unpacked: those of ``torch.ao``, and tensor subclasses like those of torchao.
    """
    if hasattr(tensor, "__tensor_flatten__"):
        inner, _ = tensor.__tensor_flatten__()
        return {
            key: part
            for each in inner
            for key, part in unpacked(f"{name}.{each}", getattr(tensor, each)).items()
        }
    if not tensor.is_quantized:
        return {name: tensor}
    if tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams):
        scale, zero = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    else:
        scale, zero = torch.tensor(tensor.q_scale()), torch.tensor(tensor.q_zero_point())
    return {name: tensor.int_repr(), f"{name}.scale": scale, f"{name}.zero_point": zero}
