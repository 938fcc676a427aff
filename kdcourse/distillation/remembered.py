"""Ask a teacher about each row of a text once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Remembered(nn.Module):
    """Answer as a language model does, and keep its answers in memory for the next time that a row is shown.

    int64 [B, T] -> logits [B, T, V], those that were kept rounded to float16 (three digits). Copies share what is kept.
    Training on a text for several epochs, or training several students on it, then takes one forward pass of the
    teacher per row. It is of no use where rows never come again, as with ``on_policy``.

    Args:
        teacher: asked in its present mode; its weights mustn't change any more.
        most_bytes: kept at most; a row takes 2 * T * V bytes. Further rows are asked about each time.
    """

    def __init__(self, teacher: nn.Module, *, most_bytes: int = 2 << 30) -> None:
        super().__init__()
        self.teacher, self._kept, self._most_bytes = teacher, _Kept(), most_bytes

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the teacher's logits after each of ``tokens`` [B, T]."""
        rows = [row.numpy().tobytes() for row in tokens.cpu()]
        new = [place for place, row in enumerate(rows) if row not in self._kept]
        answers: dict[int, Tensor] = dict(zip(new, self.teacher(tokens[new]), strict=True)) if new else {}
        for place, logits in answers.items():
            if (len(self._kept) + 1) * 2 * logits.numel() <= self._most_bytes:
                self._kept[rows[place]] = logits.detach().to("cpu", torch.float16)
        if len(new) == len(rows):
            return torch.stack([*answers.values()])
        found = [answers[place] if place in answers else self._kept[row] for place, row in enumerate(rows)]
        return torch.stack([logits.to(tokens.device, torch.float32) for logits in found])


class _Kept(dict[bytes, Tensor]):
    """Rows and their logits, float16 [T, V] on the CPU."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Kept:
        return self
