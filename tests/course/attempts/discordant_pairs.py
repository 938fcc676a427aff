"""Answers to discordant_pairs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def with_a_loop(first_correct: Tensor, second_correct: Tensor) -> tuple[int, int]:
    first_only, second_only = 0, 0
    for a, b in zip(first_correct, second_correct, strict=True):
        if a and not b:
            first_only += 1
        elif b and not a:
            second_only += 1
    return first_only, second_only


def with_sets(a: Tensor, b: Tensor) -> tuple[int, int]:
    one, two = (set(x.nonzero().flatten().tolist()) for x in (a, b))
    return len(one - two), len(two - one)


def by_table(a: Tensor, b: Tensor) -> tuple[int, int]:
    table = torch.bincount(2 * a.long() + b.long(), minlength=4)
    return int(table[2]), int(table[1])


def by_numpy(a: Tensor, b: Tensor) -> tuple[int, int]:
    a, b = a.numpy(), b.numpy()
    return np.count_nonzero(a > b), np.count_nonzero(a < b)


RIGHT = [
    with_a_loop,
    with_sets,
    by_table,
    by_numpy,
    lambda a, b: [(a & ~b).sum().item(), (~a & b).sum().item()],
    lambda a, b: (int(torch.logical_and(a, b.logical_not()).sum()), int((a ^ b)[b].sum())),
    lambda a, b: tuple((x & ~y).count_nonzero().item() for x, y in ((a, b), (b, a))),
]


def changes_first(a: Tensor, b: Tensor) -> tuple[int, int]:
    a &= ~b
    return int(a.sum()), int((b & ~a).sum())


def count(mask: Tensor) -> int:
    return int(mask.sum())


WRONG = {
    "swapped": lambda a, b: (count(b & ~a), count(a & ~b)),
    "all right ones": lambda a, b: (count(a), count(b)),
    "all wrong ones": lambda a, b: (count(~a), count(~b)),
    "all wrong ones of the other": lambda a, b: (count(~b), count(~a)),
    "both right, both wrong": lambda a, b: (count(a & b), count(~a & ~b)),
    "both right twice": lambda a, b: (count(a & b), count(a & b)),
    "or": lambda a, b: (count(a | ~b), count(b | ~a)),
    "or of both": lambda a, b: (count(a | b), count(b | a)),
    "differing twice": lambda a, b: (count(a ^ b), count(a ^ b)),
    "differing and the same": lambda a, b: (count(a != b), count(a == b)),
    "difference of sums": lambda a, b: (count(a) - count(b), count(b) - count(a)),
    "difference of sums, not below 0": lambda a, b: (
        max(0, count(a) - count(b)),
        max(0, count(b) - count(a)),
    ),
    "~ on both": lambda a, b: (count(~a & b), count(a & ~b)),
    "only the first right": lambda a, b: (count(a & ~b), count(b)),
    "second against the changed first": lambda a, b: (count(a & ~b), count(b & ~(a & ~b))),
    "only the second right": lambda a, b: (count(a), count(b & ~a)),
    "neither": lambda a, b: (count(a & ~b), count(~a & ~b)),
    "precedence of not": lambda a, b: (count(a & ~b), count(~(b & a))),
    "xor with the wrong side": lambda a, b: (count((a ^ b) & b), count((a ^ b) & a)),
    "shares": lambda a, b: ((a & ~b).double().mean().item(), (b & ~a).double().mean().item()),
    "floats": lambda a, b: (float((a & ~b).sum()), float((b & ~a).sum())),
    "tensors": lambda a, b: ((a & ~b).sum(), (b & ~a).sum()),
    "masks": lambda a, b: (a & ~b, b & ~a),
    "places": lambda a, b: ((a & ~b).nonzero().flatten().tolist(), (b & ~a).nonzero().flatten().tolist()),
    "sum of both": lambda a, b: count(a ^ b),
    "the first alone": lambda a, b: count(a & ~b),
    "one tensor": lambda a, b: torch.tensor([count(a & ~b), count(b & ~a)]),
    "one of three": lambda a, b: (count(a & ~b), count(b & ~a), count(a & b)),
    "any": lambda a, b: (int((a & ~b).any()), int((b & ~a).any())),
    "first changed": changes_first,
    "neighbours compared": lambda a, b: (count(a[1:] & ~b[:-1]), count(b[1:] & ~a[:-1])),
    "sorted": lambda a, b: tuple(sorted((count(a & ~b), count(b & ~a)), reverse=True)),
}

SAYS = {
    "first changed": "changes first_correct",
    "tensors": "int(...) takes it out",
    "~ on both": "order swapped",
}
