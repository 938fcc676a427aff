"""One student of the tuner, trained for real and watched while it trains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kdcourse import models
from kdcourse.data import Batch, Dataset
from kdcourse.distillation import SoftTargets, assert_trained, methods, soft_targets
from kdcourse.distillation.objective import Distillation
from kdcourse.distillation.source import Stored
from kdcourse.errors import ArgumentError, DivergedError
from kdcourse.training import EpochRecord, Objective, cross_entropy, evaluate_split, fit, one_cycle
from kdcourse.training.objective import describe
from kdcourse.widgets.storage import Run, RunSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

_POINTS = 200  # of the loss curve, whatever the number of steps; one an epoch at least


def train_run(
    settings: RunSettings,
    data: Dataset,
    targets: SoftTargets | None,
    *,
    begun: Callable[[Run], None] = lambda run: None,
    after_step: Callable[[float], None] = lambda share: None,
    **options: Any,
) -> Run:
    """Train a fresh student as ``settings`` say.

    Two runs with one seed begin with the same weights and see the pictures in the same order.

    Args:
        settings: what to train, and how.
        data: its training split is learned from, its validation split judged on.
        targets: soft targets of ``data.train``; None will do for the objective "labels".
        begun: called with the run before the first step; the run then fills while training goes on, and
            however that ends, keeps what was seen until then.
        after_step: called with the share of the work done, 0 to 1; what it raises ends the training.
        options: further arguments of `kdcourse.training.fit`.

    Returns:
        The run, finished.

    Raises:
        ArgumentError: settings out of range, soft targets of other pictures.
        DivergedError: the loss stopped being a finite number; the run's state is then "diverged".
    """
    run = Run(settings, data.name)
    student = fresh_student(settings.student, data, settings.seed)
    warm_up = options.get("warm_up", 0.2)
    watched = _Watch(_objective(settings, data, targets), student, data, run, warm_up, after_step)
    begun(run)
    try:
        history = fit(
            student,
            data,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=settings.seed,
            objective=watched,
            validate=False,  # the watch does so, to show it at once; fit itself after the last epoch
            progress=False,
            after_step=watched.after_step,
            **{"precision": "float32", **options},
        )
    except BaseException as error:
        watched.finish_curve()
        if isinstance(error, DivergedError):
            run.state = "diverged"
        raise
    run.epochs.append(history.last)
    run.state = "finished"
    return run


def fresh_student(name: str, data: Dataset, seed: int = 0) -> nn.Module:
    """A student for these pictures whose weights follow from ``seed``."""
    channels, height, width = data.image_shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.build(name, num_classes=len(data.classes), in_channels=channels, size=(height, width))


def parameters(name: str, data: Dataset) -> int:
    """Parameters of a student for these pictures; no weights are made."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in fresh_student(name, data).parameters())


def prepare_targets(
    teacher: nn.Module | SoftTargets, data: Dataset, check: Callable[[], None], **options: Any
) -> SoftTargets:
    """Soft targets of ``data.train``, read from disk or asked for; ``check`` may raise to end the asking.

    Raises:
        ArgumentError: a teacher that was never trained, soft targets of other pictures.
    """
    if isinstance(teacher, SoftTargets):
        if teacher.split_digest != data.train.digest:
            raise ArgumentError(
                f"The soft targets ({len(teacher)} pictures) were computed for another split than the training split "
                f"of {data.name!r} ({len(data.train)} pictures). Compute them for data.train."
            )
        return teacher
    with _checked(teacher, check):
        assert_trained(teacher, data.train, data)
        return soft_targets(teacher, data.train, data, progress=False, **options)


def _objective(settings: RunSettings, data: Dataset, targets: SoftTargets | None) -> Objective:
    if settings.objective == "labels":
        return cross_entropy
    if targets is None:
        raise ArgumentError(
            f"The objective {settings.objective!r} needs a teacher's soft targets; found none."
        )
    alpha = 1.0 if settings.objective == "teacher" else settings.alpha
    return Distillation(methods.build("kd", temperature=settings.temperature), Stored(targets), alpha=alpha)


class _Watch:
    """An objective that writes down what it was worth, and judges the student after each epoch."""

    def __init__(
        self,
        objective: Objective,
        student: nn.Module,
        data: Dataset,
        run: Run,
        warm_up: float,
        after_step: Callable[[float], None],
    ) -> None:
        self._objective, self._student, self._data = objective, student, data
        self._run, self._warm_up, self._tell = run, warm_up, after_step
        self.name = describe(objective)
        batch = min(run.settings.batch_size, len(data.train))
        self._steps = len(data.train) // batch
        self._every = max(1, min(self._steps, self._steps * run.settings.epochs // _POINTS))
        self._since: list[float] = []
        self._done = 0
        self._began = time.perf_counter()
        self._reset()

    def _reset(self) -> None:
        self._loss, self._right, self._seen = 0.0, 0, 0

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        found = self._objective(logits, batch)
        loss = found["loss"] if isinstance(found, dict) else found
        value = loss.item()
        self._since.append(value)
        self._loss += value * len(batch)
        self._right += int((logits.argmax(dim=1) == batch.labels).sum())
        self._seen += len(batch)
        return loss

    def after_step(self, epoch: int, step: int) -> None:
        total, done = self._steps * self._run.settings.epochs, epoch * self._steps + step
        self._done = done
        if done % self._every == 0 or done == total:
            self.finish_curve()
        if step == self._steps:
            if done < total:
                self._judge(epoch, done / (total + 1))
            self._reset()
        self._tell(done / total)

    def finish_curve(self) -> None:
        """Add what was seen since the last point; of a loss that is no finite number nothing can be drawn."""
        seen = [value for value in self._since if math.isfinite(value)]
        if seen:
            self._run.losses.append((self._done / self._steps, sum(seen) / len(seen)))
        self._since = []

    def _judge(self, epoch: int, progress: float) -> None:
        """Write the record that fit itself will write, validation included, only after the last epoch."""
        loss, accuracy = evaluate_split(self._student, self._data.validation, self._data)
        if not math.isfinite(loss):
            raise DivergedError(
                f"The validation loss became {loss} after epoch {epoch + 1}: the run has diverged. Try a third of the "
                "learning rate."
            )
        self._run.epochs.append(
            EpochRecord(
                epoch + 1,
                self._loss / self._seen,
                self._right / self._seen,
                loss,
                accuracy,
                self._run.settings.learning_rate * one_cycle(progress, self._warm_up),
                time.perf_counter() - self._began,
            )
        )


@contextmanager
def _checked(teacher: nn.Module, check: Callable[[], None]) -> Iterator[None]:
    """Inside, ``check`` is called before every batch that the teacher is asked about."""
    if not isinstance(teacher, nn.Module):
        raise ArgumentError(
            f"A teacher must be a torch.nn.Module or SoftTargets; found {type(teacher).__name__}."
        )
    handle = teacher.register_forward_pre_hook(lambda module, inputs: check())
    try:
        yield
    finally:
        handle.remove()
