"""Answers to momentum_step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


def by_parameter(weight: Tensor, gradient: Tensor, velocity: Tensor, lr: float, momentum: float) -> Pair:
    p = torch.nn.Parameter(weight.clone())
    buffer = velocity.clone().mul_(momentum).add_(gradient)
    p.data.add_(buffer, alpha=-lr)
    return p.detach(), buffer


def clones_first(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> Pair:
    w, v = w.clone(), v.clone()
    v *= m
    v += g
    w -= lr * v
    return w, v


def by_numpy(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> Pair:
    new_v = m * v.numpy() + g.numpy()
    return torch.from_numpy((w.numpy() - lr * new_v).astype(np.float32)), torch.from_numpy(new_v)


def element_by_element(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> Pair:
    new_w, new_v = torch.empty_like(w), torch.empty_like(v)
    for i in np.ndindex(*w.shape):
        new_v[i] = m * v[i] + g[i]
        new_w[i] = w[i] - lr * new_v[i]
    return new_w, new_v


def velocity(g: Tensor, v: Tensor, m: float) -> Tensor:
    return m * v + g


def changes_velocity(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> Pair:
    v *= m
    v += g
    return w - lr * v, v


def changes_weight(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> Pair:
    new_v = m * v + g
    w -= lr * new_v
    return w, new_v


RIGHT = [
    by_parameter,
    clones_first,
    by_numpy,
    element_by_element,
    lambda w, g, v, lr, m: (w - lr * m * v - lr * g, torch.add(g, v, alpha=m)),
    lambda w, g, v, lr, m: (torch.sub(w, velocity(g, v, m), alpha=lr), velocity(g, v, m)),
    lambda w, g, v, lr, m: (w.add(velocity(g, v, m), alpha=-lr), v.mul(m).add(g)),
]

WRONG = {
    "plain SGD": lambda w, g, v, lr, m: (w - lr * g, v),
    "plain SGD, velocity updated": lambda w, g, v, lr, m: (w - lr * g, m * v + g),
    "old velocity moves the weight": lambda w, g, v, lr, m: (w - lr * v, m * v + g),
    "old velocity returned": lambda w, g, v, lr, m: (w - lr * (m * v + g), v),
    "gradient returned as velocity": lambda w, g, v, lr, m: (w - lr * (m * v + g), g),
    "dampened": lambda w, g, v, lr, m: (w - lr * (m * v + (1 - m) * g), m * v + (1 - m) * g),
    "weights of both swapped": lambda w, g, v, lr, m: (w - lr * (v + m * g), v + m * g),
    "momentum on both": lambda w, g, v, lr, m: (w - lr * m * (v + g), m * (v + g)),
    "momentum missing": lambda w, g, v, lr, m: (w - lr * (v + g), v + g),
    "momentum 0.9 by heart": lambda w, g, v, lr, m: (w - lr * (0.9 * v + g), 0.9 * v + g),
    "learning rate 0.1 by heart": lambda w, g, v, lr, m: (w - 0.1 * (m * v + g), m * v + g),
    "learning rate missing": lambda w, g, v, lr, m: (w - (m * v + g), m * v + g),
    "learning rate in the velocity": lambda w, g, v, lr, m: (w - (m * v + lr * g), m * v + lr * g),
    "learning rate twice": lambda w, g, v, lr, m: (w - lr * (m * v + lr * g), m * v + lr * g),
    "downhill velocity": lambda w, g, v, lr, m: (w + m * v - lr * g, m * v - lr * g),
    "uphill": lambda w, g, v, lr, m: (w + lr * (m * v + g), m * v + g),
    "minus in the velocity": lambda w, g, v, lr, m: (w - lr * (m * v - g), m * v - g),
    "minus in both": lambda w, g, v, lr, m: (w + lr * (m * v - g), m * v - g),
    "Nesterov": lambda w, g, v, lr, m: (w - lr * (g + m * (m * v + g)), m * v + g),
    "weight decay": lambda w, g, v, lr, m: (w - lr * (m * v + g + 0.01 * w), m * v + g),
    "velocity first": lambda w, g, v, lr, m: (m * v + g, w - lr * (m * v + g)),
    "weight alone": lambda w, g, v, lr, m: w - lr * (m * v + g),
    "both stacked": lambda w, g, v, lr, m: torch.stack([w - lr * (m * v + g), m * v + g]),
    "the step in place of the weight": lambda w, g, v, lr, m: (-lr * (m * v + g), m * v + g),
    "precedence": lambda w, g, v, lr, m: (w - lr * m * v + g, m * v + g),
    "velocity changed in place": changes_velocity,
    "weight changed in place": changes_weight,
    "rounded": lambda w, g, v, lr, m: (
        (w - lr * (m * v + g)).round(decimals=3),
        (m * v + g).round(decimals=3),
    ),
    "no momentum on the first step": lambda w, g, v, lr, m: (
        (w - lr * g, g) if m < 0.6 else by_numpy(w, g, v, lr, m)
    ),
    "clipped gradient": lambda w, g, v, lr, m: (w - lr * (m * v + g.clamp(-1, 1)), m * v + g.clamp(-1, 1)),
    "NumPy arrays": lambda w, g, v, lr, m: tuple(t.numpy() for t in by_numpy(w, g, v, lr, m)),
}

SAYS = {
    "velocity changed in place": "changes velocity",
    "weight changed in place": "changes weight",
    "rounded": "rounded",
    "minus in both": "Expected: ",
}
