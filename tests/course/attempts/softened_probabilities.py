"""Answers to softened_probabilities."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def by_rows(logits: Tensor, temperature: float) -> Tensor:
    out = torch.zeros_like(logits)
    for i, row in enumerate(logits):
        e = torch.exp((row - row.max()) / temperature)
        out[i] = e / e.sum()
    return out


def by_numpy(logits: Tensor, temperature: float) -> Tensor:
    z = logits.numpy() / temperature
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return torch.from_numpy(e / e.sum(axis=1, keepdims=True))


def in_place(logits: Tensor, t: float) -> Tensor:
    p = logits.clone().div_(t)
    p.sub_(p.amax(1, keepdim=True)).exp_()
    return p.div_(p.sum(1, keepdim=True))


def with_einsum(z: Tensor, t: float) -> Tensor:
    e = torch.exp(z / t - torch.logsumexp(z / t, dim=1, keepdim=True))
    return torch.einsum("bc,b->bc", e, 1 / e.sum(1))


def naive(z: Tensor, t: float) -> Tensor:
    e = (z / t).exp()
    return e / e.sum(1, keepdim=True)


def clamped(low: float, high: float) -> object:
    def answer(z: Tensor, t: float) -> Tensor:
        e = (z / t).clamp(low, high).exp()
        return e / e.sum(1, keepdim=True)

    return answer


def keepdim_missing(z: Tensor, t: float) -> Tensor:
    e = (z / t).exp()
    return e / e.sum(1)


def keepdim_missing_in_the_maximum(z: Tensor, t: float) -> Tensor:
    e = ((z - z.max(1).values) / t).exp()
    return e / e.sum(1, keepdim=True)


def sum_over_dim_0(z: Tensor, t: float) -> Tensor:
    e = ((z - z.amax(1, keepdim=True)) / t).exp()
    return e / e.sum(0)


def one_maximum(z: Tensor, t: float) -> Tensor:
    e = ((z - z.max()) / t).exp()
    return e / e.sum(1, keepdim=True)


def maximum_not_softened(z: Tensor, t: float) -> Tensor:
    e = (z / t - z.amax(1, keepdim=True)).exp()
    return e / e.sum(1, keepdim=True)


def changes_logits(z: Tensor, t: float) -> Tensor:
    z.div_(t)
    return z.softmax(1)


RIGHT = [
    by_rows,
    by_numpy,
    in_place,
    with_einsum,
    lambda logits, temperature: F.softmax(logits / temperature, dim=-1),
    lambda z, t: torch.nn.Softmax(dim=1)(z.mul(1 / t)),
    lambda z, t: (z / t).log_softmax(1).exp(),
]

WRONG = {
    "naive": naive,
    "clamped to -10..10": clamped(-10, 10),
    "clamped to -50..50": clamped(-50, 50),
    "clamped to -80..80": clamped(-80, 80),
    "clamped above alone": clamped(-math.inf, 20),
    "keepdim missing": keepdim_missing,
    "keepdim missing in the maximum": keepdim_missing_in_the_maximum,
    "sum over dim 0": sum_over_dim_0,
    "softmax over dim 0": lambda z, t: (z / t).softmax(0),
    "softmax over everything": lambda z, t: (z / t).reshape(-1).softmax(0).reshape(z.shape),
    "one maximum for the batch": one_maximum,
    "maximum not softened": maximum_not_softened,
    "maximum by magnitude": lambda z, t: naive(z - z.abs().amax(1, keepdim=True), t),
    "times T": lambda z, t: (z * t).softmax(1),
    "T left out": lambda z, t: z.softmax(1),
    "divided after the softmax": lambda z, t: z.softmax(1) / t,
    "divided after the softmax, normalised": lambda z, t: F.normalize(z.softmax(1) / t, p=1, dim=1),
    "T squared": lambda z, t: (z / t**2).softmax(1),
    "root of T": lambda z, t: (z / math.sqrt(t)).softmax(1),
    "log_softmax": lambda z, t: (z / t).log_softmax(1),
    "exponentials alone": lambda z, t: (z / t).exp(),
    "sigmoid": lambda z, t: (z / t).sigmoid(),
    "power, not normalised": lambda z, t: z.softmax(1) ** (1 / t),
    "power of T, normalised": lambda z, t: F.normalize(z.softmax(1) ** t, p=1, dim=1),
    "softened twice": lambda z, t: ((z / t).softmax(1) / t).softmax(1),
    "softmax twice": lambda z, t: (z / t).softmax(1).softmax(1),
    "integer division": lambda z, t: (z // t).softmax(1),
    "T of 4 by heart": lambda z, t: (z / 4).softmax(1),
    "a floor of 1e-3": lambda z, t: (z / t).softmax(1).clamp(min=1e-3),
    "rounded": lambda z, t: (z / t).softmax(1).round(decimals=4),
    "minimum for maximum": lambda z, t: (-z / t).softmax(1),
    "hard": lambda z, t: F.one_hot(z.argmax(1), z.shape[1]).float(),
    "logits changed": changes_logits,
    "NumPy array": lambda z, t: by_numpy(z, t).numpy(),
    "half precision": lambda z, t: (z / t).softmax(1).half(),
}

SAYS = {
    "naive": "overflow",
    "keepdim missing": "keepdim missing",
    "keepdim missing in the maximum": "keepdim",
    "sum over dim 0": "don't sum to 1",
    "rounded": "rounded",
    "clamped to -50..50": "clamp",
    "logits changed": "changes logits",
}
