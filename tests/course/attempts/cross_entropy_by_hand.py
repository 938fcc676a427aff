"""Answers to cross_entropy_by_hand."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def row_by_row(logits: Tensor, labels: Tensor) -> Tensor:
    total = torch.zeros(())
    for i in range(logits.shape[0]):
        row = logits[i] - logits[i].max()
        total = total + torch.log(torch.exp(row).sum()) - row[labels[i]]
    return total / logits.shape[0]


def by_einsum(logits: Tensor, labels: Tensor) -> Tensor:
    one_hot = torch.eye(logits.shape[1])[labels]
    return -torch.einsum("bc,bc->b", one_hot, torch.log_softmax(logits, -1)).mean()


def in_place(logits: Tensor, labels: Tensor) -> Tensor:
    z = logits.clone()
    z -= logits.amax(1, keepdim=True)
    log_p = z - z.exp().sum(1, keepdim=True).log()
    return log_p[range(len(labels)), labels].neg().mean()


def with_none(logits: Tensor, labels: Tensor) -> Tensor:
    peak = logits.max(1).values[:, None]
    norm = torch.log(torch.sum(torch.exp(logits - peak), 1)) + peak[:, 0]
    return torch.mean(norm - torch.take_along_dim(logits, labels[:, None], 1)[:, 0])


def shifted(z: Tensor) -> Tensor:
    return z - z.max(1, keepdim=True).values


def pick(rows: Tensor, y: Tensor) -> Tensor:
    return rows[torch.arange(len(y)), y]


def no_keepdim_in_the_sum(z: Tensor, y: Tensor) -> Tensor:
    s = shifted(z)
    return -pick(s - s.exp().sum(dim=1).log(), y).mean()


def no_keepdim_in_the_maximum(z: Tensor, y: Tensor) -> Tensor:
    s = z - z.max(dim=1).values
    return -pick(s - s.exp().sum(dim=1, keepdim=True).log(), y).mean()


def sum_over_the_batch(z: Tensor, y: Tensor) -> Tensor:
    s = shifted(z)
    return -pick(s - s.exp().sum(0, keepdim=True).log(), y).mean()


def detached_normaliser(z: Tensor, y: Tensor) -> Tensor:
    s = shifted(z)
    return -pick(s - s.exp().sum(1, keepdim=True).log().detach(), y).mean()


def leaky_log(z: Tensor, y: Tensor, floor: float = 1e-8) -> Tensor:
    return -torch.log(pick(z.softmax(1), y) + floor).mean()


def changes_logits(z: Tensor, y: Tensor) -> Tensor:
    z -= z.max(1, keepdim=True).values
    return -pick(z - z.exp().sum(1, keepdim=True).log(), y).mean()


def log1p_by_mistake(z: Tensor, y: Tensor) -> Tensor:
    s = shifted(z)
    return -pick(s - s.exp().sum(1, keepdim=True).log1p(), y).mean()


RIGHT = [
    row_by_row,
    by_einsum,
    in_place,
    with_none,
    lambda z, y: F.nll_loss(F.log_softmax(z, dim=1), y),
    lambda logits, labels: nn.CrossEntropyLoss()(logits, labels),
    lambda z, y: (torch.logsumexp(z, 1) - z.gather(1, y.view(-1, 1)).flatten()).mean(),
]

WRONG = {
    "keepdim missing in the sum": no_keepdim_in_the_sum,
    "keepdim missing in the maximum": no_keepdim_in_the_maximum,
    "sum over dim 0": sum_over_the_batch,
    "softmax over dim 0": lambda z, y: -pick(z.log_softmax(0), y).mean(),
    "sum of the losses": lambda z, y: -pick(z.log_softmax(1), y).sum(),
    "one loss per image": lambda z, y: -pick(z.log_softmax(1), y),
    "minus forgotten": lambda z, y: pick(z.log_softmax(1), y).mean(),
    "probabilities in place of logs": lambda z, y: -pick(z.softmax(1), y).mean(),
    "1 - p": lambda z, y: 1 - pick(z.softmax(1), y).mean(),
    "log of the mean probability": lambda z, y: -pick(z.softmax(1), y).mean().log(),
    "median of the losses": lambda z, y: -pick(z.log_softmax(1), y).median(),
    "softmax twice": lambda z, y: F.cross_entropy(z.softmax(1), y),
    "log_softmax twice is right, softmax of log_softmax isn't": lambda z, y: (
        -pick(z.log_softmax(1).softmax(1), y).mean()
    ),
    "naive exponentials": lambda z, y: -pick(torch.log(z.exp() / z.exp().sum(1, keepdim=True)), y).mean(),
    "log of softmax": lambda z, y: -torch.log(pick(torch.softmax(z, 1), y)).mean(),
    "1e-8 inside the logarithm": leaky_log,
    "probabilities clamped at 1e-7": lambda z, y: -pick(z.softmax(1), y).clamp(min=1e-7).log().mean(),
    "logits clamped to -50..50": lambda z, y: F.cross_entropy(z.clamp(-50, 50), y),
    "logits clamped to -10..10": lambda z, y: F.cross_entropy(z.clamp(-10, 10), y),
    "one maximum for the batch": lambda z, y: (
        -pick(z - z.max() - (z - z.max()).exp().sum(1, keepdim=True).log(), y).mean()
    ),
    "column maximum": lambda z, y: F.cross_entropy(z - z.max(0).values, y),
    "all labels for all images": lambda z, y: -z.log_softmax(1)[:, y].mean(),
    "mean over all classes": lambda z, y: -z.log_softmax(1).mean(),
    "label smoothing": lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1),
    "class 0 ignored": lambda z, y: F.cross_entropy(z, y, ignore_index=0),
    "base 2": lambda z, y: F.cross_entropy(z, y) / math.log(2),
    "batch size fixed at 5": lambda z, y: F.cross_entropy(z, y, reduction="sum") / 5,
    "gradient cut by item": lambda z, y: F.cross_entropy(z, y).item(),
    "gradient cut by detach": lambda z, y: F.cross_entropy(z.detach(), y),
    "gradient cut in the normaliser": detached_normaliser,
    "logits changed in place": changes_logits,
    "log1p": log1p_by_mistake,
    "NumPy in between": lambda z, y: torch.tensor(-pick(torch.tensor(z.numpy()).log_softmax(1), y).mean()),
    "rounded": lambda z, y: F.cross_entropy(z, y).round(decimals=3),
    "label's neighbour": lambda z, y: F.cross_entropy(z, (y + 1) % z.shape[1]),
    "predictions as labels": lambda z, y: F.cross_entropy(z, z.argmax(1)),
}

SAYS = {
    "keepdim missing in the sum": "keepdim",
    "keepdim missing in the maximum": "keepdim",
    "sum over dim 0": "axis",
    "gradient cut by item": "Leave out .item()",
    "gradient cut by detach": "gradient cut",
    "NumPy in between": "use torch's functions",
    "rounded": "rounded",
    "logits changed in place": "changes logits",
}
