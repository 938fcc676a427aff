"""What coursework hands on: an assignment's tasks, what students gave in, and what it is worth.

    Assignment -> (students work) -> Submission -> Answers -> Graded -> gradebook, tables, feedback, report

Everything here is plain data, so that it can be stored and sent to another process.
"""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

MOST_NESTED = 256_000_000  # bytes of an archive inside an archive, unpacked to be read
_IN_MEMORY = 16_000_000  # of them, the rest goes to a temporary file


@dataclass(frozen=True)
class Task:
    """One thing that is asked for.

    Args:
        id: an exercise of `kdcourse.course`, or a written question's own name; also the cell's nbgrader grade_id.
        kind: "code" is checked by machine, "written" is read by a person.
        lesson: such as "04_soft_targets".
        title: one line.
        points: at most this many.
        rubric: how a written answer's points are given, in markdown; empty for code.
    """

    id: str
    kind: Literal["code", "written"]
    lesson: str
    title: str
    points: float
    rubric: str = ""


@dataclass(frozen=True)
class Assignment:
    """What a class was asked.

    ``seed`` decides what answers are tried on when they are graded; whoever knows it knows the hidden tries, so it
    stays with the instructor.
    """

    name: str
    title: str
    lessons: tuple[str, ...]
    tasks: tuple[Task, ...]
    seed: int

    @property
    def points(self) -> float:
        """The most that can be had."""
        return sum(task.points for task in self.tasks)

    def of_lesson(self, lesson: str) -> tuple[Task, ...]:
        """The tasks that one lesson's notebook asks."""
        return tuple(task for task in self.tasks if task.lesson == lesson)


@dataclass(frozen=True)
class Handed:
    """One file that was handed in; ``label`` names it to people.

    Args:
        path: the file, or the zip archive that it lies in.
        member: its name in that archive.
        inner: its name in an archive that is ``member`` of the archive at ``path``.
        size: in bytes, unpacked, as far as the folder or archive says.
    """

    path: Path
    member: str | None
    label: str
    size: int
    inner: str | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes as a stream, which may be long: an archive can say anything about the size.

        Raises:
            OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError: it can't be read, or is encrypted.
        """
        with contextlib.ExitStack() as stack:
            if self.member is None:
                yield stack.enter_context(self.path.open("rb"))
                return
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            stream = stack.enter_context(archive.open(self.member))
            if self.inner is not None:
                copy = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))
                copy_at_most(stream, copy, MOST_NESTED)
                stream = stack.enter_context(stack.enter_context(zipfile.ZipFile(copy)).open(self.inner))
            yield stream

    def read(self) -> bytes:
        """All of it."""
        with self.open() as stream:
            return stream.read()


def copy_at_most(source: IO[bytes], target: IO[bytes], most: int) -> None:
    """Copy a stream from where it stands, and go back to the start of the copy.

    Raises:
        OSError: there are more bytes than ``most``.
    """
    copied = 0
    while block := source.read(1 << 20):
        copied += len(block)
        if copied > most:
            raise OSError(f"it unpacks to more than {most / 1e6:.0f} MB")
        target.write(block)
    target.seek(0)


@dataclass(frozen=True)
class Submission:
    """Everything of one student.

    Args:
        student: identifies the student in every table: letters, digits, dots, dashes and underscores, unique in a
            batch.
        name: as people know the student, accents and all.
        notebooks: the file taken for each lesson; a lesson that isn't there was not handed in.
        problems: what could not be read or was set aside, one sentence each, said to instructor and student.
    """

    student: str
    name: str
    notebooks: dict[str, Handed]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a submission has for one task.

    Args:
        task: its id.
        found_by: "id" (the cell's nbgrader grade_id or exercise id), "name" (a definition of that name in any cell),
            or "" when nothing was found.
        pieces: code: the parts of the notebook that the answer needs, in order, its definition among them, each
            Python that parses on its own; nothing else of the notebook is run.
        function: code: the name that is checked after the pieces have run.
        text: written: the answer as markdown. Code: the definition as the student wrote it, to be shown to them.
        fingerprint: the same for answers that differ in comments, blank space, docstrings and names of variables
            alone; empty for blanks and where nothing was found.
        problem: why there is nothing to check, in one sentence, or "".
        note: what to know of how it was found, such as that there were several, in a sentence or more, or "".
    """

    task: str
    found_by: Literal["id", "name", ""]
    pieces: tuple[str, ...] = ()
    function: str = ""
    text: str = ""
    fingerprint: str = ""
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class Mark:
    """What one answer is worth.

    Args:
        task: its id.
        points: None for a written answer that nobody has read yet.
        of: the task's points.
        right, attempted, mistake, message: see `kdcourse.checks.Verdict`; the message is written for the student and
            holds no expected value. A written answer that waits for a reader is neither right nor wrong.
        found_by, text, fingerprint: see `Answer`.
        comment: what a reader wrote about it, in a person's own words.
    """

    task: str
    points: float | None
    of: float
    right: bool
    attempted: bool
    mistake: str | None
    message: str
    found_by: str = ""
    text: str = ""
    fingerprint: str = ""
    comment: str = ""


@dataclass(frozen=True)
class Graded:
    """One student's marks, in the order of the assignment's tasks."""

    student: str
    name: str
    marks: tuple[Mark, ...]
    problems: tuple[str, ...]
    seconds: float

    @property
    def points(self) -> float:
        """What is had so far; written answers that wait for a reader count 0."""
        return sum(mark.points or 0.0 for mark in self.marks)
