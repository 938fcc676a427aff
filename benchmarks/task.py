"""Define the task of all distillation benchmarks: one teacher, one student, Fashion-MNIST.

Settings: ``student``, ``seed``, ``epochs``, ``pictures`` (of the training split),
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
# For peers that would take an hour for all images; both sides' times are proportional to the images.
FEWER_PICTURES = 10_000
QUICK: dict[str, Any] = {"epochs": 1, "pictures": 2_048, "test_pictures": 1_000}
# End of a benchmark's name, name in `kdcourse.models`, name for readers.
STUDENTS = (("mlp", "mlp_25k", "an MLP student"), ("cnn", "pocket_6k", "a CNN student"))


def for_each_student(
    name: str, than_by: str, sides: dict[str, Side], **settings: Any
) -> tuple[Comparison, ...]:
    """Return one comparison of ``sides`` on this task per student.

    Args:
        name: name of the benchmarks, without the student.
        than_by: the end of the question 'How much sooner is a student distilled than by ...?'
        sides: ours first.
        settings: in addition to `SETTINGS`, or replacing some of them.
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
    """Hold what a side works on."""

    data: Dataset
    teacher: nn.Module
    student: nn.Module


def load(settings: Settings) -> Task:
    """Load the images, the course's first teacher, and a student with the weights of ``seed``."""
    full = fashion_mnist()
    data = replace(
        full, train=first(full.train, settings["pictures"]), test=first(full.test, settings["test_pictures"])
    )
    [(_, teacher, _)] = load_teachers(shipped_folder(), data, ["teacher_1"])
    return Task(data, teacher, new_student(settings))


def new_student(settings: Settings) -> nn.Module:
    """Build the student: the same weights for the same seed on every side."""
    torch.manual_seed(settings["seed"])
    return models.build(settings["student"])


def first(split: Split, count: int) -> Split:
    """Return the first ``count`` images of ``split``."""
    return split if count >= len(split) else Split(split.images[:count], split.labels[:count])


def small(task: Task, settings: Settings) -> tuple[Task, dict[str, Any]]:
    """Return two batches of the same task for one epoch.

    Every side trains on them before the timing starts, so that what libraries load at first use isn't timed.
    """
    batch_size = settings["batch_size"]
    data = replace(
        task.data,
        train=first(task.data.train, 2 * batch_size),
        validation=first(task.data.validation, batch_size),
    )
    return Task(data, task.teacher, new_student(settings)), dict(settings) | {"epochs": 1}


def accuracy(task: Task) -> float:
    """Return the trained student's accuracy on the test split, in float32."""
    return evaluate_split(task.student, task.data.test, task.data)[1]


def distilled(settings: Settings, **options: Any) -> Measured:
    """Run our side of the comparisons with peers: `distil`, with one forward pass of the teacher per image.

    ``student_seconds`` are those of the epochs, ``teacher_seconds`` all others: the teacher's pass over the images, the
    check that it was trained, and the choice of precision.
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
    """Run `distilled` with the teacher in the precision that is faster on this machine."""
    return distilled(settings, teacher_precision="auto")


def timed(peer: Callable[[Task, Settings], None], settings: Settings) -> Measured:
    """Measure the seconds in which ``peer`` trains the task's student, after a warm-up on `small`."""
    task = load(settings)
    peer(*small(task, settings))
    began = time.perf_counter()
    peer(task, settings)
    return Measured(time.perf_counter() - began, accuracy(task))


def train(task: Task, settings: Settings, **options: Any) -> History:
    """Train ``task.student`` with `distil`, without the cache."""
    options = our_options(settings) | options
    return distil(
        task.student, task.teacher, task.data, **options, cache=False, validate=False, progress=False
    )


def our_options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of `distil` from the settings."""
    names = (
        "temperature", "alpha", "epochs", "seed", "learning_rate", "batch_size", "weight_decay", "warm_up", "precision",
    )  # fmt: skip
    return {name: settings[name] for name in names}
