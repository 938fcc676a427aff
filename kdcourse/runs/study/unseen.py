"""Train students on the images that the teachers never saw: the base of the studies that do so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from kdcourse import evaluation, training
from kdcourse.data import Dataset
from kdcourse.distillation import methods
from kdcourse.runs.students import StudentRecipe, train_student
from kdcourse.runs.study import half
from kdcourse.runs.study.engine import Cell, Study, results
from kdcourse.runs.study.rows import Row

BATCH = 64
IMAGES = 27_500  # of Fashion-MNIST that the teachers never saw


class Unseen(Study):
    """Train students on images of the half that the teachers never saw: on true labels, or on the teachers' answers.

    A cell whose recipe distils learns from answers alone, any other from labels alone.
    """

    @cached_property
    def unseen(self) -> Dataset:
        """Return the data set whose training split are the images that the teachers never saw."""
        return half.unseen_data(self.data)

    @cached_property
    def shipped(self) -> half.Answers:
        """Return the answers of the five teachers of the other half."""
        return half.load_answers(self.data, self.folder)

    def answers(self, cell: Cell) -> half.Answers:
        """Return the answers to all unseen images that the students of a cell learn from."""
        return self.shipped

    def transfer_set(self, cell: Cell, seed: int) -> tuple[Dataset, Tensor | None]:
        """Return a student's data set, and which of the unseen images it holds (int64 [M]); ``None`` for all."""
        return self.unseen, None

    def digests(self, cell: Cell) -> dict[str, str | None]:
        """Return the digest of the unseen half, and of the answers where the kind learns from them."""
        answers = self.answers(cell).digest[:16] if cell.recipe.distilled else None
        return {"data": self.unseen.train.digest[:16], "answers": answers}

    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        """Train a student of one kind."""
        # Validated after the last epoch alone: with few images there are a thousand of them.
        how = cell.recipe.changed(seed=seed, precision=precision, validate=False)
        data, index = self.transfer_set(cell, seed)
        targets = self.answers(cell).targets(data.train, how.views, index) if how.distilled else None
        return train_student(how, data, targets, progress=False)

    def test_accuracy(self, model: nn.Module) -> float:
        """Return a model's accuracy on the test split."""
        return evaluation.accuracy(
            evaluation.predict(model, self.data.test, self.data), self.data.test.labels
        )

    def sources(self) -> Sequence[half.Answers] | None:
        """Return the stored answers that the study's rows are about, without reading the images.

        ``None`` where they aren't at hand: rows about any answers then count.
        """
        return [half.read_answers(self.folder)]

    def current(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of the test phase that were trained as the search chose, on today's images and answers."""
        data = half.read_answers(self.folder).notes["split"]["unseen"][:16]
        rows = [row for row in rows if row["data"] == data]
        if (sources := self.sources()) is not None:
            digests = {None, *(each.digest[:16] for each in sources)}
            rows = [row for row in rows if row["answers"] in digests]
        return results(self, rows)


def epochs_of(images: int, steps: int, batch: int = BATCH) -> int:
    """Return the number of epochs whose steps come closest to ``steps``, at least 1."""
    return max(1, round(steps / max(1, images // batch)))


def on_labels(recipe: StudentRecipe, **changes: Any) -> StudentRecipe:
    """Return the recipe of a student that learns from labels alone."""
    return recipe.plain().changed(**changes)


def on_answers(recipe: StudentRecipe, temperature: float, **changes: Any) -> StudentRecipe:
    """Return the recipe of a student that learns from answers alone."""
    return recipe.changed(methods=methods.build("kd", temperature=temperature), alpha=1.0, **changes)


def some_of(data: Dataset, index: Tensor) -> Dataset:
    """Return the data set with some of its training images; validation and test split stay as they are."""
    return replace(data, train=data.train.subset(index))
