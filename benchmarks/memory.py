"""Measure the peak memory of the whole course, which must fit into Binder's 2 GB."""

from __future__ import annotations

import time

from benchmarks.harness import Comparison, Measured, Settings
from benchmarks.worker import peak_memory

LIMIT = 2 * 10**9


def whole_core(settings: Settings) -> Measured:
    """Run teachers, soft targets, a student, a grid of students and evaluation in one process.

    ``details`` gives the peak so far, in MB, at the end of each part.

    Raises:
        MemoryError: the limit was exceeded.
    """
    import torch

    from kdcourse import evaluation, models
    from kdcourse.data import Dataset, Split, fashion_mnist
    from kdcourse.distillation import Ensemble, distil, distil_grid, soft_targets
    from kdcourse.runs.teachers import load_teachers, shipped_folder
    from kdcourse.training import evaluate_split

    peaks: dict[str, float] = {}
    began = time.perf_counter()

    def done(part: str) -> None:
        peaks[f"MB_after_{part}"] = peak_memory() / 1e6

    torch.manual_seed(settings["seed"])
    data = fashion_mnist()
    if settings["pictures"]:
        everything = Split(
            torch.cat([data.train.images, data.validation.images])[: settings["pictures"]],
            torch.cat([data.train.labels, data.validation.labels])[: settings["pictures"]],
        )
        data = Dataset(data.name, data.classes, everything, data.validation, data.test, data.mean, data.std)
    done("data")
    teacher = Ensemble([model for _, model, _ in load_teachers(shipped_folder(), data)])
    done("teachers")
    targets = soft_targets(teacher, data.train, data, cache=False, progress=False)
    done("soft_targets")
    student = models.build(settings["student"])
    distil(
        student, targets, data, temperature=4.0, alpha=0.9, epochs=settings["epochs"], seed=0, progress=False
    )
    done("student")
    distil_grid(
        (1.0, 2.0, 4.0, 8.0, 16.0),
        (0.0, 0.25, 0.5, 0.75, 1.0),
        range(settings["seeds"]),
        data=data,
        teacher=targets,
        epochs=settings["epochs"],
        progress=False,
    )
    done("grid")
    _, accuracy = evaluate_split(student, data.test, data)
    with torch.no_grad():
        logits = torch.cat([student(data.normalise(part)) for part in data.test.images.split(1000)])
    evaluation.expected_calibration_error(logits, data.test.labels)
    evaluation.cost(student, data.image_shape)
    done("evaluation")
    if peak_memory() > LIMIT:
        raise MemoryError(f"{peak_memory() / 1e6:,.0f} MB resident at the most: above {LIMIT / 1e6:,.0f} MB")
    return Measured(time.perf_counter() - began, accuracy, peaks)


BENCHMARKS = (
    Comparison(
        name="memory",
        question="How much memory does the whole course core hold at the most?",
        sides={"teachers, soft targets, student, grid": whole_core},
        settings={"pictures": 60_000, "epochs": 2, "student": "pocket_17k", "seeds": 3},
        quick={"pictures": 1_000, "epochs": 1, "seeds": 1},
        repetitions=1,
        same_accuracy=False,
    ),
)
