"""Answers to mean_of_logits."""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
from torch import Tensor


def adding_up(member_logits: Tensor) -> Tensor:
    total = torch.zeros_like(member_logits[0])
    for logits in member_logits:
        total += logits
    return total / len(member_logits)


def running_mean(z: Tensor) -> Tensor:
    mean = z[0].clone()
    for n in range(1, z.shape[0]):
        mean += (z[n] - mean) / (n + 1)
    return mean


def changes_members(z: Tensor) -> Tensor:
    z[0] = z.mean(0)
    return z[0]


def last_overwrites(z: Tensor) -> Tensor:
    for member in z:
        total = member / len(z)
    return total


def pairwise_halves(z: Tensor) -> Tensor:
    """Average the average so far with the next member."""
    return reduce(lambda a, b: (a + b) / 2, z)


RIGHT = [
    adding_up,
    running_mean,
    lambda z: z.sum(0) / z.size(0),
    lambda member_logits: torch.einsum("mbc->bc", member_logits) / member_logits.shape[0],
    lambda z: torch.stack(list(z), dim=-1).mean(-1),
    lambda z: torch.from_numpy(np.mean(z.numpy(), axis=0)),
    lambda z: torch.mean(z, axis=0),
]

WRONG = {
    "sum": lambda z: z.sum(0),
    "mean over the images": lambda z: z.mean(1),
    "mean over the classes": lambda z: z.mean(-1),
    "mean of everything": lambda z: z.mean(),
    "axis kept": lambda z: z.mean(0, keepdim=True),
    "softmax first": lambda z: z.softmax(-1).mean(0),
    "softmax last": lambda z: z.mean(0).softmax(-1),
    "log of the mean probabilities": lambda z: z.softmax(-1).mean(0).log(),
    "log-probabilities averaged": lambda z: z.log_softmax(-1).mean(0),
    "log_softmax at the end": lambda z: z.mean(0).log_softmax(-1),
    "first member": lambda z: z[0],
    "last member": lambda z: z[-1],
    "maximum": lambda z: z.amax(0),
    "median": lambda z: z.median(0).values,
    "divided by the images": lambda z: z.sum(0) / z.shape[1],
    "divided by the classes": lambda z: z.sum(0) / z.shape[2],
    "divided by 3": lambda z: z.sum(0) / 3,
    "one member left out": lambda z: z[1:].mean(0) if len(z) > 1 else z[0],
    "divided by one member fewer": lambda z: z.sum(0) / max(1, len(z) - 1),
    "repeated halves": pairwise_halves,
    "only the last member's share": last_overwrites,
    "geometric mean": lambda z: z.abs().log().mean(0).exp() * z[0].sign(),
    "centred": lambda z: z.mean(0) - z.mean(0).mean(-1, keepdim=True),
    "clamped to -10..10": lambda z: z.clamp(-10, 10).mean(0),
    "clamped to -100..100": lambda z: z.clamp(-100, 100).mean(0),
    "reshaped to the wrong axes": lambda z: z.reshape(z.shape[1], z.shape[0], -1).mean(1),
    "transposed": lambda z: z.mean(0).T,
    "predictions": lambda z: z.mean(0).argmax(-1),
    "rounded": lambda z: z.mean(0).round(decimals=2),
    "members changed": changes_members,
    "a list": lambda z: z.mean(0).tolist(),
    "half precision": lambda z: z.half().mean(0),
}

SAYS = {"rounded": "rounded", "members changed": "changes member_logits", "a list": "torch.as_tensor"}
