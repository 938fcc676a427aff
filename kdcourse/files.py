"""Write files atomically, read checksums, and find the shipped files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kdcourse.errors import CheckpointError

CHECKSUMS = "SHA256SUMS"  # in the folder of the files that it lists
_MARK = ".kdcourse-"  # in the names of temporary files
_ABANDONED_AFTER = 24 * 3600  # seconds; no write of one file takes that long


def write_atomically(path: Path, content: bytes | str | Sequence[bytes | memoryview]) -> None:
    """Write ``content`` atomically: ``path`` holds either the old content or the new, even after a crash.

    The content is written to a temporary file in the same folder, flushed to the disk and renamed to ``path``. A
    process that is killed in between leaves the temporary file; a later write into the same folder removes it after
    a day. Parts of a large content are written one after the other, without being copied into one.

    Raises:
        OSError: the folder can't be written, or the disk is full; ``path`` is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)  # first, because it frees space
    content = content.encode() if isinstance(content, str) else content
    parts = [content] if isinstance(content, bytes) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_MARK}", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's mode would exclude other users of a shared folder
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _remove_abandoned(folder: Path) -> None:
    for left in folder.glob(f".*{_MARK}*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_AFTER:
                left.unlink()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checksums(folder: Path) -> dict[str, str]:
    """Read the folder's ``SHA256SUMS``: file name -> SHA-256 in hexadecimal; empty if there is no such file.

    Raises:
        CheckpointError: a line isn't in the format of ``sha256sum``.
    """
    path = folder / CHECKSUMS
    if not path.exists():
        return {}
    digests = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        entry = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
        if entry is None:
            raise CheckpointError(
                f"{path.name}, line {number} is not '<digest>  <file>': {line!r}. Restore {path} "
                f"(git checkout -- {path.name} in its folder)."
            )
        digest, name = entry.groups()
        digests[name] = digest
    return digests


def shipped(name: str) -> Path:
    """Return the folder of the course's ``name``: ``data/NAME`` in a checkout, else inside the installed package."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "data" / name
    return checkout if checkout.is_dir() else package / "shipped" / name
