"""Answers to to_whole_numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def exact(values: Tensor, scale: float, zero_point: int, bits: int = 8) -> Tensor:
    steps = torch.round(values / scale) + zero_point
    half = 2 ** (bits - 1)
    return torch.clip(steps, -half, half - 1).char()


def with_loops(values: Tensor, scale: float, zero_point: int, bits: int = 8) -> Tensor:
    half, found = 2 ** (bits - 1), []
    for value in values.flatten().tolist():
        found.append(max(-half, min(half - 1, round(value / scale) + zero_point)))
    return torch.tensor(found, dtype=torch.int8).reshape(values.shape)


def by_distance(values: Tensor, scale: float, zero_point: int, bits: int = 8) -> Tensor:
    every = torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    back = (every - zero_point) * scale
    return every[(values[..., None] - back).abs().argmin(-1)].to(torch.int8)


def with_fake(values: Tensor, scale: float, zero_point: int, bits: int = 8) -> Tensor:
    half = 2 ** (bits - 1)
    near = torch.fake_quantize_per_tensor_affine(values, scale, zero_point, -half, half - 1)
    return (near / scale).round().to(torch.int8) + zero_point


RIGHT = [
    exact,
    with_loops,
    by_distance,
    with_fake,
    lambda v, s, z, n=8: torch.minimum(
        torch.maximum((v / s + z).round(), torch.tensor(-(2.0 ** (n - 1)))),
        torch.tensor(2.0 ** (n - 1) - 1),
    ).to(torch.int8),
    lambda v, s, z, n=8: exact(v, s, z, n).int(),
]


def ends(bits: int) -> tuple[int, int]:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def wrap(steps: Tensor) -> Tensor:
    return torch.from_numpy(steps.numpy().astype(np.int64).astype(np.int8))


WRONG = {
    "no clamp": lambda v, s, z, n=8: wrap((v / s).round() + z),
    "clamp at the top only": lambda v, s, z, n=8: wrap(((v / s).round() + z).clamp(max=ends(n)[1])),
    "clamp at the bottom only": lambda v, s, z, n=8: wrap(((v / s).round() + z).clamp(min=ends(n)[0])),
    "clamp before the zero point": lambda v, s, z, n=8: wrap((v / s).round().clamp(*ends(n)) + z),
    "clamp of the values": lambda v, s, z, n=8: wrap((v.clamp(*ends(n)) / s).round() + z),
    "trunc": lambda v, s, z, n=8: ((v / s).trunc() + z).clamp(*ends(n)).to(torch.int8),
    "floor": lambda v, s, z, n=8: ((v / s).floor() + z).clamp(*ends(n)).to(torch.int8),
    "trunc after the zero point": lambda v, s, z, n=8: (v / s + z).clamp(*ends(n)).to(torch.int8),
    "no zero point": lambda v, s, z, n=8: exact(v, s, 0, n),
    "minus zero point": lambda v, s, z, n=8: exact(v, s, -z, n),
    "zero point before": lambda v, s, z, n=8: exact(v + z, s, 0, n),
    "times": lambda v, s, z, n=8: exact(v, 1 / s, z, n),
    "no scale": lambda v, s, z, n=8: exact(v, 1.0, z, n),
    "always 8 bits": lambda v, s, z, n=8: exact(v, s, z),
    "unsigned": lambda v, s, z, n=8: ((v / s).round() + z).clamp(0, 2**n - 1).to(torch.uint8),
    "symmetric": lambda v, s, z, n=8: exact(v, s, z, n).clamp(min=-ends(n)[1]),
    "float": lambda v, s, z, n=8: exact(v, s, z, n).float(),
    "dequantized": lambda v, s, z, n=8: (exact(v, s, z, n).float() - z) * s,
    "flattened": lambda v, s, z, n=8: exact(v, s, z, n).flatten(),
    "absolute values": lambda v, s, z, n=8: exact(v.abs(), s, z, n),
    "a list": lambda v, s, z, n=8: exact(v, s, z, n).tolist(),
    "one off": lambda v, s, z, n=8: exact(v, s, z + 1, n),
    "own range": lambda v, s, z, n=8: exact(v, float(v.max() - v.min()) / (2**n - 1), z, n),
    "top is 2 ** bits": lambda v, s, z, n=8: ((v / s).round() + z).clamp(-(2**n), 2**n - 1).to(torch.int16),
    "stochastic": lambda v, s, z, n=8: (
        ((v / s + 0.5 * (torch.arange(v.numel()).view_as(v) % 3)).floor() + z).clamp(*ends(n)).to(torch.int8)
    ),
}

SAYS = {"no clamp": "not cut to the range", "floor": "rounded down", "no zero point": "zero point left out"}
