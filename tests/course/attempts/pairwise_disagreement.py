"""Answers to pairwise_disagreement."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor


def two_loops(predictions: Tensor) -> float:
    members, images = predictions.shape
    shares = []
    for i in range(members):
        for j in range(i + 1, members):
            different = 0
            for n in range(images):
                if predictions[i, n] != predictions[j, n]:
                    different += 1
            shares.append(different / images)
    return sum(shares) / len(shares)


def by_broadcasting(p: Tensor) -> float:
    table = (p[:, None, :] != p[None, :, :]).float().mean(-1)
    m = len(p)
    return (table.sum() / (m * (m - 1))).item()


def by_counts(p: Tensor) -> float:
    """Count, image by image, how many members chose each class."""
    m, n = p.shape
    same = sum(int(c) * (int(c) - 1) for image in p.T for c in image.bincount())
    return 1 - same / (m * (m - 1) * n)


def by_numpy(predictions: Tensor) -> float:
    p = predictions.numpy()
    return np.mean([np.mean(a != b) for a, b in itertools.combinations(p, 2)])


def ordered_pairs(p: Tensor) -> float:
    pairs = list(itertools.permutations(range(len(p)), 2))
    return sum((p[i] != p[j]).sum().item() for i, j in pairs) / len(pairs) / p.size(1)


def upper_triangle(p: Tensor) -> float:
    i, j = torch.triu_indices(len(p), len(p), offset=1)
    return (p[i] != p[j]).double().mean().item()


RIGHT = [two_loops, by_broadcasting, by_counts, by_numpy, ordered_pairs, upper_triangle]


def table(p: Tensor) -> Tensor:
    return (p[:, None] != p[None]).double().mean(2)


def exhausted_pairs(p: Tensor) -> float:
    pairs = itertools.combinations(range(len(p)), 2)
    shares = [(p[i] != p[j]).double().mean().item() for i, j in pairs]
    return sum(shares) / max(1, len(list(pairs)))


def majority(p: Tensor) -> float:
    return (p != p.mode(0).values).double().mean().item()


def returns_inside(p: Tensor) -> float:
    total = 0.0
    for i, j in itertools.combinations(range(len(p)), 2):
        total += (p[i] != p[j]).double().mean().item()
        return total / math.comb(len(p), 2)
    return total


def whole_rows(p: Tensor) -> float:
    """Compare two members as wholes."""
    pairs = list(itertools.combinations(p, 2))
    return sum(not torch.equal(a, b) for a, b in pairs) / len(pairs)


WRONG = {
    "a member with itself": lambda p: table(p).mean().item(),
    "with replacement": lambda p: float(
        np.mean([(a != b).double().mean().item() for a, b in itertools.combinations_with_replacement(p, 2)])
    ),
    "agreement": lambda p: 1 - upper_triangle(p),
    "sum over the pairs": lambda p: table(p).triu().sum().item(),
    "every pair twice": lambda p: 2 * upper_triangle(p),
    "neighbours": lambda p: (p[1:] != p[:-1]).double().mean().item(),
    "neighbours in a circle": lambda p: (p != p.roll(1, 0)).double().mean().item(),
    "first against the others": lambda p: (p[1:] != p[0]).double().mean().item(),
    "last against the others": lambda p: (p[:-1] != p[-1]).double().mean().item(),
    "not unanimous": lambda p: (p != p[0]).any(0).double().mean().item(),
    "nobody agrees": lambda p: float(np.mean([len(set(image.tolist())) == len(p) for image in p.T])),
    "different classes per image": lambda p: (
        float(np.mean([len(set(i.tolist())) - 1 for i in p.T])) / (len(p) - 1)
    ),
    "count of images": lambda p: upper_triangle(p) * p.shape[1],
    "largest pair": lambda p: table(p).max().item(),
    "median pair": lambda p: float(
        np.median([t.item() for t in table(p)[tuple(torch.triu_indices(len(p), len(p), 1))]])
    ),
    "members and images swapped": lambda p: upper_triangle(p.T) if p.shape[1] > 1 else 0.0,
    "last pair": lambda p: table(p)[-2, -1].item(),
    "last pair over all": lambda p: table(p)[-2, -1].item() / math.comb(len(p), 2),
    "divided by the members": lambda p: table(p).triu().sum().item() / len(p),
    "divided by members squared": lambda p: table(p).triu().sum().item() / len(p) ** 2,
    "generator used up": exhausted_pairs,
    "return inside the loop": returns_inside,
    "against the majority": majority,
    "members as wholes": whole_rows,
    "distance of class numbers": lambda p: float(
        np.mean([(a - b).abs().double().mean().item() for a, b in itertools.combinations(p, 2)])
    ),
    "standard deviation": lambda p: p.double().std(0).mean().item(),
    "percent": lambda p: 100 * upper_triangle(p),
    "a tensor": lambda p: (p[0] != p[1]).double().mean(),
    "three members only": lambda p: two_loops(p[:3]),
    "rounded": lambda p: round(upper_triangle(p), 2),
}

SAYS = {"a tensor": ".item() takes it out", "rounded": "rounded"}
