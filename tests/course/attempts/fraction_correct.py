"""Answers to fraction_correct."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def loop(logits: torch.Tensor, labels: torch.Tensor) -> float:
    right = 0
    for row, label in zip(logits, labels, strict=True):
        if int(row.argmax()) == int(label):
            right += 1
    return right / len(labels)


def with_numpy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return float(np.mean(logits.numpy().argmax(axis=1) == labels.numpy()))


def one_hot(logits: torch.Tensor, labels: torch.Tensor) -> float:
    predicted = F.one_hot(logits.argmax(1), logits.shape[1])
    return (predicted * F.one_hot(labels, logits.shape[1])).sum().item() / len(labels)


RIGHT = [
    loop,
    with_numpy,
    one_hot,
    lambda logits, labels: (logits.argmax(dim=1) == labels).double().mean().item(),
    lambda logits, labels: logits.max(1).indices.eq(labels).sum().item() / labels.numel(),
    lambda logits, labels: logits.softmax(1).argmax(-1).sub(labels).eq(0).double().mean().item(),
]


def right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.argmax(dim=1) == labels


WRONG = {
    "argmax over the images": lambda z, y: (
        (z.argmax(0) == y[: z.shape[1]]).double().mean().item() if len(y) >= z.shape[1] else 0.0
    ),
    "argmax over everything": lambda z, y: (z.argmax() == y).double().mean().item(),
    "least likely class": lambda z, y: (z.argmin(1) == y).double().mean().item(),
    "largest logit for its place": lambda z, y: (z.max(1).values == y).double().mean().item(),
    "largest logit rounded": lambda z, y: (z.max(1).values.round().long() == y).double().mean().item(),
    "mistakes": lambda z, y: (~right(z, y)).double().mean().item(),
    "count": lambda z, y: float(right(z, y).sum()),
    "percent": lambda z, y: 100 * right(z, y).double().mean().item(),
    "divided by the classes": lambda z, y: right(z, y).sum().item() / z.shape[1],
    "divided by all logits": lambda z, y: right(z, y).sum().item() / z.numel(),
    "one image fewer": lambda z, y: right(z, y).sum().item() / max(1, len(y) - 1),
    "one image more": lambda z, y: right(z, y).sum().item() / (len(y) + 1),
    "without the last image": lambda z, y: right(z[:-1], y[:-1]).double().sum().item() / max(1, len(y) - 1),
    "without the first image": lambda z, y: right(z[1:], y[1:]).double().sum().item() / max(1, len(y) - 1),
    "any image right": lambda z, y: float(right(z, y).any()),
    "all images right": lambda z, y: float(right(z, y).all()),
    "logits above 0": lambda z, y: (z[torch.arange(len(y)), y] > 0).double().mean().item(),
    "mean probability of the label": lambda z, y: z.softmax(1)[torch.arange(len(y)), y].mean().item(),
    "probability above a half": lambda z, y: (
        (z.softmax(1)[torch.arange(len(y)), y] > 0.5).double().mean().item()
    ),
    "among the two best": lambda z, y: (z.topk(2, 1).indices == y[:, None]).any(1).double().mean().item(),
    "counted from 1": lambda z, y: (z.argmax(1) + 1 == y).double().mean().item(),
    "labels shifted by one image": lambda z, y: right(z, y.roll(1)).double().mean().item(),
    "labels sorted": lambda z, y: right(z, y.sort().values).double().mean().item(),
    "same set of classes": lambda z, y: float(set(z.argmax(1).tolist()) == set(y.tolist())),
    "rounded to 2 places": lambda z, y: round(right(z, y).double().mean().item(), 2),
    "whole numbers": lambda z, y: right(z, y).sum().item() // len(y),
    "a flag per image": lambda z, y: right(z, y),
}
