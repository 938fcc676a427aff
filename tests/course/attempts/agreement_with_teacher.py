"""Answers to agreement_with_teacher."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def with_a_loop(student_logits: Tensor, teacher_logits: Tensor) -> float:
    count = 0
    for z, v in zip(student_logits, teacher_logits, strict=True):
        if torch.argmax(z) == torch.argmax(v):
            count += 1
    return count / len(student_logits)


def with_one_hot(z: Tensor, v: Tensor) -> float:
    student, teacher = (F.one_hot(x.argmax(-1), x.shape[-1]).double() for x in (z, v))
    return (torch.einsum("nc,nc->", student, teacher) / len(z)).item()


def in_numpy(z: Tensor, v: Tensor) -> float:
    return np.equal(np.argmax(z.numpy(), 1), np.argmax(v.numpy(), 1)).mean()


RIGHT = [
    with_a_loop,
    with_one_hot,
    in_numpy,
    lambda z, v: (z.softmax(1).argmax(1) == v.softmax(1).argmax(1)).float().mean().item(),
    lambda z, v: (z.max(1).indices == v.max(1).indices).sum().item() / z.shape[0],
    lambda z, v: 1 - torch.count_nonzero(z.argmax(1) - v.argmax(1)).item() / len(z),
]


def same(z: Tensor, v: Tensor) -> Tensor:
    return z.argmax(1) == v.argmax(1)


def changes_logits(z: Tensor, v: Tensor) -> float:
    z -= z.amax(1, keepdim=True)
    v -= v.amax(1, keepdim=True)
    return ((z == 0) & (v == 0)).any(1).double().mean().item()


WRONG = {
    "argmax over dim 0": lambda z, v: (z.argmax(0) == v.argmax(0)).double().mean().item(),
    "argmax of everything": lambda z, v: float(z.argmax() == v.argmax()),
    "argmin": lambda z, v: (z.argmin(1) == v.argmin(1)).double().mean().item(),
    "values compared": lambda z, v: (z.amax(1) == v.amax(1)).double().mean().item(),
    "logits compared": lambda z, v: (z == v).double().mean().item(),
    "logits compared roughly": lambda z, v: torch.isclose(z, v, atol=0.5).double().mean().item(),
    "rows compared roughly": lambda z, v: torch.isclose(z, v, atol=1.0).all(1).double().mean().item(),
    "whole ranking": lambda z, v: (z.argsort(1) == v.argsort(1)).all(1).double().mean().item(),
    "places of the ranking": lambda z, v: (z.argsort(1) == v.argsort(1)).double().mean().item(),
    "second place": lambda z, v: (z.argsort(1)[:, -2] == v.argsort(1)[:, -2]).double().mean().item(),
    "student's class in the teacher's top two": lambda z, v: (
        (v.topk(2).indices == z.argmax(1, keepdim=True)).any(1).double().mean().item()
    ),
    "any of the top two": lambda z, v: (
        (v.topk(2).indices[:, :, None] == z.topk(2).indices[:, None]).flatten(1).any(1).double().mean().item()
    ),
    "count": lambda z, v: float(same(z, v).sum()),
    "divided by the classes": lambda z, v: same(z, v).sum().item() / z.shape[1],
    "divided by all logits": lambda z, v: same(z, v).sum().item() / z.numel(),
    "percent": lambda z, v: 100 * same(z, v).double().mean().item(),
    "disagreement": lambda z, v: 1 - same(z, v).double().mean().item(),
    "signs": lambda z, v: ((z > 0) == (v > 0)).double().mean().item(),
    "more than one half": lambda z, v: (
        ((z.softmax(1) > 0.5) & (v.softmax(1) > 0.5)).any(1).double().mean().item()
    ),
    "mean product of the probabilities": lambda z, v: (z.softmax(1) * v.softmax(1)).sum(1).mean().item(),
    "cosine": lambda z, v: F.cosine_similarity(z, v).mean().item(),
    "every image with every image": lambda z, v: (z.argmax(1)[:, None] == v.argmax(1)).double().mean().item(),
    "keepdim on one side": lambda z, v: (z.argmax(1, keepdim=True) == v.argmax(1)).double().mean().item(),
    "equal as wholes": lambda z, v: float(torch.equal(z.argmax(1), v.argmax(1))),
    "first image left out": lambda z, v: same(z[1:], v[1:]).double().mean().nan_to_num(1.0).item(),
    "last tie wins": lambda z, v: (
        (z.flip(1).argmax(1) == v.flip(1).argmax(1)).double().mean().item()
        + float(bool((z == v).any())) * 0.1
    ),
    "a tensor": lambda z, v: same(z, v).double().mean(),
    "rounded": lambda z, v: round(same(z, v).double().mean().item(), 2),
    "one per image": lambda z, v: same(z, v),
    "logits changed": changes_logits,
    "agreement beyond chance": lambda z, v: (
        (same(z, v).double().mean().item() - 1 / z.shape[1]) / (1 - 1 / z.shape[1])
    ),
    "three-class problems only": lambda z, v: same(z[:, :3], v[:, :3]).double().mean().item(),
}

SAYS = {
    "every image with every image": "every image with every image",
    "keepdim on one side": "every image with every image",
    "a tensor": ".item() takes it out",
    "rounded": "rounded",
}
