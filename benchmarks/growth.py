"""Measure how cost grows with the number of images, of students in a grid, and of an ensemble's members."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Growth, Measured, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from kdcourse.data import Dataset, Split


def pictures(settings: Settings, size: int) -> Measured:
    """Run a teacher over ``size`` images on disk, then train a student for one epoch on its soft targets.

    After the 55,000 training images come shifted copies. ``details`` gives the most private memory that the work added
    (``MB_private``), without the file's pages, which the system can free.
    """
    import torch

    from kdcourse import models
    from kdcourse.data import Dataset, fashion_mnist
    from kdcourse.distillation import distil, soft_targets

    torch.manual_seed(settings["seed"])
    full = fashion_mnist()
    few = full.validation.subset(torch.arange(min(size, 1000)))
    warm_up()
    teacher, student = models.build(settings["teacher"]), models.build(settings["student"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pictures.uint8"
        labels = write_copies(full.train, size, file)
        with watched_memory() as watched:
            began = time.perf_counter()
            data = Dataset(
                full.name,
                full.classes,
                split_on_disk(file, labels, full.image_shape),
                few,
                few,
                full.mean,
                full.std,
            )
            targets = soft_targets(teacher, data.train, data, cache=folder, progress=False)
            teacher_seconds = time.perf_counter() - began
            distil(
                student,
                targets,
                data,
                temperature=4.0,
                alpha=0.9,
                epochs=1,
                seed=settings["seed"],
                precision="float32",
                validate=False,
                progress=False,
            )
            seconds = time.perf_counter() - began
        del data, targets  # Windows can't remove a file that is still mapped
    details = {
        "teacher_seconds": teacher_seconds,
        "MB_of_pictures": size * full.train.images[0].numel() / 1e6,
    }
    if watched:
        details["MB_private"] = (max(watched) - watched[0]) / 1e6
    return Measured(seconds, details=details)


def warm_up() -> None:
    """Train on a few images, so that imports and set-up of the process aren't timed."""
    import torch

    from kdcourse import models
    from kdcourse.data import Dataset, Split
    from kdcourse.training import fit

    split = Split(torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).repeat(1, 1, 8, 8), torch.arange(8) % 2)
    data = Dataset("a few", ("even", "odd"), split, split, split)
    model = models.build("mlp_25k", size=8, num_classes=2)
    fit(model, data, epochs=1, learning_rate=0.1, seed=0, precision="float32", progress=False)


def write_copies(split: Split, size: int, file: Path) -> Tensor:
    """Write ``size`` images as raw bytes, each copy shifted by more rows, and return the labels int64 [size].

    The system is told to drop the file's pages, so that they are read from disk.
    """
    import torch

    labels, left, copy = [], size, 0
    with file.open("wb") as out:
        while left:
            count = min(left, len(split))
            out.write(split.images[:count].roll(copy % 4, dims=2).contiguous().numpy().data)
            labels.append(split.labels[:count])
            left, copy = left - count, copy + 1
        out.flush()
        os.fsync(out.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return torch.cat(labels)


def split_on_disk(file: Path, labels: Tensor, shape: tuple[int, int, int]) -> Split:
    """Return raw uint8 images as a split that reads them from their file."""
    import math

    import torch

    from kdcourse.data import Split

    numbers = len(labels) * math.prod(shape)
    return Split(torch.from_file(str(file), size=numbers, dtype=torch.uint8).view(-1, *shape), labels)


@contextmanager
def watched_memory(every: float = 0.01) -> Iterator[list[int]]:
    """Sample bytes of private memory, before and repeatedly inside; empty on systems other than Linux."""
    seen: list[int] = []
    if sys.platform != "linux":
        yield seen
        return
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(every):
            seen.append(private_memory())

    seen.append(private_memory())
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()
        seen.append(private_memory())


def private_memory() -> int:
    """Return the resident bytes of this process that no file backs (Linux)."""
    line = next(
        row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("RssAnon")
    )
    return int(line.split()[1]) * 1024


def students(settings: Settings, size: int) -> Measured:
    """Train a grid of ``size`` students on stored soft targets."""
    import torch

    from kdcourse.distillation import distil_grid, soft_targets
    from kdcourse.runs.teachers import load_teachers, shipped_folder

    data = subset(settings["pictures"])
    (_, teacher, _), *_ = load_teachers(shipped_folder(), data, ["teacher_1"])
    targets = soft_targets(teacher, data.train, data, cache=False, progress=False)
    torch.manual_seed(settings["seed"])
    # The process's set-up isn't timed.
    distil_grid((1.0,), (0.5,), (0,), data=data, teacher=targets, epochs=1, validate=False, progress=False)
    # Temperatures and alphas first, then as many seeds as needed.
    temperatures, alphas = [1.0, 2.0, 4.0, 8.0][: min(4, size)], [0.1, 0.3, 0.5, 0.7, 0.9]
    alphas = alphas[: max(1, min(5, size // len(temperatures)))]
    seeds = range(max(1, size // (len(temperatures) * len(alphas))))
    if len(temperatures) * len(alphas) * len(seeds) != size:
        raise ValueError(f"A grid of {size} students needs a multiple of 20, or 1 to 4; found {size}.")
    began = time.perf_counter()
    result = distil_grid(
        temperatures,
        alphas,
        seeds,
        data=data,
        teacher=targets,
        epochs=settings["epochs"],
        validate=False,
        progress=False,
    )
    seconds = time.perf_counter() - began
    return Measured(
        seconds, details={"students": float(len(result.table)), "ms_a_student": 1e3 * seconds / size}
    )


def members(settings: Settings, size: int) -> Measured:
    """Run an ensemble of ``size`` members over the images once."""
    import torch

    from kdcourse import models
    from kdcourse.distillation import Ensemble, soft_targets

    torch.manual_seed(settings["seed"])
    data = subset(settings["pictures"])
    ensemble = Ensemble([models.build(settings["member"]) for _ in range(size)])
    soft_targets(ensemble, data.validation.subset(torch.arange(8)), data, cache=False, progress=False)
    began = time.perf_counter()
    soft_targets(ensemble, data.train, data, cache=False, progress=False)
    return Measured(time.perf_counter() - began)


def subset(count: int) -> Dataset:
    """Return Fashion-MNIST with its first ``count`` training images."""
    import torch

    from kdcourse.data import Dataset, fashion_mnist

    full = fashion_mnist()
    return Dataset(
        full.name,
        full.classes,
        full.train.subset(torch.arange(count)),
        full.validation,
        full.test,
        full.mean,
        full.std,
    )


BENCHMARKS = (
    Growth(
        name="growth_pictures",
        question="How does a teacher's pass and a student's epoch grow with the pictures on disk?",
        unit="pictures",
        side=pictures,
        sizes=(1_000, 4_000, 15_000, 60_000, 600_000),
        settings={"teacher": "pocket_2k", "student": "mlp_25k"},
        quick={"sizes": [500, 1_000, 4_000]},
    ),
    Growth(
        name="growth_students",
        question="How does the time for a grid grow with the students in it?",
        unit="students",
        side=students,
        sizes=(1, 4, 20, 100, 400),
        settings={"pictures": 5_000, "epochs": 2},
        quick={"sizes": [1, 4, 20], "pictures": 500, "epochs": 1},
    ),
    Growth(
        name="growth_members",
        question="How does an ensemble's pass over the pictures grow with its members?",
        unit="members",
        side=members,
        sizes=(1, 2, 5, 10),
        settings={"pictures": 2_000, "member": "teacher"},
        quick={"sizes": [1, 2, 4], "pictures": 256},
    ),
)
