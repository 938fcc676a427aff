"""Measure what an ensemble's answers are worth where many of the labels are wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from kdcourse import evaluation, training
from kdcourse.data import Dataset, Split, stratified_index
from kdcourse.distillation import Ensemble, SoftTargets, teacher_digest
from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.files import shipped
from kdcourse.runs.students import StudentRecipe, train_student
from kdcourse.runs.study import half
from kdcourse.runs.study.engine import Cell, Say
from kdcourse.runs.study.rows import Row, write_checksums
from kdcourse.runs.study.summary import compared, table, told, told_difference
from kdcourse.runs.study.unseen import BATCH, Unseen, epochs_of, on_answers, on_labels, some_of
from kdcourse.runs.trials import GENTLE

FILE = "noise-answers.safetensors"
COMMAND = "kdcourse study noise"
NOISE_SEED = 0


class Noise(Unseen):
    """Replace a share of all labels by wrong ones: those of the teachers' half, and those of the students' images.

    The teachers, smaller ones than the course's, are trained on the noisy labels of their half, and answer for the
    unseen images. The validation and the test split keep their true labels.

    Attributes:
        shares: of labels that are wrong.
        teacher, members, teacher_steps: the ensemble of each share.
        model, images, steps: of every student.
    """

    name = "noise"
    question = "Do teachers pass on the errors of their labels?"
    shares: Sequence[float] = (0.4, 0.0, 0.2)
    teacher, members, teacher_steps = "pocket_60k", 5, 2_000
    model, images, steps = "pocket_17k", 5_000, 1_000

    def prepare(self, say: Say) -> None:
        """Train the ensembles and store their answers, unless they are in the folder or come with the course."""
        with contextlib.suppress(CheckpointError):  # none yet, damaged, or of other shares
            if all(each.notes["split"]["unseen"] == self.unseen.train.digest for each in self.sources()):
                return
        self._make(say)
        self.__dict__.pop("_stored", None)

    def _make(self, say: Say) -> None:
        mine = half.teachers_data(self.data)
        logits, notes = dict[str, Tensor](), dict[str, Any]()
        recipe = StudentRecipe(model=self.teacher).changed(
            epochs=epochs_of(len(mine.train), self.teacher_steps), batch_size=BATCH, augmentation=GENTLE,
            validate=False, precision="float32",
        )  # fmt: skip
        for share in self.shares:
            noisy = replace(mine, train=with_noise(mine.train, share))
            found = [
                train_student(recipe, noisy, None, progress=False, seed=s)[0] for s in range(self.members)
            ]
            single = [self.test_accuracy(member) for member in found]
            ensemble = Ensemble(found)
            logits[_key(share)] = evaluation.predict(ensemble, self.unseen.train, self.data).half()
            notes[_key(share)] = {
                "digest": teacher_digest(ensemble),
                "test_accuracy": self.test_accuracy(ensemble),
                "members_test_accuracy": single,
            }
            say(f"teachers, {share:.0%} of the labels wrong: {notes[_key(share)]['test_accuracy']:.2%}")
        notes |= {
            "made_by": COMMAND,
            "settings": recipe.settings,
            "split": {"unseen": self.unseen.train.digest},
        }
        training.weights.write_tensors(self.folder / FILE, logits, notes)
        write_checksums(self.folder)

    @cached_property
    def _stored(self) -> dict[float, half.Answers]:
        tensors, notes = half.read_stored(FILE, COMMAND, self.folder)
        if missing := {_key(share) for share in self.shares} - tensors.keys():
            raise CheckpointError(
                f"{FILE} has no teachers for {', '.join(sorted(missing))} as the share of wrong labels. Make them: "
                f"{COMMAND}"
            )
        return {
            share: half.Answers(
                tensors[_key(share)], {"ensemble": notes[_key(share)], "split": notes["split"]}
            )
            for share in self.shares
        }

    def sources(self) -> Sequence[half.Answers]:
        """Return the answers of each share's ensemble."""
        return list(self._stored.values())

    def answers(self, cell: Cell) -> half.Answers:
        """Return the answers of the ensemble whose labels were as wrong as the student's."""
        return self._stored[cell.about["noise"]]

    def candidates(self) -> Sequence[Cell]:
        """Return three candidates for either kind without noise and with the most of it."""
        recipe = StudentRecipe(model=self.model).changed(
            epochs=epochs_of(self.images, self.steps), batch_size=BATCH
        )
        ways: Sequence[dict[str, Any]] = ({}, {"augmentation": GENTLE}, {"label_smoothing": 0.2})
        return [
            cell
            for share in (max(self.shares), min(self.shares))
            for cell in (
                *(Cell(self._about("labels", share), on_labels(recipe, **how)) for how in ways),
                *(Cell(self._about("answers", share), on_answers(recipe, t)) for t in (1.0, 2.0, 4.0)),
            )
        ]

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return both kinds for every share; where there is noise, with the settings found for the most of it."""
        return [
            Cell(self._about(kind, share), best(self._about(kind, max(self.shares) if share else share)))
            for share in self.shares
            for kind in ("labels", "answers")
        ]

    def _about(self, kind: str, share: float) -> dict[str, Any]:
        return {"kind": kind, "noise": share}

    def transfer_set(self, cell: Cell, seed: int) -> tuple[Dataset, Tensor | None]:
        """Return so many unseen images, drawn with the student's seed, with as many wrong labels as the cell has."""
        return _some_noisy(self.unseen, cell.about["noise"], self.images, seed)

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return one entry per share of wrong labels: both kinds, their comparison, and the teachers' accuracy."""
        rows = self.current(rows)
        entries = []
        for share in sorted(self.shares):
            of = self._stored[share].notes["ensemble"]
            teacher = of["test_accuracy"]
            entry = compared(rows, self._about("labels", share), self._about("answers", share), teacher)
            entries.append(
                {"noise": share, "teachers": teacher, "single": of["members_test_accuracy"], **entry}
            )
        return {"student": self.model, "images": self.images, "noise": entries}

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        found = self.summary(rows)
        header = (
            "wrong",
            "one teacher",
            "ensemble",
            "labels, %",
            "answers, %",
            "difference",
            "gap recovered",
        )
        lines = [
            (
                f"{entry['noise']:.0%}", f"{sum(entry['single']) / len(entry['single']):.2%}",
                f"{entry['teachers']:.2%}", told(entry.get("plain")), told(entry.get("taught")),
                *told_difference(entry),
            )
            for entry in found["noise"]
        ]  # fmt: skip
        title = f"{found['student']}, {found['images']:,} images; mean over seeds (95 % interval)."
        return f"{title}\n\n{table(header, lines)}"


@dataclass(frozen=True)
class NoisyLabels:
    """Hold images whose labels are partly wrong, and the answers of teachers that learned from such labels.

    Attributes:
        data: training images that the teachers never saw, with wrong labels among theirs; the validation and the test
            split keep their true labels.
        truth: int64 [N], the true labels of these images.
        answers: of the teachers together, as `kdcourse.distillation.distil` takes them.
        logits: the same ones as a table, float32 [N, C].
        single: each teacher's accuracy on the test split, 0 to 1.
        together: that of all of them.
    """

    data: Dataset
    truth: Tensor
    answers: SoftTargets
    logits: Tensor
    single: tuple[float, ...]
    together: float


def noisy_labels(data: Dataset, share: float = 0.4, images: int = 5_000, *, seed: int = 0) -> NoisyLabels:
    """Return images with wrong labels among theirs, and the stored answers of teachers of labels as wrong.

    Args:
        data: the data set that the stored answers belong to, Fashion-MNIST.
        share: of the labels that is wrong; one of `Noise.shares`.
        images: how many, at most those that the teachers never saw.
        seed: of the choice of images.

    Raises:
        ArgumentError: a share that no teachers are stored for; a number of images out of range.
        CheckpointError: there are no answers, or they are damaged.
    """
    study = Noise(lambda: data, shipped("study"))
    if share not in study.shares:
        raise ArgumentError(
            f"Teachers are stored for {', '.join(f'{each:g}' for each in sorted(study.shares))} as the share of wrong "
            f"labels; found {share}."
        )
    unseen, stored = study.unseen, study._stored[share]
    noisy, index = _some_noisy(unseen, share, images, seed)
    of = stored.notes["ensemble"]
    return NoisyLabels(
        data=replace(noisy, name=f"{images:,} images, {share:.0%} of the labels wrong"),
        truth=unseen.train.labels[index],
        answers=stored.targets(noisy.train, index=index),
        logits=stored.logits[index].float(),
        single=tuple(of["members_test_accuracy"]),
        together=of["test_accuracy"],
    )


def _some_noisy(unseen: Dataset, share: float, images: int, seed: int) -> tuple[Dataset, Tensor]:
    """Return so many training images with wrong labels among theirs, and which they are (int64 [M])."""
    index = stratified_index(unseen.train.labels, images, seed)
    return some_of(replace(unseen, train=with_noise(unseen.train, share)), index), index


def with_noise(split: Split, share: float) -> Split:
    """Return the split with a share of its labels replaced, each by one of the other classes, all equally likely.

    Which labels are wrong is always the same for one number of images; a larger share contains the smaller one's.
    """
    generator = torch.Generator().manual_seed(NOISE_SEED)
    classes = int(split.labels.max()) + 1
    wrong = torch.rand(len(split), generator=generator) < share
    other = (split.labels + torch.randint(1, classes, (len(split),), generator=generator)) % classes
    return replace(split, labels=torch.where(wrong, other, split.labels))


def _key(share: float) -> str:
    return f"{share:g}"
