"""Networks small enough to be trained in a moment, for the 8x8 pictures of `tests.distillation.tiny`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.training import History

FIT: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,  # 70 pictures: four steps an epoch
    "learning_rate": 0.05,
    "seed": 3,
    "precision": "float32",
    "device": "cpu",
    "progress": False,
}


class Net(nn.Module):
    """All that a resumed run could get wrong: batch norms, dropout, kernels of one and of several channels."""

    def __init__(self, width: int = 4, channels: int = 1, classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(2 * width)
        self.drop = nn.Dropout(0.3)
        self.hidden = nn.Linear(2 * width * 16, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first_norm(self.first(x)).relu()
        x = self.second_norm(nn.functional.max_pool2d(self.second(x), 2)).relu()
        return self.head(self.hidden(self.drop(x).flatten(1)).relu())


def net(seed: int = 0, **options: int) -> Net:
    torch.manual_seed(seed)
    return Net(**options)


def plain_net(seed: int = 0) -> nn.Module:
    """Without batch norm, whose statistics several processes take over their own shares of a batch."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4),
    )  # fmt: skip


def without_seconds(history: History) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(history.to_json())
    for record in content["epochs"]:
        del record["seconds"]
    return content


def write_history(history: History, path: Path) -> None:
    path.write_text(json.dumps(without_seconds(history), sort_keys=True))
