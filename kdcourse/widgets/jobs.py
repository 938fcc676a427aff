"""Run work in the background: one job at a time, the latest request wins, no thread is left behind."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Literal

Outcome = Literal["waiting", "running", "done", "stopped", "failed"]


class Stopped(Exception):
    """Ends a job that was asked to stop; see `Job.check`."""


class Job:
    """Hold one piece of work, for `Worker.submit`.

    Args:
        work: called in the background with this job; it calls the job's `check` where it can stop.
        on_end: called with this job when it has ended, in whichever way: in the background, or, if a later
            request replaced it before it began, in the thread of that request.

    Attributes:
        outcome: its state, or how it ended; ``stopped`` also where a later request replaced it.
        error: what it raised, where ``failed``.
    """

    def __init__(self, work: Callable[[Job], None], on_end: Callable[[Job], None] | None = None) -> None:
        self.outcome: Outcome = "waiting"
        self.error: BaseException | None = None
        self._work, self._on_end = work, on_end
        self._stop, self._ended = threading.Event(), threading.Event()

    def stop(self) -> None:
        """Ask it to stop at its next `check`; a waiting job never begins."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Return whether it was asked to stop."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise `Stopped` if it was asked to stop; to be called often by the work."""
        if self.stopping:
            raise Stopped

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it and its ``on_end`` have ended; return False after ``timeout`` seconds."""
        return self._ended.wait(timeout)

    def run(self) -> None:
        """Do the work in this thread and keep what it raises; called by the worker's thread."""
        try:
            self.check()
            self.outcome = "running"
            self._work(self)
            self.end("done")
        except Stopped:
            self.end("stopped")
        except BaseException as error:  # the thread must serve the next request whatever happens
            self.error = error
            self.end("failed")

    def end(self, outcome: Outcome) -> None:
        """Set the outcome, call ``on_end`` and wake all waiting threads."""
        self.outcome = outcome
        try:
            if self._on_end is not None:
                self._on_end(self)
        except Exception:
            logging.getLogger(__name__).exception("The on_end callback of a job failed")
        finally:
            self._ended.set()


class Worker:
    """Run jobs in a thread that exists only while there is work, with a queue of length one.

    A request replaces the one that waits: of a hundred events from a dragged slider the last one is always served,
    and others only as time permits. All methods may be called from any thread, `close` and `join` from any but the
    worker's own.

    Args:
        name: of the thread.
        pause: seconds between the end of one job and the start of the next, at least.
    """

    def __init__(self, name: str, *, pause: float = 0.0) -> None:
        self.name, self.pause = name, pause
        self._state = threading.Condition()
        self._running: Job | None = None
        self._waiting: Job | None = None
        self._thread: threading.Thread | None = None
        self._active = False  # whether that thread will still look for work
        self._closed = False
        self._not_before = 0.0
        _workers.add(self)

    @property
    def busy(self) -> bool:
        """Return whether a job runs or waits."""
        with self._state:
            return self._running is not None or self._waiting is not None

    def submit(self, work: Job | Callable[[Job], None], *, interrupt: bool = False) -> Job:
        """Queue ``work`` as the next job, in place of any job that waits.

        Args:
            work: a new job, or the function of one.
            interrupt: ask the running job to stop, rather than let it finish.

        Returns:
            The job; ended as ``stopped`` where the worker is closed.
        """
        job = work if isinstance(work, Job) else Job(work)
        with self._state:
            if self._closed:
                dropped: Job | None = job
            else:
                dropped, self._waiting = self._waiting, job
                if interrupt and self._running is not None:
                    self._running.stop()
                if not self._active:
                    self._active = True
                    # A daemon thread, so that training never keeps the kernel from ending.
                    self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
                    self._thread.start()
        if dropped is not None:
            dropped.end("stopped")
        return job

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits and the thread has ended; return False after ``timeout`` seconds."""
        limit = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._state:
                thread = self._thread
            if thread is not None:
                thread.join(None if limit is None else max(0.0, limit - time.monotonic()))
                if thread.is_alive():
                    return False
            with self._state:
                if not self._active:
                    return True

    def close(self, timeout: float | None = 10.0) -> bool:
        """Stop the running job, drop the waiting one, accept no more; return False after ``timeout`` seconds."""
        with self._state:
            self._closed = True
            dropped, self._waiting = self._waiting, None
            if self._running is not None:
                self._running.stop()
            self._state.notify_all()
        if dropped is not None:
            dropped.end("stopped")
        return self.join(timeout)

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            job.run()
            with self._state:
                self._running = None
                self._not_before = time.monotonic() + self.pause

    def _next(self) -> Job | None:
        """Return the job to run now; None, with which the thread ends, where there is none."""
        with self._state:
            while self._waiting is not None and (left := self._not_before - time.monotonic()) > 0:
                self._state.wait(left)
            job, self._waiting = self._waiting, None
            self._running = job
            # Set under the lock: a later `submit` either is seen above or starts a new thread.
            self._active = job is not None
            return job


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()

trainings = Worker("kdcourse training")
"""The one worker that trains for all widgets: two at once would slow each other and share random numbers."""


@atexit.register
def _close_all() -> None:
    """Stop all workers: a thread that computes while the interpreter shuts down can crash it."""
    for worker in list(_workers):
        worker.close(timeout=5.0)
