"""Answers to kl_divergence."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical
from torch.distributions import kl_divergence as of_distributions


def by_lists(p: Tensor, q: Tensor) -> Tensor:
    found = []
    for one, other in zip(p.tolist(), q.tolist(), strict=True):
        found.append(sum(a * math.log(a / b) for a, b in zip(one, other, strict=True) if a > 0))
    return torch.tensor(found)


def by_mask(p: Tensor, q: Tensor) -> Tensor:
    terms = torch.zeros_like(p)
    some = p > 0
    terms[some] = p[some] * (p[some].log() - q[some].log())
    return terms.sum(dim=-1)


def by_clamp(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p.clamp(min=1e-30).log() - q.log())).sum(1)


def by_torch(p: Tensor, q: Tensor) -> Tensor:
    return of_distributions(Categorical(probs=p.double()), Categorical(probs=q.double())).float()


def by_einsum(p: Tensor, q: Tensor) -> Tensor:
    return torch.einsum("nv,nv->n", p, torch.log(p + (p == 0)) - torch.log(q))


RIGHT = [
    by_lists,
    by_mask,
    by_clamp,
    by_einsum,
    lambda p, q: torch.xlogy(p, p).sum(1) - (p * q.log()).sum(1),
    lambda p, q: torch.nn.KLDivLoss(reduction="none")(torch.log(q), p).sum(axis=1),
    lambda p, q: torch.nansum(p * (p / q).log(), dim=1),
    lambda p, q: (p * (p.log() - q.log())).nan_to_num(0.0).sum(1),
]


def changes_p(p: Tensor, q: Tensor) -> Tensor:
    p[p == 0] = 1
    return (p * (p / q).log()).sum(1)


def terms(p: Tensor, q: Tensor) -> Tensor:
    return torch.xlogy(p, p) - torch.xlogy(p, q)


WRONG = {
    "reversed": lambda p, q: terms(q, p).sum(1),
    "q log(p / q)": lambda p, q: (q * (p / q).log()).sum(1),
    "p log(q / p)": lambda p, q: -terms(p, q).sum(1),
    "bits": lambda p, q: terms(p, q).sum(1) / math.log(2),
    "decimal": lambda p, q: torch.nansum(p * (p / q).log10(), 1),
    "entropy": lambda p, q: torch.special.entr(p).sum(1),
    "negative entropy": lambda p, q: torch.xlogy(p, p).sum(1),
    "cross-entropy": lambda p, q: -torch.xlogy(p, q).sum(1),
    "log likelihood": lambda p, q: torch.xlogy(p, q).sum(1),
    "difference of entropies": lambda p, q: torch.special.entr(q).sum(1) - torch.special.entr(p).sum(1),
    "p log p + p log q": lambda p, q: (torch.xlogy(p, p) + torch.xlogy(p, q)).sum(1),
    "log of the sum": lambda p, q: (p * p / q).sum(1).log(),
    "ratio": lambda p, q: (p * p / q).sum(1),
    "chi squared": lambda p, q: ((p - q) ** 2 / q).sum(1),
    "symmetric": lambda p, q: ((p - q) * (p.log() - q.log())).sum(1),
    "half symmetric": lambda p, q: 0.5 * ((p - q) * (p.log() - q.log())).sum(1),
    "total variation": lambda p, q: 0.5 * (p - q).abs().sum(1),
    "L1": lambda p, q: (p - q).abs().sum(1),
    "L2": lambda p, q: (p - q).norm(dim=1),
    "squares": lambda p, q: (p - q).pow(2).sum(1),
    "Hellinger": lambda p, q: (p.sqrt() - q.sqrt()).pow(2).sum(1),
    "cosine": lambda p, q: 1 - F.cosine_similarity(p, q),
    "absolute": lambda p, q: terms(p, q).abs().sum(1),
    "without weights": lambda p, q: (p / q).log().sum(1),
    "mean": lambda p, q: terms(p, q).mean(1),
    "dim 0": lambda p, q: terms(p, q).sum(0),
    "all": lambda p, q: terms(p, q).sum(),
    "batch mean": lambda p, q: terms(p, q).sum(1).mean(),
    "terms": terms,
    "keepdim": lambda p, q: terms(p, q).sum(1, keepdim=True),
    "largest": lambda p, q: terms(p, q).amax(1),
    "likeliest token": lambda p, q: terms(p, q).gather(1, p.argmax(1, keepdim=True))[:, 0],
    "softmax": lambda p, q: terms(p.softmax(1), q.softmax(1)).sum(1),
    "kl_div of probabilities": lambda p, q: F.kl_div(q, p, reduction="none").sum(1),
    "kl_div swapped": lambda p, q: F.kl_div(p.log(), q, reduction="none").sum(1),
    "kl_div of logs": lambda p, q: F.kl_div(q.log(), p.log(), reduction="none").sum(1),
    "kl_div's mean": lambda p, q: F.kl_div(q.log(), p, reduction="mean"),
    "log1p": lambda p, q: (p * (p.log1p() - q.log1p())).sum(1),
    "0 log 0": lambda p, q: (p * (p / q).log()).sum(1),
    "NaN replaced late": lambda p, q: (p * (p / q).log()).sum(1).nan_to_num(),
    "zeros clamped to 0.001": lambda p, q: (p * (p.clamp(min=1e-3) / q).log()).sum(1),
    "q clamped": lambda p, q: (torch.xlogy(p, p) - p * q.clamp(min=1e-8).log()).sum(1),
    "1e-10 added": lambda p, q: torch.xlogy(p, (p + 1e-10) / (q + 1e-10)).sum(1),
    "p changed": changes_p,
    "minus 1": lambda p, q: (terms(p, q) - p + q).sum(1) + 1,
    "exponential": lambda p, q: terms(p, q).sum(1).exp(),
    "rounded": lambda p, q: terms(p, q).sum(1).round(decimals=3),
    "half precision": lambda p, q: terms(p, q).sum(1).bfloat16(),
    "list": lambda p, q: terms(p, q).sum(1).tolist(),
    "argument forgotten": lambda p, q: terms(p, p).sum(1),
}

SAYS = {
    "reversed": "p and q swapped",
    "kl_div swapped": "p and q swapped",
    "bits": "bits for nats",
    "0 log 0": "0 log 0",
    "log likelihood": "below 0",
    "keepdim": "shape",
    "p changed": "1 for 0 in the weights too",
    "rounded": "rounded",
}
