"""Answers to matching_logits_gradient."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def by_rows(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    batch, classes = student_logits.shape
    rows = []
    for z, v in zip(student_logits, teacher_logits, strict=True):
        rows.append(((z - z.mean()) - (v - v.mean())) / classes)
    return torch.stack(rows) / batch


def by_autograd(z: Tensor, v: Tensor, temperature: float) -> Tensor:
    z = z.clone().requires_grad_()
    gap = (z - z.mean(1, keepdim=True)) - (v - v.mean(1, keepdim=True))
    (0.5 * gap.square().mean()).backward()
    return z.grad


def by_numpy(z: Tensor, v: Tensor, t: float) -> Tensor:
    gap = z.numpy() - v.numpy()
    return torch.from_numpy((gap - gap.mean(axis=1, keepdims=True)) / gap.size)


def by_matrix(z: Tensor, v: Tensor, t: float) -> Tensor:
    classes = z.shape[1]
    centre = torch.eye(classes) - torch.full((classes, classes), 1 / classes)
    return torch.einsum("bc,cd->bd", z - v, centre) / z.numel()


def in_place(z: Tensor, v: Tensor, t: float) -> Tensor:
    gap = z - v
    gap -= gap.mean(1)[:, None]
    gap /= len(z) * z.size(1)
    return gap


def centred(z: Tensor, v: Tensor) -> Tensor:
    return (z - z.mean(1, keepdim=True)) - (v - v.mean(1, keepdim=True))


def exact(z: Tensor, v: Tensor, t: float, factor: float) -> Tensor:
    return factor * ((z / t).softmax(1) - (v / t).softmax(1)) / len(z)


def changes_student(z: Tensor, v: Tensor, t: float) -> Tensor:
    z -= z.mean(1, keepdim=True)
    return (z - (v - v.mean(1, keepdim=True))) / z.numel()


RIGHT = [
    by_rows,
    by_autograd,
    by_numpy,
    by_matrix,
    in_place,
    lambda z, v, t: (
        F.layer_norm(z - v, z.shape[1:], eps=0) * (z - v).std(1, unbiased=False, keepdim=True) / z.numel()
    ),
]

WRONG = {
    "sides swapped": lambda z, v, t: -centred(z, v) / z.numel(),
    "means left in": lambda z, v, t: (z - v) / z.numel(),
    "student's mean left in": lambda z, v, t: (z - v + v.mean(1, keepdim=True)) / z.numel(),
    "teacher's mean left in": lambda z, v, t: (z - z.mean(1, keepdim=True) - v) / z.numel(),
    "mean over dim 0": lambda z, v, t: (z - z.mean(0) - v + v.mean(0)) / z.numel(),
    "keepdim missing": lambda z, v, t: ((z - z.mean(1)) - (v - v.mean(1))) / z.numel(),
    "one mean for all": lambda z, v, t: (z - z.mean() - v + v.mean()) / z.numel(),
    "mean added": lambda z, v, t: (z - v + (z - v).mean(1, keepdim=True)) / z.numel(),
    "maximum for mean": lambda z, v, t: (
        (z - z.amax(1, keepdim=True) - v + v.amax(1, keepdim=True)) / z.numel()
    ),
    "median for mean": lambda z, v, t: (
        ((z - z.median(1, keepdim=True).values) - (v - v.median(1, keepdim=True).values)) / z.numel()
    ),
    "batch forgotten": lambda z, v, t: centred(z, v) / z.shape[1],
    "classes forgotten": lambda z, v, t: centred(z, v) / len(z),
    "both forgotten": lambda z, v, t: centred(z, v),
    "multiplied by the classes": lambda z, v, t: centred(z, v) * z.shape[1] / len(z),
    "divided by T": lambda z, v, t: centred(z, v) / (t * z.numel()),
    "divided by T squared": lambda z, v, t: centred(z, v) / (t**2 * z.numel()),
    "times T squared": lambda z, v, t: t**2 * centred(z, v) / z.numel(),
    "times T": lambda z, v, t: t * centred(z, v) / z.numel(),
    "exact gradient times T squared": lambda z, v, t: exact(z, v, t, t),
    "exact gradient": lambda z, v, t: exact(z, v, t, 1 / t),
    "exact gradient at T = 100": lambda z, v, t: exact(z, v, 100.0, 100.0),
    "exact gradient at T = 10": lambda z, v, t: exact(z, v, 10.0, 10.0),
    "twice, from the square": lambda z, v, t: 2 * centred(z, v) / z.numel(),
    "squared": lambda z, v, t: centred(z, v).square() / z.numel(),
    "absolute value": lambda z, v, t: centred(z, v).abs() / z.numel(),
    "standardised": lambda z, v, t: (
        (
            (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)
            - (v - v.mean(1, keepdim=True)) / v.std(1, keepdim=True)
        )
        / z.numel()
    ),
    "softmax at T = 1": lambda z, v, t: exact(z, v, 1.0, 1.0),
    "mean over the batch": lambda z, v, t: centred(z, v).mean(0) / z.shape[1],
    "precedence": lambda z, v, t: z - z.mean(1, keepdim=True) - (v - v.mean(1, keepdim=True)) / z.numel(),
    "divided by C squared": lambda z, v, t: centred(z, v) / (len(z) * z.shape[1] ** 2),
    "divided by C - 1": lambda z, v, t: centred(z, v) / (len(z) * (z.shape[1] - 1)),
    "student's logits changed": changes_student,
    "rounded": lambda z, v, t: (centred(z, v) / z.numel()).round(decimals=3),
}

SAYS = {
    "keepdim missing": "keepdim missing",
    "mean over dim 0": "mean over the batch",
    "rounded": "rounded",
    "student's logits changed": "changes student_logits",
}
