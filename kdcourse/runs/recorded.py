"""Search, record and load the students whose results are stored with the course.

``kdcourse students search`` compares settings on the validation split; ``kdcourse students record`` trains the chosen
ones over several seeds and evaluates them on the test split once. Both resume after an interruption and write to
``data/students``, or with ``--task segmentation`` to ``data/segmentation-students``. Every trial of the search is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from kdcourse import models, training
from kdcourse.data import Dataset
from kdcourse.distillation import Ensemble, SoftTargets, soft_targets
from kdcourse.files import read_checksums, write_atomically
from kdcourse.runs import table, teachers
from kdcourse.runs.students import StudentRecipe, train_student
from kdcourse.runs.tasks import AnyDataset, scorer, targets_for, task_named, task_of
from kdcourse.runs.trials import SEEDS, Trial

RECORD = "recorded.json"
SEARCH = "search.json"

Say = Callable[[str], None]


def shipped_folder() -> Path:
    """Return the folder of the recorded classifiers; for other tasks see `Task.students`."""
    return task_named("classification").students


def search(
    data: AnyDataset,
    folder: Path,
    *,
    trials: Sequence[Trial] | None = None,
    precision: str = "float32",
    say: Say = print,
) -> list[dict[str, Any]]:
    """Run the trials that aren't in ``folder/search.json`` yet, and evaluate them on the validation split.

    Each row is written as soon as its student is trained.

    Args:
        data: images with labels or masks, which determine the task.
        folder: where the rows and the trained students are stored.
        trials: by default those of the task.
        precision: of every training run, so that the comparison doesn't depend on this machine's default.
        say: called with each line of progress.

    Returns:
        The rows: recipe, seed, validation metrics of the last epoch, seconds.
    """
    task, path = task_of(data), folder / SEARCH
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    targets = _targets_by_views(task.ensemble(data), data)
    for trial in task.trials if trials is None else trials:
        key = {
            "why": trial.why,
            "recipe": trial.recipe.settings,
            "seed": trial.seed,
            "data": data.train.digest[:16],
        }
        if any(all(row[name] == value for name, value in key.items()) for row in rows):
            continue
        student, history = train_student(
            trial.recipe, data, targets(trial.recipe), seed=trial.seed,
            path=folder / "trials" / f"{trial.name}.safetensors", precision=precision, progress=trial.name,
        )  # fmt: skip
        kept = history.kept
        found = {
            "parameters": sum(p.numel() for p in student.parameters()),
            "validation_accuracy": kept.validation_accuracy,
            "validation_loss": kept.validation_loss,
            "train_accuracy": kept.train_accuracy,
            "seconds": round(sum(history.column("seconds")), 1),
        }
        if kept.validation_iou is not None:
            found |= {"validation_iou": kept.validation_iou, "train_iou": kept.train_iou}
        rows.append(key | found)
        write_atomically(path, json.dumps({"rows": rows}, indent=1) + "\n")
        say(f"{trial.name}: validation {task.metric} {found[f'validation_{task.metric}']:.2%}")
    return rows


def record(
    data: AnyDataset,
    folder: Path,
    *,
    seeds: Sequence[int] = SEEDS,
    precision: str = "float32",
    say: Say = print,
) -> dict[str, Any]:
    """Train the chosen plain and distilled recipes over ``seeds``; evaluate them on the test split once, at the end.

    Writes every student's weights, their checksums and ``recorded.json``. Every student is trained in ``precision``.

    Returns:
        The content of ``recorded.json``.
    """
    task = task_of(data)
    teacher = task.ensemble(data)
    targets = _targets_by_views(teacher, data)
    for kind, recipe in task.recorded.items():
        for seed in seeds:
            name = f"{kind}_seed{seed}"
            train_student(
                recipe, data, targets(recipe), seed=seed,
                path=folder / f"{name}.safetensors", precision=precision, progress=name,
            )  # fmt: skip
    teachers.write_checksums(folder)
    content = measured(data, folder, teacher, seeds)
    write_atomically(folder / RECORD, json.dumps(content, indent=1) + "\n")
    difference = content["comparison"]["difference"]
    say(
        f"distilled - plain, {task.metric}: {difference['mean']:+.2%} "
        f"({difference['low']:+.2%} to {difference['high']:+.2%})"
    )
    return content


def measured(
    data: AnyDataset, folder: Path, teacher: Ensemble, seeds: Sequence[int] = SEEDS
) -> dict[str, Any]:
    """Return the content of ``recorded.json``, measured on the test split from the stored weights.

    Raises:
        CheckpointError: a student is missing, damaged or changed since its checksum was written.
    """
    task, scores = task_of(data), scorer(teacher, data)
    rows = {
        "ensemble": table.row(
            f"ensemble of {len(teacher.members)}", "ensemble", teacher.average,
            [{"seed": None, "test": scores(teacher), "history": None}], len(data.test), task.metric,
        )
    }  # fmt: skip
    for kind, recipe in task.recorded.items():
        runs = []
        for seed in seeds:
            student, history = load(folder, f"{kind}_seed{seed}", data)
            runs.append({"seed": seed, "test": scores(student), "history": json.loads(history.to_json())})
        rows[kind] = table.row(f"{kind} student", kind, recipe.model, runs, len(data.test), task.metric)
    chosen = task.recorded["distilled"]
    return {
        "command": task.record_command,
        "settings": chosen.settings | {"student": chosen.model, "seeds": list(seeds)},
        "recipes": {kind: recipe.settings for kind, recipe in task.recorded.items()},
        "data": data.train.digest,
        "models": rows,
        "comparison": table.compare(rows, task.metric),
    }


def load(folder: Path, name: str, data: AnyDataset) -> tuple[nn.Module, training.History]:
    """Return a stored student, in eval mode, and its history.

    Raises:
        CheckpointError: the file is missing, damaged or doesn't match its checksum.
    """
    path = folder / f"{name}.safetensors"
    teachers.check_digest(path, read_checksums(folder), task_of(data).record_command)
    notes = training.weights.read_tensors(path)[1]
    student = models.build(
        notes["identity"]["recipe"]["model"],
        num_classes=len(data.classes),
        in_channels=data.image_shape[0],
        size=data.image_shape[1:],
    )
    training.load_weights(student, path)
    return student.eval(), training.History.from_json(json.dumps(notes["history"]))


def summary(data: AnyDataset) -> dict[str, Any] | None:
    """Return the content of ``recorded.json`` if it was measured on these data, else ``None``."""
    path = task_of(data).students / RECORD
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text())
    return content if content["data"] == data.train.digest else None


def ensemble(data: AnyDataset) -> Ensemble:
    """Return the ensemble of the shipped teachers for these data."""
    return task_of(data).ensemble(data)


def store_soft_targets(data: Dataset, folder: Path) -> list[Path]:
    """Compute the soft targets of the shipped ensemble for every training image, and store them in ``folder``.

    `kdcourse.distillation.distil` uses these if there is no augmentation. Every other ``*.npy`` file in the folder is
    deleted, such as soft targets of other teachers.
    """
    targets = soft_targets(ensemble(data), data.train, data, cache=folder)
    kept = []
    for file in (each for each in targets.files if each is not None):
        kept.append(folder / file.name)
        if file.resolve() != kept[-1].resolve():  # don't copy a file onto itself
            write_atomically(kept[-1], file.read_bytes())
    for file in set(folder.glob("*.npy")) - set(kept):
        file.unlink()
    return kept


def _targets_by_views(teacher: Ensemble, data: AnyDataset) -> Callable[[StudentRecipe], SoftTargets | None]:
    """Return a function from a recipe to its soft targets; consecutive recipes with the same views share them."""
    held: dict[tuple[str, ...], SoftTargets] = {}

    def targets(recipe: StudentRecipe) -> SoftTargets | None:
        if not recipe.distilled:
            return None
        key = tuple(view.key for view in recipe.views)
        if key not in held:
            held.clear()
            held[key] = targets_for(recipe, teacher, data)
        return held[key]

    return targets
