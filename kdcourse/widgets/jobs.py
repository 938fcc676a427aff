"""Work in the background: one piece at a time, the latest request wins, and no thread stays behind."""

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
    """Raised inside a piece of work that was asked to stop; see `Job.check`."""


class Job:
    """One piece of work, for `Worker.submit`.

    Args:
        work: called in the background with this job, whose ``check`` it calls where it can stop.
        on_end: called with this job when it is over, however it ended: in the background, or in the thread
            of the request that takes its place before it began.

    Attributes:
        outcome: how far it is, or how it ended: ``stopped`` also where a later request took its place.
        error: what it raised, when ``failed``.
    """

    def __init__(self, work: Callable[[Job], None], on_end: Callable[[Job], None] | None = None) -> None:
        self.outcome: Outcome = "waiting"
        self.error: BaseException | None = None
        self._work, self._on_end = work, on_end
        self._stop, self._ended = threading.Event(), threading.Event()

    def stop(self) -> None:
        """Ask it to stop; it does so at its next `check`. One that still waits will never begin."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise `Stopped` if it was asked to stop; the work calls this often."""
        if self.stopping:
            raise Stopped

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it and its ``on_end`` are over; False when ``timeout`` seconds weren't enough."""
        return self._ended.wait(timeout)

    def run(self) -> None:
        """Do the work here and now, whatever it raises; the worker's thread calls this."""
        try:
            self.check()
            self.outcome = "running"
            self._work(self)
            self.end("done")
        except Stopped:
            self.end("stopped")
        except BaseException as error:  # the thread must go on to the next request whatever happens
            self.error = error
            self.end("failed")

    def end(self, outcome: Outcome) -> None:
        """Say how it ended, once, to whoever waits."""
        self.outcome = outcome
        try:
            if self._on_end is not None:
                self._on_end(self)
        except Exception:
            logging.getLogger(__name__).exception("What follows the end of a piece of work failed")
        finally:
            self._ended.set()


class Worker:
    """A thread that exists only while there is work, and a queue of one.

    A request that comes while another waits takes its place: of a hundred events from a dragged
    slider the last one is always served, and those in between only as time permits. All methods may
    be called from any thread, `close` and `join` from any but the worker's own.

    Args:
        name: of the thread.
        pause: seconds to leave between the end of one piece of work and the beginning of the next.
    """

    def __init__(self, name: str, *, pause: float = 0.0) -> None:
        self.name, self.pause = name, pause
        self._state = threading.Condition()
        self._running: Job | None = None
        self._waiting: Job | None = None
        self._thread: threading.Thread | None = None
        self._active = False  # whether that thread still looks for work
        self._closed = False
        self._not_before = 0.0
        _workers.add(self)

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        with self._state:
            return self._running is not None or self._waiting is not None

    def submit(self, work: Job | Callable[[Job], None], *, interrupt: bool = False) -> Job:
        """Ask for ``work`` to be done next, in place of any request that still waits.

        Args:
            work: a new job, or what to make one of.
            interrupt: ask what runs now to stop, rather than let it finish.

        Returns:
            The job; ended as stopped where the worker is closed.
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
                    # A daemon, so that a training never keeps the kernel from ending.
                    self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
                    self._thread.start()
        if dropped is not None:
            dropped.end("stopped")
        return job

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits and the thread is gone; False when it took too long."""
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
        """Stop what runs, drop what waits, take no more; False when the thread outlives ``timeout`` seconds."""
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
        """The request to serve now; None, and the thread ends, when there is none."""
        with self._state:
            while self._waiting is not None and (left := self._not_before - time.monotonic()) > 0:
                self._state.wait(left)
            job, self._waiting = self._waiting, None
            self._running = job
            # Said under the lock: whoever submits next either is seen above or starts a new thread.
            self._active = job is not None
            return job


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()

trainings = Worker("kdcourse training")
"""The one place where widgets train: two trainings at once would slow each other and share random numbers."""


@atexit.register
def _close_all() -> None:
    """A thread that computes while the interpreter is taken down can crash it."""
    for worker in list(_workers):
        worker.close(timeout=5.0)
