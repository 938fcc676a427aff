"""Describe the experiments with few labels or masks and many images without: students and what they learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from kdcourse import models
from kdcourse.data import Augmentation, Dataset, SegmentationDataset, stratified_index
from kdcourse.distillation import Ensemble, SoftTargets, methods
from kdcourse.errors import ArgumentError
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study import half
from kdcourse.runs.study.masks import FLIPS, repeated
from kdcourse.runs.study.unseen import epochs_of
from kdcourse.runs.tasks import SEGMENTATION, AnyDataset

LABELS = 550

# What the study of labels chose on the validation split (`kdcourse study labels`): batches of 64, T = 4, and with this
# many images no augmentation, for answers and for labels. Few labels take a strong one.
RECIPE = StudentRecipe(
    model="pocket_60k", methods=methods.build("kd", temperature=4.0), alpha=1.0
).changed(epochs=2, batch_size=64, validate=False)  # fmt: skip
_FEW = {"augmentation": Augmentation()}  # of the students of few labels, which gain 2 points by it

MASKS = 100

# What the study of masks chose (`kdcourse study masks`), for masks and for answers, with fewer epochs: nine students in
# four minutes on two cores. In float32, as the study's rows.
MASKS_RECIPE = SEGMENTATION.live.changed(augmentation=FLIPS, views=2, epochs=6, precision="float32")


@dataclass(frozen=True)
class Kind:
    """Hold how the students of one kind are trained, seed by seed.

    ``data`` returns the images for a seed. ``targets`` is what the students learn from besides labels: stored logits,
    or for methods that compare features the ensemble itself.
    """

    label: str
    recipe: StudentRecipe
    data: Callable[[int], AnyDataset]
    targets: SoftTargets | Ensemble | None = None


@dataclass(frozen=True)
class Teachers:
    """Hold teachers (name, model, notes) and their ensemble, in eval mode.

    ``augmentation`` is that of teachers trained by this run: its name under ``chosen``, and what was found on the
    validation split if it was chosen there. ``answers``: only the teachers' logits and accuracies are stored. The
    models then have random weights, and serve to measure costs.
    """

    members: list[tuple[str, nn.Module, dict[str, Any]]]
    ensemble: Ensemble
    augmentation: dict[str, Any] | None = None
    answers: half.Answers | None = None


def teachers(data: Dataset, device: torch.device) -> Teachers:
    """Return the teachers of one half of the images, as far as they are stored.

    Raises:
        CheckpointError: their answers are missing, damaged, or belong to other images.
    """
    answers = half.load_answers(data)
    shape: dict[str, Any] = {"num_classes": len(data.classes), "in_channels": data.image_shape[0]}
    members = [
        (notes["settings"]["name"], models.build(notes["settings"]["model"], **shape).eval(), notes)
        for notes in answers.notes["teachers"]
    ]
    ensemble = Ensemble([model for _, model, _ in members], average=answers.notes["ensemble"]["average"])
    return Teachers(members, ensemble.to(device), answers=answers)


def kinds(recipe: StudentRecipe, data: Dataset, answers: half.Answers, labels: int) -> Mapping[str, Kind]:
    """Return the three kinds of students: on few labels, on all labels of the unseen images, on answers to them.

    All take the same number of steps. The few labelled images are drawn with the student's seed, so that intervals
    cover which images were labelled.

    Args:
        recipe: of the students that learn from answers.
        data: the whole data set.
        answers: of the teachers, to `kdcourse.runs.study.half.unseen_data`.
        labels: the number of few labels.

    Raises:
        ArgumentError: fewer labels than classes, or more than unseen images.
    """
    unseen = half.unseen_data(data)
    images, batch = len(unseen.train), recipe.training.batch_size
    if not len(data.classes) <= labels <= images:
        raise ArgumentError(
            f"--labels must be 'all' or lie in {len(data.classes)}..{images:,}, the number of images that the teachers "
            f"never saw; found {labels:,}."
        )
    steps = recipe.training.epochs * max(1, images // batch)
    few = recipe.plain().changed(**_FEW, epochs=epochs_of(labels, steps, batch))

    def labelled(seed: int) -> Dataset:
        return replace(unseen, train=unseen.train.subset(stratified_index(unseen.train.labels, labels, seed)))

    return {
        "plain": Kind(f"{labels:,} labels", few, labelled),
        "labelled": Kind(f"{images:,} labels", recipe.plain(), lambda seed: unseen),
        "distilled": Kind(
            f"{images:,} images, no label", recipe, lambda seed: unseen,
            answers.targets(unseen.train, recipe.views),
        ),
    }  # fmt: skip


def kinds_of_masks(
    recipe: StudentRecipe, data: SegmentationDataset, targets: SoftTargets, masks: int
) -> Mapping[str, Kind]:
    """Return the three kinds of students: on few masks, on the masks of all scenes, on answers to all scenes.

    All take the same number of steps: an epoch shows the few scenes several times. They are drawn with the student's
    seed, so that intervals cover which scenes had a mask.

    Args:
        recipe: of the students that learn from answers.
        data: scenes, none of which the teachers saw.
        targets: the teachers' logits for all training scenes.
        masks: the number of few masks.

    Raises:
        ArgumentError: fewer masks than 1, or more than scenes.
    """
    scenes = len(data.train)
    if not 1 <= masks <= scenes:
        raise ArgumentError(
            f"--labels must be 'all' or lie in 1..{scenes:,}, the number of scenes that the teachers never saw; found "
            f"{masks:,}."
        )

    def drawn(seed: int) -> SegmentationDataset:
        return replace(data, train=data.train.subset(repeated(masks, scenes, seed)))

    return {
        "plain": Kind(f"{masks:,} masks", recipe.plain(), drawn),
        "labelled": Kind(f"{scenes:,} masks", recipe.plain(), lambda seed: data),
        "distilled": Kind(f"{scenes:,} scenes, no mask", recipe, lambda seed: data, targets),
    }
