"""Answers to objective."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.distillation import hinton_loss, kd_divergence


def from_scratch(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, alpha: float
) -> Tensor:
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    p = F.softmax(teacher_logits / temperature, dim=1)
    soft = F.kl_div(log_q, p, reduction="batchmean") * temperature**2
    hard = nn.CrossEntropyLoss()(student_logits, labels)
    return alpha * soft + (1 - alpha) * hard


def by_images(z: Tensor, v: Tensor, y: Tensor, t: float, a: float) -> Tensor:
    total = torch.zeros(())
    for i in range(len(z)):
        soft = kd_divergence(z[i : i + 1], v[i : i + 1], t)
        hard = torch.logsumexp(z[i], 0) - z[i, y[i]]
        total = total + a * soft + (1 - a) * hard
    return total / len(z)


def with_cases(z: Tensor, v: Tensor, y: Tensor, t: float, a: float) -> Tensor:
    if a == 0:
        return F.cross_entropy(z, y)
    if a == 1:
        return kd_divergence(z, v, t)
    return hard(z, y) + a * (kd_divergence(z, v, t) - hard(z, y))


def hard(z: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(z, y)


def soft(z: Tensor, v: Tensor, t: float) -> Tensor:
    return kd_divergence(z, v, t)


def reverse(z: Tensor, v: Tensor, t: float) -> Tensor:
    log_q, log_p = (z / t).log_softmax(1), (v / t).log_softmax(1)
    return t**2 * (log_q.exp() * (log_q - log_p)).sum(1).mean()


def mixed(s: Tensor, h: Tensor, a: float) -> Tensor:
    return a * s + (1 - a) * h


RIGHT = [
    from_scratch,
    by_images,
    with_cases,
    lambda z, v, y, t, a: hinton_loss(z, v, y, temperature=t, alpha=a),
    lambda z, v, y, t, a: torch.lerp(hard(z, y), soft(z, v, t), a),
    lambda z, v, y, t, a: soft(z, v, t) * a - (a - 1) * F.nll_loss(z.log_softmax(1), y),
]

WRONG = {
    "weights swapped": lambda z, v, y, t, a: mixed(hard(z, y), soft(z, v, t), a),
    "plain sum": lambda z, v, y, t, a: soft(z, v, t) + hard(z, y),
    "mean of both": lambda z, v, y, t, a: (soft(z, v, t) + hard(z, y)) / 2,
    "labels not weighted": lambda z, v, y, t, a: a * soft(z, v, t) + hard(z, y),
    "teacher not weighted": lambda z, v, y, t, a: soft(z, v, t) + (1 - a) * hard(z, y),
    "alpha on both": lambda z, v, y, t, a: a * (soft(z, v, t) + hard(z, y)),
    "minus": lambda z, v, y, t, a: a * soft(z, v, t) - (1 - a) * hard(z, y),
    "precedence": lambda z, v, y, t, a: a * soft(z, v, t) + 1 - a * hard(z, y),
    "1 + alpha": lambda z, v, y, t, a: a * soft(z, v, t) + (1 + a) * hard(z, y),
    "teacher alone": lambda z, v, y, t, a: soft(z, v, t),
    "labels alone": lambda z, v, y, t, a: hard(z, y),
    "teacher's term alone": lambda z, v, y, t, a: a * soft(z, v, t),
    "labels' term alone": lambda z, v, y, t, a: (1 - a) * hard(z, y),
    "T squared twice": lambda z, v, y, t, a: mixed(t**2 * soft(z, v, t), hard(z, y), a),
    "T squared taken out": lambda z, v, y, t, a: mixed(soft(z, v, t) / t**2, hard(z, y), a),
    "T squared over the sum": lambda z, v, y, t, a: t**2 * mixed(soft(z, v, t) / t**2, hard(z, y), a),
    "T squared on the labels": lambda z, v, y, t, a: mixed(soft(z, v, t), t**2 * hard(z, y), a),
    "temperature on the labels": lambda z, v, y, t, a: mixed(soft(z, v, t), hard(z / t, y), a),
    "temperature twice": lambda z, v, y, t, a: mixed(soft(z / t, v / t, t), hard(z, y), a),
    "T = 1": lambda z, v, y, t, a: mixed(soft(z, v, 1.0), hard(z, y), a),
    "T = 4": lambda z, v, y, t, a: mixed(soft(z, v, 4.0), hard(z, y), a),
    "alpha = 0.5": lambda z, v, y, t, a: mixed(soft(z, v, t), hard(z, y), 0.5),
    "temperature and alpha swapped": lambda z, v, y, t, a: mixed(soft(z, v, max(a, 0.1)), hard(z, y), t),
    "logits swapped": lambda z, v, y, t, a: mixed(soft(v, z, t), hard(z, y), a),
    "reverse KL": lambda z, v, y, t, a: mixed(reverse(z, v, t), hard(z, y), a),
    "labels for the teacher": lambda z, v, y, t, a: mixed(soft(z, v, t), hard(v, y), a),
    "teacher's best class for labels": lambda z, v, y, t, a: mixed(soft(z, v, t), hard(z, v.argmax(1)), a),
    "softmax before the cross-entropy": lambda z, v, y, t, a: mixed(soft(z, v, t), hard(z.softmax(1), y), a),
    "log_softmax ignored by nll_loss": lambda z, v, y, t, a: mixed(soft(z, v, t), F.nll_loss(z, y), a),
    "sum over the labels": lambda z, v, y, t, a: mixed(
        soft(z, v, t), F.cross_entropy(z, y, reduction="sum"), a
    ),
    "label smoothing": lambda z, v, y, t, a: mixed(
        soft(z, v, t), F.cross_entropy(z, y, label_smoothing=0.1), a
    ),
    "student's gradient cut in the soft part": lambda z, v, y, t, a: mixed(
        soft(z.detach(), v, t), hard(z, y), a
    ),
    "student's gradient cut in the hard part": lambda z, v, y, t, a: mixed(
        soft(z, v, t), hard(z.detach(), y), a
    ),
    "item": lambda z, v, y, t, a: mixed(soft(z, v, t).item(), hard(z, y).item(), a),
    "both in a tuple": lambda z, v, y, t, a: (a * soft(z, v, t), (1 - a) * hard(z, y)),
    "rounded": lambda z, v, y, t, a: mixed(soft(z, v, t), hard(z, y), a).round(decimals=3),
    "maximum of both": lambda z, v, y, t, a: torch.maximum(a * soft(z, v, t), (1 - a) * hard(z, y)),
}

SAYS = {"reverse KL": "KL", "item": "Leave out .item()", "rounded": "rounded", "1 + alpha": "Your result: "}
