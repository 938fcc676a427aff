"""Answers to count_parameters."""

from __future__ import annotations

import math

import torch
from torch import nn


def loop(model: nn.Module) -> int:
    total = 0
    for parameter in model.parameters():
        total += parameter.numel()
    return total


def by_shape(model: nn.Module) -> int:
    return sum(math.prod(parameter.shape) for _, parameter in model.named_parameters())


def flattened(model: nn.Module) -> int:
    return len(torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()]))


def by_layer(model: nn.Module) -> int:
    seen: set[int] = set()
    total = 0
    for layer in model.modules():
        for parameter in layer.parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                total += parameter.nelement()
    return total


RIGHT = [
    loop,
    by_shape,
    flattened,
    by_layer,
    lambda model: sum(p.numel() for p in model.parameters()),
    lambda model: int(sum(torch.tensor(p.size()).prod() for p in model.parameters())),
]

WRONG = {
    "number of tensors": lambda model: len(list(model.parameters())),
    "number of layers": lambda model: len(list(model.modules())),
    "number of weights without biases": lambda model: sum(
        p.numel() for p in model.parameters() if p.ndim > 1
    ),
    "biases alone": lambda model: sum(p.numel() for p in model.parameters() if p.ndim == 1),
    "rows alone": lambda model: sum(len(p) for p in model.parameters()),
    "last sides": lambda model: sum(p.shape[-1] for p in model.parameters()),
    "sum of all sides": lambda model: sum(sum(p.shape) for p in model.parameters()),
    "dimensions": lambda model: sum(p.ndim for p in model.parameters()),
    "with buffers": lambda model: sum(p.numel() for p in model.state_dict().values()),
    "shared weights counted twice": lambda model: sum(
        p.numel() for layer in model.modules() for p in layer.parameters(recurse=False)
    ),
    "duplicates kept": lambda model: sum(
        p.numel() for _, p in model.named_parameters(remove_duplicate=False)
    ),
    "every level of the model again": lambda model: sum(
        p.numel() for layer in model.modules() for p in layer.parameters()
    ),
    "only direct children": lambda model: sum(
        p.numel() for layer in model.children() for p in layer.parameters(recurse=False)
    ),
    "only what is trained": lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad),
    "bytes": lambda model: sum(p.numel() * p.element_size() for p in model.parameters()),
    "product of counts": lambda model: math.prod(p.numel() for p in model.parameters()),
    "largest tensor": lambda model: max(p.numel() for p in model.parameters()),
    "last tensor": lambda model: [p.numel() for p in model.parameters()][-1],
    "first tensor": lambda model: next(model.parameters()).numel(),
    "sum of the values": lambda model: float(sum(p.sum() for p in model.parameters())),
    "numbers other than 0": lambda model: sum(int((p != 0).sum()) for p in model.parameters()),
    "different numbers": lambda model: sum(len(p.unique()) for p in model.parameters()),
    "thousands": lambda model: loop(model) / 1000,
    "a list": lambda model: [p.numel() for p in model.parameters()],
    "one too many": lambda model: 1 + loop(model),
}
