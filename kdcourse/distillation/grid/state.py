"""Hold the state of a grid while it trains: rows, progress bar, and whether to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from torch import nn

from kdcourse.distillation.grid.result import GridResult, GridRow
from kdcourse.training import EpochRecord, History


class Stopped(Exception):
    """End a student's training from inside; never leaves this package."""


class GridState:
    """Keep every student's row, and notify the callback of each change.

    As a context it lets an interruption or `Stopped` end the work inside, and keeps the results so far.

    Args:
        rows: one per student, their histories still empty.
        students: the networks, in that order.
        epochs: of each.
        progress, after_epoch, should_stop: see `distil_grid`.
    """

    def __init__(
        self,
        rows: Sequence[GridRow],
        students: Sequence[nn.Module],
        epochs: int,
        *,
        progress: bool | str,
        after_epoch: Callable[[GridResult], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.rows, self.students = list(rows), tuple(students)
        self.how = ""
        self._epochs, self._cancelled, self._seconds = epochs, False, 0.0
        self._after_epoch, self._should_stop, self._progress = after_epoch, should_stop, progress
        self._bar: Any = None

    def __enter__(self) -> GridState:
        from tqdm.auto import tqdm

        self._began = time.perf_counter()
        self._bar = tqdm(
            total=self._epochs * len(self.rows),
            desc=self._progress if isinstance(self._progress, str) else f"{len(self.rows)} students",
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total} epochs [{elapsed}<{remaining}]",
            disable=not self._progress,
            mininterval=0.5,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        self._seconds = time.perf_counter() - self._began
        self._bar.close()
        for student in self.students:
            student.eval()
        ended_early = kind is not None and issubclass(kind, KeyboardInterrupt | Stopped)
        self._cancelled |= ended_early
        return ended_early

    def stop_if_requested(self) -> None:
        """Raise `Stopped` once the caller wants the grid to end."""
        self._cancelled |= self._should_stop is not None and self._should_stop()
        if self._cancelled:
            raise Stopped

    def begin(self, positions: Sequence[int], **settings: Any) -> None:
        """Record the resolved settings of the students at ``positions``."""
        for position in positions:
            self.rows[position].history.settings.update(settings)

    def advance(self, epochs: float) -> None:
        """Move the bar by this many epochs of one student."""
        self._bar.update(
            min(epochs, self._bar.total - self._bar.n)
        )  # shares of an epoch add up with rounding

    def record(self, positions: Sequence[int], records: Sequence[EpochRecord]) -> None:
        """Append an epoch to the students at ``positions``, and notify the callback."""
        for position, record in zip(positions, records, strict=True):
            row = self.rows[position]
            if row.diverged or not all(
                map(math.isfinite, (record.train_loss, record.validation_loss or 0.0))
            ):
                self.rows[position] = replace(row, diverged=True)
            else:
                history = History(row.history.settings, [*row.history.epochs, record])
                self.rows[position] = replace(row, history=history)
        self.notify()

    def notify(self) -> None:
        """Pass the result so far to the callback."""
        if self._after_epoch is not None:
            self._after_epoch(self._result(time.perf_counter() - self._began, ()))

    def result(self) -> GridResult:
        """Return the grid once its work has ended."""
        return self._result(self._seconds, self.students)

    def _result(self, seconds: float, students: tuple[nn.Module, ...]) -> GridResult:
        return GridResult(tuple(self.rows), self._epochs, self._cancelled, seconds, self.how, students)
