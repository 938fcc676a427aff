"""Model weights as safetensors: written whole, read without ever unpickling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from kdcourse.errors import CheckpointError
from kdcourse.files import write_atomically

_METADATA = "kdcourse"


def write_tensors(path: Path, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
    """Store named tensors with JSON-able notes in one safetensors file, atomically."""
    on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(on_host, {_METADATA: json.dumps(notes)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        CheckpointError: no such file, a pickle under another name, a truncated or damaged file.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Check the path, or train the model first.")
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        raise CheckpointError(
            f"{path} holds a pickle (a torch.save file), whatever its name says. It was not opened: "
            "unpickling can run code. Load it where you trust it and save it with safetensors."
        )
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, notes  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file of {path.stat().st_size} bytes: {error}. "
            "It is damaged or was cut short; fetch or train it again."
        ) from error


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
    """
    tensors = {
        name: tensor.to(dtype) if dtype is not None and tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for name, tensor in model.state_dict().items()
    }
    write_tensors(Path(path), tensors, notes or {})


def load_weights(model: nn.Module, path: Path | str) -> dict[str, Any]:
    """Load weights into ``model`` (converted to its own types) and return the notes kept with them.

    Raises:
        CheckpointError: see `read_tensors`; also weights of another architecture, or not finite.
    """
    path = Path(path)
    tensors, notes = read_tensors(path)
    check_weights(model, tensors, path)
    model.load_state_dict(tensors)
    return notes


def check_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Raise `CheckpointError` unless ``tensors`` are finite and fit ``model`` name by name."""
    own = model.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    extra = sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name} {list(tensors[name].shape)} in the file, {list(own[name].shape)} in the model"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
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
    broken = [name for name, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{path} holds numbers that are not finite, in {', '.join(broken[:5])}. "
            "The run that wrote it had diverged; train again with a lower learning rate."
        )
