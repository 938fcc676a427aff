"""Compute Hinton's objective for a stack of students, and its gradient in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import Batch


@dataclass(frozen=True)
class Axes:
    """Hold the settings of one stack of students, in the order [L, G, T, A].

    Students of one learning rate (L) are neighbours, so that each rate has a slice of every parameter.
    Those of one seed (G) share their batches, those of one seed and temperature (T) their soft targets.
    """

    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    temperatures: tuple[float, ...]
    alphas: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return the length of each axis; their product is the number of students."""
        return len(self.learning_rates), len(self.seeds), len(self.temperatures), len(self.alphas)

    def parts(self, most: int) -> list[Axes]:
        """Return grids of at most ``most`` students (or 1), by halving the outermost axis that has two values."""
        if prod(self.shape) <= most:
            return [self]
        for name in ("learning_rates", "seeds", "temperatures", "alphas"):
            values = getattr(self, name)
            if len(values) > 1:
                half = len(values) // 2
                halves = (replace(self, **{name: values[:half]}), replace(self, **{name: values[half:]}))
                return [part for each in halves for part in each.parts(most)]
        return [self]


class Losses:
    """Sum `hinton_loss` of every student of a stack over an epoch, and compute its gradient for each batch.

    The gradient is written out rather than recorded: with p and q the teacher's and the student's
    softened predictions and s the student's at T = 1, it is
    ``alpha * T / B * (q - p) + (1 - alpha) / B * (s - onehot)`` (see `hinton_loss`). p and the labels
    are computed once for all students that share them.
    """

    def __init__(self, axes: Axes, dtype: torch.dtype, device: torch.device) -> None:
        self._shape = axes.shape
        # Logits come as [L, G, T, A, classes, images].
        self._temperature = torch.tensor(axes.temperatures, dtype=dtype, device=device).view(
            1, 1, -1, 1, 1, 1
        )
        self._alpha = torch.tensor(axes.alphas, dtype=dtype, device=device).view(1, 1, 1, -1, 1, 1)
        self._loss = torch.zeros(axes.shape, dtype=torch.float64, device=device)
        self._right = torch.zeros(axes.shape, dtype=torch.int64, device=device)
        self._seen = 0

    def add(self, logits: Tensor, batches: Sequence[Batch], teacher_logits: Tensor) -> Tensor:
        """Count one step.

        Args:
            logits: every student's, [S, C, B].
            batches: one per seed.
            teacher_logits: [G, B, C] for those batches.

        Returns:
            The gradient of the sum of all students' losses, as ``logits``.
        """
        students, classes, size = logits.shape
        temperature, alpha = self._temperature, self._alpha
        z = logits.to(temperature.dtype).view(*self._shape, classes, size)
        labels = torch.stack([batch.labels for batch in batches]).view(1, -1, 1, 1, 1, size)
        onehot = torch.arange(classes, device=z.device).view(-1, 1) == labels

        log_s = F.log_softmax(z, dim=-2)
        loss = -(1 - alpha[..., 0, 0]) * log_s.where(onehot, 0).sum((-2, -1)) / size
        gradient = (log_s.exp() - onehot.to(z.dtype)) * ((1 - alpha) / size)
        v = teacher_logits.to(z.dtype).transpose(1, 2).view(1, -1, 1, 1, classes, size)
        log_p, log_q = F.log_softmax(v / temperature, dim=-2), F.log_softmax(z / temperature, dim=-2)
        p = log_p.exp()
        divergence = ((p * log_p).sum((-2, -1)) - (p * log_q).sum((-2, -1))) / size
        loss = loss + alpha[..., 0, 0] * temperature[..., 0, 0] ** 2 * divergence
        gradient += (log_q.exp() - p) * (alpha * temperature / size)
        self._loss += loss * size
        self._right += right(z, labels)
        self._seen += size
        return gradient.view(students, classes, size).to(logits.dtype)

    def means(self) -> list[tuple[float, float]]:
        """Return training loss and accuracy of every student over what was counted."""
        losses = (self._loss / self._seen).flatten().tolist()
        return list(zip(losses, (self._right.double() / self._seen).flatten().tolist(), strict=True))


def right(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the images that each student names correctly.

    Args:
        logits: [..., C, B].
        labels: int64, broadcast against [..., 1, B].

    Returns:
        int64 [...]. Of equal logits the first counts, as ``argmax`` has it; that is slow along a
        short axis that isn't the last, so the same is asked by comparisons.
    """
    best = logits == logits.amax(-2, keepdim=True)
    classes = torch.arange(logits.shape[-2], device=logits.device).view(-1, 1)
    return ((best & (classes == labels)).any(-2) & ~(best & (classes < labels)).any(-2)).sum(-1)
