"""Answers to soft_gradient."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def by_autograd(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    z = student_logits.clone().requires_grad_()
    p = F.softmax(teacher_logits / temperature, dim=1)
    F.cross_entropy(z / temperature, p).backward()
    return z.grad


def by_kl(z: Tensor, v: Tensor, t: float) -> Tensor:
    z = z.detach().clone().requires_grad_()
    loss = F.kl_div(F.log_softmax(z / t, 1), F.log_softmax(v / t, 1), reduction="batchmean", log_target=True)
    return torch.autograd.grad(loss, z)[0]


def by_rows(z: Tensor, v: Tensor, t: float) -> Tensor:
    rows = [(a / t).softmax(0) - (b / t).softmax(0) for a, b in zip(z, v, strict=True)]
    return torch.stack(rows) / t / z.shape[0]


def by_numpy(z: Tensor, v: Tensor, t: float) -> Tensor:
    def soft(x: Tensor) -> np.ndarray:
        e = np.exp((x.numpy() - x.numpy().max(1)[:, None]) / t)
        return e / e.sum(1)[:, None]

    return torch.from_numpy((soft(z) - soft(v)) / t / z.shape[0]).float()


def in_place(z: Tensor, v: Tensor, t: float) -> Tensor:
    g = torch.softmax(z / t, -1)
    g -= torch.softmax(v / t, -1)
    g /= t
    return g.div_(g.size(0))


def difference(z: Tensor, v: Tensor, t: float, u: float | None = None, dim: int = 1) -> Tensor:
    return (z / t).softmax(dim) - (v / (u or t)).softmax(dim)


def gradient_of(loss: object) -> object:
    def answer(z: Tensor, v: Tensor, t: float) -> Tensor:
        z = z.clone().requires_grad_()
        return torch.autograd.grad(loss((z / t).log_softmax(1), (v / t).log_softmax(1)), z)[0]

    return answer


def naive(z: Tensor, v: Tensor, t: float) -> Tensor:
    q, p = (z / t).exp(), (v / t).exp()
    return (q / q.sum(1, keepdim=True) - p / p.sum(1, keepdim=True)) / (t * len(z))


def keepdim_missing(z: Tensor, v: Tensor, t: float) -> Tensor:
    q, p = (z / t).exp(), (v / t).exp()
    return (q / q.sum(1) - p / p.sum(1)) / (t * len(z))


def changes_teacher(z: Tensor, v: Tensor, t: float) -> Tensor:
    v /= t
    return ((z / t).softmax(1) - v.softmax(1)) / (t * len(z))


RIGHT = [
    by_autograd,
    by_kl,
    by_rows,
    by_numpy,
    in_place,
    lambda z, v, t: torch.sub((z / t).softmax(1), (v / t).softmax(1)) * (1 / t) * (1 / len(z)),
]

WRONG = {
    "1 / T^2": lambda z, v, t: difference(z, v, t) / (t**2 * len(z)),
    "1 / T^2, no batch mean": lambda z, v, t: difference(z, v, t) / t**2,
    "T for 1 / T": lambda z, v, t: difference(z, v, t) * t / len(z),
    "T squared": lambda z, v, t: difference(z, v, t) * t**2 / len(z),
    "1 / T missing": lambda z, v, t: difference(z, v, t) / len(z),
    "batch mean missing": lambda z, v, t: difference(z, v, t) / t,
    "both missing": difference,
    "divided by the classes": lambda z, v, t: difference(z, v, t) / (t * z.shape[1]),
    "divided by all entries": lambda z, v, t: difference(z, v, t) / (t * z.numel()),
    "p - q": lambda z, v, t: -difference(z, v, t) / (t * len(z)),
    "absolute value": lambda z, v, t: difference(z, v, t).abs() / (t * len(z)),
    "T = 1 on both sides": lambda z, v, t: difference(z, v, 1.0) / (t * len(z)),
    "teacher at T = 1": lambda z, v, t: difference(z, v, t, 1.0) / (t * len(z)),
    "student at T = 1": lambda z, v, t: difference(z, v, 1.0, t) / (t * len(z)),
    "hard targets": lambda z, v, t: ((z / t).softmax(1) - F.one_hot(v.argmax(1), v.shape[1])) / (t * len(z)),
    "softmax over dim 0": lambda z, v, t: difference(z, v, t, dim=0) / (t * len(z)),
    "logits": lambda z, v, t: (z - v) / (t * len(z)),
    "softened logits": lambda z, v, t: (z - v) / (t**2 * len(z)),
    "log-probabilities": lambda z, v, t: ((z / t).log_softmax(1) - (v / t).log_softmax(1)) / (t * len(z)),
    "squared difference's gradient": gradient_of(lambda q, p: (q.exp() - p.exp()).square().sum(1).mean()),
    "reverse KL": gradient_of(lambda q, p: (q.exp() * (q - p)).sum(1).mean()),
    "sum of the batch by autograd": gradient_of(lambda q, p: -(p.exp() * q).sum()),
    "mean over the classes by autograd": gradient_of(lambda q, p: -(p.exp() * q).mean()),
    "the loss itself": lambda z, v, t: -((v / t).softmax(1) * (z / t).log_softmax(1)).sum(1).mean(),
    "mean gradient of the batch": lambda z, v, t: (difference(z, v, t) / t).mean(0),
    "naive": naive,
    "keepdim missing": keepdim_missing,
    "teacher's logits changed": changes_teacher,
    "rounded": lambda z, v, t: (difference(z, v, t) / (t * len(z))).round(decimals=3),
    "rounded to 2 places": lambda z, v, t: (difference(z, v, t) / (t * len(z))).round(decimals=2),
    "precedence": lambda z, v, t: (z / t).softmax(1) - (v / t).softmax(1) / (t * len(z)),
    "divided by T, times B": lambda z, v, t: difference(z, v, t) / t * len(z),
    "clamped logits": lambda z, v, t: difference(z.clamp(-5, 5), v.clamp(-5, 5), t) / (t * len(z)),
}

SAYS = {
    "1 / T^2": "T squared",
    "reverse KL": "reverse KL",
    "rounded": "rounded",
    "rounded to 2 places": "rounded",
    "keepdim missing": "keepdim",
    "teacher's logits changed": "changes teacher_logits",
}
