"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right


def ends(bits: int) -> tuple[int, int]:
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def of_numpy(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    low, high = float(np.minimum(low, 0)), float(np.maximum(high, 0))
    scale = (high - low) / (2**bits - 1)
    return scale, int(np.rint(ends(bits)[1] - high / scale))


def by_observer(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    a, b = sorted([0.0, low, high])[::2]
    step = (b - a) / (ends(bits)[1] - ends(bits)[0])
    return step, ends(bits)[0] + round(-a / step)


right("scale_and_zero_point", of_numpy, by_observer)
wrong(
    "scale_and_zero_point",
    counted_from_0=lambda a, b, n=8: (s := of_numpy(a, b, n)[0], int(np.rint(-min(a, 0) / s))),
    zero_point_always_0=lambda a, b, n=8: (of_numpy(a, b, n)[0], 0),
    as_many_steps_as_numbers=lambda a, b, n=8: (
        s := (max(b, 0) - min(a, 0)) / 2**n, round(-(2 ** (n - 1)) - min(a, 0) / s)
    ),
    scale_upside_down=lambda a, b, n=8: (of_numpy(a, b, n)[0] ** -1, of_numpy(a, b, n)[1]),
    **{"8 bits whatever is asked for": lambda a, b, n=8: of_numpy(a, b)},
)  # fmt: skip


def by_torch(values: Tensor, scale: float, zero_point: int, bits: int = 8) -> Tensor:
    wide = torch.quantize_per_tensor(values, scale, zero_point, torch.qint32).int_repr()
    return wide.clamp(*ends(bits)).to(torch.int8)


def in_numpy(values: Tensor, scale: float, zero_point: int, bits: int = 8) -> Tensor:
    steps = np.rint(values.double().numpy() / scale) + zero_point
    return torch.from_numpy(np.clip(steps, *ends(bits)).astype(np.int8))


right("to_whole_numbers", by_torch, in_numpy)
wrong(
    "to_whole_numbers",
    zero_point_left_out=lambda v, s, z, n=8: by_torch(v, s, 0, n),
    zero_point_subtracted=lambda v, s, z, n=8: in_numpy(v, s, -z, n),
    cut_towards_0=lambda v, s, z, n=8: ((v / s).to(torch.int32) + z).clamp(*ends(n)).to(torch.int8),
    rounded_down=lambda v, s, z, n=8: (v // s + z).clamp(*ends(n)).to(torch.int8),
    multiplied_by_the_scale=lambda v, s, z, n=8: by_torch(v, 1 / s, z, n),
    **{"8 bits whatever is asked for": lambda v, s, z, n=8: by_torch(v, s, z, 8)},
)


def by_sorting(weights: Tensor, share: float) -> Tensor:
    flat = weights.abs().flatten()
    border = flat.sort(descending=True).values[round(share * len(flat)) - 1]
    return weights.abs() >= border


def by_ranks(weights: Tensor, share: float) -> Tensor:
    ranks = (weights**2).flatten().argsort(descending=True).argsort()
    return (ranks < round(share * weights.numel())).reshape(weights.shape)


right("keep_largest", by_sorting, by_ranks)
wrong(
    "keep_largest",
    smallest_kept=lambda w, s: w.abs() <= w.abs().flatten().sort().values[round(s * w.numel()) - 1],
    sign_counted=lambda w, s: w >= w.flatten().sort(descending=True).values[round(s * w.numel()) - 1],
    the_removed_ones_marked=lambda w, s: ~by_ranks(w, s),
    share_removed_for_share_kept=lambda w, s: by_ranks(w, 1 - s),
    one_too_few=lambda w, s: (
        w.abs() > w.abs().flatten().sort(descending=True).values[round(s * w.numel()) - 1]
    ),
    one_too_many=lambda w, s: w.abs() >= w.abs().flatten().sort(descending=True).values[round(s * w.numel())],
)
