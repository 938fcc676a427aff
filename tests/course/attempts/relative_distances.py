"""Answers to relative_distances."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distances(vectors: Tensor) -> Tensor:
    return torch.stack([(vectors - one).square().sum(1).sqrt() for one in vectors])


def different(found: Tensor) -> Tensor:
    return found[~torch.eye(len(found), dtype=torch.bool)]


def row_by_row(vectors: Tensor) -> Tensor:
    return distances(vectors) / different(distances(vectors)).mean()


def of_pairs(vectors: Tensor) -> Tensor:
    mean = F.pdist(vectors).mean()
    return distances(vectors) / mean


def of_positive(vectors: Tensor) -> Tensor:
    found = distances(vectors)
    return found / found[found > 0].mean()


def twice(vectors: Tensor) -> Tensor:
    found = torch.linalg.vector_norm(vectors.unsqueeze(0) - vectors.unsqueeze(1), dim=-1)
    n = vectors.size(0)
    return found / (found.sum() / (n * n - n))


def from_halves(vectors: Tensor) -> Tensor:
    n = len(vectors)
    found = torch.zeros(n, n)
    places = torch.triu_indices(n, n, 1)
    found[places[0], places[1]] = F.pdist(vectors)
    found = found + found.T
    return found / F.pdist(vectors).mean()


RIGHT = [row_by_row, of_pairs, of_positive, twice, from_halves]


def over(mean: Tensor, vectors: Tensor) -> Tensor:
    return distances(vectors) / mean


WRONG = {
    "diagonal": lambda v: over(distances(v).mean(), v),
    "nothing": distances,
    "largest": lambda v: over(distances(v).max(), v),
    "smallest": lambda v: over(different(distances(v)).min(), v),
    "sum": lambda v: over(distances(v).sum(), v),
    "sum of pairs": lambda v: over(F.pdist(v).sum(), v),
    "divided by B": lambda v: over(distances(v).sum() / len(v), v),
    "divided by B - 1": lambda v: over(distances(v).sum() / (len(v) - 1), v),
    "row means": lambda v: over(distances(v).sum(1, keepdim=True) / (len(v) - 1), v),
    "column means": lambda v: over(distances(v).sum(0) / (len(v) - 1), v),
    "median": lambda v: over(different(distances(v)).median(), v),
    "deviation": lambda v: over(different(distances(v)).std(), v),
    "root of mean square": lambda v: over(different(distances(v)).square().mean().sqrt(), v),
    "times the mean": lambda v: distances(v) * F.pdist(v).mean(),
    "minus the mean": lambda v: distances(v) - F.pdist(v).mean(),
    "squares": lambda v: distances(v).square() / F.pdist(v).square().mean(),
    "squares over mean distance": lambda v: distances(v).square() / F.pdist(v).mean(),
    "L1": lambda v: torch.cdist(v, v, p=1) / F.pdist(v, p=1).mean(),
    "largest difference": lambda v: torch.cdist(v, v, p=float("inf")) / F.pdist(v, p=float("inf")).mean(),
    "mean of differences": lambda v: (v[:, None] - v[None]).mean(2),
    "products": lambda v: v @ v.T,
    "cosines": lambda v: F.normalize(v) @ F.normalize(v).T,
    "1 - cosine": lambda v: 1 - F.normalize(v) @ F.normalize(v).T,
    "unit vectors": lambda v: row_by_row(F.normalize(v)),
    "centred by column": lambda v: row_by_row((v - v.mean(0)) / v.std(0)),
    "columns": lambda v: row_by_row(v.T),
    "upper half": lambda v: row_by_row(v).triu(),
    "pairs alone": lambda v: F.pdist(v) / F.pdist(v).mean(),
    "without the diagonal": lambda v: different(row_by_row(v)).view(len(v), -1),
    "ones on the diagonal": lambda v: row_by_row(v) + torch.eye(len(v)),
    "softmax": lambda v: row_by_row(v).softmax(1),
    "rounded": lambda v: row_by_row(v).round(decimals=2),
}

SAYS = {"diagonal": "diagonal in the mean", "nothing": "not divided by the mean", "rounded": "rounded"}
