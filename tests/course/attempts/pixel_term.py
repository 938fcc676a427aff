"""Answers to pixel_term."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.distillation import kd_divergence


def pixel_by_pixel(
    student_logits: Tensor, teacher_logits: Tensor, masks: Tensor, temperature: float
) -> Tensor:
    found = []
    for b in range(masks.shape[0]):
        for y in range(masks.shape[1]):
            for x in range(masks.shape[2]):
                if masks[b, y, x] == IGNORE:
                    continue
                q = F.log_softmax(student_logits[b, :, y, x] / temperature, 0)
                p = F.log_softmax(teacher_logits.detach()[b, :, y, x] / temperature, 0)
                found.append((p.exp() * (p - q)).sum())
    return temperature**2 * torch.stack(found).mean()


def rows_of_pixels(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    kept = (masks != IGNORE).flatten()
    z, v = (x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])[kept] for x in (z, v.detach()))
    return kd_divergence(z, v, t)


def by_einsum(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    log_q, log_p = (z / t).log_softmax(1), (v.detach() / t).log_softmax(1)
    weight = (masks != IGNORE).to(z.dtype)
    return t**2 * torch.einsum("bchw,bchw,bhw->", log_p.exp(), log_p - log_q, weight) / weight.sum()


def under_no_grad(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    with torch.no_grad():
        p = F.softmax(v / t, dim=1)
    terms = F.kl_div(F.log_softmax(z / t, dim=1), p, reduction="none").sum(1)
    return torch.masked_select(terms, masks.ne(IGNORE)).mean() * t * t


def by_moving(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    z, v = z.movedim(1, -1)[masks != IGNORE], v.movedim(1, -1)[masks != IGNORE].detach()
    return t**2 * F.kl_div(
        (z / t).log_softmax(-1), (v / t).log_softmax(-1), reduction="batchmean", log_target=True
    )


RIGHT = [pixel_by_pixel, rows_of_pixels, by_einsum, under_no_grad, by_moving]


def kl(z: Tensor, v: Tensor, t: float, dim: int = 1) -> Tensor:
    log_q, log_p = (z / t).log_softmax(dim), (v / t).log_softmax(dim)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def term(
    divergence: Callable[[Tensor, Tensor, float], Tensor] = kl,
    mean: Callable[[Tensor, Tensor], Tensor] = lambda kl, counts: kl[counts].mean(),
    factor: Callable[[float], float] = lambda t: t**2,
) -> Callable[[Tensor, Tensor, Tensor, float], Tensor]:
    return lambda z, v, masks, t: factor(t) * mean(divergence(z, v.detach(), t), masks != IGNORE)


def keepdim_missing(z: Tensor, v: Tensor, t: float) -> Tensor:
    q, p = (z / t).exp(), (v / t).exp()
    q, p = q / q.sum(1), p / p.sum(1)
    return (p * (p / q).log()).sum(1)


def from_probabilities(z: Tensor, v: Tensor, t: float) -> Tensor:
    q, p = (z / t).softmax(1), (v / t).softmax(1)
    return (p * (p.log() - q.log())).sum(1)


def reshaped(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    z, v = (x.reshape(-1, x.shape[1])[(masks != IGNORE).flatten()] for x in (z, v.detach()))
    return kd_divergence(z, v, t)


def batchmean(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    return t**2 * F.kl_div((z / t).log_softmax(1), (v.detach() / t).softmax(1), reduction="batchmean")


def zeroed_logits(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    counts = (masks != IGNORE)[:, None]
    return t**2 * kl(z * counts, v.detach() * counts, t).mean()


def changes_student(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    v /= t
    return t**2 * kl(z, v.detach() * t, t)[masks != IGNORE].mean()


def per_image(kl: Tensor, counts: Tensor) -> Tensor:
    return torch.stack([one[some].mean() for one, some in zip(kl, counts, strict=True)]).mean()


WRONG = {
    "teacher not detached": lambda z, v, masks, t: t**2 * kl(z, v, t)[masks != IGNORE].mean(),
    "student detached": lambda z, v, masks, t: t**2 * kl(z.detach(), v, t)[masks != IGNORE].mean(),
    "both detached": lambda z, v, masks, t: t**2 * kl(z.detach(), v.detach(), t)[masks != IGNORE].mean(),
    "item": lambda z, v, masks, t: term()(z, v, masks, t).item(),
    "T squared missing": term(factor=lambda t: 1.0),
    "T": term(factor=lambda t: t),
    "1 / T squared": term(factor=lambda t: t**-2),
    "2 T": term(factor=lambda t: 2 * t),
    "minus": term(factor=lambda t: -(t**2)),
    "reverse KL": term(lambda z, v, t: kl(v, z, t)),
    "Jensen-Shannon": term(lambda z, v, t: (kl(z, v, t) + kl(v, z, t)) / 2),
    "cross-entropy": term(lambda z, v, t: -((v / t).softmax(1) * (z / t).log_softmax(1)).sum(1)),
    "squared probabilities": term(lambda z, v, t: ((v / t).softmax(1) - (z / t).softmax(1)).square().sum(1)),
    "squared logits": term(lambda z, v, t: (z - v).square().mean(1), factor=lambda t: 1.0),
    "mean over the classes": lambda z, v, masks, t: term()(z, v, masks, t) / z.shape[1],
    "classes not summed": lambda z, v, masks, t: t**2 * (z - v.detach()).square()[masks != IGNORE].mean(),
    "sum over dim 0": lambda z, v, masks, t: (
        t**2
        * ((v.detach() / t).softmax(1) * ((v.detach() / t).log_softmax(1) - (z / t).log_softmax(1)))
        .sum(0)
        .mean()
    ),
    "softmax over dim 0": term(lambda z, v, t: kl(z, v, t, 0)),
    "softmax over the height": term(lambda z, v, t: kl(z, v, t, 2)),
    "softmax over dim -1": term(lambda z, v, t: kl(z, v, t, -1)),
    "keepdim missing": term(keepdim_missing),
    "p log p": term(from_probabilities),
    "student not softened": term(lambda z, v, t: kl(z * t, v, t)),
    "teacher not softened": term(lambda z, v, t: kl(z, v * t, t)),
    "T = 1": term(lambda z, v, t: kl(z, v, 1.0)),
    "T = 4": term(lambda z, v, t: kl(z, v, 4.0)),
    "multiplied by T": term(lambda z, v, t: kl(z, v, 1 / t)),
    "clamped logits": term(lambda z, v, t: kl(z.clamp(-30, 30), v.clamp(-30, 30), t)),
    "ignored pixels inside": term(mean=lambda kl, counts: kl.mean()),
    "ignored pixels as 0 in the mean": term(mean=lambda kl, counts: (kl * counts).mean()),
    "ignored logits as 0 in the mean": zeroed_logits,
    "ignored pixels in the sum": term(mean=lambda kl, counts: kl.sum() / counts.sum()),
    "only ignored pixels, or 0": term(
        mean=lambda kl, counts: (kl * ~counts).sum() / (~counts).sum().clamp(min=1)
    ),
    "sum": term(mean=lambda kl, counts: kl[counts].sum()),
    "divided by the images": term(mean=lambda kl, counts: kl[counts].sum() / len(kl)),
    "batchmean": batchmean,
    "divided by the pixels of one image": term(mean=lambda kl, counts: kl[counts].sum() / kl[0].numel()),
    "mean of the images' means": term(mean=per_image),
    "one per pixel": term(mean=lambda kl, counts: kl[counts]),
    "median": term(mean=lambda kl, counts: kl[counts].median()),
    "background left out": lambda z, v, masks, t: term()(z, v, masks.masked_fill(masks == 0, IGNORE), t),
    "IGNORE taken for 0": lambda z, v, masks, t: t**2 * kl(z, v.detach(), t)[masks != 0].mean(),
    "rows before the classes were moved": reshaped,
    "labels": lambda z, v, masks, t: F.cross_entropy(z, masks, ignore_index=IGNORE),
    "labels added": lambda z, v, masks, t: (
        term()(z, v, masks, t) + F.cross_entropy(z, masks, ignore_index=IGNORE)
    ),
    "teacher's classes": lambda z, v, masks, t: F.cross_entropy(
        z, v.argmax(1).masked_fill(masks == IGNORE, IGNORE), ignore_index=IGNORE
    ),
    "teacher's logits changed": changes_student,
    "rounded": lambda z, v, masks, t: term()(z, v, masks, t).round(decimals=3),
}

SAYS = {
    "teacher not detached": "teacher trained as well",
    "student detached": "gradient",
    "item": "Leave out .item()",
    "reverse KL": "KL sides swapped",
    "keepdim missing": "keepdim",
    "rounded": "rounded",
    "teacher's logits changed": "changes teacher_logits",
}
