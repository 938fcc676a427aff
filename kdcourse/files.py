"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import tempfile
import time
from pathlib import Path

_ABANDONED_AFTER = 24 * 3600  # seconds; no write of one file takes that long


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write ``content`` so that readers, crashes and full disks meet the old file or the new, never a half.

    The content goes to a temporary file in the same folder, is flushed to the disk and then renamed
    over ``path``. A process that is killed in between leaves that temporary file; a later write of the
    same ``path`` removes it a day on, when nobody can still be writing it.

    Raises:
        OSError: the folder can't be written, or the disk is full; ``path`` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's own mode would lock other users out of shared folders
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_AFTER:
                left.unlink()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped(name: str) -> Path:
    """Where the course keeps its ``name``: ``data/NAME`` of a checkout, or inside an installed wheel."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "data" / name
    return checkout if checkout.is_dir() else package / "shipped" / name
