"""Benchmarks of nothing, for the harness's tests; imports no torch, so that workers start at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import Comparison, Growth, Measured, Settings, need


def steady(settings: Settings) -> Measured:
    print("a library that talks")
    return Measured(float(settings["seconds"]), 0.9, {"part_seconds": 0.25, "seed": float(settings["seed"])})


def slow(settings: Settings) -> Measured:
    return Measured(2.0 * settings["seconds"], 0.9)


def failing(settings: Settings) -> Measured:
    raise ValueError("first line\nlast line")


def dying(settings: Settings) -> Measured:
    print("the end is near", file=sys.stderr)
    os._exit(3)


def missing(settings: Settings) -> Measured:
    need("no_such_peer", "no-such-peer==1.0")
    raise AssertionError("unreachable")


def hanging(settings: Settings) -> Measured:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    note = Path(settings["note"])
    note.with_suffix(".part").write_text(f"{os.getpid()} {child.pid}")
    os.replace(note.with_suffix(".part"), note)
    time.sleep(300)
    raise AssertionError("unreachable")


def linear(settings: Settings, size: int) -> Measured:
    return Measured(0.5 * size)


def comparison(name: str, **sides: object) -> Comparison:
    return Comparison(name, f"Which of {name}?", dict(sides), {"seconds": 1.0, "note": ""}, {"seconds": 0.5})  # type: ignore[arg-type]


BENCHMARKS = (
    comparison("fake", ours=steady, theirs=slow),
    comparison("broken", ours=steady, bad=failing, dead=dying, absent=missing, theirs=slow),
    comparison("ours_broken", ours=failing, theirs=slow),
    comparison("hanging", ours=hanging),
    Growth("growing", "How does it grow?", "pictures", linear, (1, 10, 100), {}, {"sizes": [1, 2]}, 2),
)
