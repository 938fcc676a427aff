"""Encode values as bytes between the grading process and the sandbox: a JSON header, then raw tensors and arrays.

No pickle: reading gives plain values of exactly the types below, or a `MessageError`, and nothing in them is ever
called. Both sides use this module; only the grading process has reason to distrust what it reads.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdcourse.checks.outcomes import Foreign

_MAGIC = b"KD1\n"
_DEPTH, _ITEMS, _TEXT, _DIGITS, _AXES = 12, 20_000, 200_000, 400, 12
_MOST_HEADER = 2**21
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64,
    )
}  # fmt: skip
_ARRAYS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


class MessageError(ValueError):
    """Reject bytes that `encode` would not have written, or a value that can't be encoded."""


class TooLargeError(MessageError):
    """Reject a message of more values than an answer returns."""


def framed(payload: bytes) -> bytes:
    """Return a payload with its length (8 bytes, big-endian) before it."""
    return len(payload).to_bytes(8, "big") + payload


# -- to bytes -----------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """Encode None, bool, int, float, str, Ellipsis, tensors, arrays, `Foreign`; lists, tuples and dicts of these."""
    blobs: list[bytes] = []
    header = json.dumps(_tree(value, blobs, 0)).encode()
    return b"".join([_MAGIC, len(header).to_bytes(4, "big"), header, *blobs])


def _tree(value: Any, blobs: list[bytes], depth: int) -> Any:
    if depth > _DEPTH:
        return ["foreign", "deeply nested " + type(value).__name__]
    if value is None or isinstance(value, bool | str):
        return value if not isinstance(value, str) else str(value)[:_TEXT]
    if value is Ellipsis:
        return ["blank"]
    if isinstance(value, int):
        return ["int", str(value)] if abs(value) < 10**_DIGITS else ["foreign", "very large int"]
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, Tensor):
        return _tensor_tree(value, blobs)
    if isinstance(value, np.ndarray):
        return _array_tree(value, blobs)
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, *(_tree(item, blobs, depth + 1) for item in value)]
    if isinstance(value, dict):
        return ["dict", *([str(name), _tree(item, blobs, depth + 1)] for name, item in value.items())]
    kind = value.kind if isinstance(value, Foreign) else type(value).__name__
    return ["foreign", str(kind)[:200]]


def _tensor_tree(value: Tensor, blobs: list[bytes]) -> Any:
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in _DTYPES or value.layout is not torch.strided or value.is_quantized:
        return ["foreign", f"tensor of {dtype}"]
    flat = value.detach().cpu().contiguous().flatten()
    blobs.append(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return ["tensor", dtype, list(value.shape)]


def _array_tree(value: np.ndarray[Any, Any], blobs: list[bytes]) -> Any:
    if value.dtype.name not in _ARRAYS:
        return ["foreign", f"array of {value.dtype.name}"]
    blobs.append(np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).tobytes())
    return ["array", value.dtype.name, list(value.shape)]


# -- from bytes ---------------------------------------------------------------------------------


def decode(data: bytes) -> Any:
    """Decode what `encode` wrote.

    Raises:
        MessageError: the bytes are anything else; nothing of them has been used.
    """
    try:
        if data[:4] != _MAGIC:
            raise MessageError("the bytes don't begin with the magic number")
        size = int.from_bytes(data[4:8], "big")
        if size > _MOST_HEADER:
            raise TooLargeError("the header is too long")
        if len(data) < 8 + size:
            raise MessageError("the header's length is wrong")
        tree = json.loads(data[8 : 8 + size].decode(), parse_constant=_refuse, parse_float=_refuse)
        reader = _Reader(memoryview(data)[8 + size :])
        value = reader.value(tree, 0)
    except MessageError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, RuntimeError, MemoryError) as error:
        raise MessageError(f"malformed: {type(error).__name__}") from None
    if reader.left:
        raise MessageError("bytes are left over")
    return value


def _refuse(text: str) -> Any:
    raise MessageError("a bare number that isn't an integer")


class _Reader:
    """Rebuild values, taking the raw bytes in order."""

    def __init__(self, raw: memoryview) -> None:
        self._raw = raw
        self._at = 0
        self._items = 0

    @property
    def left(self) -> int:
        return len(self._raw) - self._at

    def value(self, tree: Any, depth: int) -> Any:
        self._items += 1
        if self._items > _ITEMS:
            raise TooLargeError("too many values")
        if depth > _DEPTH + 1:
            raise MessageError("too deeply nested")
        if tree is None or tree is True or tree is False:
            return tree
        if type(tree) is str:
            return _text(tree)
        if type(tree) is not list or not tree or type(tree[0]) is not str:
            raise MessageError("no value")
        kind, rest = tree[0], tree[1:]
        if kind in ("list", "tuple"):
            items = [self.value(item, depth + 1) for item in rest]
            return items if kind == "list" else tuple(items)
        if kind == "dict":
            pairs = [(_text(name), self.value(item, depth + 1)) for name, item in rest]
            return dict(pairs)
        if kind in ("tensor", "array"):
            return self._numbers(kind, *rest)
        return _single(kind, rest)

    def _numbers(self, kind: str, name: Any, shape: Any) -> Any:
        allowed = _DTYPES if kind == "tensor" else _ARRAYS
        if type(name) is not str or name not in allowed:
            raise MessageError("an unknown type of numbers")
        sizes_fit = type(shape) is list and len(shape) <= _AXES
        if not sizes_fit or any(type(size) is not int or not 0 <= size < 2**40 for size in shape):
            raise MessageError("an impossible shape")
        dtype = _DTYPES[name]
        # An empty tensor may claim axes of any size: 0 rows of 2^40 columns.
        if 0 in shape and math.prod(size for size in shape if size) > 2**40:
            raise MessageError("an impossible shape")
        raw = self._take(math.prod(shape) * dtype.itemsize)
        if dtype is torch.bool:
            # A byte other than 0 or 1 isn't a bool; computing with it is undefined behaviour.
            raw = (np.frombuffer(raw, dtype=np.uint8) != 0).tobytes()
        if kind == "array":
            return (
                np.frombuffer(bytearray(raw), dtype=np.dtype(name).newbyteorder("<"))
                .reshape(shape)
                .astype(name)
            )
        if not raw:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)

    def _take(self, count: int) -> bytes:
        if count > self.left:
            raise MessageError("numbers are missing")
        self._at += count
        return bytes(self._raw[self._at - count : self._at])


def _single(kind: str, rest: list[Any]) -> Any:
    if kind == "blank" and not rest:
        return Ellipsis
    if len(rest) != 1 or type(rest[0]) is not str or len(rest[0]) > _DIGITS + 1:
        raise MessageError("no value")
    if kind == "int":
        return int(rest[0])
    if kind == "float":
        return float.fromhex(rest[0])
    if kind == "foreign":
        return Foreign(_text(rest[0]))
    raise MessageError("an unknown kind of value")


def _text(text: Any) -> str:
    if type(text) is not str or len(text) > _TEXT:
        raise MessageError("no text, or text that is too long")
    text.encode()  # half of a surrogate pair can't be encoded
    return text
