"""Measure a training step alone, and beside another training on the same processor.

A parallel loop ends when its slowest thread does. The others wait in OpenMP, and spin at first: a thread that is called
again within microseconds doesn't have to be woken. Beside a busy neighbour the slowest thread may have to wait for a
core, and what spins keeps that core busy. ``import kdcourse`` limits the spinning if it comes before ``import torch``;
``kdcourse lab`` passes the limit on to its kernels.

Every side trains the same student in a process of its own, with a thread per core. Its neighbour does the same with
the same setting, and is paused and resumed in turn. ``seconds`` are those of a step beside the neighbour;
``ms_alone`` are the milliseconds of a step without it, and ``times_slower_beside`` is the ratio of the two. Two
trainings that share the processor fairly have a ratio of 2.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise

from benchmarks.harness import ROOT, Comparison, Measured, Settings, end

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def beside(environment: dict[str, str], first: str, settings: Settings) -> Measured:
    """Measure in a process with ``environment`` as its only settings of how threads wait, which imports ``first``."""
    own = {name: value for name, value in os.environ.items() if name not in WAITING} | environment
    command = [sys.executable, "-m", "benchmarks.neighbour", first, json.dumps(dict(settings))]
    neighbour = subprocess.Popen([*command, "forever"], cwd=ROOT, env=own, stdout=subprocess.PIPE)
    try:
        assert neighbour.stdout is not None
        if not neighbour.stdout.readline():
            raise RuntimeError("The neighbour ended before its first step.")
        done = subprocess.run(
            [*command, str(neighbour.pid)], cwd=ROOT, env=own, stdout=subprocess.PIPE, check=True
        )
    finally:
        end(neighbour)
    alone, crowded = json.loads(done.stdout.splitlines()[-1])
    return Measured(crowded, details={"ms_alone": 1e3 * alone, "times_slower_beside": crowded / alone})


def main(first: str, settings: Settings, neighbour: str) -> None:
    """Train; with the process of a neighbour, print the median seconds of a step without it and beside it."""
    importlib.import_module(first)
    import psutil
    import torch

    from kdcourse import models
    from kdcourse.data import fashion_mnist
    from kdcourse.training import fit

    other = None if neighbour == "forever" else psutil.Process(int(neighbour))
    each = settings["steps"]
    times: list[list[float]] = [[]]

    def after_step(epoch: int, step: int, loss: float) -> None:
        times[-1].append(time.perf_counter())
        if other is None and (epoch, step) == (0, 1):
            print("trains", flush=True)
        if other is not None and len(times[-1]) == each:
            (other.resume if len(times) % 2 else other.suspend)()
            times.append([])

    torch.manual_seed(settings["seed"])
    full = fashion_mnist()
    epochs = 10**6 if other is None else settings["rounds"] * 2
    count = each * settings["batch_size"]
    data = type(full)(
        full.name, full.classes, full.train.subset(torch.arange(count)), full.test.subset(torch.arange(16)),
        full.test.subset(torch.arange(16)), full.mean, full.std,
    )  # fmt: skip
    if other is not None:
        other.suspend()
    fit(
        models.build(settings["student"]), data, epochs=epochs, batch_size=settings["batch_size"], learning_rate=1e-3,
        seed=0, precision=settings["precision"], device="cpu", validate=False, progress=False, after_step=after_step,
    )  # fmt: skip
    if other is not None:
        alone, crowded = (
            [later - sooner for phase in times[kind:-1:2] for sooner, later in pairwise(phase[2:])]
            for kind in (0, 1)
        )
        print(json.dumps([statistics.median(alone), statistics.fmean(crowded)]))


BENCHMARKS = (
    Comparison(
        name="neighbour",
        question="How much longer does a training step take beside another training on the same processor?",
        sides={
            "import kdcourse first": partial(beside, {}, "kdcourse"),
            "import torch first": partial(beside, {}, "torch"),
            "OMP_WAIT_POLICY=passive": partial(beside, {"OMP_WAIT_POLICY": "passive"}, "kdcourse"),
            "one thread each": partial(beside, {"OMP_NUM_THREADS": "1"}, "kdcourse"),
        },
        settings={"student": "pocket_17k", "batch_size": 256, "steps": 20, "rounds": 3, "precision": "auto"},
        quick={"batch_size": 64, "steps": 5, "rounds": 1},
        same_accuracy=False,
    ),
)

if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
