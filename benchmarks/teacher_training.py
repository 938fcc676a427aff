"""Measure a training step of a teacher: its time, its parts, and its share of the processor's peak.

Every side trains the same teacher with the same optimizer (Muon) on the same batches. ``details`` give the milliseconds
per step of each part, and ``share_of_peak``: floating-point operations of the forward and backward pass
(torch.utils.flop_counter) per second, over the fastest matrix product in the same number format and process.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.harness import RESULTS, Comparison, Measured, Settings

if TYPE_CHECKING:
    from torch import nn

    from kdcourse.data import Batches, Dataset

EPOCHS = 16  # of the shipped teachers' training
PARTS = ("data", "forward", "loss_and_backward", "optimizer_step", "metrics")


def through_fit(precision: str, settings: Settings) -> Measured:
    """Run `kdcourse.training.fit` with its steps timed from outside, then the same step part by part."""
    from kdcourse.data import Augmentation
    from kdcourse.training import fit

    model, data, batches = _task(settings)
    times: list[float] = []
    fit(
        model,
        data,
        epochs=1,
        batch_size=settings["batch_size"],
        learning_rate=0.05,
        seed=settings["seed"],
        optimizer="muon",
        weight_decay=5e-3,
        augmentation=Augmentation(),
        precision=precision,
        device="cpu",
        validate=False,
        progress=False,
        after_step=lambda epoch, step, loss: times.append(time.perf_counter()),
    )
    whole = statistics.median(later - sooner for sooner, later in pairwise(times[3:]))
    parts = profile(model.train(), batches, precision)
    details = {f"ms_{name}": 1e3 * seconds for name, seconds in parts.items()}
    details["ms_rest"] = 1e3 * (whole - sum(parts.values()))
    details["ms_fastest_step"] = 1e3 * min(later - sooner for sooner, later in pairwise(times[3:]))
    return Measured(whole, details=details | _share(model, batches, precision, whole))


def profile(model: nn.Module, batches: Batches, precision: str) -> dict[str, float]:
    """Measure the median seconds of each of `PARTS` over the steps of an epoch, in `fit`'s order."""
    import torch
    import torch.nn.functional as F

    from kdcourse.training import autocast, make_optimizer

    optimizer = make_optimizer("muon", model, learning_rate=1e-3, weight_decay=5e-3)
    rows: list[list[float]] = []
    drawn = batches.epoch(1)
    while True:
        clock = [time.perf_counter()]
        batch = next(drawn, None)
        if batch is None:
            break
        clock.append(time.perf_counter())
        with autocast(torch.device("cpu"), precision):
            logits = model(batch.images)
        clock.append(time.perf_counter())
        loss = F.cross_entropy(logits.float(), batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clock.append(time.perf_counter())
        optimizer.step()
        clock.append(time.perf_counter())
        loss.item(), int((logits.argmax(1) == batch.labels).sum())
        clock.append(time.perf_counter())
        rows.append([later - sooner for sooner, later in pairwise(clock)])
    # Several batches are drawn at once, so the data's time is a mean.
    columns = list(zip(*rows[2:] or rows, strict=True))
    return {"data": statistics.fmean(columns[0])} | {
        name: statistics.median(column) for name, column in zip(PARTS[1:], columns[1:], strict=True)
    }


def compiled(settings: Settings) -> Measured:
    """Run the same step with ``torch.compile``: time saved, time of compiling, steps until it pays off."""
    import torch

    # Don't reuse what an earlier run compiled.
    cache = tempfile.TemporaryDirectory()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name
    model, _, batches = _task(settings)
    model.to(memory_format=torch.channels_last).train()
    eager = sum(profile(model, batches, "bfloat16").values())
    faster = cast("nn.Module", torch.compile(model))
    began = time.perf_counter()
    batch = next(batches.epoch(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        faster(batch.images).float().sum().backward()
    compiling = time.perf_counter() - began
    seconds = sum(profile(faster, batches, "bfloat16").values())
    steps = EPOCHS * (55_000 // settings["batch_size"])
    return Measured(
        seconds,
        details={
            "compile_seconds": compiling,
            "ms_saved_a_step": 1e3 * (eager - seconds),
            "seconds_saved_in_a_run": steps * (eager - seconds) - compiling,
        }
        | _share(model, batches, "bfloat16", seconds),
    )


def _task(settings: Settings) -> tuple[nn.Module, Dataset, Batches]:
    import torch

    from kdcourse import models
    from kdcourse.data import Augmentation, Batches, Dataset, fashion_mnist

    torch.manual_seed(settings["seed"])
    full = fashion_mnist()
    count = settings["batch_size"] * settings["steps"]
    few = full.validation.subset(torch.arange(64))
    train = full.train.subset(torch.arange(count))
    data = Dataset(full.name, full.classes, train, few, few, full.mean, full.std)
    batches = Batches(
        train, data, batch_size=settings["batch_size"], seed=settings["seed"], augmentation=Augmentation()
    )
    return models.build(settings["model"]), data, batches


def _share(model: nn.Module, batches: Batches, precision: str, seconds: float) -> dict[str, float]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.machine import matmul_peak

    batch = next(batches.epoch(0))
    with FlopCounterMode(display=False) as counter:
        model(batch.images).sum().backward()
    operations = counter.get_total_flops()
    peak = matmul_peak(getattr(torch, precision))
    return {
        "GFLOP_a_step": operations / 1e9,
        "peak_TFLOP_a_second": peak / 1e12,
        "share_of_peak": operations / seconds / peak,
    }


def told(result: dict[str, Any]) -> str:
    """Return two sentences of a result about the peak and torch.compile."""
    sides = {name: side["details"] for name, side in result["sides"].items() if side["seconds"]}
    sentences = []
    fitted = sides.get(OURS)
    if fitted:
        sentences.append(
            f"Measured on {result['machine']['processor']}, {result['machine']['threads']} threads: a step reaches "
            f"{fitted['share_of_peak']:.0%} of the peak of {fitted['peak_TFLOP_a_second']:.2f} TFLOP/s (bfloat16); the "
            f"optimizer takes {fitted['ms_optimizer_step']:.0f} ms of it, drawing the batch {fitted['ms_data']:.1f} ms."
        )
    asked = sides.get(COMPILED)
    if asked:
        saved = asked["seconds_saved_in_a_run"]
        verdict = "pays for itself" if saved > 0 else "doesn't pay for itself"
        sentences.append(
            f"torch.compile {verdict} within {EPOCHS} epochs: compiling takes {asked['compile_seconds']:.0f} s, a step "
            f"then {abs(asked['ms_saved_a_step']):.0f} ms {'less' if asked['ms_saved_a_step'] > 0 else 'more'}, "
            f"{abs(saved):.0f} s {'gained' if saved > 0 else 'lost'} in all."
        )
    return " ".join(sentences)


def _recorded(file: Path) -> str:
    return "\n\n" + told(json.loads(file.read_text())) + "\n" if file.exists() else ""


OURS, COMPILED = "kdcourse (bfloat16)", "torch.compile (bfloat16)"

BENCHMARKS = (
    Comparison(
        name="teacher_training",
        question="How long does one training step of a teacher take, 256 pictures a batch?",
        sides={
            OURS: partial(through_fit, "bfloat16"),
            "kdcourse (float32)": partial(through_fit, "float32"),
            COMPILED: compiled,
        },
        settings={"model": "teacher", "batch_size": 256, "steps": 40},
        quick={"batch_size": 16, "steps": 8},
        same_accuracy=False,
    ),
)

__doc__ = (__doc__ or "") + _recorded(RESULTS / "teacher_training.json")
