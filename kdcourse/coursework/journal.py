"""Keep a journal of graded submissions: one line each, written as soon as it is graded.

A line is valid only for the same files, assignment and version of the course. A batch that was interrupted, or to which
late submissions were added, continues where it stopped.
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

# Code that determines the points of an answer.
_JUDGES = (
    "checks/*.py",
    "course/*/exercises.py",
    "course/*/fixtures.py",
    "coursework/sandbox/*.py",
    *(f"coursework/{name}.py" for name in ("finding", "flags", "marking", "notebooks", "slicing")),
)
_UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Keys:
    """Compute keys that change with everything a submission's marks depend on: files, assignment, grading code.

    Args:
        assignment: what was asked.
        unsafe: whether students' code runs without a sandbox.
        release: folder of the notebooks as students got them, if there is one.
    """

    def __init__(self, assignment: Assignment, unsafe: bool, release: Path | None) -> None:
        # What changes no mark, or shows in the submission.
        asked = {**asdict(assignment), "due": "", "late_penalty": 0.0, "attempts": ""}
        self._common = [__version__, code_digest(), json.dumps(asked, sort_keys=True), str(unsafe)]
        if release is not None:
            paths = [release / f"{lesson}.ipynb" for lesson in assignment.lessons]
            self._common += [_digest(Handed(path, None, path.name, 0)) for path in paths]

    def __call__(self, submission: Submission) -> str:
        """Return the key of one submission's marks."""
        parts = [*self._common, submission.student, submission.name, *submission.problems]
        for lesson, handed in sorted(submission.notebooks.items()):
            parts += [lesson, handed.label, _digest(handed)]
        for lesson, others in sorted(submission.others.items()):
            parts += [lesson, *(part for handed in others for part in (handed.label, _digest(handed)))]
        for name, handed in sorted(submission.modules.items()):
            parts += [name, _digest(handed)]
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
def code_digest() -> str:
    """Return the SHA-256 of the code that determines the points of an answer."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for pattern in _JUDGES:
        for path in sorted(package.glob(pattern)):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Journal:
    """Read and write the journal's file; lines that a crash cut off are skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, tuple[str, Graded]]:
        """Return student -> (key, marks) of each student's last complete line."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        found: dict[str, tuple[str, Graded]] = {}
        for line in lines:
            try:
                entry = json.loads(line)
                graded = entry["graded"]
                marks = tuple(
                    Mark(**{**mark, "pictures": tuple(mark["pictures"])}) for mark in graded["marks"]
                )
                whole = Graded(**{**graded, "marks": marks, "problems": tuple(graded["problems"])})
                found[whole.student] = str(entry["key"]), whole
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def add(self, key: str, graded: Graded) -> None:
        """Append a line, and flush it to the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a crash cut off the line before this one
                    file.write(b"\n")
            file.write(_line(key, graded))
            file.flush()
            os.fsync(file.fileno())

    def tidied(self) -> dict[str, tuple[str, Graded]]:
        """Do the same as `read`, and remove outdated lines from the file."""
        found = self.read()
        if self.path.exists() and self.path.read_bytes().count(b"\n") != len(found):
            write_atomically(self.path, b"".join(_line(key, graded) for key, graded in found.values()))
        return found


def _line(key: str, graded: Graded) -> bytes:
    return json.dumps({"key": key, "graded": asdict(graded)}).encode() + b"\n"
