"""Answers to mean_of_probabilities."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def member_by_member(member_logits: Tensor) -> Tensor:
    found = []
    for logits in member_logits:
        found.append(F.softmax(logits, dim=1))
    return torch.stack(found).mean(dim=0)


def by_exponentials(z: Tensor) -> Tensor:
    e = (z - z.max(dim=-1, keepdim=True).values).exp()
    p = e / e.sum(-1, keepdim=True)
    return p.sum(0) / p.shape[0]


def in_log_space(z: Tensor) -> Tensor:
    return (z.log_softmax(2).logsumexp(0) - np.log(len(z))).exp()


def scaled(z: Tensor) -> Tensor:
    e = z.exp()
    return (e / e.sum(2)[:, :, None]).mean(0)


def no_keepdim(z: Tensor) -> Tensor:
    e = (z - z.amax(2, keepdim=True)).exp()
    return (e / e.sum(2)).mean(0)


def pooled_exponentials(z: Tensor) -> Tensor:
    e = (z - z.amax(2, keepdim=True)).exp()
    return e.sum(0) / e.sum((0, 2))[:, None]


def changes_members(z: Tensor) -> Tensor:
    z -= z.amax(2, keepdim=True)
    return z.softmax(2).mean(0)


RIGHT = [
    member_by_member,
    by_exponentials,
    in_log_space,
    lambda z: torch.softmax(z, -1).mean(0),
    lambda z: torch.einsum("mbc,m->bc", z.softmax(2), torch.full((len(z),), 1 / len(z))),
    lambda z: z.log_softmax(dim=2).exp().mean(dim=0),
    lambda z: sum(member.softmax(-1) for member in z) / len(z),
]

WRONG = {
    "softmax of the mean logits": lambda z: z.mean(0).softmax(1),
    "softmax over the members": lambda z: z.softmax(0).mean(0),
    "softmax over the images": lambda z: z.softmax(1).mean(0),
    "softmax over everything": lambda z: z.flatten().softmax(0).view_as(z).mean(0),
    "softmax over each member's whole table": lambda z: z.flatten(1).softmax(1).view_as(z).mean(0),
    "no softmax": lambda z: z.mean(0),
    "sum": lambda z: z.softmax(2).sum(0),
    "mean over the images": lambda z: z.softmax(2).mean(1),
    "mean over the classes": lambda z: z.softmax(2).mean(2),
    "maximum of the members": lambda z: z.softmax(2).amax(0),
    "maximum, normalised": lambda z: F.normalize(z.softmax(2).amax(0), p=1, dim=1),
    "median": lambda z: z.softmax(2).median(0).values,
    "product": lambda z: z.softmax(2).prod(0),
    "product, normalised": lambda z: F.normalize(z.softmax(2).prod(0), p=1, dim=1),
    "geometric mean": lambda z: z.log_softmax(2).mean(0).exp(),
    "log at the end": lambda z: z.softmax(2).mean(0).log(),
    "softmax twice": lambda z: z.softmax(2).mean(0).softmax(1),
    "log_softmax averaged": lambda z: z.log_softmax(2).mean(0),
    "votes": lambda z: F.one_hot(z.argmax(2), z.shape[2]).float().mean(0),
    "first member": lambda z: z[0].softmax(1),
    "sigmoid": lambda z: z.sigmoid().mean(0),
    "sigmoid, normalised": lambda z: F.normalize(z.sigmoid(), p=1, dim=2).mean(0),
    "naive exponentials": scaled,
    "keepdim missing": no_keepdim,
    "members weighted by their exponentials": pooled_exponentials,
    "clamped to -10..10": lambda z: z.clamp(-10, 10).softmax(2).mean(0),
    "clamped at 50": lambda z: z.clamp(max=50).softmax(2).mean(0),
    "members changed": changes_members,
    "rounded": lambda z: z.softmax(2).mean(0).round(decimals=3),
    "axis kept": lambda z: z.softmax(2).mean(0, keepdim=True),
    "T = 2": lambda z: (z / 2).softmax(2).mean(0),
    "divided by 3": lambda z: z.softmax(2).sum(0) / 3,
}

SAYS = {"keepdim missing": "keepdim", "rounded": "rounded", "naive exponentials": "overflow"}
