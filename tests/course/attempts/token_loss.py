"""Answers to token_loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE_TOKEN
from kdcourse.distillation import kd_divergence
from kdcourse.distillation.methods.token_kl import forward_kl


def one_by_one(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    found = []
    for b, t in (labels != IGNORE_TOKEN).nonzero().tolist():
        log_q = student_logits[b, t].log_softmax(0)
        log_p = teacher_logits[b, t].detach().log_softmax(0)
        found.append((log_p.exp() * (log_p - log_q)).sum())
    if not found:
        return (student_logits * 0).sum()
    return torch.stack(found).mean()


def by_kd_divergence(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    some = y.ne(IGNORE_TOKEN)
    if not some.any():
        return z[some].sum()
    return kd_divergence(z[some], v[some], 1.0)


def zeros_put_in(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    ignored = (y == IGNORE_TOKEN)[:, :, None]
    z, v = z.masked_fill(ignored, 0.0), v.detach().masked_fill(ignored, 0.0)
    kl = F.kl_div(z.log_softmax(-1), v.log_softmax(-1), reduction="none", log_target=True).sum(-1)
    return kl.sum() / max((~ignored).sum().item(), 1)


def by_weights(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    kept = y != IGNORE_TOKEN
    with torch.no_grad():
        p = v[kept].softmax(-1)
        entropy = torch.special.entr(p).sum()
    cross = -torch.einsum("pv,pv->", p, z[kept] - z[kept].logsumexp(-1, keepdim=True))
    return (cross - entropy) / kept.sum().clamp_min(1)


def in_the_long_way(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    size = z.shape[-1]
    rows = y.reshape(-1) != IGNORE_TOKEN
    a, b = z.reshape(-1, size)[rows], v.detach().reshape(-1, size)[rows]
    loss = torch.nn.KLDivLoss(reduction="sum")
    return loss(F.log_softmax(a, dim=1), F.softmax(b, dim=1)) / max(1, int(rows.sum()))


RIGHT = [one_by_one, by_kd_divergence, zeros_put_in, by_weights, in_the_long_way, forward_kl]


def kl(z: Tensor, v: Tensor, dim: int = -1) -> Tensor:
    log_q, log_p = z.log_softmax(dim), v.log_softmax(dim)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def guarded(kl: Tensor, counts: Tensor) -> Tensor:
    return kl.sum() / max(1, len(kl))


def loss(
    divergence: Callable[[Tensor, Tensor], Tensor] = kl,
    mean: Callable[[Tensor, Tensor], Tensor] = guarded,
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Choose positions first, so that nothing else is wrong."""

    def answer(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
        counts = y != IGNORE_TOKEN
        return mean(divergence(z[counts], v.detach()[counts]), counts)

    return answer


def all_positions(
    mean: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda z, v, y: mean(kl(z, v.detach()), y != IGNORE_TOKEN)


def from_probabilities(z: Tensor, v: Tensor) -> Tensor:
    p, q = v.softmax(-1), z.softmax(-1)
    return (p * (p / q).log()).sum(-1)


def by_hand(z: Tensor, v: Tensor) -> Tensor:
    p, q = v.exp() / v.exp().sum(-1, keepdim=True), z.exp() / z.exp().sum(-1, keepdim=True)
    return (p * (p.log() - q.log())).sum(-1)


def per_text(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    return torch.stack([loss()(z[b], v[b], y[b]) for b in range(len(z))]).mean()


def shifted(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    return loss()(z[:, :-1], v[:, :-1], y[:, 1:])


def against_the_next(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    return loss()(z[:, :-1], v[:, 1:], y[:, :-1])


def changes_the_student(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    z[y == IGNORE_TOKEN] = 0
    return loss()(z, v, y)


def changes_labels(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    y[y == IGNORE_TOKEN] = 0
    return loss()(z, v, y)


def constant_zero(z: Tensor, v: Tensor, y: Tensor) -> Tensor:
    return loss()(z, v, y) if (y != IGNORE_TOKEN).any() else torch.tensor(0.0)


WRONG = {
    "teacher not detached": lambda z, v, y: guarded(kl(z[y != -100], v[y != -100]), y),
    "student detached": lambda z, v, y: loss()(z.detach(), v, y),
    "gradient to the teacher alone": lambda z, v, y: guarded(kl(z.detach()[y != -100], v[y != -100]), y),
    "item": lambda z, v, y: loss()(z, v, y).item(),
    "float where nothing counts": lambda z, v, y: loss()(z, v, y) if (y >= 0).any() else 0.0,
    "constant 0": constant_zero,
    "mean of nothing": loss(mean=lambda kl, counts: kl.mean()),
    "chosen late": all_positions(lambda kl, counts: kl[counts].mean()),
    "chosen late, guarded": all_positions(lambda kl, counts: guarded(kl[counts], counts)),
    "where, late": all_positions(
        lambda kl, counts: torch.where(counts, kl, torch.zeros(())).sum() / counts.sum().clamp(min=1)
    ),
    "NaN replaced": all_positions(
        lambda kl, counts: (kl * counts).nan_to_num(0.0).sum() / counts.sum().clamp(min=1)
    ),
    "multiplied": all_positions(lambda kl, counts: (kl * counts).sum() / counts.sum()),
    "multiplied, guarded": all_positions(lambda kl, counts: (kl * counts).sum() / (counts.sum() + 1e-8)),
    "1 added to the count": loss(mean=lambda kl, counts: kl.sum() / (len(kl) + 1)),
    "ignored inside": all_positions(lambda kl, counts: kl.mean()),
    "ignored as 0": all_positions(lambda kl, counts: (kl * counts).mean()),
    "ignored in the sum": all_positions(lambda kl, counts: kl.sum() / counts.sum()),
    "ignored alone": lambda z, v, y: kl(z, v.detach())[y == IGNORE_TOKEN].mean(),
    "logits times the mask": lambda z, v, y: kl(
        z * (y != -100)[..., None], v.detach() * (y != -100)[..., None]
    ).mean(),
    "sum": loss(mean=lambda kl, counts: kl.sum()),
    "divided by B": loss(mean=lambda kl, counts: kl.sum() / len(counts)),
    "divided by T": loss(mean=lambda kl, counts: kl.sum() / counts.shape[1]),
    "divided by V": lambda z, v, y: loss()(z, v, y) / z.shape[-1],
    "batchmean of [B, T, V]": lambda z, v, y: F.kl_div(
        z.log_softmax(-1), v.detach().softmax(-1), reduction="batchmean"
    ),
    "mean of [B, T, V]": lambda z, v, y: F.kl_div(z.log_softmax(-1), v.detach().softmax(-1)),
    "one per position": loss(mean=lambda kl, counts: kl),
    "median": loss(mean=lambda kl, counts: kl.median() if len(kl) else kl.sum()),
    "one per text": lambda z, v, y: torch.stack([loss()(z[b], v[b], y[b]) for b in range(len(z))]),
    "mean of the texts' means": per_text,
    "reverse": loss(lambda z, v: kl(v, z)),
    "Jeffreys": loss(lambda z, v: kl(z, v) + kl(v, z)),
    "half of both": loss(lambda z, v: (kl(z, v) + kl(v, z)) / 2),
    "minus": loss(lambda z, v: -kl(z, v)),
    "cross-entropy": loss(lambda z, v: -(v.softmax(-1) * z.log_softmax(-1)).sum(-1)),
    "perplexity": loss(lambda z, v: kl(z, v).exp()),
    "squared probabilities": loss(lambda z, v: (z.softmax(-1) - v.softmax(-1)).square().sum(-1)),
    "squared logits": loss(lambda z, v: (z - v).square().mean(-1)),
    "bits": loss(lambda z, v: kl(z, v) / 0.6931472),
    "T = 2": loss(lambda z, v: 4 * kl(z / 2, v / 2)),
    "softmax over the text": lambda z, v, y: kl(z, v.detach(), 1)[y != IGNORE_TOKEN].mean(),
    "softmax over the batch": lambda z, v, y: kl(z, v.detach(), 0)[y != IGNORE_TOKEN].mean(),
    "softmax over positions": loss(lambda z, v: kl(z, v, 0)),
    "p log p": loss(from_probabilities),
    "exp by hand": loss(by_hand),
    "clamped logits": loss(lambda z, v: kl(z.clamp(-20, 20), v.clamp(-20, 20))),
    "clamped probabilities": loss(
        lambda z, v: kl(z.softmax(-1).clamp(1e-9).log(), v.softmax(-1).clamp(1e-9).log())
    ),
    "labels shifted": shifted,
    "teacher's next position": against_the_next,
    "student's next position": lambda z, v, y: loss()(z[:, 1:], v[:, :-1], y[:, 1:]),
    "last position cut off": lambda z, v, y: loss()(z[:, :-1], v[:, :-1], y[:, :-1]),
    "first position cut off": lambda z, v, y: loss()(z[:, 1:], v[:, 1:], y[:, 1:]),
    "last position alone": lambda z, v, y: loss()(z[:, -1:], v[:, -1:], y[:, -1:]),
    "first text alone": lambda z, v, y: loss()(z[:1], v[:1], y[:1]),
    "labels": lambda z, v, y: F.cross_entropy(z.flatten(0, 1), y.flatten()),
    "labels added": lambda z, v, y: loss()(z, v, y) + F.cross_entropy(z.flatten(0, 1), y.flatten()),
    "teacher's likeliest token": lambda z, v, y: F.cross_entropy(z[y >= 0], v[y >= 0].argmax(-1)),
    "only where the teacher is right": lambda z, v, y: loss()(
        z, v, y.masked_fill(v.argmax(-1) != y, IGNORE_TOKEN)
    ),
    "0 ignored": lambda z, v, y: loss()(z, v, y.masked_fill(y == 0, IGNORE_TOKEN)),
    "0 ignored in place of -100": lambda z, v, y: kl(z, v.detach())[y != 0].mean(),
    "-1 for -100": lambda z, v, y: kl(z, v.detach())[y != -1].mean(),
    "student's logits changed": changes_the_student,
    "labels changed": changes_labels,
    "rounded": lambda z, v, y: loss()(z, v, y).round(decimals=2),
    "half precision": lambda z, v, y: loss()(z, v, y).bfloat16(),
}

SAYS = {
    "teacher not detached": "teacher trained as well",
    "student detached": "no way back to the student",
    "item": "Leave out .item()",
    "constant 0": "a constant 0",
    "chosen late": "mean of nothing",
    "chosen late, guarded": "NaN in the gradient",
    "where, late": "NaN in the gradient",
    "multiplied": "multiplied by 0",
    "multiplied, guarded": "multiplied by 0",
    "logits times the mask": "divided by all positions",
    "reverse": "KL sides swapped",
    "labels shifted": "labels shifted once more",
    "teacher's next position": "one position ahead",
    "minus": "sign missing",
    "half precision": "keep float32",
}
