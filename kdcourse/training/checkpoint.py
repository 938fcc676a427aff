"""The whole state of a run in one file, so that it can go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdcourse.errors import CheckpointError
from kdcourse.training.history import History
from kdcourse.training.placement import Placement
from kdcourse.training.weights import check_finite, check_weights, read_tensors, write_tensors

_FORMAT = 2


@dataclass
class Position:
    """Where a run stands: the next epoch and step, and this process's sums over the epoch under way.

    ``counts``: see `kdcourse.training.tally`.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    counts: list[int] = field(default_factory=list)

    def add(self, counts: Tensor) -> None:
        """Add a batch's counts."""
        self.counts = [before + new for before, new in zip(self.counts, counts.tolist(), strict=True)]


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizer, history: History, position: Position, place: Placement
) -> None:
    """Write weights, optimizer state, random state, history and position, whole or not at all.

    Every process must call it; the main one writes.
    """
    loss_sum, seen, *counts = place.total([position.loss_sum, position.seen, *position.counts])
    if not place.is_main:
        return
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.state_dict().items()}
    numbers: dict[str, float] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                numbers[f"{index}.{name}"] = value
    for device, (read, _) in _generators().items():
        tensors[f"random.{device}"] = read()
    write_tensors(
        path,
        tensors,
        {
            "format": _FORMAT,
            "history": history.to_json(),
            "position": vars(
                replace(position, loss_sum=loss_sum, seen=int(seen), counts=[int(count) for count in counts])
            ),
            "optimizer_numbers": numbers,
            "channels_last": [name for name, tensor in tensors.items() if _is_channels_last(tensor)],
        },
    )


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizer, settings: dict[str, Any], place: Placement
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
    try:
        history, position = History.from_json(notes["history"]), Position(**notes["position"])
        numbers: dict[str, float] = notes["optimizer_numbers"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} lacks a part of a training's state, or holds a garbled one: {type(error).__name__}: {error}. "
            "Delete it to start afresh."
        ) from error
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
    check_finite(tensors, path)
    model.load_state_dict(weights)

    # Rounding may differ with the order of numbers in memory, so the optimizer's go back as they lay.
    for name in notes.get("channels_last", []):
        tensors[name] = tensors[name].contiguous(memory_format=torch.channels_last)
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    for key, number in numbers.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = number
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for device, (_, write) in _generators().items():
        if f"random.{device}" in tensors:
            write(tensors[f"random.{device}"])
    if not place.is_main:
        # The main process holds all that was summed.
        position = replace(position, loss_sum=0.0, seen=0, counts=[0] * len(position.counts))
    return history, position


def _generators() -> dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
    """How to read and set the random state of each device here; GPUs have a generator of their own."""
    found: dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], None]]] = {
        "cpu": (torch.get_rng_state, torch.set_rng_state)
    }
    if torch.cuda.is_available():
        found["cuda"] = (torch.cuda.get_rng_state, torch.cuda.set_rng_state)
    if torch.backends.mps.is_available():
        found["mps"] = (torch.mps.get_rng_state, torch.mps.set_rng_state)
    return found


def _is_channels_last(tensor: Tensor) -> bool:
    return (
        tensor.ndim == 4
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )
