"""Model weights as safetensors: written whole, read without ever unpickling."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.files import write_atomically
from kdcourse.models.stored import check_not_lazy, unpacked

_METADATA = "kdcourse"


def write_tensors(path: Path, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
    """Store named tensors with JSON-able notes in one safetensors file, atomically."""
    # Copies: safetensors refuses tensors that share memory, as tied layers and slices do.
    on_host = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    write_atomically(path, save(on_host, {_METADATA: json.dumps(notes)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        CheckpointError: no such file, a pickle under another name, a truncated or damaged file.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name the file in it that holds the weights.")
    if not path.exists():
        raise CheckpointError(f"There is no file {path}. Check the path, or train the model first.")
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            # Copies, since safetensors lends out pages of the file itself, which may be replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if not isinstance(notes, dict):
            raise ValueError(f"its notes are {type(notes).__name__}, not a table")
        return tensors, notes
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        if _looks_pickled(path):
            raise CheckpointError(
                f"{path} holds a pickle (a torch.save file), whatever its name says. It was not unpickled: "
                "that can run code. If it holds weights, from whatever device, this loads them and no code: "
                f'model.load_state_dict(torch.load("{path}", map_location="cpu", weights_only=True)). Then '
                "save it with safetensors: kdcourse.training.save_weights(model, path)."
            ) from error
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) is not a whole safetensors file: {error}. "
            "It is damaged or was cut short; fetch or train it again."
        ) from error


def _looks_pickled(path: Path) -> bool:
    """Judge a file by its first bytes; a safetensors file, which may begin with the same, is never asked about."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError:
        return False
    return head == b"PK" or (head[:1] == b"\x80" and head[1:] <= b"\x05")


def save_weights(
    model: nn.Module, path: Path | str, notes: dict[str, Any] | None = None, dtype: torch.dtype | None = None
) -> None:
    """Store a model's parameters and buffers.

    Args:
        model: any module.
        path: the file, conventionally ``*.safetensors``.
        notes: what to keep beside the weights (settings, results); JSON-able.
        dtype: store matrices and kernels (two axes or more) in this type, such as ``torch.float16``;
            vectors (norms, biases, running statistics) keep theirs, as they weigh next to nothing.

    Raises:
        ArgumentError: no weights yet (lazy layers), quantized ones, which safetensors can't hold, or some that aren't
            finite, or wouldn't be in ``dtype``; nothing is written.
    """
    check_not_lazy(model)
    packed = [
        name
        for name, value in model.state_dict().items()
        if not isinstance(value, Tensor) or unpacked(name, value).keys() != {name}
    ]
    if packed:
        raise ArgumentError(
            f"{type(model).__name__} has quantized layers ({', '.join(packed[:3])}), which safetensors can't hold. "
            "Store the weights before quantizing, and quantize again after loading; or store it with torch.save."
        )
    tensors = {
        name: tensor.to(dtype)
        if dtype is not None and tensor.is_floating_point() and tensor.ndim > 1
        else tensor
        for name, tensor in model.state_dict().items()
    }
    broken = _not_finite(tensors)
    if broken:
        raise ArgumentError(
            f"The weights to store in {path} are not finite in {', '.join(broken[:5])}. Either the training "
            "diverged, or the numbers are too large for float16, which ends at 65504: leave out dtype=."
        )
    write_tensors(Path(path), tensors, notes or {})


def load_weights(model: nn.Module, path: Path | str) -> dict[str, Any]:
    """Load weights into ``model`` (converted to its own types) and return the notes kept with them.

    The prefixes that ``torch.compile`` (``_orig_mod.``) and ``DataParallel`` (``module.``) put before names don't
    matter, in the file or in the model.

    Raises:
        CheckpointError: see `read_tensors`; also weights of another architecture, or not finite.
    """
    path = Path(path)
    tensors, notes = read_tensors(path)
    if "position" in notes and "format" in notes:
        raise CheckpointError(
            f"{path} is the checkpoint of a training under way, not a finished model. Pass it to "
            "kdcourse.training.fit as checkpoint=... with the settings of that run to complete it."
        )
    tensors = _named_as_in(model, tensors)
    check_weights(model, tensors, path)
    model.load_state_dict(tensors)
    return notes


def _named_as_in(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the model's own names, where those differ by a wrapper's prefix alone."""
    own = model.state_dict().keys()
    if tensors.keys() == own:
        return tensors
    names = {_bare(name): name for name in own}
    if len(names) < len(own) or len({_bare(name) for name in tensors}) < len(tensors):
        return tensors
    return {names.get(_bare(name), name): tensor for name, tensor in tensors.items()}


def _bare(name: str) -> str:
    """Return a weight's name without what ``torch.compile`` and ``DataParallel`` add to it."""
    return re.sub(r"^(module\.)+", "", re.sub(r"(?:^|(?<=\.))_orig_mod\.", "", name))


def check_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Raise `CheckpointError` unless ``tensors`` are finite and fit ``model`` name by name."""
    own = model.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    extra = sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name} {list(tensors[name].shape)} in the file, {list(own[name].shape)} in the model"
        for name in own.keys() & tensors.keys()
        # A lazy layer takes the shape of what is loaded.
        if not is_lazy(own[name]) and own[name].shape != tensors[name].shape
    ]
    if missing or extra or shapes:
        details = "; ".join(
            part
            for part in (
                f"missing in the file: {', '.join(missing[:5])}" if missing else "",
                f"unknown to the model: {', '.join(extra[:5])}" if extra else "",
                f"other shapes: {', '.join(sorted(shapes)[:5])}" if shapes else "",
            )
            if part
        )
        raise CheckpointError(
            f"{path} holds weights of another architecture than {type(model).__name__}: {details}. "
            "Build the model with the name and options that the weights were trained with."
        )
    check_finite(tensors, path)


def check_finite(tensors: dict[str, Tensor], path: Path) -> None:
    """Raise `CheckpointError` where a tensor read from ``path`` holds NaN or infinity."""
    broken = _not_finite(tensors)
    if broken:
        raise CheckpointError(
            f"{path} holds numbers that are not finite, in {', '.join(broken[:5])}. "
            "The run that wrote it had diverged; train again with a lower learning rate."
        )


def _not_finite(tensors: dict[str, Tensor]) -> list[str]:
    return [name for name, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]
