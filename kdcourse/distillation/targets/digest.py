"""Names for networks: a digest of all that their answers depend on."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import nn

from kdcourse.distillation.ensemble import Frozen
from kdcourse.models.stored import stored_tensors, unpacked


def teacher_digest(model: nn.Module) -> str:
    """Return the SHA-256 that names a network: the class, settings, weights and buffers of all its modules.

    The packed weights of quantized layers are among them.

    Settings are the modules' public attributes that are plain values or functions (stride, negative slope, an
    ensemble's ``average``, an activation). The mode (train or eval), gradients and the code of the forward pass
    aren't part of it.

    Raises:
        ArgumentError: lazy layers that have no weights yet.
    """
    if isinstance(model, Frozen):
        return teacher_digest(model.network)  # a frozen copy gives its original's answers
    sha = hashlib.sha256()
    for name, module in model.named_modules():
        settings = {
            key: described
            for key, value in vars(module).items()
            if not key.startswith("_") and key != "training" and (described := _described(value)) is not None
        }
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        sha.update(json.dumps([name, kind, settings], sort_keys=True).encode())
    tensors = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    known = {name for name, _ in tensors}
    # Quantized layers keep their weights elsewhere, or in tensors that hold others.
    tensors += [item for item in stored_tensors(model).items() if item[0] not in known]
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        if hasattr(tensor, "__tensor_flatten__"):
            sha.update(json.dumps([type(tensor).__qualname__, repr(tensor.__tensor_flatten__()[1])]).encode())
        for part, content in unpacked(name, tensor.detach()).items():
            sha.update(json.dumps([part, str(content.dtype), list(content.shape)]).encode())
            sha.update(content.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _described(value: object) -> object:
    """Return a value as it goes into a digest; ``None`` for what has no lasting description."""
    if isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        parts = [_described(part) for part in value]
        return None if None in parts else parts
    name = getattr(value, "__qualname__", None)
    return name if callable(value) and isinstance(name, str) else None
