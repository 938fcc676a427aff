"""Build the tiny models on which this lesson's answers are tested.

This file holds no solution, since it runs in the same process as untrusted answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from kdcourse.checks.outcomes import ANSWER


def tiny_model(name: str, more: int = 0) -> nn.Module:
    """Return one of six networks; ``more`` is added to the width of its layers."""
    if name == "linear":
        return nn.Linear(7 + more, 3)
    if name == "batch norm":
        wide = 4 + more
        return nn.Sequential(
            nn.Conv2d(2, wide, 3), nn.BatchNorm2d(wide), nn.ReLU(), nn.Flatten(), nn.Linear(4 * wide, 5)
        )
    if name == "frozen":
        model = nn.Sequential(nn.Linear(5 + more, 4), nn.ReLU(), nn.Linear(4, 2 + more))
        model[0].requires_grad_(False)
        return model
    if name == "nested":
        return nn.Sequential(
            nn.Sequential(nn.Linear(3 + more, 9), nn.ReLU()), nn.Linear(9, 2 + more, bias=False)
        )
    layer = nn.Linear(6 + more, 6 + more)
    if name == "tied":
        other = nn.Linear(6 + more, 6 + more)
        other.weight = layer.weight
        return nn.Sequential(layer, nn.ReLU(), other)
    return nn.Sequential(layer, nn.ReLU(), layer)


def count(answer: Callable[[nn.Module], Any], name: str, more: int) -> dict[str, Any]:
    """Return the answer's result for one tiny model."""
    return {ANSWER: answer(tiny_model(name, more))}
