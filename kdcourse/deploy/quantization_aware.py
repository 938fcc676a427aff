"""Train a network with weights and activations rounded to int8, so that it learns to bear the rounding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from kdcourse.deploy.int8 import LARGEST, channel_scales, layers_with_weights
from kdcourse.errors import ArgumentError

_MOMENTUM = 0.05  # of an activation's range, per batch


def rounded_weight(weight: Tensor) -> Tensor:
    """Round a weight to int8's values, with one scale per output channel; its gradient passes unchanged.

    float32 [O, ...] -> float32 [O, ...]. The straight-through estimator of Bengio et al. 2013,
    https://arxiv.org/abs/1308.3432, as in Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.
    """
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


class RoundedConv2d(nn.Conv2d):
    """Convolve with weights and inputs rounded to int8; `make_quantization_aware` turns a convolution into one."""

    rounded_input: RoundedActivation

    def forward(self, images: Tensor) -> Tensor:
        return self._conv_forward(self.rounded_input(images), rounded_weight(self.weight), self.bias)


class RoundedLinear(nn.Linear):
    """Multiply weights and inputs rounded to int8; `make_quantization_aware` turns a linear layer into one."""

    rounded_input: RoundedActivation

    def forward(self, values: Tensor) -> Tensor:
        return F.linear(self.rounded_input(values), rounded_weight(self.weight), self.bias)


_ROUNDED: dict[type[nn.Module], Any] = {nn.Conv2d: RoundedConv2d, nn.Linear: RoundedLinear}


def make_quantization_aware(model: nn.Module) -> None:
    """Round the weights and inputs of all convolutions and linear layers, in place, in every forward pass from now on.

    Then train as usual: ``distil(student, teacher, data, ...)`` lets the float teacher teach the int8 student. In the
    end call `finish_quantization`. (Jacob et al. 2018, section 3; Krishnamoorthi 2018,
    https://arxiv.org/abs/1806.08342, section 4.)

    Raises:
        ArgumentError: a model without such layers, with layers of other classes derived from them, one that is
            quantization-aware already, or one with masks of `prune_weights`.
    """
    layers = layers_with_weights(model)
    if not layers or any(type(layer) not in _ROUNDED or prune.is_pruned(layer) for layer in layers.values()):
        raise ArgumentError(
            f"{type(model).__name__} has no convolution or linear layer, is quantization-aware already, or has "
            "masks. Pass a network of ordinary layers, after finish_pruning if it was pruned."
        )
    for layer in layers.values():
        # The layer itself gets another forward pass, so that its parameters and their names stay as they are.
        layer.__class__ = _ROUNDED[type(layer)]
        layer.rounded_input = RoundedActivation().to(layer.weight.device).train(layer.training)


@torch.no_grad()
def finish_quantization(model: nn.Module) -> None:
    """Turn a quantization-aware network back into an ordinary one, whose weights are rounded to int8's values.

    `kdcourse.deploy.export_onnx_int8` and `kdcourse.deploy.c_header` store exactly these values.

    Raises:
        ArgumentError: the model isn't quantization-aware.
    """
    layers = [layer for layer in layers_with_weights(model).values() if type(layer) in _ROUNDED.values()]
    if not layers:
        raise ArgumentError("The model isn't quantization-aware. Call make_quantization_aware first.")
    usual: dict[type[nn.Module], Any] = {rounded: plain for plain, rounded in _ROUNDED.items()}
    for layer in layers:
        layer.weight.copy_(rounded_weight(layer.weight))
        del layer.rounded_input
        layer.__class__ = usual[type(layer)]
