"""Answers to attention_map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def image_by_image(maps: Tensor) -> Tensor:
    rows = []
    for one in maps:
        energy = (one * one).sum(0).reshape(-1)
        rows.append(energy / energy.norm() if energy.norm() > 0 else energy)
    return torch.stack(rows)


def by_einsum(maps: Tensor) -> Tensor:
    energy = torch.einsum("bkhw,bkhw->bhw", maps, maps).reshape(len(maps), -1)
    return F.normalize(energy, p=2.0, dim=1)


def with_maximum(maps: Tensor) -> Tensor:
    energy = maps.pow(2).sum(1).flatten(1)
    length = torch.linalg.vector_norm(energy, dim=1, keepdim=True)
    return energy / torch.maximum(length, torch.tensor(1e-12))


def of_means(maps: Tensor) -> Tensor:
    return F.normalize((maps**2).mean(dim=1).flatten(start_dim=1), dim=-1)


def of_places(maps: Tensor) -> Tensor:
    return F.normalize(maps.flatten(2).square().sum(1))


RIGHT = [image_by_image, by_einsum, with_maximum, of_means, of_places]


def rows(energy: Tensor) -> Tensor:
    return F.normalize(energy.flatten(1))


def squared_in_place(maps: Tensor) -> Tensor:
    with torch.no_grad():
        maps *= 1.0 + 1e-3
    return rows(maps.square().sum(1))


WRONG = {
    "not squared": lambda m: rows(m.sum(1)),
    "absolute": lambda m: rows(m.abs().sum(1)),
    "cubed": lambda m: rows(m.abs().pow(3).sum(1)),
    "to the fourth": lambda m: rows(m.pow(4).sum(1)),
    "maximum": lambda m: rows(m.amax(1)),
    "strongest channel": lambda m: rows(m.square().amax(1)),
    "first channel": lambda m: rows(m[:, 0].square()),
    "square of sum": lambda m: rows(m.sum(1).square()),
    "length over channels": lambda m: rows(m.norm(dim=1)),
    "variance over channels": lambda m: rows(m.var(1, correction=0)),
    "not normalised": lambda m: m.square().sum(1).flatten(1),
    "mean, not normalised": lambda m: m.square().mean(1).flatten(1),
    "sum of 1": lambda m: F.normalize(m.square().sum(1).flatten(1), p=1),
    "softmax": lambda m: m.square().sum(1).flatten(1).softmax(1),
    "largest is 1": lambda m: F.normalize(m.square().sum(1).flatten(1), p=float("inf")),
    "whole batch": lambda m: m.square().sum(1).flatten(1) / m.square().sum(1).norm(),
    "over the images": lambda m: F.normalize(m.square().sum(1).flatten(1), dim=0),
    "squared length": lambda m: (
        m.square().sum(1).flatten(1) / m.square().sum(1).flatten(1).square().sum(1, keepdim=True)
    ),
    "channels at length 1": lambda m: rows(F.normalize(m, dim=1).square().sum(1)),
    "places summed": lambda m: rows(m.square().sum((2, 3))),
    "height summed": lambda m: rows(m.square().sum(2)),
    "images summed": lambda m: rows(m.square().sum(0)),
    "transposed": lambda m: rows(m.square().sum(1).transpose(1, 2)),
    "a map": lambda m: rows(m.square().sum(1)).view(len(m), *m.shape[2:]),
    "one channel kept": lambda m: rows(m.square().sum(1))[:, None],
    "channels kept": lambda m: rows(m.square()),
    "rectified": lambda m: rows(m.relu().square().sum(1)),
    "mean taken away": lambda m: rows(m.square().sum(1) - m.square().sum(1).mean()),
    "detached": lambda m: rows(m.detach().square().sum(1)),
    "0 divided by 0": lambda m: (
        m.square().sum(1).flatten(1) / m.square().sum(1).flatten(1).norm(dim=1)[:, None]
    ),
    "changed": squared_in_place,
}

SAYS = {"square of sum": "squared after the sum", "detached": "gradient", "largest is 1": "largest value"}
