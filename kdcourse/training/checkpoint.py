"""The whole state of a run in one file, so that it can resume as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
_BEST = "best."  # before the names of the best epoch's tensors
_FOUND_OUT = ("precision", "device", "prolonged")  # recorded once a run has begun


@dataclass
class Position:
    """Hold where a run stands: the next epoch and step, and this process's sums over the current epoch.

    ``seen``: images, or for masks and texts the pixels or tokens that count, of all processes. ``counts``: see
    `kdcourse.training.task`. ``parts``: sums of the objective's named parts.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    counts: list[int] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)

    def add(self, weight: int, loss: float, parts: Mapping[str, float], counts: list[int]) -> None:
        """Add a batch: its mean loss and parts, which weigh as many images, pixels or tokens, and its counts."""
        self.loss_sum += loss * weight
        self.seen += weight
        for name, part in parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + part * weight
        self.counts = [before + new for before, new in zip(self.counts, counts, strict=True)]

    def over(self, place: Placement) -> Position:
        """Return the position with sums over all processes."""
        names = sorted(self.parts)
        loss_sum, seen, *rest = place.total(
            [self.loss_sum, self.seen, *self.counts, *(self.parts[name] for name in names)]
        )
        counts, parts = rest[: len(self.counts)], rest[len(self.counts) :]
        return replace(
            self,
            loss_sum=loss_sum,
            seen=int(seen),
            counts=[int(count) for count in counts],
            parts=dict(zip(names, parts, strict=True)),
        )


@dataclass
class State:
    """All that a checkpoint holds: what a run changes as it trains, and what tells it from other runs.

    ``objective`` is there where the objective has a state of its own, ``identity`` is its `fingerprint`. ``best`` holds
    the tensors of all `modules` as they were after the best epoch, where that is to be kept.
    """

    model: nn.Module
    objective: nn.Module | None
    identity: str | None
    optimizer: Optimizer
    history: History
    at: Position
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Return the modules whose state is stored, by the prefix of their tensors."""
        return {"model": self.model} | ({} if self.objective is None else {"objective": self.objective})

    def tensors(self) -> dict[str, Tensor]:
        """Return the state of all modules, by prefix and name; not copied."""
        return {
            f"{prefix}.{k}": v
            for prefix, module in self.modules.items()
            for k, v in module.state_dict().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put what `tensors` returned, on any device, back into the modules."""
        for prefix, module in self.modules.items():
            module.load_state_dict({k: tensors[f"{prefix}.{k}"] for k in module.state_dict()})


def save_checkpoint(path: Path, state: State, place: Placement) -> None:
    """Write weights, optimizer state, random state, history and position, whole or not at all.

    Every process must call it; the main one writes.
    """
    at = state.at.over(place)
    if not place.is_main:
        return
    tensors = state.tensors() | {f"{_BEST}{name}": tensor for name, tensor in state.best.items()}
    numbers: dict[str, float] = {}
    for index, values in state.optimizer.state_dict()["state"].items():
        for name, value in values.items():
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
            "history": state.history.to_json(),
            "objective": state.identity,
            "position": vars(at),
            "optimizer_numbers": numbers,
            "channels_last": [name for name, tensor in tensors.items() if _is_channels_last(tensor)],
        },
    )


def load_checkpoint(path: Path, state: State, place: Placement, *, prolong: bool = False) -> None:
    """Put ``state`` and the random generators where `save_checkpoint` found them.

    With ``prolong`` a finished run may have had fewer epochs; see `kdcourse.training.fit`.

    Raises:
        CheckpointError: an unreadable file, another architecture, a run with other settings or another objective, or
            one of which that can't be told; a prolonged run without ``prolong``, a run to prolong that hasn't ended.
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
    there, here = history.settings, state.history.settings
    other = {
        key: f"{key}: {there.get(key)!r} there, {here.get(key)!r} here"
        for key in dict.fromkeys((*here, *there))
        if key not in _FOUND_OUT and there.get(key) != here.get(key)
    }
    longer = other.keys() == {"epochs"} and there["epochs"] < here["epochs"]
    ended = position.epoch == there["epochs"]
    if prolong and longer and ended:
        there["prolonged"] = [*there.get("prolonged", ()), there["epochs"]]
        there["epochs"] = here["epochs"]
    elif other:
        advice = f"{path} belongs to a run with other settings ({'; '.join(other.values())}). "
        if longer and ended:
            advice += "To continue this finished run, pass prolong=True. Otherwise go on"
        elif longer and prolong:
            advice += f"It can't be prolonged yet: {position.epoch} of its epochs are done. Complete it first: go on"
        else:
            advice += "Go on"
        raise CheckpointError(f"{advice} with its settings, or name another checkpoint file for this run.")
    elif "prolonged" in there and not prolong:
        raise CheckpointError(
            f"{path} belongs to a run that had ended after {_listed(there['prolonged'])} epochs and was prolonged; a "
            f"run of {here['epochs']} epochs in one go ends otherwise. Pass prolong=True to go on with it, or name "
            "another checkpoint file for this run."
        )
    if "objective" in notes and (state.identity is None or notes["objective"] != state.identity):
        name = history.settings.get("objective")
        raise CheckpointError(
            f"{path} may belong to a run with another objective: {name!r} there and here are not the same code with "
            "the same values, or can't be compared. Name another checkpoint file for this run, or give the objective "
            "a `name` attribute that tells its settings."
        )
    for prefix, module in state.modules.items():
        weights = {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}
        check_weights(module, weights, path)
    check_finite(tensors, path)
    best = {k.removeprefix(_BEST): v for k, v in tensors.items() if k.startswith(_BEST)}
    if here.get("keep") == "best" and history.epochs and best.keys() != state.tensors().keys():
        raise CheckpointError(f"{path} lacks the weights of the best epoch. Delete it to start afresh.")
    state.load(tensors)

    # Rounding may differ with the order of numbers in memory, so the optimizer's go back as they lay.
    for name in notes.get("channels_last", []):
        tensors[name] = tensors[name].contiguous(memory_format=torch.channels_last)
    values: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            values.setdefault(int(index), {})[name] = value
    for key, number in numbers.items():
        index, name = key.split(".", 1)
        values.setdefault(int(index), {})[name] = number
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": values, "param_groups": groups})
    for device, (_, write) in _generators().items():
        if f"random.{device}" in tensors:
            write(tensors[f"random.{device}"])
    if not place.is_main:
        # The main process holds all that was summed.
        nothing = dict.fromkeys(position.parts, 0.0)
        position = replace(position, loss_sum=0.0, seen=0, counts=[0] * len(position.counts), parts=nothing)
    state.history, state.at, state.best = history, position, best


def _listed(numbers: Sequence[int]) -> str:
    return ", then ".join(map(str, numbers))


def _generators() -> dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
    """Return how to read and set the random state of each device here; GPUs have a generator of their own."""
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
