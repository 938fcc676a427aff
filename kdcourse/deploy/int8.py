"""Round weights to int8, with one scale per output channel."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

LARGEST = 127  # of int8's values: -128 is left out, so that the scale is the same on both sides of 0


def channel_scales(weight: Tensor) -> Tensor:
    """Return the scale of each output channel, largest absolute value / 127: float [O, ...] -> float [O].

    A channel of zeros has scale 1. Symmetric, per channel: Krishnamoorthi 2018, sections 2.2 and 3,
    https://arxiv.org/abs/1806.08342. BatchNorm multiplies a channel's weights and their scale alike, so the rounded
    values are the same before and after it is folded.
    """
    largest = weight.detach().flatten(1).abs().amax(1)
    return torch.where(largest > 0, largest / LARGEST, torch.ones_like(largest))


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 values and the scale of each output channel: float [O, ...] -> int8 [O, ...], float [O]."""
    scales = channel_scales(weight)
    steps = weight.detach() / scales.view(-1, *[1] * (weight.ndim - 1))
    return steps.round().clamp(-LARGEST, LARGEST).to(torch.int8), scales


def layers_with_weights(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the convolutions and linear layers of a model by name, in the order of the model."""
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}


@torch.no_grad()
def with_rounded_weights(model: nn.Module) -> nn.Module:
    """Return a copy of a model in which the weights of convolutions and linear layers are rounded to int8's values.

    They are stored in their own type; the copy answers as a runtime does that multiplies int8 weights by floating
    activations. Biases and BatchNorm stay as they are.
    """
    twin = copy.deepcopy(model)
    for layer in layers_with_weights(twin).values():
        steps, scales = quantized(layer.weight)
        layer.weight.copy_(steps * scales.view(-1, *[1] * (layer.weight.ndim - 1)))
    return twin
