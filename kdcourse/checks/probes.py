"""Make the inputs of probes: numbers that are the same on every machine, and draws of other ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def numbers(seed: int, *shape: int, spread: float = 2.0) -> Tensor:
    """Return float32 of that shape, normally distributed around 0; ``spread`` is the standard deviation."""
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def huge(*rows: Sequence[float]) -> Tensor:
    """Return logits of 1e4 times each number, on which a naive exp overflows or a probability is exactly 0."""
    return 1e4 * torch.tensor(rows, dtype=torch.float32)


# Rows of `huge` that lie close together, so that clamping large logits changes their softmax.
CLOSE = ([1, 0.9999, 0.9998], [-1, -1.0001, -0.9999])


class Draw:
    """Draw new values: the same for the same key, on every machine."""

    def __init__(self, *key: Any) -> None:
        self._random = random.Random(repr(key))

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number from low to high, both included."""
        return self._random.randint(low, high)

    def between(self, low: float, high: float) -> float:
        """Draw a number from low to high, uniformly distributed."""
        return self._random.uniform(low, high)

    def noise(self, like: Tensor, spread: float = 1.0) -> Tensor:
        """Draw float32 of the same shape, normally distributed around 0."""
        return numbers(self._random.getrandbits(31), *like.shape, spread=spread)

    def permuted(self, tensor: Tensor) -> Tensor:
        """Return the same entries in another order."""
        flat = tensor.flatten()
        return flat[self.order(len(flat))].view_as(tensor)

    def order(self, count: int) -> Tensor:
        """Return the numbers from 0 to count - 1, shuffled."""
        return torch.tensor(self._random.sample(range(count), count), dtype=torch.long)

    def columns(self, *tensors: Tensor, keep_all: bool = True) -> tuple[Tensor, ...]:
        """Refill tensors of one shape with pairs (triples, ...) of entries that stood at one place in them.

        So values that never co-occur still don't; with ``keep_all``, every combination that occurs still does.
        """
        pairs = torch.stack([tensor.flatten().long() for tensor in tensors])
        kept = torch.unique(pairs, dim=1) if keep_all else pairs[:, :0]
        drawn = [self.whole(0, pairs.shape[1] - 1) for _ in range(pairs.shape[1] - kept.shape[1])]
        refilled = torch.cat([kept, pairs[:, drawn]], dim=1)[:, self.order(pairs.shape[1])]
        return tuple(row.view_as(one).to(one.dtype) for row, one in zip(refilled, tensors, strict=True))


def softmax_rows(expected: Tensor, found: Tensor) -> str | None:
    """Say when rows that should be probabilities aren't."""
    if bool((found < 0).any()):
        return "gives numbers below 0, which are no probabilities."
    sums = found.double().sum(dim=-1)
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        return "gives rows that don't sum to 1, as probabilities must."
    return None


def share(expected: float, found: float) -> str | None:
    """Say when a share lies outside 0..1."""
    return None if 0 <= found <= 1 else f"gives {found:.4g}, which is no share: shares lie between 0 and 1."
