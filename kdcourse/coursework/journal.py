"""What was graded already: a line for each submission, written the moment it is done.

A line counts only for the very same files, assignment and version of the course; so a batch that was stopped, or to
which late work was added, goes on where it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import asdict
from functools import cache
from pathlib import Path

from kdcourse import __version__
from kdcourse.coursework.records import Assignment, Graded, Handed, Mark, Submission
from kdcourse.files import write_atomically

# Code that decides what an answer is worth.
_JUDGES = (
    "checks/*.py",
    "course/*/exercises.py",
    "course/*/fixtures.py",
    "coursework/sandbox/*.py",
    *(f"coursework/{name}.py" for name in ("finding", "marking", "notebooks", "slicing")),
)
_UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Keys:
    """What changes with all that a submission's marks depend on: its files, what was asked, the code that judges.

    Args:
        assignment: what was asked.
        unsafe: whether students' code runs without a sandbox.
        release: folder of the notebooks as students got them, if there is one.
    """

    def __init__(self, assignment: Assignment, unsafe: bool, release: Path | None) -> None:
        self._common = [__version__, _code(), json.dumps(asdict(assignment), sort_keys=True), str(unsafe)]
        if release is not None:
            paths = [release / f"{lesson}.ipynb" for lesson in assignment.lessons]
            self._common += [_digest(Handed(path, None, path.name, 0)) for path in paths]

    def __call__(self, submission: Submission) -> str:
        """The key of one submission's marks."""
        parts = [*self._common, submission.student, submission.name, *submission.problems]
        for lesson, handed in sorted(submission.notebooks.items()):
            parts += [lesson, handed.label, _digest(handed)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _digest(handed: Handed) -> str:
    digest = hashlib.sha256()
    try:
        with handed.open() as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except _UNREADABLE as error:
        return f"unreadable: {type(error).__name__}"
    return digest.hexdigest()


@cache
def _code() -> str:
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for pattern in _JUDGES:
        for path in sorted(package.glob(pattern)):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Journal:
    """The file of finished work; lines that a crash cut off are passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, tuple[str, Graded]]:
        """Student -> (key, marks) of the last line that is whole."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        found: dict[str, tuple[str, Graded]] = {}
        for line in lines:
            try:
                entry = json.loads(line)
                graded = entry["graded"]
                marks = tuple(Mark(**mark) for mark in graded["marks"])
                whole = Graded(**{**graded, "marks": marks, "problems": tuple(graded["problems"])})
                found[whole.student] = str(entry["key"]), whole
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def add(self, key: str, graded: Graded) -> None:
        """Write a line, and have it on the disk before going on."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a crash cut the line before this one off
                    file.write(b"\n")
            file.write(_line(key, graded))
            file.flush()
            os.fsync(file.fileno())

    def tidied(self) -> dict[str, tuple[str, Graded]]:
        """The same as `read`; lines that count no more are taken out of the file."""
        found = self.read()
        if self.path.exists() and self.path.read_bytes().count(b"\n") != len(found):
            write_atomically(self.path, b"".join(_line(key, graded) for key, graded in found.values()))
        return found


def _line(key: str, graded: Graded) -> bytes:
    return json.dumps({"key": key, "graded": asdict(graded)}).encode() + b"\n"
