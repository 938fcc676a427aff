"""A whole class graded: in parallel, going on where it was stopped, and never stopped by one submission.

    collect -> (what is done already?) -> workers, one sandbox each -> journal -> gradebook, tables, pages, report

This process imports no torch and runs nothing of a student's; each worker process judges, and its sandbox runs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from kdcourse.coursework.feedback import feedback, file_names
from kdcourse.coursework.gradebook import record, require_nbgrader
from kdcourse.coursework.journal import Journal, Keys
from kdcourse.coursework.records import Assignment, Graded, Submission
from kdcourse.coursework.report import report
from kdcourse.coursework.tables import (
    TO_MARK,
    GivenMark,
    canvas_csv,
    failed,
    filled_in,
    grades_csv,
    moodle_csv,
    read_marks,
    read_table,
    to_mark_csv,
    waiting,
)
from kdcourse.errors import ArgumentError, DataError, KdcourseError
from kdcourse.files import write_atomically

JOURNAL = "journal.jsonl"
_ATTEMPTS = 2  # of a submission whose worker process dies
_PATIENCE = 1800.0  # seconds for one submission; the sandbox's own limits are far below
_FAREWELL = 5.0  # seconds for a worker to close its sandbox

OpenSandbox = Callable[[bool], AbstractContextManager[Any]]
_Opener = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Batch:
    """What `grade` did.

    Args:
        class_: everybody, in the order in which they were collected, with the points in force.
        graded_now: how many of them were graded now; the others had been before.
        notes: what the instructor should read.
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
    progress: bool = True,
    open_sandbox: OpenSandbox | None = None,
) -> Batch:
    """Grade what a class handed in.

    Args:
        folder: as it came: a folder for each student, or a learning platform's download.
        assignment: what was asked.
        out: folder for gradebook.db, grades.csv, canvas.csv, moodle.csv, to_mark.csv, report.html and the pages in
            feedback; also for the journal by which a run that was stopped goes on.
        jobs: submissions at a time; by default one for each core.
        unsafe: run students' code without a sandbox.
        marks: table of points that a person gave (see `read_marks`).
        canvas, moodle: an exported gradebook of Canvas, a grading worksheet of Moodle, to be filled in.
        gradebook: nbgrader's file, in place of the one in ``out``.
        release: folder of the notebooks as students got them; for cells that an answer needs and a student deleted.
        progress: show a progress bar.
        open_sandbox: makes a worker's sandbox, given ``unsafe``; by default `kdcourse.coursework.sandbox.Sandbox`.

    Raises:
        ArgumentError: a folder that isn't there, ``out`` inside it, no sandbox on this machine, nbgrader missing.
        DataError: nothing handed in, tables that can't be read, a gradebook that can't be written, or another run at
            work in ``out``.
    """
    given = _checked(folder, out, assignment, jobs, marks, (canvas, moodle))
    if open_sandbox is None:
        _require_sandbox(unsafe)
    with _alone(out):
        submissions = _collected(folder, assignment)
        key_of = Keys(assignment, unsafe, release)
        done, pending = _sorted_out(submissions, key_of, out)
        journal = Journal(out / JOURNAL)
        keys = {submission.student: key for submission, key in pending}
        pool = _Pool(
            [submission for submission, _ in pending],
            _jobs(jobs, len(pending)),
            (assignment, release, partial(open_sandbox or _sandbox, unsafe)),
        )
        with _bar(len(submissions), len(done), progress) as bar, closing(pool.run()) as graded_now:
            for graded in graded_now:
                if not failed(graded, assignment):
                    journal.add(keys[graded.student], graded)
                done[graded.student] = graded
                bar.update()
        class_ = [done[submission.student] for submission in submissions]
        class_, notes = record(
            gradebook or out / "gradebook.db", assignment, class_, given, out / "read.json"
        )
        notes += _hand_out(class_, assignment, out, canvas, moodle)
    return Batch(tuple(class_), len(pending), tuple(notes), out)


# -- before anything is run ---------------------------------------------------------------------


def _checked(
    folder: Path,
    out: Path,
    assignment: Assignment,
    jobs: int | None,
    marks: Path | None,
    tables: Sequence[Path | None],
) -> list[GivenMark]:
    """Refuse now what would be refused after an hour of grading; the points that a person gave."""
    if jobs is not None and jobs < 1:
        raise ArgumentError(f"--jobs must be at least 1; found {jobs}.")
    if not folder.is_dir():
        raise ArgumentError(f"There is no folder {folder}. Name the folder with what students handed in.")
    if folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise ArgumentError(
            f"Results can't go to {out}, which is inside the submissions in {folder}: the next run would take them for "
            "a student's. Name another place with --out."
        )
    require_nbgrader()
    for path in tables:
        if path is not None:
            read_table(path)
    if marks is None:
        if filled_in(out / TO_MARK):
            raise ArgumentError(
                f"Somebody has written points into {out / TO_MARK}, and this run would replace it. Take them up with "
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
            "or, on a machine that holds nothing of worth, say --unsafe."
        )


def _sandbox(unsafe: bool) -> AbstractContextManager[Any]:
    from kdcourse.coursework.sandbox import Sandbox

    return Sandbox(unsafe=unsafe)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One run at a time in a folder of results."""
    from filelock import FileLock, Timeout

    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(
            f"Another run is at work in {out}. Wait until it has ended, or name another folder with --out."
        ) from None
    except OSError as error:
        raise ArgumentError(f"Results can't be written to {out}: {error.strerror or error}.") from None
    try:
        yield
    finally:
        lock.release()


def _collected(folder: Path, assignment: Assignment) -> list[Submission]:
    from kdcourse.coursework.intake import collect

    submissions = collect(folder, assignment)
    if not submissions:
        raise DataError(
            f"Nothing was handed in in {folder}: no folder of a student, no notebook and no archive was found. Name "
            "the folder that holds the students' folders, or what your learning platform gave out."
        )
    return submissions


def _sorted_out(
    submissions: Sequence[Submission], key_of: Keys, out: Path
) -> tuple[dict[str, Graded], list[tuple[Submission, str]]]:
    """Who is graded already, and who is to be, with the key of that work."""
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


# -- worker processes, seen from here ------------------------------------------------------------


@dataclass
class _Worker:
    process: Any
    connection: Connection
    ready: bool = False
    submission: Submission | None = None
    since: float = 0.0
    ended_by_us: bool = False


@dataclass(frozen=True)
class _Broken:
    """What a worker says that can't work at all, whatever it is given."""

    reason: str


class _Pool:
    """Worker processes that grade submissions; one that dies costs nothing but its attempt.

    Not `concurrent.futures`: there, one worker that is killed for want of memory breaks all of it.
    """

    def __init__(
        self,
        submissions: Sequence[Submission],
        jobs: int,
        orders: tuple[Assignment, Path | None, _Opener],
    ) -> None:
        self._todo = deque(submissions)
        self._left = len(submissions)
        self._attempts = dict.fromkeys((one.student for one in submissions), 0)
        self._jobs, self._orders = jobs, orders
        self._context = _context()
        self._workers: list[_Worker] = []

    def run(self) -> Generator[Graded, None, None]:
        """Everybody's marks, as they are done.

        Raises:
            DataError: the workers can't work at all.
        """
        try:
            for _ in range(min(self._jobs, self._left)):
                self._start()
            while self._left:
                for worker in self._with_news():
                    graded = self._hear(worker)
                    if graded is not None:
                        self._left -= 1
                        yield graded
        finally:
            self._stop()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, *self._orders), daemon=True)
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _with_news(self) -> list[_Worker]:
        ready = wait([worker.connection for worker in self._workers], timeout=1.0)
        now = time.monotonic()
        for worker in self._workers:
            if worker.submission is not None and now - worker.since > _PATIENCE:
                worker.ended_by_us = True
                worker.process.kill()
        return [worker for worker in self._workers if worker.connection in ready]

    def _hear(self, worker: _Worker) -> Graded | None:
        """Take what a worker says, and give it something to do; marks, if it has some."""
        try:
            said = worker.connection.recv()
        except (EOFError, OSError):
            return self._died(worker)
        if isinstance(said, _Broken):
            raise _cant_go_on(said.reason)
        worker.ready, worker.submission = True, None
        if self._todo:
            worker.submission, worker.since = self._todo.popleft(), time.monotonic()
            with suppress(OSError):  # it has died since, which is heard of next
                worker.connection.send(worker.submission)
        return said if isinstance(said, Graded) else None

    def _died(self, worker: _Worker) -> Graded | None:
        """Put a new worker in a dead one's place, and its submission back; or give that up."""
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join(_FAREWELL)
        reason = f"the process that graded it ended unexpectedly (exit code {worker.process.exitcode})"
        if worker.ended_by_us:
            reason = f"it took more than {_PATIENCE / 60:.0f} minutes"
        if not worker.ready:
            raise _cant_go_on(f"A worker ended before it began (exit code {worker.process.exitcode}).")
        lost = worker.submission
        if lost is None:
            return None
        self._attempts[lost.student] += 1
        given_up = self._attempts[lost.student] >= _ATTEMPTS or worker.ended_by_us
        if not given_up:
            self._todo.append(lost)
        if self._todo:
            self._start()
        if not given_up:
            return None
        from kdcourse.coursework.marking import failure

        return failure(lost, self._orders[0], reason)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.connection.close()  # an idle one ends by that
            if worker.submission is not None or not worker.ready:
                worker.process.terminate()
        until = time.monotonic() + _FAREWELL
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _cant_go_on(reason: str) -> DataError:
    return DataError(
        f"Grading can't go on: {reason} What is graded already is kept, and the same command goes on from there."
    )


def _context() -> Any:
    """A way to start processes in which torch, which takes seconds to import, is imported once for all of them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kdcourse.coursework.marking"])
    return context


# -- worker processes, seen from inside ----------------------------------------------------------


def _work(connection: Connection, assignment: Assignment, release: Path | None, opener: _Opener) -> None:
    """Grade what comes, until nothing comes any more."""
    # Ctrl-C reaches all processes of a terminal: this one waits for what its parent makes of it. A handler of its own,
    # since one that ignores would be inherited by whatever runs in the sandbox.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of the sandbox's own farewell
    from kdcourse.coursework.marking import described

    try:
        _serve(connection, assignment, release, opener)
    except (BrokenPipeError, ConnectionResetError):
        return  # nobody listens any more
    except KdcourseError as error:
        connection.send(_Broken(str(error)))
    except Exception as error:
        connection.send(_Broken(f"A worker failed with {described(error)}."))


def _serve(connection: Connection, assignment: Assignment, release: Path | None, opener: _Opener) -> None:
    import torch

    from kdcourse.coursework import marking

    torch.set_num_threads(1)  # there is a worker for each core
    marking.prepare(assignment)
    given = marking.released(release, assignment)
    with ExitStack() as stack:
        sandbox = stack.enter_context(opener())
        connection.send("ready")
        while True:
            try:
                submission = connection.recv()
            except (EOFError, OSError):
                return
            try:
                graded = marking.mark(submission, assignment, sandbox, given)
            except Exception:
                # It may be the sandbox that is broken: once more in a new one.
                with suppress(Exception):
                    stack.close()
                sandbox = stack.enter_context(opener())
                try:
                    graded = marking.mark(submission, assignment, sandbox, given)
                except Exception as error:
                    graded = marking.failure(submission, assignment, marking.described(error))
            connection.send(graded)


# -- when all are graded ------------------------------------------------------------------------


def _hand_out(
    class_: Sequence[Graded], assignment: Assignment, out: Path, canvas: Path | None, moodle: Path | None
) -> list[str]:
    """Write tables, pages and report; what the instructor should know of them."""
    for_canvas, notes = canvas_csv(class_, assignment, canvas)
    for_moodle, more = moodle_csv(class_, assignment, moodle)
    write_atomically(out / "grades.csv", grades_csv(class_, assignment))
    write_atomically(out / "canvas.csv", for_canvas)
    write_atomically(out / "moodle.csv", for_moodle)
    unread = sum(map(waiting, class_))
    if unread:
        write_atomically(out / TO_MARK, to_mark_csv(class_, assignment))
        count = f"{unread} answer{'s wait' if unread > 1 else ' waits'}"
        notes.append(
            f"{count} for a person: write points into {out / TO_MARK} and run the same command with --marks "
            f"{out / TO_MARK}."
        )
    else:
        (out / TO_MARK).unlink(missing_ok=True)
    pages = file_names(graded.student for graded in class_)
    for graded in class_:
        write_atomically(out / "feedback" / pages[graded.student], feedback(graded, assignment))
    links = {student: f"feedback/{name}" for student, name in pages.items()}
    write_atomically(out / "report.html", report(class_, assignment, links))
    return [*notes, *more]
