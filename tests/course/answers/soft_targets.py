"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right


def shifted_softmax(z: Tensor, t: float) -> Tensor:
    e = torch.exp((z - z.max(dim=1, keepdim=True).values) / t)
    return e / e.sum(dim=1, keepdim=True)


def row_by_row(z: Tensor, t: float) -> Tensor:
    rows = []
    for row in z.tolist():
        top = max(row)
        e = [math.exp((value - top) / t) for value in row]
        rows.append([value / sum(e) for value in e])
    return torch.tensor(rows)


def naive_softmax(z: Tensor, t: float) -> Tensor:
    return torch.exp(z / t) / torch.exp(z / t).sum(-1, keepdim=True)


wrong(
    "softened_probabilities",
    softmax_over_the_wrong_axis=lambda z, t: shifted_softmax(z.T, t).T,
    multiplied_by_the_temperature=lambda z, t: shifted_softmax(z, 1 / t),
    temperature_ignored=lambda z, t: row_by_row(z, 1.0),
    divided_after_the_softmax=lambda z, t: F.softmax(z, dim=-1) / t,
    divided_by_T_squared=lambda z, t: shifted_softmax(z, t * t),
    only_the_numerator=lambda z, t: torch.exp(z / t),
    overflow=naive_softmax,
    nothing_returned=lambda z, t: print(shifted_softmax(z, t)),
)
wrong("softened_probabilities", **{"log-probabilities": lambda z, t: F.log_softmax(z / t, dim=1)})
right("softened_probabilities", shifted_softmax, row_by_row, lambda z, t: F.softmax(z / t, dim=-1))


def looped_entropy(p: Tensor) -> Tensor:
    return torch.tensor([-sum(q * math.log(q) for q in row if q > 0) for row in p.tolist()])


def with_nan_to_num(p: Tensor) -> Tensor:
    return -(p * p.log()).nan_to_num(0.0).sum(1)


wrong(
    "entropy_nats",
    bits_for_nats=lambda p: looped_entropy(p) / math.log(2),
    decimal_logarithm=lambda p: torch.tensor(stats.entropy(p.double().numpy(), base=10, axis=1)),
    sign_missing=lambda p: -looped_entropy(p),
    mean_for_sum=lambda p: looped_entropy(p) / p.shape[-1],
    summed_over_the_images=lambda p: looped_entropy(p.T),
    averaged_over_the_batch=lambda p: looped_entropy(p).mean(),
    taken_for_logits=lambda p: looped_entropy(F.softmax(p, dim=-1)),
    perplexity=lambda p: looped_entropy(p).exp(),
    **{
        "0 log 0": lambda p: torch.sum(-p * torch.log(p), dim=-1),
        "rows with a 0 lost": lambda p: torch.nan_to_num((-p * p.log()).sum(-1)),
    },
)
right(
    "entropy_nats",
    looped_entropy,
    with_nan_to_num,
    lambda p: torch.special.entr(p).sum(-1),
    lambda p: -(p * (p + 1e-12).log()).sum(1),
)


def by_autograd(z: Tensor, v: Tensor, t: float) -> Tensor:
    z = z.clone().requires_grad_()
    loss = -((v / t).softmax(1) * (z / t).log_softmax(1)).sum(1).mean()
    (gradient,) = torch.autograd.grad(loss, z)
    return gradient


def with_loops(z: Tensor, v: Tensor, t: float) -> Tensor:
    q, p = shifted_softmax(z, t), shifted_softmax(v, t)
    g = torch.zeros_like(z)
    for b in range(z.shape[0]):
        for c in range(z.shape[1]):
            g[b, c] = (q[b, c] - p[b, c]) / t / z.shape[0]
    return g


wrong(
    "soft_gradient",
    sides_swapped=lambda z, v, t: -by_autograd(z, v, t),
    batch_mean_missing=lambda z, v, t: by_autograd(z, v, t) * len(z),
    T_squared_inside=lambda z, v, t: by_autograd(z, v, t) * t**2,
    divided_by_the_classes_too=lambda z, v, t: by_autograd(z, v, t) / z.shape[1],
    not_softened=lambda z, v, t: by_autograd(z, v, 1.0) / t,
    softmax_over_the_wrong_axis=lambda z, v, t: (F.softmax(z / t, 0) - F.softmax(v / t, 0)) / t / len(z),
    hard_targets=lambda z, v, t: (
        (shifted_softmax(z, t) - F.one_hot(v.argmax(1), z.shape[1])) / (t * z.shape[0])
    ),
    **{"1 / T missing": lambda z, v, t: by_autograd(z, v, t) * t},
)
right("soft_gradient", by_autograd, with_loops)


def centred(x: Tensor) -> Tensor:
    return torch.stack([row - row.mean() for row in x])


wrong(
    "matching_logits_gradient",
    sides_swapped=lambda z, v, t: (centred(v) - centred(z)) / z.numel(),
    means_left_in=lambda z, v, t: (z - v) / (len(z) * z.shape[1]),
    mean_over_the_batch=lambda z, v, t: ((z - z.mean(0)) - (v - v.mean(0))) / z.numel(),
    one_mean_for_all=lambda z, v, t: ((z - z.mean()) - (v - v.mean())) / z.numel(),
    batch_mean_missing=lambda z, v, t: (centred(z) - centred(v)) / z.shape[1],
    number_of_classes_missing=lambda z, v, t: (centred(z) - centred(v)) / z.shape[0],
    T_squared_left_in=lambda z, v, t: (centred(z) - centred(v)) / z.numel() / t / t,
    exact_gradient_for_the_limit=lambda z, v, t: t**2 * by_autograd(z, v, t),
)
right(
    "matching_logits_gradient",
    lambda z, v, t: (centred(z) - centred(v)) / z.numel(),
    lambda z, v, t: 1e12 * by_autograd(z.double(), v.double(), 1e6),
    lambda z, v, t: ((z - v) - (z - v).mean(-1, keepdim=True)) / (z.shape[0] * z.shape[1]),
)
