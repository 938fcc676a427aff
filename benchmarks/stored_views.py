"""Compare soft targets of K stored augmented views with a teacher that runs for every batch.

``python -m benchmarks.stored_views [FOLDER]`` draws seconds and accuracy against K from a stored result.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.growth import warm_up
from benchmarks.harness import RESULTS, Comparison, Measured, Settings
from benchmarks.report import Result
from kdcourse.files import write_atomically

VIEWS = (1, 2, 4, 8)
FLYING = "teacher on the fly"


def side_of(views: int | None) -> str:
    """Return the name of the side with ``views`` stored views (None: on the fly)."""
    return FLYING if views is None else f"{views} stored view" + ("" if views == 1 else "s")


def train(views: int | None, settings: Settings) -> Measured:
    """Run the teacher's passes and a student's training, up to the validation accuracy."""
    import torch

    from kdcourse import models
    from kdcourse.data import Augmentation, Dataset, fashion_mnist
    from kdcourse.distillation import distil, soft_targets, views_cost, views_shown
    from kdcourse.runs.teachers import load_teachers, shipped_folder

    torch.manual_seed(settings["seed"])
    full = fashion_mnist()
    chosen = torch.randperm(len(full.train))[: settings["pictures"]]
    data = Dataset(
        full.name, full.classes, full.train.subset(chosen), full.validation, full.test, full.mean, full.std
    )
    (_, teacher, _), *_ = load_teachers(shipped_folder(), data, [settings["teacher"]])
    student = models.build(settings["student"])
    augmentation, epochs = Augmentation(), settings["epochs"]
    warm_up()
    teacher_seconds = 0.0
    with tempfile.TemporaryDirectory() as cache:
        began = time.perf_counter()
        targets = None
        if views is not None:
            shown = views_shown(augmentation, views, 0, epochs)
            targets = soft_targets(teacher, data.train, data, views=shown, cache=cache, progress=False)
            teacher_seconds = time.perf_counter() - began
        history = distil(
            student,
            targets or teacher,
            data,
            temperature=4.0,
            alpha=0.9,
            epochs=epochs,
            seed=settings["seed"],
            augmentation=augmentation,
            views=views,
            validate=False,
            progress=False,
        )
        seconds = time.perf_counter() - began
    details = {"fit_seconds": seconds - teacher_seconds}
    if views is not None:
        passes = min(views, epochs)
        cost = views_cost(
            teacher_seconds / passes, details["fit_seconds"] / epochs, views=views, epochs=epochs
        )
        details |= {
            "teacher_seconds": teacher_seconds,
            "seconds_a_pass": teacher_seconds / passes,
            "predicted_on_the_fly": cost.on_the_fly,
        }
    return Measured(seconds, history.last.validation_accuracy, details)


def draw(result: Result, folder: Path) -> Path | None:
    """Draw ``stored_views_trade_off.png`` from a result; return None if too little was measured."""
    from benchmarks.figures.views import ViewsPoint, views_trade_off
    from kdcourse.figures.output import png

    points = [
        ViewsPoint(views, side["seconds"]["median"], side["accuracy"]["mean"])
        for views in (*VIEWS, None)
        if (side := result["sides"].get(side_of(views))) and side["seconds"] and side["accuracy"]
    ]
    if not any(point.views for point in points):
        return None
    path = folder / "stored_views_trade_off.png"
    write_atomically(path, png(views_trade_off(points)))
    return path


BENCHMARKS = (
    Comparison(
        name="stored_views",
        question="What do K stored views of the pictures cost, and bring, against a teacher asked every batch?",
        sides={side_of(views): partial(train, views) for views in (*VIEWS, None)},
        settings={"pictures": 20_000, "epochs": 8, "teacher": "teacher_1", "student": "pocket_6k"},
        quick={"pictures": 512, "epochs": 2},
        repetitions=1,
        same_accuracy=False,
    ),
)


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    draw(json.loads((where / "stored_views.json").read_text()), where)
