"""Train a network with weights and activations rounded to int8, so that it learns to bear the rounding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from kdcourse.deploy.int8 import LARGEST, channel_scales, layers_with_weights
from kdcourse.errors import ArgumentError

_MOMENTUM = 0.05  # of an activation's range, per batch


class RoundedWeight(nn.Module):
    """Round a weight to int8's values, with one scale per output channel; its gradient passes unchanged.

    float32 [O, ...] -> float32 [O, ...]. The straight-through estimator of Bengio et al. 2013,
    https://arxiv.org/abs/1308.3432, as in Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.
    """

    def forward(self, weight: Tensor) -> Tensor:
        scales = channel_scales(weight)
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -LARGEST, LARGEST)


class RoundedActivation(nn.Module):
    """Round an activation to 256 values between its smallest and largest; its gradient passes inside of this range.

    floating point [B, ...] -> the same. The range is the moving average over training batches, and contains 0 (Jacob
    et al. 2018, section 3.1).
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                share = _MOMENTUM if self.high > self.low else 1.0
                self.low.lerp_(values.min().float().clamp(max=0), share)
                self.high.lerp_(values.max().float().clamp(min=0), share)
        if not self.high > self.low:
            return values  # not seen a batch yet
        scale = (self.high - self.low) / 255
        zero = (-128 - self.low / scale).round().clamp(-128, 127).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(values.float(), scale, zero, -128, 127).to(values.dtype)


def make_quantization_aware(model: nn.Module) -> None:
    """Round the weights and inputs of all convolutions and linear layers, in place, in every forward pass from now on.

    Then train as usual: ``distil(student, teacher, data, ...)`` lets the float teacher teach the int8 student. In the
    end call `finish_quantization`. (Jacob et al. 2018, section 3; Krishnamoorthi 2018, https://arxiv.org/abs/1806.08342,
    section 4.)

    Raises:
        ArgumentError: a model without such layers, or one that is quantization-aware already.
    """
    layers = layers_with_weights(model)
    if not layers or any(parametrize.is_parametrized(one) or prune.is_pruned(one) for one in layers.values()):
        raise ArgumentError(
            f"{type(model).__name__} has no convolution or linear layer, is quantization-aware already, or has "
            "masks. Pass a network of ordinary layers, after finish_pruning if it was pruned."
        )
    for layer in layers.values():
        parametrize.register_parametrization(layer, "weight", RoundedWeight())
        layer.add_module("rounded_input", RoundedActivation())
        layer.register_forward_pre_hook(_round_input)
    model.to(next(model.parameters()).device)


def finish_quantization(model: nn.Module) -> None:
    """Turn a quantization-aware network back into an ordinary one, whose weights are rounded to int8's values.

    `kdcourse.deploy.export_onnx_int8` and `kdcourse.deploy.c_header` store exactly these values.

    Raises:
        ArgumentError: the model isn't quantization-aware.
    """
    layers = [layer for layer in layers_with_weights(model).values() if hasattr(layer, "rounded_input")]
    if not layers:
        raise ArgumentError("The model isn't quantization-aware. Call make_quantization_aware first.")
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        del layer.rounded_input
        for number in [number for number, hook in layer._forward_pre_hooks.items() if hook is _round_input]:
            del layer._forward_pre_hooks[number]


def _round_input(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    rounded = layer.rounded_input
    assert isinstance(rounded, RoundedActivation)
    return (rounded(inputs[0]), *inputs[1:])
