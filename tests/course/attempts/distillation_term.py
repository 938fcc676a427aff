"""Answers to distillation_term."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def by_rows(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    losses = []
    for z, v in zip(student_logits, teacher_logits, strict=True):
        log_q, log_p = torch.log_softmax(z / temperature, 0), torch.log_softmax(v / temperature, 0)
        losses.append(torch.sum(log_p.exp() * (log_p - log_q)))
    return temperature**2 * sum(losses) / len(losses)


def by_einsum(z: Tensor, v: Tensor, t: float) -> Tensor:
    log_q, log_p = (z / t).log_softmax(1), (v / t).log_softmax(1)
    return t * t * torch.einsum("bc,bc->", log_p.exp(), log_p - log_q) / z.shape[0]


def cross_entropy_minus_entropy(z: Tensor, v: Tensor, t: float) -> Tensor:
    p = F.softmax(v / t, dim=1)
    return t**2 * (F.cross_entropy(z / t, p) - torch.special.entr(p).sum(1).mean())


def by_module(z: Tensor, v: Tensor, t: float) -> Tensor:
    loss = nn.KLDivLoss(reduction="batchmean", log_target=True)
    return loss(F.log_softmax(z / t, -1), F.log_softmax(v / t, -1).detach()) * t**2


def in_place(z: Tensor, v: Tensor, t: float) -> Tensor:
    gap = (v / t).log_softmax(1)
    p = gap.exp()
    gap = gap - (z / t).log_softmax(1)
    gap *= p
    return gap.sum(1).mean().mul(t).mul(t)


def logs(x: Tensor, t: float, dim: int = 1) -> Tensor:
    return (x / t).log_softmax(dim)


def kl(z: Tensor, v: Tensor, t: float, u: float | None = None, dim: int = 1) -> Tensor:
    return F.kl_div(logs(z, t, dim), logs(v, u or t, dim), reduction="batchmean", log_target=True)


def keepdim_missing(z: Tensor, v: Tensor, t: float) -> Tensor:
    q, p = (z / t).exp(), (v / t).exp()
    q, p = q / q.sum(1), p / p.sum(1)
    return t**2 * (p * (p.log() - q.log())).sum(1).mean()


def by_probabilities(z: Tensor, v: Tensor, t: float, floor: float = 0.0) -> Tensor:
    q, p = (z / t).softmax(1), (v / t).softmax(1)
    return t**2 * (p * ((p + floor) / (q + floor)).log()).sum(1).mean()


def changes_teacher(z: Tensor, v: Tensor, t: float) -> Tensor:
    v /= t
    return t**2 * F.kl_div(logs(z, t), v.log_softmax(1), reduction="batchmean", log_target=True)


RIGHT = [
    by_rows,
    by_einsum,
    cross_entropy_minus_entropy,
    by_module,
    in_place,
    lambda z, v, t: t**2 * F.kl_div(logs(z, t), (v / t).softmax(1), reduction="batchmean"),
    lambda z, v, t: t**2 * F.kl_div(logs(z, t), (v / t).softmax(1), reduction="sum") / z.size(0),
    lambda z, v, t: (
        F.kl_div(logs(z, t), logs(v, t), reduction="none", log_target=True).sum(-1).mean().mul(t**2)
    ),
]

WRONG = {
    "reverse KL": lambda z, v, t: t**2 * kl(v, z, t),
    "reverse KL, teacher detached": lambda z, v, t: (
        t**2 * (logs(z, t).exp() * (logs(z, t) - logs(v, t))).sum(1).mean()
    ),
    "Jensen-Shannon": lambda z, v, t: t**2 * (kl(z, v, t) + kl(v, z, t)) / 2,
    "T squared missing": kl,
    "T": lambda z, v, t: t * kl(z, v, t),
    "1 / T squared": lambda z, v, t: kl(z, v, t) / t**2,
    "2 T": lambda z, v, t: 2 * t * kl(z, v, t),
    "16 for T squared": lambda z, v, t: 16 * kl(z, v, t),
    'reduction="mean"': lambda z, v, t: (
        t**2 * F.kl_div(logs(z, t), logs(v, t), reduction="mean", log_target=True)
    ),
    'reduction="sum"': lambda z, v, t: (
        t**2 * F.kl_div(logs(z, t), logs(v, t), reduction="sum", log_target=True)
    ),
    'reduction="none"': lambda z, v, t: (
        t**2 * F.kl_div(logs(z, t), logs(v, t), reduction="none", log_target=True)
    ),
    "one per image": lambda z, v, t: t**2 * (logs(v, t).exp() * (logs(v, t) - logs(z, t))).sum(1),
    "sum over dim 0": lambda z, v, t: t**2 * (logs(v, t).exp() * (logs(v, t) - logs(z, t))).sum(0).mean(),
    "softmax over dim 0": lambda z, v, t: t**2 * kl(z, v, t, dim=0),
    "log_target forgotten": lambda z, v, t: t**2 * F.kl_div(logs(z, t), logs(v, t), reduction="batchmean"),
    "log_target with probabilities": lambda z, v, t: (
        t**2 * F.kl_div(logs(z, t), (v / t).softmax(1), reduction="batchmean", log_target=True)
    ),
    "softmax for the student": lambda z, v, t: (
        t**2 * F.kl_div((z / t).softmax(1), (v / t).softmax(1), reduction="batchmean")
    ),
    "raw logits for the student": lambda z, v, t: (
        t**2 * F.kl_div(z / t, (v / t).softmax(1), reduction="batchmean")
    ),
    "raw logits on both sides": lambda z, v, t: (
        t**2 * F.kl_div(z / t, v / t, reduction="batchmean", log_target=True)
    ),
    "teacher at T = 1": lambda z, v, t: t**2 * kl(z, v, t, 1.0),
    "student at T = 1": lambda z, v, t: t**2 * kl(z, v, 1.0, t),
    "T = 1": lambda z, v, t: t**2 * kl(z, v, 1.0),
    "multiplied by T": lambda z, v, t: t**2 * kl(z, v, 1 / t),
    "divided by T after the log_softmax": lambda z, v, t: (
        t**2 * F.kl_div(logs(z, 1) / t, logs(v, 1) / t, reduction="batchmean", log_target=True)
    ),
    "cross-entropy": lambda z, v, t: t**2 * F.cross_entropy(z / t, (v / t).softmax(1)),
    "minus": lambda z, v, t: -(t**2) * kl(z, v, t),
    "squared logits": lambda z, v, t: F.mse_loss(z, v),
    "squared probabilities": lambda z, v, t: t**2 * F.mse_loss((z / t).softmax(1), (v / t).softmax(1)),
    "hard labels of the teacher": lambda z, v, t: F.cross_entropy(z, v.argmax(1)),
    "p log p": by_probabilities,
    "p log p with 1e-8": lambda z, v, t: by_probabilities(z, v, t, 1e-8),
    "p log p with 1e-4": lambda z, v, t: by_probabilities(z, v, t, 1e-4),
    "clamped logits": lambda z, v, t: t**2 * kl(z.clamp(-20, 20), v.clamp(-20, 20), t),
    "keepdim missing": keepdim_missing,
    "gradient cut": lambda z, v, t: t**2 * kl(z.detach(), v, t),
    "item": lambda z, v, t: (t**2 * kl(z, v, t)).item(),
    "both sides detached but one": lambda z, v, t: t**2 * kl(z, v, t).detach() + 0 * z.sum(),
    "gradient of T alone": lambda z, v, t: kl(z, v, t) + (t**2 - 1) * kl(z, v, t).detach(),
    "teacher's logits changed": changes_teacher,
    "rounded": lambda z, v, t: (t**2 * kl(z, v, t)).round(decimals=3),
}

SAYS = {
    "reverse KL": "KL sides swapped",
    "sum over dim 0": "summed over the images",
    "keepdim missing": "keepdim",
    "item": "Leave out .item()",
    "gradient cut": "gradient cut",
    "teacher's logits changed": "changes teacher_logits",
    "rounded": "rounded",
}
