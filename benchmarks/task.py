"""The task that all distillation benchmarks share: one teacher, one student, Fashion-MNIST.

Settings understood here: ``student``, ``seed``, ``epochs``, ``pictures`` (of the training split),
``test_pictures``, ``batch_size``, ``temperature``, ``alpha``, ``learning_rate``, ``weight_decay``, ``warm_up``
and ``precision`` (of ours; the peers compute in float32).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from benchmarks.harness import Comparison, Measured, Settings, Side
from kdcourse import models
from kdcourse.data import Dataset, Split, fashion_mnist
from kdcourse.distillation import distil
from kdcourse.runs.teachers import load_teachers, shipped_folder
from kdcourse.training import History, evaluate_split

SETTINGS: dict[str, Any] = {
    "epochs": 10, "pictures": 55_000, "test_pictures": 10_000, "batch_size": 256, "temperature": 4.0, "alpha": 0.9,
    "learning_rate": 0.1, "weight_decay": 5e-4, "warm_up": 0.2, "precision": "auto",
}  # fmt: skip
# Where a peer would take an hour for all of them; both sides' times are in proportion to the pictures.
FEWER_PICTURES = 10_000
QUICK: dict[str, Any] = {"epochs": 1, "pictures": 2_048, "test_pictures": 1_000}
# End of a benchmark's name, as `kdcourse.models` knows it, as readers do.
STUDENTS = (("mlp", "mlp_25k", "an MLP student"), ("cnn", "pocket_6k", "a CNN student"))


def for_each_student(
    name: str, than_by: str, sides: dict[str, Side], **settings: Any
) -> tuple[Comparison, ...]:
    """``sides`` on this task, which a peer takes an hour for with all pictures, once for each student.

    Args:
        name: of the benchmarks, without the student.
        than_by: ends the question: How much sooner is a student distilled than by ...?
        sides: ours first.
        settings: beside or instead of `SETTINGS`.
    """
    return tuple(
        Comparison(
            name=f"{name}_{end}",
            question=f"How much sooner is {words} distilled than by {than_by}?",
            sides=sides,
            settings=SETTINGS | {"pictures": FEWER_PICTURES, "student": student} | settings,
            quick=QUICK,
        )
        for end, student, words in STUDENTS
    )


@dataclass(frozen=True)
class Task:
    """What a side is given to work on."""

    data: Dataset
    teacher: nn.Module
    student: nn.Module


def load(settings: Settings) -> Task:
    """Pictures, the course's first teacher, and a student whose weights follow from ``seed``."""
    full = fashion_mnist()
    data = replace(
        full, train=first(full.train, settings["pictures"]), test=first(full.test, settings["test_pictures"])
    )
    [(_, teacher, _)] = load_teachers(shipped_folder(), data, ["teacher_1"])
    return Task(data, teacher, new_student(settings))


def new_student(settings: Settings) -> nn.Module:
    """The student, fresh: the same weights for the same seed, whichever side asks."""
    torch.manual_seed(settings["seed"])
    return models.build(settings["student"])


def first(split: Split, count: int) -> Split:
    """The first ``count`` pictures of ``split``."""
    return split if count >= len(split) else Split(split.images[:count], split.labels[:count])


def small(task: Task, settings: Settings) -> tuple[Task, dict[str, Any]]:
    """Two batches of the same task for one epoch.

    Every side trains on it before the clock starts, so that what libraries load when they are first
    used is left out for all alike.
    """
    batch_size = settings["batch_size"]
    data = replace(
        task.data,
        train=first(task.data.train, 2 * batch_size),
        validation=first(task.data.validation, batch_size),
    )
    return Task(data, task.teacher, new_student(settings)), dict(settings) | {"epochs": 1}


def accuracy(task: Task) -> float:
    """Of the trained student on the test split, in float32."""
    return evaluate_split(task.student, task.data.test, task.data)[1]


def distilled(settings: Settings, **options: Any) -> Measured:
    """Ours, as the peers are compared with it: `distil`, which asks the teacher once about every picture.

    ``student_seconds`` are those of the epochs; ``teacher_seconds`` all others: the teacher's pass
    over the pictures, the look at whether it was ever trained, and the choice of precision.
    """
    task = load(settings)
    warm, warm_settings = small(task, settings)
    train(warm, warm_settings, **options)
    began = time.perf_counter()
    history = train(task, settings, **options)
    seconds = time.perf_counter() - began
    student_seconds = float(sum(history.column("seconds")))
    parts = {"teacher_seconds": seconds - student_seconds, "student_seconds": student_seconds}
    return Measured(seconds, accuracy(task), parts)


def distilled_from_fast_teacher(settings: Settings) -> Measured:
    """`distilled`, the teacher asked in whatever precision is faster here."""
    return distilled(settings, teacher_precision="auto")


def timed(peer: Callable[[Task, Settings], None], settings: Settings) -> Measured:
    """Seconds that ``peer`` takes to train the task's student, after a try on `small`."""
    task = load(settings)
    peer(*small(task, settings))
    began = time.perf_counter()
    peer(task, settings)
    return Measured(time.perf_counter() - began, accuracy(task))


def train(task: Task, settings: Settings, **options: Any) -> History:
    """Train ``task.student`` with `distil`; nothing is taken from or left in the cache."""
    options = our_options(settings) | options
    return distil(
        task.student, task.teacher, task.data, **options, cache=False, validate=False, progress=False
    )


def our_options(settings: Settings) -> dict[str, Any]:
    """What `distil` is to be told of the settings."""
    names = (
        "temperature", "alpha", "epochs", "seed", "learning_rate", "batch_size", "weight_decay", "warm_up", "precision",
    )  # fmt: skip
    return {name: settings[name] for name in names}
