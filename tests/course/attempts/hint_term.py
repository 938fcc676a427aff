"""Answers to hint_term."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def place_by_place(s: Tensor, t: Tensor, w: Tensor) -> Tensor:
    terms = [
        (w @ s[b, :, y, x] - t[b, :, y, x].detach()).square().mean()
        for b in range(s.shape[0])
        for y in range(s.shape[2])
        for x in range(s.shape[3])
    ]
    return torch.stack(terms).mean()


def mixed(s: Tensor, w: Tensor) -> Tensor:
    return F.conv2d(s, w.unsqueeze(2).unsqueeze(3))


def flattened(s: Tensor, t: Tensor, w: Tensor) -> Tensor:
    return (w @ s.flatten(2) - t.detach().flatten(2)).pow(2).mean()


def by_tensordot(s: Tensor, t: Tensor, w: Tensor) -> Tensor:
    return F.mse_loss(torch.tensordot(w, s, dims=([1], [1])).transpose(0, 1), t.detach())


def by_linear(s: Tensor, t: Tensor, w: Tensor) -> Tensor:
    return ((F.linear(s.movedim(1, -1), w) - t.movedim(1, -1).detach()) ** 2).mean()


def without_gradient(s: Tensor, t: Tensor, w: Tensor) -> Tensor:
    with torch.no_grad():
        wanted = t.clone()
    return torch.nn.MSELoss()(mixed(s, w), wanted)


RIGHT = [place_by_place, flattened, by_tensordot, by_linear, without_gradient]


def changes_the_teacher(s: Tensor, t: Tensor, w: Tensor) -> Tensor:
    t = t.detach()
    t -= mixed(s, w).detach()
    return t.square().mean() + 0 * s.sum()


def square_of_mean(s: Tensor, t: Tensor, w: Tensor) -> Tensor:
    return (mixed(s, w) - t.detach()).mean() ** 2


def standardised(s: Tensor, t: Tensor, w: Tensor) -> Tensor:
    a, b = mixed(s, w), t.detach()
    return F.mse_loss((a - a.mean()) / a.std(), (b - b.mean()) / b.std())


WRONG = {
    "teacher not detached": lambda s, t, w: F.mse_loss(mixed(s, w), t),
    "student detached": lambda s, t, w: F.mse_loss(mixed(s.detach(), w), t.detach()),
    "convolution detached": lambda s, t, w: F.mse_loss(mixed(s, w.detach()), t.detach()),
    "all detached": lambda s, t, w: F.mse_loss(mixed(s, w).detach(), t.detach()),
    "gradient to the teacher alone": lambda s, t, w: F.mse_loss(t, mixed(s, w).detach()),
    "item": lambda s, t, w: F.mse_loss(mixed(s, w), t.detach()).item(),
    "sum": lambda s, t, w: F.mse_loss(mixed(s, w), t.detach(), reduction="sum"),
    "none": lambda s, t, w: F.mse_loss(mixed(s, w), t.detach(), reduction="none"),
    "per image": lambda s, t, w: (mixed(s, w) - t.detach()).square().mean((1, 2, 3)),
    "sum over channels": lambda s, t, w: (mixed(s, w) - t.detach()).square().sum(1).mean(),
    "sum over places": lambda s, t, w: (mixed(s, w) - t.detach()).square().sum((2, 3)).mean(),
    "half": lambda s, t, w: F.mse_loss(mixed(s, w), t.detach()) / 2,
    "twice": lambda s, t, w: 2 * F.mse_loss(mixed(s, w), t.detach()),
    "minus": lambda s, t, w: -F.mse_loss(mixed(s, w), t.detach()),
    "plus for minus": lambda s, t, w: (mixed(s, w) + t.detach()).square().mean(),
    "L1": lambda s, t, w: F.l1_loss(mixed(s, w), t.detach()),
    "Huber": lambda s, t, w: F.smooth_l1_loss(mixed(s, w), t.detach()),
    "root": lambda s, t, w: F.mse_loss(mixed(s, w), t.detach()).sqrt(),
    "norm": lambda s, t, w: torch.dist(mixed(s, w), t.detach()),
    "square of mean": square_of_mean,
    "not squared": lambda s, t, w: (mixed(s, w) - t.detach()).mean(),
    "ReLU": lambda s, t, w: F.mse_loss(mixed(s, w).relu(), t.detach()),
    "teacher's ReLU": lambda s, t, w: F.mse_loss(mixed(s, w), t.detach().relu()),
    "standardised": standardised,
    "cosine": lambda s, t, w: 1 - F.cosine_similarity(mixed(s, w).flatten(1), t.detach().flatten(1)).mean(),
    "pooled": lambda s, t, w: F.mse_loss(mixed(s, w).mean((2, 3)), t.detach().mean((2, 3))),
    "mean over the images": lambda s, t, w: F.mse_loss(mixed(s, w).mean(0), t.detach().mean(0)),
    "teacher mixed": lambda s, t, w: F.mse_loss(s, mixed(t.detach(), w.T)),
    "weight transposed": lambda s, t, w: F.mse_loss(mixed(s, w.T), t.detach()),
    "no convolution": lambda s, t, w: F.mse_loss(s, t.detach()),
    "kl": lambda s, t, w: F.kl_div(mixed(s, w).log_softmax(1), t.detach().softmax(1), reduction="batchmean"),
    "teacher changed": changes_the_teacher,
}

SAYS = {
    "teacher not detached": "teacher trained as well",
    "convolution detached": "convolution not trained",
    "sum": "sum for mean",
    "item": "Leave out .item()",
}
