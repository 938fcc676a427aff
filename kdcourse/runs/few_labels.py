"""Describe the experiment with few labels and many images without: its students and what they learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse import models
from kdcourse.data import Augmentation, Dataset, fashion_mnist, stratified_index
from kdcourse.distillation import Ensemble, SoftTargets, methods
from kdcourse.errors import ArgumentError
from kdcourse.files import shipped
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study import FOLDER, half
from kdcourse.runs.study.labels import Labels
from kdcourse.runs.study.rows import Rows
from kdcourse.runs.study.summary import accuracies
from kdcourse.runs.study.unseen import epochs_of
from kdcourse.runs.tasks import AnyDataset

LABELS = 550

# Settings of the study of labels, chosen on the validation split (`kdcourse study labels`): batches of 64, T = 4 and no
# augmentation for answers, a strong one for few labels. All labels take none either: two epochs without reach 90.9 and
# 91.2 % on the validation split (seeds 100 and 101), with the study's gentle augmentation 90.2 and 90.1 %.
RECIPE = StudentRecipe(
    model="pocket_60k", methods=methods.build("kd", temperature=4.0), alpha=1.0
).changed(epochs=2, batch_size=64, validate=False)  # fmt: skip
_FEW = {"augmentation": Augmentation()}  # of the students of few labels, which gain 2 points by it


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


@dataclass(frozen=True)
class FewLabels:
    """Hold two small data sets and the teachers' answers; made by `few_labels`.

    The teachers were trained on the other half of the training images, so they never saw any image of either.

    Attributes:
        labelled: few images, with their labels.
        unlabelled: other images. Their labels are erased: all are 0. Its validation and test split keep theirs.
        answers: the teachers' logits for the images of ``unlabelled``, as `kdcourse.distillation.distil` takes them.
        logits: the same ones as a table, float32 [N, C].
        teachers_accuracy: of all teachers together, on the validation split, 0 to 1.
        held_back: int64 [N], the labels erased from ``unlabelled``, to look at afterwards.
    """

    labelled: Dataset
    unlabelled: Dataset
    answers: SoftTargets
    logits: Tensor
    teachers_accuracy: float
    held_back: Tensor


def few_labels(data: Dataset, labels: int = 550, unlabelled: int = 5_000, *, seed: int = 0) -> FewLabels:
    """Return ``labels`` labelled images, ``unlabelled`` other ones, and stored answers of teachers to the latter.

    All images are drawn from the half of ``data.train`` that the teachers weren't trained on, every class as often as
    any other. See `kdcourse.runs.study.half` for the teachers.

    Args:
        data: the data set that the stored answers belong to, Fashion-MNIST.
        labels: number of labelled images.
        unlabelled: number of images without labels.
        seed: of the choice of images.

    Raises:
        ArgumentError: more images than there are in that half, or fewer than one of either kind.
        CheckpointError: there are no answers, they are damaged, or they belong to other images.
    """
    unseen, stored = half.unseen_data(data), half.load_answers(data)
    truth = unseen.train.labels
    if min(labels, unlabelled) < 1 or labels + unlabelled > len(truth):
        raise ArgumentError(
            f"labels and unlabelled must be at least 1, and at most {len(truth):,} together, the images that the "
            f"teachers never saw; found {labels:,} and {unlabelled:,}."
        )
    both = stratified_index(truth, labels + unlabelled, seed)
    chosen = stratified_index(truth[both], labels, seed)
    rest = torch.ones(len(both), dtype=torch.bool)
    rest[chosen] = False
    known, others = both[chosen], both[rest]
    bare = replace(unseen.train.subset(others), labels=torch.zeros(len(others), dtype=torch.int64))
    return FewLabels(
        labelled=replace(unseen, name=f"{labels:,} labelled images", train=unseen.train.subset(known)),
        unlabelled=replace(unseen, name=f"{unlabelled:,} images without labels", train=bare),
        answers=stored.targets(bare, index=others),
        logits=stored.logits[others].float(),
        teachers_accuracy=float(stored.notes["ensemble"]["validation_accuracy"]),
        held_back=truth[others],
    )


def studied_pairs(labels: int = 550, unlabelled: int = 5_000) -> dict[int, tuple[float, float]]:
    """Return test accuracies of students from the study of labels: seed -> (plain, distilled), each 0 to 1.

    The plain student learned from that many labels, the distilled one from the teachers' answers to that many images,
    each for about 1,000 steps. The settings of both were searched on the validation split with as many candidates. See
    `kdcourse.runs.study.labels`; these are the rows that come with the course.

    Args:
        labels: number of labelled images.
        unlabelled: number of images that the teachers answered.

    Raises:
        ArgumentError: the study has no such pair.
        CheckpointError: its rows or the answers are damaged.
    """
    study = Labels(fashion_mnist, shipped(FOLDER))
    rows = study.current(Rows(study.folder, study.name).read())
    plain = accuracies(rows, kind="labels", images=labels)
    distilled = accuracies(rows, kind="answers", images=unlabelled)
    if not (seeds := sorted(plain.keys() & distilled.keys())):
        raise ArgumentError(
            f"The study has no pair of {labels:,} labels and {unlabelled:,} answers. docs/studies.md lists its "
            "numbers of images."
        )
    return {seed: (plain[seed], distilled[seed]) for seed in seeds}
