"""Train one student of the tuner, and record the run while it trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from kdcourse import models
from kdcourse.data import Dataset
from kdcourse.distillation import SoftTargets, check_teacher, distil, soft_targets
from kdcourse.errors import ArgumentError, DivergedError
from kdcourse.training import History, Settings, fit
from kdcourse.widgets.storage import Run, RunSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

_POINTS = 200  # of the loss curve, whatever the number of steps; at least one per epoch


def train_run(
    settings: RunSettings,
    data: Dataset,
    teacher: SoftTargets | nn.Module | None,
    *,
    begun: Callable[[Run], None] = lambda run: None,
    after_step: Callable[[float], None] = lambda share: None,
    **options: Any,
) -> Run:
    """Train a new student with these settings.

    Two runs of one seed start with the same weights and see the images in the same order.

    Args:
        settings: what to train, and how.
        data: the student is trained on its training split and evaluated on its validation split.
        teacher: soft targets of ``data.train``, or a trained network; None where the student learns from labels alone.
        begun: called with the run before the first step. The run is updated during training, and keeps what was
            recorded, however training ends.
        after_step: called with the share of the steps done, 0 to 1; what it raises ends the training.
        options: further arguments of `kdcourse.distillation.distil` or `kdcourse.training.fit`.

    Returns:
        The run, finished.

    Raises:
        ArgumentError: settings out of range, no teacher, soft targets of other images.
        DivergedError: the loss became NaN or infinite; the run's state is then "diverged".
    """
    run = Run(settings, data.name)
    student = fresh_student(settings.student, data, settings.seed)
    how = Settings.of(
        Settings(
            epochs=settings.epochs, learning_rate=settings.learning_rate, batch_size=settings.batch_size,
            seed=settings.seed, precision="float32",
        ),
        {name: options.pop(name) for name in Settings.names() if name in options},
    )  # fmt: skip
    curve = _LossCurve(run, len(data.train) // min(how.batch_size, len(data.train)))

    def step_done(epoch: int, step: int, loss: float) -> None:
        after_step(curve.add(epoch, step, loss))

    def epoch_done(history: History) -> None:
        run.epochs[:] = history.epochs

    options |= {"progress": False, "after_step": step_done, "after_epoch": epoch_done}
    begun(run)
    try:
        if settings.learns_from == "labels":
            fit(student, data, how, **options)
        elif teacher is None:
            raise ArgumentError(
                f"A student of {settings.name!r} needs a teacher or its soft targets; found none."
            )
        else:
            distil(
                student, teacher, data, how, method=settings.method,
                alpha=1.0 if settings.learns_from == "teacher" else settings.alpha,
                **cast(dict[str, Any], settings.method_settings), **options,
            )  # fmt: skip
    except BaseException as error:
        curve.end_point()
        if isinstance(error, DivergedError):
            run.state = "diverged"
        raise
    run.state = "finished"
    return run


def fresh_student(name: str, data: Dataset, seed: int = 0) -> nn.Module:
    """Return a new student for these images; its weights depend on ``seed`` alone."""
    channels, height, width = data.image_shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.build(name, num_classes=len(data.classes), in_channels=channels, size=(height, width))


def parameters(name: str, data: Dataset) -> int:
    """Return the number of parameters of a student for these images; no weights are allocated."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in fresh_student(name, data).parameters())


def prepare_targets(
    teacher: nn.Module | SoftTargets, data: Dataset, check: Callable[[], None], **options: Any
) -> SoftTargets:
    """Return soft targets of ``data.train``, stored or computed; ``check`` is called often and may raise to stop.

    Raises:
        ArgumentError: a teacher whose answers are broken, soft targets of other images.
    """
    if isinstance(teacher, SoftTargets):
        if teacher.split_digest != data.train.digest:
            raise ArgumentError(
                f"The soft targets ({len(teacher)} images) were computed for another split than the training split "
                f"of {data.name!r} ({len(data.train)} images). Compute them for data.train."
            )
        return teacher
    with _checked(teacher, check):
        check_teacher(teacher, data.train, data)
        return soft_targets(teacher, data.train, data, progress=False, **options)


class _LossCurve:
    """Average a run's training loss over groups of steps, for a curve of about `_POINTS` points."""

    def __init__(self, run: Run, steps: int) -> None:
        self._run, self._steps = run, steps
        self._total = steps * run.settings.epochs
        self._every = max(1, min(steps, self._total // _POINTS))
        self._losses: list[float] = []
        self._done = 0

    def add(self, epoch: int, step: int, loss: float) -> float:
        """Add a step's loss; return the share of the steps done."""
        self._losses.append(loss)
        self._done = epoch * self._steps + step
        if self._done % self._every == 0 or self._done == self._total:
            self.end_point()
        return self._done / self._total

    def end_point(self) -> None:
        """Add the mean loss since the last point; losses that aren't finite can't be drawn and are left out."""
        finite = [loss for loss in self._losses if math.isfinite(loss)]
        if finite:
            self._run.losses.append((self._done / self._steps, sum(finite) / len(finite)))
        self._losses = []


@contextmanager
def _checked(teacher: nn.Module, check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` before every batch that the teacher predicts within the context."""
    if not isinstance(teacher, nn.Module):
        raise ArgumentError(
            f"A teacher must be a torch.nn.Module or SoftTargets; found {type(teacher).__name__}."
        )
    handle = teacher.register_forward_pre_hook(lambda module, inputs: check())
    try:
        yield
    finally:
        handle.remove()
