"""Results that take longer than a coffee: trained once by a command, stored, checked ever after.

``kdcourse students search`` tries settings on the validation split; ``kdcourse students record``
trains the chosen ones over several seeds and asks the test set once. Both go on where they were
interrupted, and leave what they found in ``data/students``: of the search every try, whether it
helped or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdcourse import evaluation, models, training
from kdcourse.data import Dataset
from kdcourse.distillation import Ensemble, SoftTargets, soft_targets, views_shown
from kdcourse.experiments import table, teachers
from kdcourse.experiments.students import StudentRecipe, train_student
from kdcourse.experiments.trials import RECORDED, SEEDS, TRIALS, Trial
from kdcourse.files import write_atomically

RECORD = "recorded.json"
SEARCH = "search.json"

Say = Callable[[str], None]


def shipped_folder() -> Path:
    """Where the recorded students lie: beside the shipped teachers."""
    return teachers.shipped_folder().parent / "students"


def search(
    data: Dataset, folder: Path, *, trials: Sequence[Trial] = TRIALS, say: Say = print
) -> list[dict[str, Any]]:
    """Train every trial once more than never: those already in ``folder/search.json`` are kept.

    Only the validation split is asked. Each row is written as soon as its student is done.

    Returns:
        The rows: recipe, seed, validation accuracy and loss of the last epoch, seconds.
    """
    path = folder / SEARCH
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    teacher = ensemble(data)
    for trial in trials:
        key = {
            "why": trial.why,
            "recipe": trial.recipe.settings,
            "seed": trial.seed,
            "data": data.train.digest[:16],
        }
        if any(all(row[name] == value for name, value in key.items()) for row in rows):
            continue
        targets = targets_for(trial.recipe, teacher, data) if trial.recipe.alpha > 0 else None
        student, history = train_student(
            trial.recipe, data, targets, trial.seed,
            path=folder / "tries" / f"{trial.name}.safetensors", progress=trial.name,
        )  # fmt: skip
        last = history.last
        rows.append(
            key
            | {
                "parameters": sum(p.numel() for p in student.parameters()),
                "validation_accuracy": last.validation_accuracy,
                "validation_loss": last.validation_loss,
                "train_accuracy": last.train_accuracy,
                "seconds": round(sum(history.column("seconds")), 1),
            }
        )
        write_atomically(path, json.dumps({"rows": rows}, indent=1) + "\n")
        say(f"{trial.name}: validation accuracy {last.validation_accuracy:.2%}")
    return rows


def record(data: Dataset, folder: Path, *, seeds: Sequence[int] = SEEDS, say: Say = print) -> dict[str, Any]:
    """Train the chosen plain and distilled recipes over ``seeds`` and ask the test set, once, at the end.

    Writes every student's weights, their checksums and ``recorded.json``.

    Returns:
        The content of ``recorded.json``.
    """
    teacher = ensemble(data)
    for seed in seeds:
        for kind, recipe in RECORDED.items():
            name = f"{kind}_seed{seed}"
            targets = targets_for(recipe, teacher, data) if recipe.alpha > 0 else None
            train_student(
                recipe, data, targets, seed, path=folder / f"{name}.safetensors", progress=name
            )  # fmt: skip
    teachers.write_checksums(folder)
    content = measured(data, folder, teacher, seeds)
    write_atomically(folder / RECORD, json.dumps(content, indent=1) + "\n")
    difference = content["comparison"]["difference"]
    say(
        f"distilled - plain: {difference['mean']:+.2%} ({difference['low']:+.2%} to {difference['high']:+.2%})"
    )
    return content


def measured(data: Dataset, folder: Path, teacher: Ensemble, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """What the stored students score on the test set, from their weights alone.

    Raises:
        CheckpointError: a student missing, damaged or changed since its checksum was written.
    """
    labels = data.test.labels
    answers = evaluation.predict(teacher, data.test, data)
    rows = {
        "ensemble": table.row(
            f"ensemble of {len(teacher.members)}", "ensemble", teacher.average,
            [{"seed": None, "test": table.scores(answers, labels, answers), "history": None}], len(labels),
        )
    }  # fmt: skip
    for kind, recipe in RECORDED.items():
        runs = []
        for seed in seeds:
            student, history = load(folder, f"{kind}_seed{seed}", data)
            logits = evaluation.predict(student, data.test, data)
            test = table.scores(logits, labels, answers)
            runs.append({"seed": seed, "test": test, "history": json.loads(history.to_json())})
        rows[kind] = table.row(f"{kind} student", kind, recipe.model, runs, len(labels))
    return {
        "command": "kdcourse students record",
        "settings": RECORDED["distilled"].settings
        | {"student": RECORDED["distilled"].model, "seeds": list(seeds)},
        "recipes": {kind: recipe.settings for kind, recipe in RECORDED.items()},
        "data": data.train.digest,
        "models": rows,
        "comparison": table.compare(rows),
    }


def load(folder: Path, name: str, data: Dataset) -> tuple[nn.Module, training.History]:
    """A stored student and its history.

    Raises:
        CheckpointError: the file is missing, damaged or not the one its checksum was made from.
    """
    path = folder / f"{name}.safetensors"
    teachers.check_digest(path, teachers.read_checksums(folder), "kdcourse students record")
    notes = training.weights.read_tensors(path)[1]
    student = models.build(
        notes["identity"]["recipe"]["model"],
        num_classes=len(data.classes),
        in_channels=data.image_shape[0],
        size=data.image_shape[1:],
    )
    training.load_weights(student, path)
    return student.eval(), training.History.from_json(json.dumps(notes["history"]))


def summary(data: Dataset) -> dict[str, Any] | None:
    """``recorded.json`` where it belongs to these pictures, for the report; else ``None``."""
    path = shipped_folder() / RECORD
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text())
    return content if content["data"] == data.train.digest else None


def ensemble(data: Dataset) -> Ensemble:
    """The shipped teachers as one."""
    return Ensemble([model for _, model, _ in teachers.load_teachers(teachers.shipped_folder(), data)])


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


def targets_for(recipe: StudentRecipe, teacher: Ensemble, data: Dataset) -> SoftTargets:
    """The soft targets that a recipe learns from; computed once, then read from disk."""
    views = views_shown(recipe.augmentation, recipe.views, 0, recipe.epochs)
    precision = training.fastest(torch.device("cpu"))
    return soft_targets(teacher, data.train, data, views=views, precision=precision)
