"""Build tiny models that record how they were called, and a plain optimizer, for exercises about models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.checks.probes import numbers


class Remembering(nn.Module):
    """Classify with a tiny network, float32 [B, ...], 6 numbers each -> logits [B, 3]; record in which state it ran.

    BatchNorm and dropout make a wrong mode visible in the answers too. Weights follow from ``seed``.

    Attributes:
        modes: "train" or "eval" for each call.
        recorded: whether each call left a graph for gradients behind.
    """

    def __init__(self, seed: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)
        )
        with torch.no_grad():
            for place, parameter in enumerate(self.parameters()):
                parameter.copy_(numbers(seed * 10 + place, *parameter.shape, spread=0.7))
        self.modes: list[str] = []
        self.recorded: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images.flatten(1))
        self.modes.append("train" if any(part.training for part in self.modules()) else "eval")
        self.recorded.append(logits.requires_grad)
        return logits

    @property
    def modes_in_words(self) -> str:
        """Return every mode in which it was called, in words."""
        return " and ".join(sorted(set(self.modes))) or "never"


class Descent:
    """Descend the gradient, and count the steps.

    This replaces torch.optim: its first use imports torch's compiler, which takes seconds of the answer's time.
    """

    def __init__(self, model: nn.Module) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(model.parameters()), "lr": 0.5}]
        self.steps = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None if set_to_none or parameter.grad is None else torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter -= self.param_groups[0]["lr"] * parameter.grad


def weights(model: nn.Module) -> Tensor:
    """Return all parameters in one row."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def statistics(model: nn.Module) -> Tensor:
    """Return all buffers (BatchNorm's running mean, variance and count) in one row."""
    return torch.cat([buffer.detach().double().flatten() for buffer in model.buffers()])
