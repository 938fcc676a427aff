"""Teachers of half of the training images, and their answers to the other half, which is unlabelled for students."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdcourse import evaluation, training
from kdcourse.data import Dataset, Split, View, stratified_index
from kdcourse.distillation import Ensemble, SoftTargets, soft_targets, teacher_digest
from kdcourse.errors import CheckpointError
from kdcourse.files import read_checksums, shipped
from kdcourse.runs import teachers
from kdcourse.runs.study.rows import write_checksums

SPLIT_SEED = 0
FILE = "half-answers.safetensors"
TEACHERS = "half-teachers"  # the folder of their weights, beside the answers
COMMAND = "kdcourse study teachers"
Say = Callable[[str], None]


def halves(data: Dataset) -> tuple[Tensor, Tensor]:
    """Return the positions in ``data.train`` of the images for the teachers, and of the others.

    Half of every class, chosen by `kdcourse.data.stratified_index` with seed 0.
    """
    labels = data.train.labels
    chosen = stratified_index(labels, len(labels) // 2, SPLIT_SEED)
    others = torch.ones(len(labels), dtype=torch.bool)
    others[chosen] = False
    return chosen, others.nonzero().flatten()


def teachers_data(data: Dataset) -> Dataset:
    """Return the data set that the teachers are trained on; validation and test split stay as they are."""
    return replace(data, name=f"{data.name}, one half", train=data.train.subset(halves(data)[0]))


def unseen_data(data: Dataset) -> Dataset:
    """Return the data set of the images that the teachers never saw; validation and test split stay as they are."""
    return replace(data, name=f"{data.name}, the other half", train=data.train.subset(halves(data)[1]))


@dataclass(frozen=True)
class Answers:
    """Hold the ensemble's logits for the images of `unseen_data`, and who gave them.

    ``logits`` is float16 [N, C]. ``notes`` hold the digest of the images, each teacher's and the ensemble's accuracy on
    the validation and the test split, settings, and digests of the weights.
    """

    logits: Tensor
    notes: dict[str, Any]

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the logits, which identifies what students learned from."""
        return hashlib.sha256(self.logits.contiguous().numpy().data).hexdigest()

    @property
    def accuracy(self) -> float:
        """Return the ensemble's accuracy on the test split."""
        return float(self.notes["ensemble"]["test_accuracy"])

    def targets(
        self, split: Split, views: tuple[View, ...] = (View(),), index: Tensor | None = None
    ) -> SoftTargets:
        """Return the answers as soft targets for a split, the same ones under every view.

        As a label does, the answer to an image stays with it when the image is shifted or mirrored: with fixed answers
        there is nothing to compute, and labels and answers are compared under the same augmentation. (Beyer et al.
        2022, https://arxiv.org/abs/2106.05237, call this a fixed teacher.)

        Args:
            split: the images of `unseen_data`, or some of them.
            views: those that training will show.
            index: int64 [M], which of the images of `unseen_data` are in ``split``; by default all.
        """
        table = self.logits if index is None else self.logits[index]
        return SoftTargets(
            views, [table] * len(views), [None] * len(views), split, self.notes["ensemble"]["digest"]
        )


def make_answers(data: Dataset, folder: Path, *, say: Say = print, **changes: Any) -> Answers:
    """Train the course's five teachers on their half, and store their answers to the other half in ``folder``.

    Teachers that are in ``folder/half-teachers`` already, trained with the same settings on the same images, are kept,
    and so are their answers.

    Args:
        data: the whole data set.
        folder: gets ``half-answers.safetensors`` and its checksum.
        say: called with a line of progress.
        changes: of every teacher's recipe, such as ``precision``.
    """
    mine, unseen = teachers_data(data), unseen_data(data)
    kept = folder / TEACHERS
    for recipe in teachers.RECIPES:
        history = teachers.train_teacher(recipe, mine, kept, **changes)["history"]
        say(f"{recipe.name}: validation accuracy {history['epochs'][-1]['validation_accuracy']:.2%}")
    found = teachers.load_teachers(kept, mine, [recipe.name for recipe in teachers.RECIPES])
    ensemble = Ensemble([model for _, model, _ in found])
    digest = teacher_digest(ensemble)
    with contextlib.suppress(CheckpointError):  # none yet, damaged, or about other images
        there = load_answers(data, folder)
        if (folder / FILE).exists() and there.notes["ensemble"]["digest"] == digest:
            return there
    targets = soft_targets(ensemble, unseen.train, unseen, cache=kept / "soft-targets")

    def accuracies(model: torch.nn.Module) -> dict[str, float]:
        return {
            f"{part}_accuracy": evaluation.accuracy(evaluation.predict(model, split, data), split.labels)
            for part, split in (("validation", data.validation), ("test", data.test))
        }

    logits = targets.logits(View(), torch.arange(len(unseen.train)))
    notes = {
        "made_by": COMMAND,
        "split": {"seed": SPLIT_SEED, "teachers": mine.train.digest, "unseen": unseen.train.digest},
        "ensemble": {
            "average": ensemble.average,
            "digest": digest,
            "unseen_accuracy": evaluation.accuracy(logits, unseen.train.labels),
            **accuracies(ensemble),
        },
        "teachers": [
            {
                "settings": of["settings"],
                "precision": of["history"]["settings"]["precision"],
                "parameters": sum(p.numel() for p in model.parameters()),
                "digest": teacher_digest(model),
                **accuracies(model),
            }
            for _, model, of in found
        ],
    }
    training.weights.write_tensors(folder / FILE, {"logits": logits.half()}, notes)
    write_checksums(folder)
    return load_answers(data, folder)


def read_answers(folder: Path | None = None) -> Answers:
    """Return the answers stored in ``folder``, or without any there, those that come with the course.

    Raises:
        CheckpointError: there are none, or they are damaged or changed.
    """
    tensors, notes = read_stored(FILE, COMMAND, folder)
    return Answers(tensors["logits"], notes)


def read_stored(
    file: str, command: str, folder: Path | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and notes of a file in ``folder``, or without one there, of the course's own.

    Raises:
        CheckpointError: there is none, or it is damaged or changed; says that ``command`` makes it.
    """
    where = folder if folder is not None and (folder / file).exists() else shipped("study")
    teachers.check_digest(where / file, read_checksums(where), command)
    return training.weights.read_tensors(where / file)


def load_answers(data: Dataset, folder: Path | None = None) -> Answers:
    """Return the answers that `read_answers` finds, after making sure that they are about these images.

    Raises:
        CheckpointError: there are none, they are damaged or changed, or they belong to other images.
    """
    answers, expected = read_answers(folder), unseen_data(data).train.digest
    found = answers.notes["split"]["unseen"]
    if found != expected:
        raise CheckpointError(
            f"The stored answers belong to other images (SHA-256 {found[:16]}) than the unseen half of {data.name} "
            f"({expected[:16]}). Make them again: {COMMAND}"
        )
    return answers
