"""Train and load the two students of the page `masks`: ``python -m tools.website.masks.students``.

Both are those of lesson 07 and of the study of masks: the same U-Net, initial weights and number of steps. The plain
student learns from few scenes with their masks, the distilled one from the teachers' answers to all scenes and from no
mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdcourse import evaluation, models, training
from kdcourse.cli import guarded
from kdcourse.data import SegmentationDataset
from kdcourse.distillation import Ensemble, soft_targets, teacher_digest
from kdcourse.files import read_checksums
from kdcourse.runs import teachers, unlabelled
from kdcourse.runs.students import StudentRecipe, train_student
from kdcourse.runs.tasks import SEGMENTATION

FOLDER = Path(__file__).resolve().parent / "students"
NAMES = ("plain", "distilled")
COMMAND = "python -m tools.website.masks.students"
# As the study trains them. The seed, one of the study's, draws the scenes that have a mask, and the initial weights.
RECIPE = unlabelled.MASKS_RECIPE.changed(epochs=10, seed=13, device="cpu", validate=False)


def train(
    data: SegmentationDataset,
    teacher: Ensemble,
    folder: Path = FOLDER,
    recipe: StudentRecipe = RECIPE,
    masks: int = unlabelled.MASKS,
) -> None:
    """Train both students on one thread and store them in ``folder``, with checksums.

    Matrices are stored in float16; the mean IoU on the test scenes in a file's notes is that of these stored weights.

    Args:
        data: the scenes.
        teacher: answers all training scenes.
        folder: gets ``plain.safetensors``, ``distilled.safetensors`` and ``SHA256SUMS``.
        recipe: of the distilled student. The plain one takes as many steps.
        masks: the number of scenes with a mask.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads depend on their number
    try:
        targets = soft_targets(teacher, data.train, data, views=recipe.views)
        kinds = unlabelled.kinds_of_masks(recipe, data, targets, masks)
        for name in NAMES:
            kind = kinds[name]
            model, _ = train_student(
                kind.recipe, kind.data(recipe.training.seed), kind.targets, progress=name
            )
            notes = {"model": recipe.model, **expected(name, data, teacher, recipe, masks)}
            path = folder / f"{name}.safetensors"
            training.save_weights(model, path, notes, dtype=torch.float16)
            training.load_weights(model, path)  # rounded
            found = evaluation.evaluate_segmentation(model.eval(), data.test, data)
            training.save_weights(model, path, notes | {"test_iou": found.mean_iou}, dtype=torch.float16)
    finally:
        torch.set_num_threads(threads)
    teachers.write_checksums(folder)


def expected(
    name: str,
    data: SegmentationDataset,
    teacher: Ensemble,
    recipe: StudentRecipe = RECIPE,
    masks: int = unlabelled.MASKS,
) -> dict[str, Any]:
    """Return what a stored student's notes must say about its training: settings, seed, digests of its data."""
    taught = name == "distilled"
    return {
        "recipe": (recipe if taught else recipe.plain()).settings,
        "seed": recipe.training.seed,
        "masks": 0 if taught else masks,
        "data": data.train.digest[:16],
        "answers": teacher_digest(teacher)[:16] if taught else None,
        "classes": list(data.classes),
    }


def load(data: SegmentationDataset, folder: Path = FOLDER) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
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
    data = SEGMENTATION.student_data()
    train(data, SEGMENTATION.ensemble(data))
    for name, (_, notes) in load(data).items():
        print(f"{name}: mean IoU {notes['test_iou']:.2%} on the test scenes")


if __name__ == "__main__":
    guarded(_main, "Nothing was stored.")
