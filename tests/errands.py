"""Tasks for the tests of a cluster, in a module that its workers import in no time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdcourse.errors import DataError

LOG = "KDCOURSE_TESTS_LOG"  # names the folder in which workers note what they do
KILL = signal.SIGKILL if os.name == "posix" else signal.SIGTERM


@contextmanager
def serving(shared: int) -> Iterator[Callable[[Any], Any]]:
    log = Path(os.environ[LOG], f"serving {os.getpid()}")
    log.touch()

    def do(task: Any) -> Any:
        if task == "too long":
            time.sleep(600)
        if task == "dies once":
            mark = log.with_name("died")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), KILL)
            return "done"
        if task == "wrong":
            raise DataError("no such thing.")
        return shared + task

    yield do
    log.unlink()


@contextmanager
def dying(shared: int) -> Iterator[Callable[[Any], Any]]:
    os.kill(os.getpid(), KILL)
    yield lambda task: task


def lacking() -> str:
    return "a spoon is missing."
