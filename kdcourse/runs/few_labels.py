"""A task with few labels, many images without one, and teachers' stored answers to these images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdcourse.data import Dataset, fashion_mnist, stratified_index
from kdcourse.distillation import SoftTargets
from kdcourse.errors import ArgumentError
from kdcourse.files import shipped
from kdcourse.runs.study import FOLDER, half
from kdcourse.runs.study.labels import Labels
from kdcourse.runs.study.rows import Rows
from kdcourse.runs.study.summary import accuracies


@dataclass(frozen=True)
class FewLabels:
    """Hold two small data sets and the teachers' answers; made by `few_labels`.

    The teachers were trained on the other half of the training images, so they never saw any image of either.

    Attributes:
        labelled: few images, with their labels.
        unlabelled: other images. Their labels are erased: all are 0. Its validation and test split keep theirs.
        answers: the teachers' logits for the images of ``unlabelled``, as `kdcourse.distillation.distil` takes them.
        logits: the same ones as a table, float32 [N, C].
        teachers_accuracy, teachers_test_accuracy: of all teachers together, on the validation and test split, 0 to 1.
        held_back: int64 [N], the labels erased from ``unlabelled``, to look at afterwards.
    """

    labelled: Dataset
    unlabelled: Dataset
    answers: SoftTargets
    logits: Tensor
    teachers_accuracy: float
    teachers_test_accuracy: float
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
        teachers_test_accuracy=stored.accuracy,
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
