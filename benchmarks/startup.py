"""Measure ``import kdcourse`` against ``import torch``, each in a process of its own."""

from __future__ import annotations

import importlib
import time

from benchmarks.harness import Comparison, Measured, Settings


def seconds_of(*modules: str) -> Measured:
    """Import ``modules`` for the first time in this process and return the seconds."""
    began = time.perf_counter()
    for module in modules:
        importlib.import_module(module)
    return Measured(time.perf_counter() - began)


def import_kdcourse(settings: Settings) -> Measured:
    """Import the package alone; a subpackage is imported at its first use."""
    return seconds_of("kdcourse")


def import_rooms(settings: Settings) -> Measured:
    """Import everything that `distil` and the evaluation of its student need."""
    return seconds_of("kdcourse.distillation", "kdcourse.evaluation")


def import_torch(settings: Settings) -> Measured:
    """Import torch, which every PyTorch program needs."""
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
