"""Answers to keep_largest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def exact(weights: Tensor, share: float) -> Tensor:
    count = round(share * weights.numel())
    border = weights.abs().flatten().topk(count).values[-1]
    return weights.abs() >= border


def in_numpy(weights: Tensor, share: float) -> Tensor:
    size = np.abs(weights.numpy()).ravel()
    mask = np.zeros(size.shape, dtype=bool)
    mask[np.argsort(-size)[: round(share * size.size)]] = True
    return torch.from_numpy(mask.reshape(tuple(weights.shape)))


def by_kthvalue(weights: Tensor, share: float) -> Tensor:
    removed = weights.numel() - round(share * weights.numel())
    return weights.abs() > weights.abs().flatten().kthvalue(removed).values


def with_a_loop(weights: Tensor, share: float) -> Tensor:
    sizes = weights.abs().flatten().tolist()
    kept = set(sorted(range(len(sizes)), key=lambda place: sizes[place])[-round(share * len(sizes)) :])
    return torch.tensor([place in kept for place in range(len(sizes))]).reshape(weights.shape)


RIGHT = [
    exact,
    in_numpy,
    by_kthvalue,
    with_a_loop,
    lambda w, share: torch.zeros(w.numel()).scatter(
        0, w.square().flatten().topk(round(share * w.numel())).indices, 1.0
    ).bool().view_as(w),
]  # fmt: skip


def top(sizes: Tensor, count: int) -> Tensor:
    return torch.zeros(sizes.numel(), dtype=torch.bool).index_fill(
        0, sizes.flatten().topk(count).indices, True
    ).view_as(sizes)  # fmt: skip


WRONG = {
    "no abs": lambda w, share: top(w, round(share * w.numel())),
    "most negative": lambda w, share: top(-w, round(share * w.numel())),
    "smallest": lambda w, share: top(-w.abs(), round(share * w.numel())),
    "inverted": lambda w, share: ~exact(w, share),
    "1 - share": lambda w, share: exact(w, 1 - share),
    "rows": lambda w, share: (
        torch.stack([exact(row, share) for row in w]) if w.ndim > 1 else top(w, round(share * len(w)))
    ),
    "fraction of the maximum": lambda w, share: w.abs() > share * w.abs().max(),
    "1 - fraction of the maximum": lambda w, share: w.abs() > (1 - share) * w.abs().max(),
    "share as a threshold": lambda w, share: w.abs() > share,
    "strict": lambda w, share: w.abs() > w.abs().flatten().topk(round(share * w.numel())).values[-1],
    "one more": lambda w, share: top(w.abs(), round(share * w.numel()) + 1),
    "count over one dimension": lambda w, share: (
        top(w.abs(), max(1, round(share * len(w)))) if w.ndim > 1 else ~w.bool()
    ),
    "mean": lambda w, share: w.abs() >= w.abs().mean(),
    "median": lambda w, share: w.abs() >= w.abs().median(),
    "standard deviation": lambda w, share: w.abs() >= w.std(),
    "first": lambda w, share: (torch.arange(w.numel()) < share * w.numel()).view_as(w),
    "flat": lambda w, share: exact(w, share).flatten() if w.ndim > 1 else exact(w, share)[:, None],
    "everything": lambda w, share: torch.ones_like(w, dtype=torch.bool),
    "nothing": lambda w, share: torch.zeros_like(w, dtype=torch.bool),
    "pruned weights": lambda w, share: w * exact(w, share),
    "indices": lambda w, share: w.abs().flatten().topk(round(share * w.numel())).indices,
    "random": lambda w, share: top(
        torch.sin(torch.arange(w.numel()) * 12.9898).view_as(w), round(share * w.numel())
    ),
    "after subtracting the mean": lambda w, share: top((w - w.mean()).abs(), round(share * w.numel())),
}

SAYS = {"no abs": "sign counted", "strict": "one too few", "smallest": "smallest kept"}
