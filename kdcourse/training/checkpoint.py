"""The whole state of a run in one file, so that it can go on as if it had never stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdcourse.errors import CheckpointError
from kdcourse.training.history import History
from kdcourse.training.weights import check_weights, read_tensors, write_tensors

_FORMAT = 1


@dataclass
class Position:
    """Where a run stands: the next epoch and step, and the running sums of the epoch under way."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizer, history: History, position: Position
) -> None:
    """Write weights, optimizer state, random state, history and position, whole or not at all."""
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.state_dict().items()}
    numbers: dict[str, float] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                numbers[f"{index}.{name}"] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    write_tensors(
        path,
        tensors,
        {
            "format": _FORMAT,
            "history": history.to_json(),
            "position": vars(position),
            "optimizer_numbers": numbers,
        },
    )


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizer, settings: dict[str, Any]
) -> tuple[History, Position]:
    """Put ``model``, ``optimizer`` and the random generators where `save_checkpoint` found them.

    Raises:
        CheckpointError: an unreadable file, another architecture, or a run with other settings.
    """
    tensors, notes = read_tensors(path)
    if notes.get("format") != _FORMAT or "position" not in notes:
        raise CheckpointError(
            f"{path} is no training checkpoint of this version of kdcourse (it may hold weights alone). "
            "Name another file, or delete it to start afresh."
        )
    history = History.from_json(notes["history"])
    other = [
        f"{key}: {history.settings.get(key)!r} there, {value!r} here"
        for key, value in settings.items()
        if history.settings.get(key) != value
    ]
    if other:
        raise CheckpointError(
            f"{path} belongs to a run with other settings ({'; '.join(other)}). Go on with its settings, "
            "or name another checkpoint file for this run."
        )
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    check_weights(model, weights, path)
    model.load_state_dict(weights)

    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    for key, number in notes["optimizer_numbers"].items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = number
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return history, Position(**notes["position"])
