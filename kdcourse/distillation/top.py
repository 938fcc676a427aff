"""A teacher's top k logits, and what is known of the others: as a batch, and packed into rows of bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdcourse.distillation.softening import check_temperature, largest
from kdcourse.errors import ArgumentError


@dataclass(frozen=True)
class TopLogits:
    """Hold the k largest logits of each image, and the weight of all other classes together.

    At a temperature T the others' probability is ``exp(rest) / (sum of exp(values / T) + exp(rest))``, where ``rest``
    is the logarithm of the sum of exp(v / T) over them. That sum can't be computed from the one at another temperature,
    so it is stored for each temperature that will be used.

    Attributes:
        values: float32 [B, k], in descending order.
        classes: int64 [B, k], whose they are.
        rest: float32 [B, temperatures]; -inf where the teacher rules all others out.
        temperatures: those of ``rest``.
    """

    values: Tensor
    classes: Tensor
    rest: Tensor
    temperatures: tuple[float, ...]

    def rest_at(self, temperature: float) -> Tensor:
        """Return the others' log-sum-exp at a temperature, float32 [B].

        Raises:
            ArgumentError: a temperature that it wasn't stored for.
        """
        if temperature not in self.temperatures:
            stored = ", ".join(f"{known:g}" for known in self.temperatures)
            raise ArgumentError(
                f"These top-k soft targets hold the weight of the other classes at temperature {stored}; found "
                f"temperature={temperature:g}. Take one of these, or compute them with "
                f"soft_targets(..., temperatures=({temperature:g},))."
            )
        return self.rest[:, self.temperatures.index(temperature)]


class TopRows:
    """Pack the top k logits of an image, their classes and the others' weight into a row of bytes, and unpack it.

    A row takes ``k * (2 + 2) + 4 * temperatures`` bytes: values in float16 (float32 where they are too large for it),
    classes in int16 (int32 for more than 32,767 of them), the others' weight in float32.

    Args:
        k: 1 or more, and fewer than all classes.
        classes: their number.
        temperatures: at which the others' weight is kept.

    Raises:
        ArgumentError: k out of range, no temperature, one twice or out of range.
    """

    def __init__(self, k: int, classes: int, temperatures: Sequence[float]) -> None:
        if not isinstance(k, int) or not 1 <= k < classes:
            raise ArgumentError(
                f"top_k must be a whole number from 1 to {classes - 1}, fewer than the {classes} classes; found {k!r}. "
                "Leave it out to keep all logits."
            )
        self.k, self.classes = k, classes
        self.temperatures = tuple(float(temperature) for temperature in temperatures)
        if not self.temperatures or len(set(self.temperatures)) < len(self.temperatures):
            raise ArgumentError(
                f"temperatures must be at least one, each once; found {list(self.temperatures)}."
            )
        for temperature in self.temperatures:
            check_temperature(temperature)
        self._index_type = torch.int16 if classes <= torch.iinfo(torch.int16).max else torch.int32

    def size(self, dtype: torch.dtype) -> int:
        """Return the bytes of a row with values of this type."""
        return self.k * (dtype.itemsize + self._index_type.itemsize) + 4 * len(self.temperatures)

    def rest(self, logits: Tensor, chosen: Tensor) -> Tensor:
        """Return the log-sum-exp of all logits [B, C] but those chosen [B, k]: float32 [B, temperatures]."""
        others = logits.scatter(1, chosen, -math.inf)
        return torch.stack([(others / temperature).logsumexp(1) for temperature in self.temperatures], 1)

    def pack(self, logits: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Return logits, float32 [B, C], as rows uint8 [B, size]; ``None`` where values are too large for ``dtype``."""
        values, chosen = logits.topk(self.k)
        if largest(values) > torch.finfo(dtype).max:
            return None
        parts = [values.to(dtype), chosen.to(self._index_type), self.rest(logits, chosen)]
        return torch.cat([part.contiguous().view(torch.uint8) for part in parts], 1)

    def unpack(self, rows: Tensor) -> TopLogits:
        """Return what `pack` was given, of rows uint8 [B, size]."""
        dtype = torch.float16 if rows.shape[1] == self.size(torch.float16) else torch.float32
        sizes = [self.k * dtype.itemsize, self.k * self._index_type.itemsize, 4 * len(self.temperatures)]
        values, chosen, rest = (
            part.contiguous().view(kind)
            for part, kind in zip(rows.split(sizes, 1), (dtype, self._index_type, torch.float32), strict=True)
        )
        return TopLogits(values.float(), chosen.long(), rest, self.temperatures)
