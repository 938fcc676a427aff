"""Train and load the two students of the page `live`: ``python -m tools.website.live.students``.

Both see the task of lesson 00 and have the same architecture, initial weights and number of steps. The plain student
learns from the lesson's 550 labelled images, the distilled one from the teachers' answers to 27,500 images and from no
label. The settings of both are those that the study of labels chose on the validation split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdcourse import models, training
from kdcourse.cli import guarded
from kdcourse.data import Dataset, fashion_mnist
from kdcourse.evaluation import accuracy, predict
from kdcourse.files import read_checksums
from kdcourse.runs import teachers, unlabelled
from kdcourse.runs.few_labels import few_labels
from kdcourse.runs.students import StudentRecipe, train_student
from kdcourse.runs.study import half

FOLDER = Path(__file__).resolve().parent / "students"
NAMES = ("plain", "distilled")
COMMAND = "python -m tools.website.live.students"
RECIPE = unlabelled.RECIPE.changed(epochs=7, seed=0, device="cpu", precision="float32")


def train(
    data: Dataset, folder: Path = FOLDER, recipe: StudentRecipe = RECIPE, labels: int = unlabelled.LABELS
) -> None:
    """Train both students on one thread and store them in ``folder``, with checksums.

    Matrices are stored in float16, as those of the teachers are; the test accuracy in a file's notes is that of these
    stored weights.

    Args:
        data: Fashion-MNIST.
        folder: gets ``plain.safetensors``, ``distilled.safetensors`` and ``SHA256SUMS``.
        recipe: of the distilled student. The plain one takes as many steps.
        labels: the number of images with a label.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads depend on their number
    try:
        kinds = unlabelled.kinds(recipe, data, half.load_answers(data), labels)
        for name in NAMES:
            kind = kinds[name]
            images = kind.data(0) if kind.recipe.distilled else few_labels(data, labels).labelled
            model, _ = train_student(kind.recipe, images, kind.targets, progress=name)
            notes = {"model": recipe.model, **expected(name, data, recipe, labels)}
            path = folder / f"{name}.safetensors"
            training.save_weights(model, path, notes, dtype=torch.float16)
            training.load_weights(model, path)  # rounded
            right = accuracy(predict(model.eval(), data.test, data), data.test.labels)
            training.save_weights(model, path, notes | {"test_accuracy": right}, dtype=torch.float16)
    finally:
        torch.set_num_threads(threads)
    teachers.write_checksums(folder)


def expected(
    name: str, data: Dataset, recipe: StudentRecipe = RECIPE, labels: int = unlabelled.LABELS
) -> dict[str, Any]:
    """Return what a stored student's notes must say about its training: settings, seed, digests of its data."""
    answers = half.load_answers(data)
    kind = unlabelled.kinds(recipe, data, answers, labels)[name]
    taught = kind.recipe.distilled
    images = kind.data(0) if taught else few_labels(data, labels).labelled
    return {
        "recipe": kind.recipe.settings,
        "seed": kind.recipe.training.seed,
        "data": images.train.digest[:16],
        "answers": answers.digest[:16] if taught else None,
        "classes": list(data.classes),
    }


def load(data: Dataset, folder: Path = FOLDER) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
    """Return both students by name, in eval mode, each with its notes.

    Raises:
        CheckpointError: a file is missing, damaged or doesn't match its checksum.
    """
    found, digests = {}, read_checksums(folder)
    for name in NAMES:
        path = folder / f"{name}.safetensors"
        teachers.check_digest(path, digests, COMMAND)
        model = models.build(training.weights.read_tensors(path)[1]["model"], data=data)
        found[name] = model, training.load_weights(model, path)
        model.eval()
    return found


def _main() -> None:
    data = fashion_mnist()
    train(data)
    for name, (_, notes) in load(data).items():
        print(f"{name}: {notes['test_accuracy']:.2%} of the test images")


if __name__ == "__main__":
    guarded(_main, "Nothing was stored.")
