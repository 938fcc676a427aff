"""Answers to entropy_nats."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def by_loops(probabilities: Tensor) -> Tensor:
    found = []
    for row in probabilities.tolist():
        found.append(-sum(p * math.log(p) for p in row if p > 0))
    return torch.tensor(found)


def by_numpy(p: Tensor) -> Tensor:
    q = p.numpy()
    logs = np.log(q, out=np.zeros_like(q), where=q > 0)
    return torch.from_numpy(-(q * logs).sum(1))


def masked(p: Tensor) -> Tensor:
    logs = p.log()
    logs[p == 0] = 0
    return -torch.einsum("bc,bc->b", p, logs)


def plain(p: Tensor) -> Tensor:
    return -(p * p.log()).sum(1)


def changes_probabilities(p: Tensor) -> Tensor:
    p[p == 0] = 1
    return -(p * p.log()).sum(1)


RIGHT = [
    by_loops,
    by_numpy,
    masked,
    lambda p: torch.special.entr(p).sum(dim=1),
    lambda p: -torch.xlogy(p, p).sum(-1),
    lambda p: -(p * p.log()).nan_to_num(0.0).sum(1),
    lambda p: -torch.sum(p * torch.log(p + (p == 0)), axis=1),
    lambda p: -(p * p.clamp(min=1e-12).log()).sum(1),
]

WRONG = {
    "0 log 0": plain,
    "clamp(min=0.01)": lambda p: -(p * p.clamp(min=0.01).log()).sum(1),
    "clamp(min=0.001)": lambda p: -(p * p.clamp(min=1e-3).log()).sum(1),
    "clamp(min=1e-4)": lambda p: -(p * p.clamp(min=1e-4).log()).sum(1),
    "clamp(min=0.01) on both": lambda p: -(p.clamp(min=0.01) * p.clamp(min=0.01).log()).sum(1),
    "1e-3 added": lambda p: -(p * (p + 1e-3).log()).sum(1),
    "1e-4 added": lambda p: -(p * (p + 1e-4).log()).sum(1),
    "1 added": lambda p: -(p * p.log1p()).sum(1),
    "small probabilities left out": lambda p: -torch.where(p > 0.01, p * p.log(), 0.0).sum(1),
    "row with a 0 lost": lambda p: plain(p).nan_to_num(0.0),
    "large number for the NaN": lambda p: -(p * p.log().nan_to_num(neginf=-1e9)).mean(1),
    "base 2": lambda p: -(p * (p + (p == 0)).log2()).sum(1),
    "base 10": lambda p: torch.special.entr(p).sum(1) / math.log(10),
    "no sign": lambda p: torch.xlogy(p, p).sum(1),
    "absolute value per batch": lambda p: torch.special.entr(p).sum().abs().expand(len(p)),
    "mean over the classes": lambda p: torch.special.entr(p).mean(1),
    "sum over dim 0": lambda p: torch.special.entr(p).sum(0),
    "one number": lambda p: torch.special.entr(p).sum(),
    "mean over the batch": lambda p: torch.special.entr(p).sum(1).mean(),
    "keepdim left": lambda p: torch.special.entr(p).sum(1, keepdim=True),
    "p left out": lambda p: -torch.where(p > 0, p, 1.0).log().sum(1),
    "softmax again": lambda p: torch.special.entr(p.softmax(1)).sum(1),
    "log_softmax of probabilities": lambda p: -(p * p.log_softmax(1)).sum(1),
    "normalised by log C": lambda p: torch.special.entr(p).sum(1) / math.log(p.shape[1]),
    "perplexity": lambda p: torch.special.entr(p).sum(1).exp(),
    "log of the largest": lambda p: -p.amax(1).log(),
    "Gini": lambda p: 1 - p.square().sum(1),
    "KL from uniform": lambda p: math.log(p.shape[1]) - torch.special.entr(p).sum(1),
    "logarithm of 0 taken as 1": lambda p: -(p * torch.where(p > 0, p.log(), 1.0)).sum(1) + (p == 0).sum(1),
    "probabilities changed": changes_probabilities,
    "rounded": lambda p: torch.special.entr(p).sum(1).round(decimals=3),
    "binary entropy": lambda p: (torch.special.entr(p) + torch.special.entr(1 - p)).sum(1),
    "three classes": lambda p: torch.special.entr(p[:, :3]).sum(1),
    "cross-entropy with the best class": lambda p: F.nll_loss(
        p.clamp(min=1e-9).log(), p.argmax(1), reduction="none"
    ),
}

SAYS = {
    "0 log 0": "0 log 0",
    "rounded": "rounded",
    "clamp(min=0.01)": "clamp",
    "probabilities changed": "changes probab",
}
