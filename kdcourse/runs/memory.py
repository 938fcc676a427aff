"""Measure how much memory a training needs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PROCESS = Path("/proc/self")


@contextmanager
def added_memory() -> Iterator[Callable[[], int | None]]:
    """Yield a function that returns the bytes by which this process's resident memory grew at most, since the start.

    It returns ``None`` where the system doesn't tell, which only Linux does. What was freed before is given back to the
    system first, so that it isn't used again unnoticed. Other threads count, too.
    """
    before: int | None = None
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        (_PROCESS / "clear_refs").write_text("5")  # the peak is from now on (Linux, proc_pid_clear_refs(5))
        before = _bytes("VmRSS")
    except (OSError, AttributeError):
        pass
    yield lambda: None if before is None else max(0, _bytes("VmHWM") - before)


def _bytes(name: str) -> int:
    for line in (_PROCESS / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_PROCESS / 'status'} doesn't list {name}")
