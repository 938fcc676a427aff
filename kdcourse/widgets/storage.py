"""Store what a learner made: runs of the tuner, predictions, answers; as JSON files that are replaced whole."""

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
from typing import Any

from kdcourse.errors import ArgumentError
from kdcourse.files import write_atomically
from kdcourse.training import EpochRecord

_FORMAT = 1  # of predictions and answers
_RUN_FORMAT = 2  # of runs; in format 1 every method was kd and its temperature stood beside alpha
LEARNS_FROM = ("distilled", "labels", "teacher")


def kept_folder() -> Path:
    """Return the folder of runs, predictions and quiz answers: ``$KDCOURSE_RUNS`` or the user's data folder."""
    from platformdirs import user_data_dir

    return Path(os.environ.get("KDCOURSE_RUNS") or Path(user_data_dir("kdcourse")) / "runs")


# -- runs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunSettings:
    """Hold the settings of a run of the tuner.

    Args:
        learns_from: ``distilled`` (teacher and labels), ``labels`` alone, or ``teacher`` alone.
        student: name, see `kdcourse.models.build`.
        method: name, see `kdcourse.distillation.methods.names`.
        method_settings: settings of the method by name; the others have their defaults.
        alpha: weight of the teacher, 0 to 1.
        epochs, learning_rate, batch_size, seed: see `kdcourse.training.Settings`.
    """

    learns_from: str = "distilled"
    student: str = "mlp_25k"
    method: str = "kd"
    method_settings: dict[str, float] = field(default_factory=lambda: {"temperature": 4.0})
    alpha: float = 0.9
    epochs: int = 3
    learning_rate: float = 0.1
    batch_size: int = 256
    seed: int = 0

    @property
    def name(self) -> str:
        """Return a description of the settings that matter."""
        how = f"{'' if self.method == 'kd' else f' by {self.method}'}{self.described_settings}"
        learns = {
            "distilled": f"distilled{how} alpha={self.alpha:g}",
            "teacher": f"teacher alone{how}",
            "labels": "labels alone",
        }[self.learns_from]
        return (
            f"{learns}, {self.student}, {self.epochs} epoch{'s' * (self.epochs != 1)}, lr {self.learning_rate:.3g}, "
            f"seed {self.seed}"
        )

    @property
    def described_settings(self) -> str:
        """Return the method's settings as text, each after a space, such as `` T=4 beta=8``."""
        return "".join(
            f" {'T' if name == 'temperature' else name}={value:.3g}"
            for name, value in self.method_settings.items()
        )


@dataclass
class Run:
    """Hold one training run of a student, complete or not.

    ``losses`` are (epochs since the beginning, mean training loss since the last entry); ``epochs`` the complete ones;
    ``state`` is "training", "finished", "stopped" or "diverged"; ``started`` is UTC, ISO 8601.
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
        """Return a name that sorts by time and differs between runs of one instant."""
        return f"{re.sub(r'[^0-9]', '', self.started)[:14]}-{self.identity}.json"

    @property
    def accuracies(self) -> list[tuple[int, float]]:
        """Return (epoch, validation accuracy) of the complete epochs."""
        return [
            (record.epoch, record.validation_accuracy)
            for record in self.epochs
            if record.validation_accuracy is not None
        ]

    def to_json(self) -> str:
        """Return the run as JSON.

        Raises:
            ValueError: a number that isn't finite.
        """
        return json.dumps({"format": _RUN_FORMAT, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: anything else.
        """
        content = json.loads(text, parse_constant=_refuse)
        if (found := content.pop("format")) not in (1, _RUN_FORMAT):
            raise ValueError("it is of another version of the course")
        kept = content.pop("settings")
        if found == 1:
            kept["learns_from"] = kept.pop("objective")
            kept["method_settings"] = {"temperature": kept.pop("temperature")}
        settings = RunSettings(**kept)
        _check_types(asdict(settings), RunSettings)
        if settings.learns_from not in LEARNS_FROM:
            raise ValueError(f"it learns from {settings.learns_from!r}")
        for value in settings.method_settings.values():
            math.isfinite(value)  # a TypeError where it is no number
        epochs = [EpochRecord(**record) for record in content.pop("epochs")]
        losses = [(float(x), float(y)) for x, y in content.pop("losses")]
        run = cls(settings, epochs=epochs, losses=losses, **content)
        for record in epochs:
            for value in (record.epoch, record.train_loss, record.train_accuracy):
                math.isfinite(value)
            _ = record.validation_accuracy is None or math.isfinite(record.validation_accuracy)
        if run.state not in ("finished", "stopped", "diverged") or not re.fullmatch(
            "[0-9a-f]{8}", run.identity
        ):
            raise ValueError(f"its state is {run.state!r}, its identity {run.identity!r}")
        datetime.fromisoformat(run.started)
        return run


class RunFolder:
    """Store runs in a folder, one file each; several kernels may use it at once."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.path = kept_folder() / "tuner" if folder is None else Path(folder)

    def load(self) -> tuple[list[Run], list[str]]:
        """Return all runs, oldest first, and the names of unreadable files, which are left as they are."""
        runs, damaged = [], []
        for file in sorted(self.path.glob("*.json")):
            try:
                runs.append(Run.from_json(file.read_text(encoding="utf-8")))
            except FileNotFoundError:  # another kernel has just deleted it
                continue
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                damaged.append(file.name)
        return sorted(runs, key=lambda run: (run.started, run.identity)), damaged

    def save(self, run: Run) -> None:
        """Store a run; raise OSError where that fails."""
        write_atomically(self.path / run.file_name, run.to_json())

    def delete(self, run: Run) -> None:
        """Delete a run; it is no error where the file is missing already."""
        with suppress(FileNotFoundError):
            (self.path / run.file_name).unlink()


# -- predictions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Guess:
    """Hold a learner's prediction or answer: a choice as text, or a number with its unit."""

    key: str
    guess: float | str
    unit: str = ""


class GuessFolder:
    """Store predictions, or quiz answers, by key, one file each."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.path = kept_folder() / "predictions" if folder is None else Path(folder)

    def save(self, guess: Guess) -> None:
        """Store a prediction in place of an earlier one; raise OSError where that fails."""
        write_atomically(
            self._file(guess.key), json.dumps({"format": _FORMAT, **asdict(guess)}, allow_nan=False)
        )

    def load(self, key: str) -> Guess | None:
        """Return the prediction stored under ``key``, or None.

        Raises:
            ArgumentError: a key that can't name a file.
            OSError, ValueError: a file that can't be read; it is left as it is.
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


_TYPES = {"str": str, "int": int, "float": (int, float), "dict[str, float]": dict}


def _check_types(values: Mapping[str, Any], kind: type) -> None:
    """Raise TypeError unless every value has its field's type; an int is accepted for a float."""
    for one in fields(kind):
        value, wanted = values[one.name], _TYPES[str(one.type)]
        if isinstance(value, bool) or not isinstance(value, wanted):  # type: ignore[arg-type]
            raise TypeError(f"{one.name} is {value!r}")
