"""Objectives: what `fit` minimises, what they are called, and how one is told from another."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from kdcourse.data import Batch
from kdcourse.errors import ArgumentError
from kdcourse.training.task import task_of

Objective = Callable[[Tensor, Batch], Tensor | dict[str, Tensor]]
LabelsLoss = Callable[[Tensor, Batch], Tensor]


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Return the cross-entropy in nats of ``logits`` [B, C] with the labels, mean over the batch.

    For segmentation of ``logits`` [B, C, H, W] with the masks, mean over the pixels that aren't
    `kdcourse.data.IGNORE`; 0 where there is none. With any number of labels per image it is the binary
    cross-entropy of ``logits`` [B, C], mean over images and classes. For a text of ``logits`` [B, T, V] with the next
    tokens, mean over the positions that aren't `kdcourse.data.IGNORE_TOKEN`.
    """
    return task_of(batch).cross_entropy(logits, batch.labels)


def check_loss(found: object) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss, a scalar with a gradient, and the named parts that an objective returned beside it.

    Raises:
        ArgumentError: anything else.
    """
    loss, parts = found, {}
    if isinstance(found, dict):
        parts = {name: part for name, part in found.items() if name != "loss"}
        if "loss" not in found:
            raise ArgumentError(
                "An objective that returns a dictionary must have what is minimised under 'loss'; found "
                f"{', '.join(map(repr, found)) or 'nothing'}."
            )
        loss = found["loss"]
        for name, part in parts.items():
            if not isinstance(part, Tensor) or part.ndim:
                shape = f"a tensor {list(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
                raise ArgumentError(
                    f"The part {name!r} of an objective must be a scalar tensor; found {shape}."
                )
    if isinstance(loss, Tensor) and loss.ndim == 0 and loss.requires_grad:
        return loss, parts
    if isinstance(loss, Tensor):
        what = f"a tensor {list(loss.shape)}, requires_grad={loss.requires_grad}"
    else:
        what = f"a {type(loss).__name__}"
    raise ArgumentError(
        f"An objective must return one number as a scalar tensor with a gradient; found {what}. Average over "
        "the batch, don't detach the logits, and don't call fit under torch.no_grad()."
    )


def describe(objective: Objective) -> str:
    """Return a name for records: the objective's ``name``, a function's own, else what its repr says."""
    name = getattr(objective, "name", None) or getattr(objective, "__name__", None)
    if name is None:
        text = repr(objective)
        name = type(objective).__name__ if " at 0x" in text or isinstance(objective, nn.Module) else text
    return str(name)


def own_parameters(objective: Objective, model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an objective brings along to be trained: its own, not the model's."""
    if not isinstance(objective, nn.Module):
        return []
    students = {id(p) for p in model.parameters()}
    return [p for p in objective.parameters() if p.requires_grad and id(p) not in students]


_known: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()


def fingerprint(objective: Objective, model: nn.Module) -> str | None:
    """Return what tells this objective from others in a checkpoint; ``None`` where it can't be told.

    A ``name`` of its own is taken at its word. Of a function it is a digest of its code, defaults and what it refers
    to, values included; of another object, of its class and attributes. It is taken once per object, since an
    objective may keep a record of its calls.
    """
    if getattr(objective, "name", None):
        return describe(objective)
    try:
        if objective not in _known:
            _known[objective] = _digest(objective, model)
        return _known[objective]
    except TypeError:  # not hashable, or without weak references
        return _digest(objective, model)


_PLAIN = (bool, int, float, complex, str, bytes, range, slice, torch.dtype, torch.device, torch.Size)


class _Unknown(Exception):
    """Something has no lasting description."""


def _digest(objective: Objective, model: nn.Module) -> str | None:
    sha = hashlib.sha256()
    try:
        _describe_into(sha, objective, {id(model): model})
    except _Unknown:
        return None
    return f"{describe(objective)}#{sha.hexdigest()[:16]}"


def _describe_into(sha: hashlib._Hash, value: object, seen: dict[int, object]) -> None:
    """Add a lasting description of ``value`` to a digest; of what is under way already, only that it's met again."""
    kind = type(value)
    sha.update(f"<{kind.__module__}.{kind.__qualname__}".encode())
    if value is None or value is ... or isinstance(value, _PLAIN):
        sha.update(repr(value).encode())
    elif isinstance(value, type):
        sha.update(f"{value.__module__}.{value.__qualname__}".encode())
    elif isinstance(value, types.ModuleType):
        sha.update(value.__name__.encode())
    elif id(value) in seen:
        pass
    else:
        seen[id(value)] = value  # held, so that nothing else gets its id
        _describe_content(sha, value, seen)
    sha.update(b">")


def _describe_content(sha: hashlib._Hash, value: Any, seen: dict[int, object]) -> None:
    def each(values: Iterable[object]) -> None:
        for one in values:
            _describe_into(sha, one, seen)

    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous()
        each([str(content.dtype), tuple(content.shape)])
        sha.update(content.reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            each([key, one])
    elif isinstance(value, list | tuple):
        each(value)
    elif isinstance(value, set | frozenset):
        each(sorted(value, key=repr))
    elif isinstance(value, types.CodeType):
        each([value.co_code, value.co_names, value.co_varnames, value.co_consts])
    elif isinstance(value, types.FunctionType):
        if (value.__module__ or "").partition(".")[0] in ("kdcourse", "torch"):
            each(
                [value.__module__, value.__qualname__]
            )  # whose code may be improved while a run is under way
        else:
            code, names = value.__code__, value.__globals__
            each([code, value.__defaults__, value.__kwdefaults__])
            each([names[name] for name in code.co_names if name in names])
        each([cell.cell_contents for cell in value.__closure__ or ()])
    elif isinstance(value, types.BuiltinFunctionType | types.MethodType):
        each([value.__qualname__, getattr(value, "__self__", None)])
    elif isinstance(value, nn.Module):
        # Trainable parameters are the run's state; what is frozen says what is learned from.
        each([p for p in value.parameters() if not p.requires_grad])
        each(value.buffers())
        for name, part in value.named_modules():
            each([name, {k: v for k, v in vars(part).items() if k[0] != "_" and k != "training"}])
        each([type(value).forward])
    elif isinstance(value, functools.partial):
        each([value.func, value.args, value.keywords])
    elif hasattr(value, "__dict__"):
        each([vars(value), vars(type(value)).get("__call__")])
    elif callable(value) and hasattr(value, "__name__"):
        each([value.__name__])
    else:
        raise _Unknown
