"""Results that take longer than a coffee: trained once by a command, stored, checked ever after.

``kdcourse students search`` tries settings on the validation split; ``kdcourse students record``
trains the chosen ones over several seeds and asks the test set once. Both go on where they were
interrupted, and leave what they found in ``data/students``: of the search every try, whether it
helped or not. With ``--task segmentation`` the same, in ``data/segmentation-students``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from kdcourse import models, training
from kdcourse.data import Dataset
from kdcourse.distillation import Ensemble, SoftTargets, soft_targets, views_shown
from kdcourse.experiments import table, teachers
from kdcourse.experiments.students import StudentRecipe, train_student
from kdcourse.experiments.tasks import AnyDataset, judge, targets_for, task_named, task_of
from kdcourse.experiments.trials import SEEDS, Trial
from kdcourse.files import read_checksums, write_atomically

RECORD = "recorded.json"
SEARCH = "search.json"

Say = Callable[[str], None]


def shipped_folder() -> Path:
    """Where the recorded classifiers lie, beside the shipped teachers; of other tasks see `Task.students`."""
    return task_named("classification").students


def search(
    data: AnyDataset,
    folder: Path,
    *,
    trials: Sequence[Trial] | None = None,
    precision: str = "float32",
    say: Say = print,
) -> list[dict[str, Any]]:
    """Train every trial once more than never: those already in ``folder/search.json`` are kept.

    Only the validation split is asked. Each row is written as soon as its student is done.

    Args:
        data: the pictures; they tell which task it is.
        folder: where the rows go, and the students tried.
        trials: by default those of the task.
        precision: of all students alike, or what is compared would depend on the machine's choice for each.

    Returns:
        The rows: recipe, seed, validation figures of the last epoch, seconds.
    """
    task, path = task_of(data), folder / SEARCH
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    targets = _asked_once(task.ensemble(data), data)
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
            trial.recipe, data, targets(trial.recipe), trial.seed,
            path=folder / "tries" / f"{trial.name}.safetensors", precision=precision, progress=trial.name,
        )  # fmt: skip
        last = history.last
        found = {
            "parameters": sum(p.numel() for p in student.parameters()),
            "validation_accuracy": last.validation_accuracy,
            "validation_loss": last.validation_loss,
            "train_accuracy": last.train_accuracy,
            "seconds": round(sum(history.column("seconds")), 1),
        }
        if last.validation_iou is not None:
            found |= {"validation_iou": last.validation_iou, "train_iou": last.train_iou}
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
    """Train the chosen plain and distilled recipes over ``seeds`` and ask the test set, once, at the end.

    Writes every student's weights, their checksums and ``recorded.json``. All students train in ``precision``.

    Returns:
        The content of ``recorded.json``.
    """
    task = task_of(data)
    teacher = task.ensemble(data)
    targets = _asked_once(teacher, data)
    for kind, recipe in task.recorded.items():
        for seed in seeds:
            name = f"{kind}_seed{seed}"
            train_student(
                recipe, data, targets(recipe), seed,
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
    """What the stored students score on the test set, from their weights alone.

    Raises:
        CheckpointError: a student missing, damaged or changed since its checksum was written.
    """
    task, scores = task_of(data), judge(teacher, data)
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
    """A stored student and its history.

    Raises:
        CheckpointError: the file is missing, damaged or not the one its checksum was made from.
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
    """``recorded.json`` where it belongs to these pictures, for the report; else ``None``."""
    path = task_of(data).students / RECORD
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text())
    return content if content["data"] == data.train.digest else None


def ensemble(data: AnyDataset) -> Ensemble:
    """The shipped teachers of these pictures as one."""
    return task_of(data).ensemble(data)


def store_soft_targets(data: Dataset, folder: Path) -> list[Path]:
    """Ask the shipped teachers' ensemble about every training picture once, and keep the answers in ``folder``.

    They are those that `kdcourse.distillation.distil` asks for without augmentation. What the folder
    held of other teachers is removed.
    """
    targets = soft_targets(ensemble(data), data.train, data, cache=folder)
    kept = []
    for file in (each for each in targets.files if each is not None):
        kept.append(folder / file.name)
        if file.resolve() != kept[-1].resolve():  # it came with the course
            write_atomically(kept[-1], file.read_bytes())
    for file in set(folder.glob("*.npy")) - set(kept):
        file.unlink()
    return kept


def _asked_once(teacher: Ensemble, data: AnyDataset) -> Callable[[StudentRecipe], SoftTargets | None]:
    """What a recipe learns from; asked for again only where the views differ from the last recipe's."""
    held: dict[tuple[str, ...], SoftTargets] = {}

    def targets(recipe: StudentRecipe) -> SoftTargets | None:
        if not recipe.asks:
            return None
        key = tuple(view.key for view in views_shown(recipe.augmentation, recipe.views, 0, recipe.epochs))
        if key not in held:
            held.clear()
            held[key] = targets_for(recipe, teacher, data)
        return held[key]

    return targets
