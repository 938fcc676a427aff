"""What ``import kdcourse`` costs beside ``import torch``; every import is the only one of its process."""

from __future__ import annotations

import importlib
import time

from benchmarks.harness import Comparison, Measured, Settings


def seconds_of(*modules: str) -> Measured:
    """Import ``modules``, which this process hasn't done yet."""
    began = time.perf_counter()
    for module in modules:
        importlib.import_module(module)
    return Measured(time.perf_counter() - began)


def import_kdcourse(settings: Settings) -> Measured:
    """The package alone: a room opens when it is first used."""
    return seconds_of("kdcourse")


def import_rooms(settings: Settings) -> Measured:
    """Everything that `distil` and the evaluation of its student need."""
    return seconds_of("kdcourse.distillation", "kdcourse.evaluation")


def import_torch(settings: Settings) -> Measured:
    """What no PyTorch program can do without."""
    return seconds_of("torch")


BENCHMARKS = (
    Comparison(
        name="startup",
        question="How long does import kdcourse take beside import torch?",
        sides={"import kdcourse": import_kdcourse, "import torch": import_torch},
        settings={},
        quick={},
        repetitions=7,
        same_accuracy=False,
    ),
    Comparison(
        name="startup_rooms",
        question="How much do the rooms that distillation needs add to import torch?",
        sides={"kdcourse.distillation and .evaluation": import_rooms, "import torch": import_torch},
        settings={},
        quick={},
        repetitions=7,
        same_accuracy=False,
        floor=True,
    ),
)
