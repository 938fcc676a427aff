"""A lesson of a few cells, as a notebook."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

INTRODUCTION = (
    "# Lesson 42: Small\n\nWhat it is *about*, with a [link](01.ipynb),\nin two lines.\n\n"
    "**Time:** 3 minutes to read, 5 minutes for the exercises; the machine works\nfor under 15 s.\n"
)


def png(width: int = 3, height: int = 2) -> str:
    """A picture in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\xff\xff\xff" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return base64.b64encode(whole).decode("ascii")


def prose(text: str) -> dict[str, Any]:
    """A cell of markdown."""
    return {"cell_type": "markdown", "id": "prose", "metadata": {}, "source": [text]}


def code(source: str, *outputs: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A cell of code."""
    return {
        "cell_type": "code", "id": "code", "metadata": metadata, "source": [source], "outputs": list(outputs),
        "execution_count": 1,
    }  # fmt: skip


def printed(text: str) -> dict[str, Any]:
    """What a cell printed."""
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def picture(words: str, alt: str = "the numbers") -> dict[str, Any]:
    """What `show` or a widget displays."""
    data = {"image/png": png(), "text/plain": [words]}
    return {"output_type": "display_data", "data": data, "metadata": {"image/png": {"alt": alt}}}


def notebook(*cells: dict[str, Any]) -> dict[str, Any]:
    """A lesson with these cells below its introduction."""
    return {"cells": [prose(INTRODUCTION), *cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
