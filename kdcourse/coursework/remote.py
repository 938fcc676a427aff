"""Grade submissions on a Ray cluster: notebooks are sent to the machines, marks come back; code runs only there."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

from kdcourse import cluster
from kdcourse.coursework import batch
from kdcourse.coursework.journal import code_digest
from kdcourse.coursework.notebooks import MOST_BYTES, UNREADABLE
from kdcourse.coursework.records import Assignment, Graded, Handed, Submission
from kdcourse.errors import CourseworkError, KdcourseError

_SANDBOX = "kdcourse.coursework.sandbox:available"


@dataclass(frozen=True)
class Sent(Handed):
    """Hold a file that was handed in with its content, or with the error of reading it, for another machine."""

    content: bytes = b""
    error: Exception | None = None

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the content; an error that reading the file had is raised again."""
        if self.error is not None:
            raise self.error
        yield io.BytesIO(self.content)


@dataclass(frozen=True)
class _Shared:
    assignment: Assignment
    release: dict[str, bytes]  # by the file's name
    opener: batch.Opener
    code: str


def graded(
    submissions: Sequence[Submission],
    assignment: Assignment,
    release: Path | None,
    opener: batch.Opener,
    address: str,
    *,
    confined: bool,
    attempts: int,
    seconds: float,
    closing_seconds: float,
) -> Generator[Graded, None, None]:
    """Yield the marks of each submission as soon as it is graded.

    Args:
        submissions: of the students.
        assignment, release: see `kdcourse.coursework.batch.grade`.
        opener: makes a worker's sandbox.
        address: of the cluster, see `kdcourse.cluster.joined`.
        confined: whether every machine must have what the sandbox needs.
        attempts, seconds, closing_seconds: see `kdcourse.cluster.Cluster.run`.

    Raises:
        ClusterError: the cluster can't be joined, or a machine can't confine students' code; nothing is graded then.
        DataError: the workers can't grade at all.
    """
    given = {} if release is None else {path.name: path.read_bytes() for path in release.glob("*.ipynb")}
    shared = _Shared(assignment, given, opener, code_digest())
    with cluster.joined(address, _SANDBOX if confined else "") as workers:
        running = workers.run(
            _serving, shared, submissions, prepare=_sent, attempts=attempts, seconds=seconds, closing=closing_seconds
        )  # fmt: skip
        with closing(running):
            try:
                for submission, marks in running:
                    if isinstance(marks, cluster.GivenUp):
                        from kdcourse.coursework.marking import failure

                        marks = failure(submission, assignment, marks.reason)
                    yield marks
            except KdcourseError as error:
                raise batch.stopped(str(error)) from error


def _sent(submission: Submission) -> Submission:
    return replace(
        submission, notebooks={name: _with_content(each) for name, each in submission.notebooks.items()}
    )


def _with_content(handed: Handed) -> Sent:
    known = {each.name: getattr(handed, each.name) for each in fields(Handed)}
    try:
        with handed.open() as stream:
            return Sent(**known, content=stream.read(MOST_BYTES + 1))
    except (*UNREADABLE, KeyError) as error:
        return Sent(**known, error=error)


@contextmanager
def _serving(shared: _Shared) -> Iterator[Callable[[Submission], Any]]:
    """Give what marks a submission, on a worker."""
    if code_digest() != shared.code:
        raise CourseworkError(
            "the code that judges answers differs from that of the machine that asks. Install the same version of the "
            "course there."
        )
    with tempfile.TemporaryDirectory(prefix="kdcourse-") as folder:
        for name, content in shared.release.items():
            Path(folder, name).write_bytes(content)
        with batch.marker(shared.assignment, Path(folder), shared.opener) as mark:
            yield mark
