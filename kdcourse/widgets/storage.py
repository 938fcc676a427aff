"""What a learner made and the course remembers: runs of the tuner, predictions, answers. JSON, written whole."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from kdcourse.errors import ArgumentError
from kdcourse.files import write_atomically
from kdcourse.training import EpochRecord

_FORMAT = 1
Objective = Literal["distilled", "labels", "teacher"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)


def kept_folder() -> Path:
    """Where runs, predictions and answers to quizzes are kept: ``$KDCOURSE_RUNS`` or the user's data folder."""
    from platformdirs import user_data_dir

    return Path(os.environ.get("KDCOURSE_RUNS") or Path(user_data_dir("kdcourse")) / "runs")


# -- runs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunSettings:
    """What a run of the tuner was asked for; ``objective`` says what the student learns from."""

    objective: str = "distilled"
    student: str = "mlp_25k"
    temperature: float = 4.0
    alpha: float = 0.9
    epochs: int = 3
    learning_rate: float = 0.1
    batch_size: int = 256
    seed: int = 0

    @property
    def name(self) -> str:
        """The settings that matter, in words."""
        learns = {
            "distilled": f"distilled T={self.temperature:.3g} alpha={self.alpha:g}",
            "teacher": f"teacher alone T={self.temperature:.3g}",
            "labels": "labels alone",
        }[self.objective]
        return (
            f"{learns}, {self.student}, {self.epochs} epoch{'s' * (self.epochs != 1)}, lr {self.learning_rate:.3g}, "
            f"seed {self.seed}"
        )


@dataclass
class Run:
    """A student's training, as far as it got.

    ``losses`` are (epochs since the beginning, mean loss of the run's own objective since the last entry);
    ``epochs`` the complete ones; ``state`` is "training", "finished", "stopped" or "diverged"; ``started`` is UTC,
    ISO 8601.
    """

    settings: RunSettings
    data: str
    state: str = "training"
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    identity: str = field(default_factory=lambda: secrets.token_hex(4))
    losses: list[tuple[float, float]] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)

    @property
    def file_name(self) -> str:
        """Sorts by time; differs between runs of one instant."""
        return f"{re.sub(r'[^0-9]', '', self.started)[:14]}-{self.identity}.json"

    @property
    def accuracies(self) -> list[tuple[int, float]]:
        """(epoch, validation accuracy) of the complete epochs."""
        return [
            (record.epoch, record.validation_accuracy)
            for record in self.epochs
            if record.validation_accuracy is not None
        ]

    def to_json(self) -> str:
        return json.dumps({"format": _FORMAT, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: anything else.
        """
        content = json.loads(text, parse_constant=_refuse)
        if content.pop("format") != _FORMAT:
            raise ValueError("it is of another version of the course")
        settings = RunSettings(**content.pop("settings"))
        _fit(asdict(settings), RunSettings)
        if settings.objective not in OBJECTIVES:
            raise ValueError(f"its objective is {settings.objective!r}")
        epochs = [EpochRecord(**record) for record in content.pop("epochs")]
        losses = [(float(x), float(y)) for x, y in content.pop("losses")]
        run = cls(settings, epochs=epochs, losses=losses, **content)
        for record in epochs:
            for value in (record.epoch, record.train_loss, record.train_accuracy):
                math.isfinite(value)  # a TypeError where it is no number
            _ = record.validation_accuracy is None or math.isfinite(record.validation_accuracy)
        if run.state not in ("finished", "stopped", "diverged") or not re.fullmatch(
            "[0-9a-f]{8}", run.identity
        ):
            raise ValueError(f"its state is {run.state!r}, its identity {run.identity!r}")
        datetime.fromisoformat(run.started)
        return run


class RunFolder:
    """The runs kept in a folder, one file each; several kernels may use it at once."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.path = kept_folder() / "tuner" if folder is None else Path(folder)

    def load(self) -> tuple[list[Run], list[str]]:
        """All runs, oldest first, and the names of files that can't be read: they stay as they are."""
        runs, damaged = [], []
        for file in sorted(self.path.glob("*.json")):
            try:
                runs.append(Run.from_json(file.read_text(encoding="utf-8")))
            except FileNotFoundError:  # deleted by another kernel just now
                continue
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                damaged.append(file.name)
        return sorted(runs, key=lambda run: (run.started, run.identity)), damaged

    def save(self, run: Run) -> None:
        """Keep a run; OSError where that can't be done."""
        write_atomically(self.path / run.file_name, run.to_json())

    def delete(self, run: Run) -> None:
        """Forget a run for good; one that is gone already is no mistake."""
        with suppress(FileNotFoundError):
            (self.path / run.file_name).unlink()


# -- predictions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Guess:
    """A learner's prediction or answer: a choice in words or a number with its unit."""

    key: str
    guess: float | str
    unit: str = ""


class GuessFolder:
    """Predictions, or answers to quizzes, by key, one file each."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.path = kept_folder() / "predictions" if folder is None else Path(folder)

    def save(self, guess: Guess) -> None:
        """Remember a prediction in place of an earlier one; OSError where that can't be done."""
        write_atomically(
            self._file(guess.key), json.dumps({"format": _FORMAT, **asdict(guess)}, allow_nan=False)
        )

    def load(self, key: str) -> Guess | None:
        """The prediction made under ``key``; None where there is none.

        Raises:
            ArgumentError: a key that can't name a file.
            OSError, ValueError: a file that can't be read; it stays as it is.
        """
        try:
            content = json.loads(self._file(key).read_text(encoding="utf-8"), parse_constant=_refuse)
        except FileNotFoundError:
            return None
        try:
            if content.pop("format") != _FORMAT:
                raise ValueError("of another version of the course")
            guess = Guess(**content)
            if (
                guess.key != key
                or not isinstance(guess.guess, str | float | int)
                or not isinstance(guess.unit, str)
            ):
                raise ValueError("not a prediction")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a prediction") from error
        return guess

    def _file(self, key: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", key):
            raise ArgumentError(
                f"The key of a prediction names its file, as does the name of a quiz: letters, digits, _ and - only; "
                f"found {key!r}. Use something like '03-best-member'."
            )
        return self.path / f"{key}.json"


def _refuse(constant: str) -> float:
    raise ValueError(f"it holds {constant}")


def _fit(values: Mapping[str, Any], kind: type) -> None:
    """TypeError unless every value is of its field's type (a whole number will do for a float)."""
    for one in fields(kind):
        value, wanted = values[one.name], {"str": str, "int": int, "float": (int, float)}[str(one.type)]
        if isinstance(value, bool) or not isinstance(value, wanted):  # type: ignore[arg-type]
            raise TypeError(f"{one.name} is {value!r}")
