"""Grade a whole class: in parallel, resuming after an interruption, and despite any single failing submission.

    collect -> (graded before?) -> workers, one sandbox each -> journal -> gradebook, tables, pages, report

This process imports no torch and runs no code of students. Worker processes judge; their sandboxes run the code.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from kdcourse.coursework.feedback import feedback, file_names
from kdcourse.coursework.gradebook import record, require_nbgrader
from kdcourse.coursework.intake import collect
from kdcourse.coursework.journal import Journal, Keys
from kdcourse.coursework.marking_page import marking_page
from kdcourse.coursework.records import Assignment, Graded, Submission
from kdcourse.coursework.report import report
from kdcourse.coursework.roster import Joined, join, read_roster
from kdcourse.coursework.tables import (
    HANDED_IN,
    TO_MARK,
    GivenMark,
    canvas_csv,
    failed,
    filled_in,
    grades_csv,
    handed_in_csv,
    moodle_csv,
    read_marks,
    read_table,
    to_mark_csv,
    to_read,
)
from kdcourse.errors import ArgumentError, DataError, KdcourseError
from kdcourse.files import write_atomically

JOURNAL = "journal.jsonl"
MARKING_PAGE = "to_mark.html"
_ATTEMPTS = 2  # at a submission whose worker process dies
_MOST_SECONDS = 1800.0  # for one submission; the sandbox's own limits are far below
_CLOSING_SECONDS = 5.0  # for a worker to close its sandbox

OpenSandbox = Callable[[bool], AbstractContextManager[Any]]
Opener = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Batch:
    """Hold the result of `grade`.

    Args:
        class_: all students who handed in, in the order in which they were collected, with the points that count.
        graded_now: how many of them this call graded; the others were graded before.
        notes: sentences for the instructor.
        out: the folder with report.html, grades.csv and the rest.
    """

    class_: tuple[Graded, ...]
    graded_now: int
    notes: tuple[str, ...]
    out: Path


def grade(
    folder: Path,
    assignment: Assignment,
    out: Path,
    *,
    jobs: int | None = None,
    unsafe: bool = False,
    marks: Path | None = None,
    canvas: Path | None = None,
    moodle: Path | None = None,
    gradebook: Path | None = None,
    release: Path | None = None,
    private: Sequence[Path] = (),
    roster: Path | None = None,
    progress: bool = True,
    open_sandbox: OpenSandbox | None = None,
    ray: str | None = None,
) -> Batch:
    """Grade what a class handed in.

    Args:
        folder: the submissions: a folder for each student, or a learning platform's download, as a folder or as the
            zip file itself.
        assignment: what was asked.
        out: folder for gradebook.db, grades.csv, canvas.csv, moodle.csv, to_mark.csv, report.html and the pages in
            feedback; also for the journal from which an interrupted run resumes.
        jobs: submissions at a time; by default one per core.
        unsafe: run students' code without a sandbox.
        marks: table of points that a person gave (see `read_marks`).
        canvas, moodle: an exported gradebook of Canvas, a grading worksheet of Moodle, to be filled in.
        gradebook: nbgrader's file, in place of the one in ``out``.
        release: folder of the notebooks as students got them, for cells that an answer needs and the student deleted.
        private: further files and folders that no student's code may see, such as that of the assignment.
        roster: table of all students (see `kdcourse.coursework.roster`).
        progress: show a progress bar.
        open_sandbox: makes a worker's sandbox, given ``unsafe``; by default `kdcourse.coursework.sandbox.Sandbox`.
        ray: address of a Ray cluster that grades, see `kdcourse.cluster.joined`.

    Raises:
        ArgumentError: the folder doesn't exist or contains ``out``, there is no sandbox, or nbgrader is missing.
        ClusterError: the Ray cluster can't be joined, or a machine of it has no sandbox.
        DataError: nothing was handed in, a table can't be read, the gradebook can't be written, or another run uses
            ``out``.
    """
    if ray is not None and jobs is not None:
        raise ArgumentError(
            f"--jobs {jobs} is for this machine alone, and --ray uses every core of its cluster. Give one of them."
        )
    given = _checked(folder, out, assignment, jobs, marks, (canvas, moodle))
    enrolled = [] if roster is None else read_roster(roster)
    hidden = [
        one for one in (folder, out, marks, canvas, moodle, gradebook, release, roster, *private) if one
    ]
    with _locked(out):
        collected = collect(folder, assignment)
        submissions = collected.submissions
        key_of = Keys(assignment, unsafe, release)
        done, pending = _pending(submissions, key_of, out)
        if pending and open_sandbox is None and ray is None:  # imports torch, which takes seconds
            _require_sandbox(unsafe)
        journal = Journal(out / JOURNAL)
        keys = {submission.student: key for submission, key in pending}
        todo = [submission for submission, _ in pending]
        what = (assignment, release, partial(open_sandbox or partial(_sandbox, hidden), unsafe))
        if ray is None or not todo:
            running = _Pool(todo, _jobs(jobs, len(todo)), what).run()
        else:
            from kdcourse.coursework import remote

            running = remote.graded(
                todo, *what, ray, confined=open_sandbox is None and not unsafe, attempts=_ATTEMPTS,
                seconds=_MOST_SECONDS, closing_seconds=_CLOSING_SECONDS,
            )  # fmt: skip
        with _bar(len(submissions), len(done), progress) as bar, closing(running) as graded_now:
            for graded in graded_now:
                if not failed(graded, assignment):
                    journal.add(keys[graded.student], graded)
                done[graded.student] = graded
                bar.update()
        graded_all = [done[submission.student] for submission in submissions]
        joined = Joined(tuple(graded_all))
        if roster is not None:
            joined = join(graded_all, enrolled, assignment, roster.name)
        counted, notes = record(
            gradebook or out / "gradebook.db", assignment, joined.class_, given, seen=out / "read.json",
            members=joined.members, counted=out / "counted.json",
        )  # fmt: skip
        class_, members = tuple(counted[: len(graded_all)]), tuple(counted[len(graded_all) :])
        if assignment.due and roster is None:
            notes.append("Times of handing in aren't known without --roster: nobody is counted as late.")
        ids = {student: (own, "") for student, own in collected.canvas_ids.items()}
        ids |= {
            student: (one.number, one.student) for student, one in joined.people if one.number or one.student
        }
        written = _write_results(class_, members, joined.absent, assignment, out, canvas, moodle, ids)
        notes = [*collected.notes, *notes, *joined.notes, *written]
        write_atomically(out / HANDED_IN, handed_in_csv(collected.accounts))
    return Batch(class_, len(pending), tuple(notes), out)


# -- checks before anything is run --------------------------------------------------------------


def _checked(
    folder: Path,
    out: Path,
    assignment: Assignment,
    jobs: int | None,
    marks: Path | None,
    tables: Sequence[Path | None],
) -> list[GivenMark]:
    """Check all arguments before the grading, which may take an hour; return the points that a person gave."""
    if jobs is not None and jobs < 1:
        raise ArgumentError(f"--jobs must be at least 1; found {jobs}.")
    if not folder.exists():
        raise ArgumentError(
            f"There is no folder {folder}. Name the folder with the submissions, or the learning platform's zip file."
        )
    if folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise ArgumentError(
            f"Results can't go to {out}, which is inside the submissions in {folder}: the next run would take them for "
            "a student's work. Name another folder with --out."
        )
    require_nbgrader()
    for path in tables:
        if path is not None:
            read_table(path)
    if marks is None:
        if filled_in(out / TO_MARK):
            raise ArgumentError(
                f"Somebody has written points into {out / TO_MARK}, and this run would replace it. Use them with "
                f"--marks {out / TO_MARK}, or move the file away."
            )
        return []
    return read_marks(marks, assignment)


def _require_sandbox(unsafe: bool) -> None:
    from kdcourse.coursework.sandbox import available

    reason = "" if unsafe else available()
    if reason:
        raise ArgumentError(
            f"Students' code can't be run safely here: {reason} Without a sandbox it could read and change your files "
            "and other students' work, and use the network. Grade on Linux with bubblewrap (apt install bubblewrap), "
            "or, on a machine without anything valuable, pass --unsafe."
        )


def _sandbox(private: Sequence[Path], unsafe: bool) -> AbstractContextManager[Any]:
    from kdcourse.coursework.sandbox import Sandbox

    return Sandbox(unsafe=unsafe, private=private)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Lock a folder of results for one run at a time."""
    from filelock import FileLock, Timeout

    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(
            f"Another run is using {out}. Wait until it has ended, or name another folder with --out."
        ) from None
    except OSError as error:
        raise ArgumentError(f"Results can't be written to {out}: {error.strerror or error}.") from None
    try:
        yield
    finally:
        lock.release()


def _pending(
    submissions: Sequence[Submission], key_of: Keys, out: Path
) -> tuple[dict[str, Graded], list[tuple[Submission, str]]]:
    """Return who is graded already, and the submissions to be graded with their keys."""
    before = Journal(out / JOURNAL).tidied()
    done: dict[str, Graded] = {}
    pending = []
    for submission in submissions:
        key = key_of(submission)
        old = before.get(submission.student)
        if old is not None and old[0] == key:
            done[submission.student] = old[1]
        else:
            pending.append((submission, key))
    return done, pending


def _jobs(jobs: int | None, pending: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(jobs or cores, pending))


def _bar(total: int, done: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=done, desc="graded", unit="submission", disable=not progress)


# -- worker processes, from outside --------------------------------------------------------------


@dataclass
class _Worker:
    process: Any
    connection: Connection
    ready: bool = False
    submission: Submission | None = None
    since: float = 0.0
    timed_out: bool = False


@dataclass(frozen=True)
class _Unusable:
    """Report from a worker that it can't grade any submission."""

    reason: str


class _Pool:
    """Run worker processes that grade submissions; if one dies, only its attempt is lost.

    This isn't `concurrent.futures`, where one worker that is killed for lack of memory breaks the whole pool.
    """

    def __init__(
        self,
        submissions: Sequence[Submission],
        jobs: int,
        arguments: tuple[Assignment, Path | None, Opener],
    ) -> None:
        self._todo = deque(submissions)
        self._left = len(submissions)
        self._attempts = dict.fromkeys((one.student for one in submissions), 0)
        self._jobs, self._arguments = jobs, arguments
        self._context = _context()
        self._workers: list[_Worker] = []

    def run(self) -> Generator[Graded, None, None]:
        """Yield the marks of each submission as soon as it is graded.

        Raises:
            DataError: the workers can't grade at all.
        """
        try:
            for _ in range(min(self._jobs, self._left)):
                self._start()
            while self._left:
                for worker in self._readable():
                    graded = self._receive(worker)
                    if graded is not None:
                        self._left -= 1
                        yield graded
        finally:
            self._stop()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, *self._arguments), daemon=True)
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _readable(self) -> list[_Worker]:
        ready = wait([worker.connection for worker in self._workers], timeout=1.0)
        now = time.monotonic()
        for worker in self._workers:
            if worker.submission is not None and now - worker.since > _MOST_SECONDS:
                worker.timed_out = True
                worker.process.kill()
        return [worker for worker in self._workers if worker.connection in ready]

    def _receive(self, worker: _Worker) -> Graded | None:
        """Receive a worker's message and send it the next submission; return the marks, if the message has some."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            return self._replace(worker)
        if isinstance(message, _Unusable):
            raise stopped(message.reason)
        worker.ready, worker.submission = True, None
        if self._todo:
            worker.submission, worker.since = self._todo.popleft(), time.monotonic()
            with suppress(OSError):  # it has died since; its closed connection is handled next
                worker.connection.send(worker.submission)
        return message if isinstance(message, Graded) else None

    def _replace(self, worker: _Worker) -> Graded | None:
        """Replace a dead worker and queue its submission again; after too many attempts return a failure."""
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join(_CLOSING_SECONDS)
        reason = f"the process that graded it ended unexpectedly (exit code {worker.process.exitcode})"
        if worker.timed_out:
            reason = f"it took more than {_MOST_SECONDS / 60:.0f} minutes"
        if not worker.ready:
            raise stopped(f"A worker ended before it began (exit code {worker.process.exitcode}).")
        lost = worker.submission
        if lost is None:
            return None
        self._attempts[lost.student] += 1
        given_up = self._attempts[lost.student] >= _ATTEMPTS or worker.timed_out
        if not given_up:
            self._todo.append(lost)
        if self._todo:
            self._start()
        if not given_up:
            return None
        from kdcourse.coursework.marking import failure

        return failure(lost, self._arguments[0], reason)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.connection.close()  # which ends an idle one
            if worker.submission is not None or not worker.ready:
                worker.process.terminate()
        until = time.monotonic() + _CLOSING_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def stopped(reason: str) -> DataError:
    """Return the error that ends grading, and that says what is kept."""
    return DataError(
        f"Grading can't continue: {reason} Finished submissions are kept; the same command continues from there."
    )


def _context() -> Any:
    """Return a way to start processes that imports torch, which takes seconds, only once for all of them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kdcourse.coursework.marking"])
    return context


# -- worker processes, inside --------------------------------------------------------------------


def _work(connection: Connection, assignment: Assignment, release: Path | None, opener: Opener) -> None:
    """Grade submissions until the connection is closed."""
    # Ctrl-C reaches all processes of a terminal; the parent decides what happens. This is a handler, since SIG_IGN
    # would be inherited by whatever runs in the sandbox.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which closes the sandbox
    from kdcourse.coursework.marking import described

    try:
        _serve(connection, assignment, release, opener)
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent has ended
    except KdcourseError as error:
        connection.send(_Unusable(str(error)))
    except Exception as error:
        connection.send(_Unusable(f"A worker failed with {described(error)}."))


def _serve(connection: Connection, assignment: Assignment, release: Path | None, opener: Opener) -> None:
    with marker(assignment, release, opener) as mark:
        connection.send("ready")
        while True:
            try:
                submission = connection.recv()
            except (EOFError, OSError):
                return
            connection.send(mark(submission))


@contextmanager
def marker(
    assignment: Assignment, release: Path | None, opener: Opener
) -> Iterator[Callable[[Submission], Graded]]:
    """Give what marks a submission in one sandbox after the other; each is replaced when it fails."""
    import torch

    from kdcourse.coursework import marking

    torch.set_num_threads(1)  # there is one worker per core
    marking.prepare(assignment)
    given = marking.released(release, assignment)
    with ExitStack() as stack:
        sandbox = stack.enter_context(opener())

        def mark(submission: Submission) -> Graded:
            nonlocal sandbox
            try:
                return marking.mark(submission, assignment, sandbox, given)
            except Exception:
                # The sandbox may be broken: try once more in a new one.
                with suppress(Exception):
                    stack.close()
                sandbox = stack.enter_context(opener())
                try:
                    return marking.mark(submission, assignment, sandbox, given)
                except Exception as error:
                    return marking.failure(submission, assignment, marking.described(error))

        yield mark


# -- results ------------------------------------------------------------------------------------


def _write_results(
    class_: Sequence[Graded],
    members: Sequence[Graded],
    absent: Sequence[Graded],
    assignment: Assignment,
    out: Path,
    canvas: Path | None,
    moodle: Path | None,
    ids: Mapping[str, tuple[str, str]],
) -> list[str]:
    """Write tables, pages and report; return notes for the instructor."""
    with_page = (*class_, *members)
    everybody = (*with_page, *absent)
    for_canvas, notes = canvas_csv(everybody, assignment, canvas, ids)
    for_moodle, more = moodle_csv(everybody, assignment, moodle)
    write_atomically(out / "grades.csv", grades_csv(everybody, assignment))
    write_atomically(out / "canvas.csv", for_canvas)
    write_atomically(out / "moodle.csv", for_moodle)
    unread = sum(map(to_read, class_))
    if unread:
        write_atomically(out / TO_MARK, to_mark_csv(class_, assignment))
        write_atomically(out / MARKING_PAGE, marking_page(class_, assignment))
        count = f"{unread} answer{'s wait' if unread > 1 else ' waits'}"
        notes.append(
            f"{count} for a marker: write points into {out / TO_MARK} and run the same command with --marks "
            f"{out / TO_MARK}; or mark in a browser, in {out / MARKING_PAGE}."
        )
    else:
        for name in (TO_MARK, MARKING_PAGE):
            (out / name).unlink(missing_ok=True)
    pages = file_names(graded.student for graded in with_page)
    for graded in with_page:
        write_atomically(out / "feedback" / pages[graded.student], feedback(graded, assignment))
    links = {student: f"feedback/{name}" for student, name in pages.items()}
    write_atomically(out / "report.html", report(class_, assignment, links, absent))
    return [*notes, *more]
