"""Hold the results of a grid of students, complete or so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from kdcourse.errors import ArgumentError
from kdcourse.training import History

_FIGURES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class Setting:
    """Name one student's place in the grid."""

    temperature: float
    alpha: float
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class GridRow:
    """Hold one student: its setting and what its training recorded, as `kdcourse.distillation.distil` records it.

    ``history`` is empty before the first epoch has ended, and stops where the student diverged: where its
    loss became NaN or infinite. In a stack, the ``seconds`` of an epoch are the student's share.
    """

    setting: Setting
    history: History
    diverged: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the row of a tidy table: setting, epochs done and the last epoch's figures, ``None`` where unknown."""
        last = self.history.epochs[-1] if self.history.epochs and not self.diverged else None
        return {
            "temperature": self.setting.temperature,
            "alpha": self.setting.alpha,
            "learning_rate": self.setting.learning_rate,
            "seed": self.setting.seed,
            "epochs": len(self.history),
            "diverged": self.diverged,
        } | {name: None if last is None else getattr(last, name) for name in _FIGURES}


@dataclass(frozen=True)
class GridResult:
    """Hold the results of `kdcourse.distillation.distil_grid`.

    Attributes:
        rows: one per student, by temperature, alpha, learning rate and seed, in the order given.
        epochs: that each student trains for.
        cancelled: whether it was ended early.
        seconds: wall clock of the students' training.
        how: in words, how they were trained.
        students: the networks, in eval mode, in the order of ``rows``; empty in a result so far.
    """

    rows: tuple[GridRow, ...]
    epochs: int
    cancelled: bool
    seconds: float
    how: str
    students: tuple[nn.Module, ...] = ()

    @property
    def table(self) -> list[dict[str, Any]]:
        """Return a dictionary per student with a key per column (``pandas.DataFrame`` takes it as it is)."""
        return [row.as_dict() for row in self.rows]

    def mean(self, column: str = "validation_accuracy") -> dict[tuple[float, float], float]:
        """Return the mean of a column over seeds and learning rates, by (temperature, alpha).

        NaN for a cell in which a student's figure is unknown: it hasn't begun, or it diverged.

        Raises:
            ArgumentError: no such column of numbers.
        """
        if column not in _FIGURES:
            raise ArgumentError(f"column must be one of {', '.join(_FIGURES)}; found {column!r}.")
        found: dict[tuple[float, float], list[float]] = {}
        for row in self.table:
            value = math.nan if row[column] is None else float(row[column])
            found.setdefault((row["temperature"], row["alpha"]), []).append(value)
        return {cell: sum(values) / len(values) for cell, values in found.items()}

    def student(
        self, *, temperature: float, alpha: float, seed: int, learning_rate: float | None = None
    ) -> nn.Module:
        """Return the network of one setting; ``learning_rate`` may be left out where the grid has only one.

        Raises:
            ArgumentError: not exactly one student fits, or the grid hasn't ended yet.
        """
        fits = [
            student
            for row, student in zip(self.rows, self.students, strict=False)
            if (row.setting.temperature, row.setting.alpha, row.setting.seed) == (temperature, alpha, seed)
            and learning_rate in (None, row.setting.learning_rate)
        ]
        if len(fits) != 1:
            raise ArgumentError(
                f"Exactly one student of the grid must have temperature={temperature}, alpha={alpha}, seed={seed}, "
                f"learning_rate={learning_rate}; found {len(fits)} (a result so far holds no students). "
                "See result.table for the settings there are."
            )
        return fits[0]
