"""Train and load the two students of the page `live_masks`: ``python -m tools.website.live.masks.students``.

They are those of lesson 07, on more scenes: one architecture, the same initial weights and number of steps. The plain
student learns from a few true masks, the distilled one from the teachers' answers to all training scenes and from no
mask. Both are trained as the longest rows of the study `masks` are, which has the numbers of masks and of scenes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdcourse import models, training
from kdcourse.cli import guarded
from kdcourse.data import SegmentationDataset, garment_scenes
from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.evaluation import evaluate_segmentation
from kdcourse.files import CHECKSUMS, read_checksums, shipped
from kdcourse.models.unet import UNet
from kdcourse.runs import teachers
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study import study_named
from kdcourse.runs.study.engine import Cell
from kdcourse.runs.study.masks import FLIPS, SCENES, Masks

FOLDER = Path(__file__).resolve().parent / "students"
COMMAND = "python -m tools.website.live.masks.students"
SEED = 0
PRECISION = "float32"
_KINDS = {"plain": "masks", "distilled": "answers"}  # what each student learns from, in the study's words
NAMES = tuple(_KINDS)


def study() -> Masks:
    """Return the study that both students are taken from, with its own scenes and teachers."""
    found = study_named("masks", shipped("study"))
    assert isinstance(found, Masks)
    return found


def cells(of: Masks) -> dict[str, Cell]:
    """Return how each student is trained: for longest, as the study's candidate with mirrored scenes, which won.

    Raises:
        ArgumentError: the study has none, or several.
    """
    found: dict[str, StudentRecipe] = {}
    for name, kind in _KINDS.items():
        mirrored = [
            cell
            for cell in of.candidates()
            if cell.about["kind"] == kind
            and "added" not in cell.about
            and cell.recipe.training.augmentation == FLIPS
        ]
        if len(mirrored) != 1:
            raise ArgumentError(
                f"The page's {name} student is the one candidate of the study `masks` for {kind} with mirrored scenes; "
                f"found {len(mirrored)} of them. Say in tools/website/live/masks/students.py which one it is."
            )
        found[name] = mirrored[0].recipe.changed(device="cpu")
    return dict(zip(NAMES, of.longest(*(found[name] for name in NAMES)), strict=True))


def train(of: Masks, folder: Path = FOLDER) -> None:
    """Train both students on one thread and store them in ``folder``, with checksums.

    Kernels are stored in float16, as those of the teachers are; the mean IoU in a file's notes is that of these stored
    weights on the test split.

    Args:
        of: the study that holds scenes, teachers and recipes.
        folder: gets ``plain.safetensors``, ``distilled.safetensors`` and ``SHA256SUMS``.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads depend on their number
    try:
        for name, cell in cells(of).items():
            model, _ = of.train(cell, SEED, PRECISION)
            notes = {"model": cell.recipe.model, **expected(name, of)}
            path = folder / f"{name}.safetensors"
            training.save_weights(model, path, notes, dtype=torch.float16)
            training.load_weights(model, path)  # rounded
            reached = evaluate_segmentation(model.eval(), of.data.test, of.data).mean_iou
            training.save_weights(model, path, notes | {"test_iou": reached}, dtype=torch.float16)
    finally:
        torch.set_num_threads(threads)
    teachers.write_checksums(folder)


def expected(name: str, of: Masks) -> dict[str, Any]:
    """Return what a stored student's notes must say about its training: settings, seed, digests of its data."""
    cell = cells(of)[name]
    return {
        "about": cell.about,
        "recipe": cell.recipe.settings,
        "seed": SEED,
        **of.digests(cell),
        "test": of.data.test.digest[:16],
        "classes": list(of.data.classes),
    }


def stored(folder: Path = FOLDER) -> bool:
    """Return whether the students were trained at all; `load` tells whether the files are whole."""
    return (folder / CHECKSUMS).is_file()


def shown_scenes() -> SegmentationDataset:
    """Return the students' scenes with a single one for training: the test scenes don't depend on the others."""
    return garment_scenes(scenes=(1, 1, SCENES[2]))


def load(data: SegmentationDataset, folder: Path = FOLDER) -> Mapping[str, tuple[UNet, dict[str, Any]]]:
    """Return both students by name, in eval mode, each with its notes.

    Args:
        data: holds the test scenes, see `shown_scenes`.
        folder: where `train` stored them.

    Raises:
        CheckpointError: a file is missing, damaged or doesn't match its checksum; a student was evaluated on other test
            scenes.
    """
    found, digests = {}, read_checksums(folder)
    for name in NAMES:
        path = folder / f"{name}.safetensors"
        teachers.check_digest(path, digests, COMMAND)
        notes = training.weights.read_tensors(path)[1]
        if notes["test"] != data.test.digest[:16]:
            raise CheckpointError(
                f"{path} was evaluated on test scenes of digest {notes['test']}; these have {data.test.digest[:16]}. "
                f"Train the students again: {COMMAND}"
            )
        model = models.build(notes["model"], data=data)
        assert isinstance(model, UNet), f"{COMMAND} trains U-Nets"
        training.load_weights(model, path)
        model.eval()
        found[name] = model, notes
    return found


def _main() -> None:
    of = study()
    train(of)
    for name, (_, notes) in load(of.data).items():
        print(f"{name}: mean IoU {notes['test_iou']:.2%} on the test scenes")


if __name__ == "__main__":
    guarded(_main, "Nothing was stored.")
