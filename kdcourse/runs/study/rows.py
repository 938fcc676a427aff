"""Keep a study's rows: one line of JSON per training, in one file that several processes may add to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdcourse.data.fashion import cache_folder
from kdcourse.errors import CheckpointError
from kdcourse.files import CHECKSUMS, read_checksums, sha256, write_atomically

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

Row = dict[str, Any]

# What a training depends on; the rest of a row is what came out of it.
IDENTITY = ("about", "recipe", "seed", "precision", "data", "answers")
_WRITING = 0  # the byte of the lock file that whoever writes rows holds; every row has a byte after it
_PAUSE = 0.05  # seconds between two attempts to lock


def identity(row: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that a row's training depends on: its settings, its seed and its data."""
    parts = {name: row[name] for name in IDENTITY}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Rows:
    """Read and add the rows of ``FOLDER/NAME.jsonl``.

    The file is replaced as a whole with each row, so that it never holds a part of one, and its SHA-256 is kept in the
    folder's ``SHA256SUMS``.

    Args:
        folder: where the file is, or will be.
        name: of the study.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.jsonl"
        # Not beside the rows, which are shipped. The system releases a lock when its process ends, however it ends.
        mark = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:16]
        self._locks = cache_folder() / "locks" / f"{name}-{mark}"

    def read(self) -> list[Row]:
        """Return the rows in the order in which they were added.

        Raises:
            CheckpointError: a line that is no row.
        """
        if not self.path.exists():
            return []
        found = []
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                identity(row)
            except (ValueError, KeyError, TypeError) as error:
                raise CheckpointError(
                    f"{self.path}, line {number} is no row of a study ({error!r}): {line[:60]!r}. Restore the file "
                    f"(git checkout -- {self.path.name} in its folder), or remove the line; it is then trained again."
                ) from error
            found.append(row)
        return found

    def checked(self) -> list[Row]:
        """Return the rows after comparing the file with its checksum.

        Raises:
            CheckpointError: no rows, a line that is no row, or a file that was changed since its checksum was written.
        """
        rows = self.read()
        if not rows:
            raise CheckpointError(
                f"There are no rows in {self.path}. Train them: kdcourse study {self.path.stem}"
            )
        expected, found = (
            read_checksums(self.path.parent).get(self.path.name, "not listed"),
            sha256(self.path),
        )
        if found != expected:
            raise CheckpointError(
                f"{self.path} was changed: SHA-256 {expected} expected, {found} found. Restore it (git checkout -- "
                f"{self.path.name} in its folder), or go on with: kdcourse study {self.path.stem}"
            )
        return rows

    def add(self, row: Row) -> None:
        """Add a row; processes that add at the same time wait for each other."""
        with self._locked(_WRITING) as mine:
            while not mine:
                time.sleep(_PAUSE)
                mine = _lock(self._file, _WRITING)
            rows = self.read()
            if identity(row) not in map(identity, rows):
                content = "".join(json.dumps(each) + "\n" for each in [*rows, row])
                write_atomically(self.path, content)
            write_checksums(self.path.parent)

    @contextmanager
    def claimed(self, row: Mapping[str, Any]) -> Iterator[bool]:
        """Claim a row for this process, as long as the context lasts; yield whether no other process has it."""
        # Rows that share a byte wait for each other without need, which is rare and does no harm.
        with self._locked(1 + int(identity(row)[:7], 16)) as mine:
            yield mine

    @contextmanager
    def _locked(self, byte: int) -> Iterator[bool]:
        mine = _lock(self._file, byte)
        try:
            yield mine
        finally:
            _unlock(self._file, byte)

    @property
    def _file(self) -> int:
        # One descriptor for the whole process: closing any of a file's would release all locks on it.
        if self._locks not in _OPEN:
            self._locks.parent.mkdir(parents=True, exist_ok=True)
            _OPEN[self._locks] = os.open(self._locks, os.O_RDWR | os.O_CREAT, 0o644)
        return _OPEN[self._locks]


_OPEN: dict[Path, int] = {}


def write_checksums(folder: Path) -> None:
    """Write ``SHA256SUMS`` for the rows and stored answers of ``folder``."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".jsonl", ".safetensors"))
    write_atomically(folder / CHECKSUMS, "".join(f"{sha256(path)}  {path.name}\n" for path in files))


def _lock(file: int, byte: int) -> bool:
    """Lock one byte of a file for this process; return whether no other process has it."""
    try:
        if sys.platform == "win32":
            os.lseek(file, byte, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError:
        return False
    return True


def _unlock(file: int, byte: int) -> None:
    """Release a byte; nothing happens where it is another process's."""
    if sys.platform == "win32":
        os.lseek(file, byte, os.SEEK_SET)
        with contextlib.suppress(OSError):
            msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)
