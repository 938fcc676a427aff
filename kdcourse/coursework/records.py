"""Define the data that the steps of coursework pass on: tasks, submissions, answers, marks.

    Assignment -> (students work) -> Submission -> Answers -> Graded -> gradebook, tables, feedback, report

All of it is plain data, which can be stored and sent to another process.
"""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal

MOST_NESTED = 256_000_000  # bytes of an archive inside an archive, unpacked to be read
ATTEMPTS = ("fullest", "latest", "best")
_IN_MEMORY = 16_000_000  # bytes of it; a larger one goes to a temporary file


@dataclass(frozen=True)
class Task:
    """Describe one task of an assignment.

    Args:
        id: an exercise of `kdcourse.course`, or a written question's own name; also the cell's nbgrader grade_id.
        kind: "code" is checked automatically, "written" is marked by a person.
        lesson: such as "04_soft_targets".
        title: one line.
        points: the most that an answer can get.
        rubric: what a written answer's points are given for, in markdown; empty for code.
        partial: whether a wrong answer gets the share of the points that it is right on the hidden test cases.
    """

    id: str
    kind: Literal["code", "written"]
    lesson: str
    title: str
    points: float
    rubric: str = ""
    partial: bool = False


@dataclass(frozen=True)
class Assignment:
    """Describe what a class is asked.

    ``seed`` determines the hidden test inputs of grading. Whoever knows it knows these inputs, so only the instructor
    may have it. ``due`` is a time with a zone (ISO 8601) or "", ``late_penalty`` the percentage of the points that each
    started day costs. ``attempts`` tells which of several notebooks of a lesson counts: the "fullest" (most answers,
    then the newest), the "latest", or the "best" (most points).
    """

    name: str
    title: str
    lessons: tuple[str, ...]
    tasks: tuple[Task, ...]
    seed: int
    due: str = ""
    late_penalty: float = 0.0
    attempts: str = ATTEMPTS[0]

    @property
    def points(self) -> float:
        """Return the highest possible number of points."""
        return sum(task.points for task in self.tasks)

    def of_lesson(self, lesson: str) -> tuple[Task, ...]:
        """Return the tasks of one lesson's notebook."""
        return tuple(task for task in self.tasks if task.lesson == lesson)


@dataclass(frozen=True)
class Handed:
    """Describe one file that was handed in; ``label`` names it in messages.

    Args:
        path: the file, or the zip archive that contains it.
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
        """Open its bytes as a stream, which may be longer than ``size``: an archive can state any size.

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
        """Return all bytes of the file."""
        with self.open() as stream:
            return stream.read()


def copy_at_most(source: IO[bytes], target: IO[bytes], most: int) -> None:
    """Copy a stream from its current position, and rewind the copy.

    Raises:
        OSError: the stream has more than ``most`` bytes.
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
    """Describe everything that one student handed in.

    Args:
        student: identifies the student in every table: letters, digits, dots, dashes and underscores, unique in a
            batch.
        name: the student's name for people, with accents.
        notebooks: lesson -> the file taken for it; a lesson that is missing was not handed in.
        problems: what could not be read or was set aside, one sentence each, for instructor and student.
        modules: name -> the file that a notebook may import under this name.
        others: lesson -> further attempts, if the best one is to count.
    """

    student: str
    name: str
    notebooks: dict[str, Handed]
    problems: tuple[str, ...] = ()
    modules: dict[str, Handed] = field(default_factory=dict)
    others: dict[str, tuple[Handed, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Account:
    """Say what became of one file: ``student`` is the id, or "" if it belongs to nobody."""

    file: str
    student: str
    what: str


@dataclass(frozen=True)
class Answer:
    """Describe what a submission contains for one task.

    Args:
        task: the task's id.
        found_by: "id" (the cell's nbgrader grade_id or exercise id), "name" (a definition of that name in any cell),
            or "" when nothing was found.
        pieces: code: the parts of the notebook that the answer needs, in order, its definition among them, each
            Python that parses on its own; nothing else of the notebook is run.
        function: code: the name of the function that is checked after the pieces have run.
        text: written: the answer as markdown. Code: the definition as the student wrote it, to be shown to them.
        fingerprint: equal for answers that differ only in comments, white space, docstrings and names of variables;
            empty for blanks and where nothing was found.
        problem: why there is nothing to check, in one sentence, or "".
        note: how it was found, if that needs saying (such as one of several), in a sentence or more, or "".
        modules: names and sources of the student's own modules that it imports.
        called_right: whether the check in the student's notebook called it right.
        pictures: see `Mark`.
    """

    task: str
    found_by: Literal["id", "name", ""]
    pieces: tuple[str, ...] = ()
    function: str = ""
    text: str = ""
    fingerprint: str = ""
    problem: str = ""
    note: str = ""
    modules: tuple[tuple[str, str], ...] = ()
    called_right: bool = False
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mark:
    """Hold the marking of one answer.

    Args:
        task: the task's id.
        points: None for a written answer that nobody has marked yet.
        of: the task's points.
        right, attempted, mistake, message: see `kdcourse.checks.Verdict`; the message is written for the student and
            holds no expected value. A written answer that waits for a marker is neither right nor wrong.
        found_by, text, fingerprint: see `Answer`.
        comment: what the marker wrote about it.
        flag: why the instructor, and nobody else, should look at it, in a sentence or more, or "".
        doubt: why the points that a person gave should be looked at again, or "".
        pictures: those that the answer shows, as addresses that begin with data:image/.
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
    flag: str = ""
    doubt: str = ""
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graded:
    """Hold one student's marks, in the order of the assignment's tasks.

    ``late`` says how late it was and what that costs, or is ""; ``share`` is the part of the points that is left.
    """

    student: str
    name: str
    marks: tuple[Mark, ...]
    problems: tuple[str, ...]
    seconds: float
    late: str = ""
    share: float = 1.0

    @property
    def points(self) -> float:
        """Return the points so far, after a penalty; written answers that wait for a marker count 0."""
        return sum(mark.points or 0.0 for mark in self.marks) * self.share


@dataclass(frozen=True)
class Member:
    """Describe a student who handed in nothing, but whose group did; ``senders`` are the ids of those who did."""

    student: str
    name: str
    group: str
    senders: tuple[str, ...]

    def graded(self, class_: Mapping[str, Graded]) -> Graded:
        """Return the marks of the best submission of the group, given student -> marks."""
        best = max((class_[sender] for sender in self.senders), key=lambda graded: graded.points)
        said = f"Handed in by {best.name} for the group {self.group}."
        marks = tuple(replace(mark, fingerprint="") for mark in best.marks)
        return replace(
            best, student=self.student, name=self.name, marks=marks, problems=(said, *best.problems)
        )
