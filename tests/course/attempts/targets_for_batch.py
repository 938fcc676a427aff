"""Answers to targets_for_batch."""

from __future__ import annotations

import torch
from torch import Tensor


def one_by_one(stored_logits: Tensor, order: Tensor, start: int, size: int) -> Tensor:
    rows = []
    for place in range(start, min(start + size, len(order))):
        rows.append(stored_logits[order[place]])
    return torch.stack(rows)


def by_numpy(stored: Tensor, order: Tensor, start: int, size: int) -> Tensor:
    return torch.from_numpy(stored.numpy()[order.numpy()[start : start + size]])


def by_one_hot(stored: Tensor, order: Tensor, start: int, size: int) -> Tensor:
    pick = torch.nn.functional.one_hot(order[start : start + size], len(stored)).to(stored.dtype)
    return torch.einsum("bn,nc->bc", pick, stored)


def by_list(stored: Tensor, order: Tensor, start: int, size: int) -> Tensor:
    return stored[order.tolist()[start:][:size]]


def changes_order(stored: Tensor, order: Tensor, start: int, size: int) -> Tensor:
    order[:start] = -1
    return stored[order[start : start + size]]


def shuffles_the_store(stored: Tensor, order: Tensor, start: int, size: int) -> Tensor:
    stored[:] = stored[order]
    return stored[start : start + size]


RIGHT = [
    one_by_one,
    by_numpy,
    by_one_hot,
    by_list,
    lambda stored, order, start, size: stored[order][start : start + size],
    lambda stored, order, start, size: stored.index_select(0, order[start : start + size]),
    lambda stored, order, start, size: torch.take_along_dim(stored, order[:, None], 0).narrow(
        0, start, min(size, len(order) - start)
    ),
]

WRONG = {
    "order ignored": lambda s, o, start, size: s[start : start + size],
    "inverse order": lambda s, o, start, size: s[o.argsort()[start : start + size]],
    "inverse order by scattering": lambda s, o, start, size: torch.zeros_like(s).index_copy(0, o, s)[
        start : start + size
    ],
    "order twice": lambda s, o, start, size: s[o[o[start : start + size]]],
    "stored twice": lambda s, o, start, size: s[o][o[start : start + size]],
    "size as the end": lambda s, o, start, size: s[o[start:size]],
    "end too early": lambda s, o, start, size: s[o[start : start + size - 1]],
    "end too late": lambda s, o, start, size: s[o[start : start + size + 1]],
    "start one too late": lambda s, o, start, size: s[o[start + 1 : start + 1 + size]],
    "start as a batch number": lambda s, o, start, size: s[o[start * size : start * size + size]],
    "no end": lambda s, o, start, size: s[o[start:]],
    "no start": lambda s, o, start, size: s[o[:size]],
    "reversed order": lambda s, o, start, size: s[o.flip(0)[start : start + size]],
    "batch reversed": lambda s, o, start, size: s[o[start : start + size].flip(0)],
    "batch sorted": lambda s, o, start, size: s[o[start : start + size].sort().values],
    "column picked": lambda s, o, start, size: s[:, o[start : start + size] % s.shape[1]],
    "places": lambda s, o, start, size: o[start : start + size],
    "first row alone": lambda s, o, start, size: s[o[start]],
    "shuffled within the batch alone": lambda s, o, start, size: s[start : start + size][
        o[start : start + size].argsort()
    ],
    "random order": lambda s, o, start, size: s[torch.randperm(len(s))[start : start + size]],
    "wrapped around": lambda s, o, start, size: s[o[torch.arange(start, start + size) % len(o)]],
    "padded with zeros": lambda s, o, start, size: torch.cat([s[o], torch.zeros(size, s.shape[1])])[
        start : start + size
    ],
    "last batch clamped": lambda s, o, start, size: s[
        o[torch.arange(start, start + size).clamp(max=len(o) - 1)]
    ],
    "last batch moved back": lambda s, o, start, size: s[o[min(start, len(o) - size) :][:size]],
    "softmax": lambda s, o, start, size: s[o[start : start + size]].softmax(1),
    "predictions": lambda s, o, start, size: s[o[start : start + size]].argmax(1),
    "counted from 1": lambda s, o, start, size: s[o[start : start + size] - 1],
    "list of rows": lambda s, o, start, size: [s[n] for n in o[start : start + size]],
    "order changed": changes_order,
    "store changed": shuffles_the_store,
    "rounded": lambda s, o, start, size: s[o[start : start + size]].round(decimals=3),
    "half precision": lambda s, o, start, size: s.half()[o[start : start + size]],
    "NumPy array": lambda s, o, start, size: s[o[start : start + size]].numpy(),
}

SAYS = {
    "order changed": "changes order",
    "store changed": "changes stored_logits",
    "random order": "random from call to call",
    "rounded": "rounded",
}
