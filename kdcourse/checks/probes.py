"""What exercises are tried on: numbers that never change, and tiny models that remember how they were asked."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor


def numbers(seed: int, *shape: int, spread: float = 2.0) -> Tensor:
    """float32, normally distributed around 0 with that standard deviation."""
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def huge(*signs: list[int]) -> Tensor:
    """Logits of 1e4 times each sign: where a careless exp overflows or a probability is exactly 0."""
    return 1e4 * torch.tensor(signs, dtype=torch.float32)


class Draw:
    """Where new values come from: the same for the same key, on every machine."""

    def __init__(self, *key: Any) -> None:
        self._random = random.Random(repr(key))

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return self._random.randint(low, high)

    def between(self, low: float, high: float) -> float:
        """A number from low to high, evenly spread."""
        return self._random.uniform(low, high)

    def noise(self, like: Tensor, spread: float = 1.0) -> Tensor:
        """float32 of the same shape, normally distributed around 0."""
        return numbers(self._random.getrandbits(31), *like.shape, spread=spread)

    def permuted(self, tensor: Tensor) -> Tensor:
        """The same entries at other places."""
        flat = tensor.flatten()
        return flat[self.order(len(flat))].view_as(tensor)

    def order(self, count: int) -> Tensor:
        """The numbers from 0 to count - 1, shuffled."""
        return torch.tensor(self._random.sample(range(count), count), dtype=torch.long)

    def columns(self, *tensors: Tensor, keep_all: bool = True) -> tuple[Tensor, ...]:
        """Tensors of one shape refilled with pairs (triples, ...) of entries that stood at one place in them.

        Hence what never occurs together still doesn't; with ``keep_all`` whatever occurs still does.
        """
        pairs = torch.stack([tensor.flatten().long() for tensor in tensors])
        kept = torch.unique(pairs, dim=1) if keep_all else pairs[:, :0]
        drawn = [self.whole(0, pairs.shape[1] - 1) for _ in range(pairs.shape[1] - kept.shape[1])]
        refilled = torch.cat([kept, pairs[:, drawn]], dim=1)[:, self.order(pairs.shape[1])]
        return tuple(row.view_as(one).to(one.dtype) for row, one in zip(refilled, tensors, strict=True))


def softmax_rows(expected: Tensor, found: Tensor) -> str | None:
    """Says when rows that should be probabilities aren't."""
    if bool((found < 0).any()):
        return "gives numbers below 0, which are no probabilities."
    sums = found.double().sum(dim=-1)
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        return "gives rows that don't sum to 1, as probabilities must."
    return None


def share(expected: float, found: float) -> str | None:
    """Says when a share lies outside 0..1."""
    return None if 0 <= found <= 1 else f"gives {found:.4g}, which is no share: shares lie between 0 and 1."
