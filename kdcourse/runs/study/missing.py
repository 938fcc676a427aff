"""Measure what a student knows of a class that it was never shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse import evaluation
from kdcourse.data import Dataset
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study.engine import Cell
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import column, interval, mean, table, told
from kdcourse.runs.study.unseen import Unseen, on_answers, on_labels, some_of
from kdcourse.runs.trials import GENTLE


class Missing(Unseen):
    """Leave all images of one class out of the transfer set, and count how many of its test images are found.

    Hinton, Vinyals and Dean 2015, section 3, left out the digit 3. As there, the logit of the missing class is too low
    after training, since that class was never right; a constant is added to it (`shift_for_share`), chosen without
    labels.

    Attributes:
        model, epochs: of every student.
        names: of the classes left out, one at a time; settings are searched for the first.
    """

    name = "missing"
    question = "What does a student know of a class that it was never shown?"
    criterion = "validation_corrected"
    model = "mlp_25k"
    epochs = 20
    names: Sequence[str] = ("Sneaker", "Ankle boot", "Trouser")

    def candidates(self) -> Sequence[Cell]:
        """Return three candidates for either kind: for labels augmentation and smoothing, for answers temperatures."""
        recipe = StudentRecipe(model=self.model).changed(
            epochs=self.epochs, optimizer="adamw", learning_rate=3e-3, weight_decay=1e-2
        )
        ways: Sequence[dict[str, Any]] = ({}, {"augmentation": GENTLE}, {"label_smoothing": 0.1})
        return [
            *(Cell(self._about("labels", self.names[0]), on_labels(recipe, **how)) for how in ways),
            *(Cell(self._about("answers", self.names[0]), on_answers(recipe, t)) for t in (1.0, 2.0, 4.0)),
        ]

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return both kinds for every class left out."""
        return [
            Cell(self._about(kind, missing), best(self._about(kind, self.names[0])))
            for missing in self.names
            for kind in ("labels", "answers")
        ]

    def _about(self, kind: str, missing: str) -> dict[str, Any]:
        return {"kind": kind, "missing": missing}

    def transfer_set(self, cell: Cell, seed: int) -> tuple[Dataset, Tensor | None]:
        """Return the unseen images without the missing class."""
        index = (self.unseen.train.labels != self._place(cell)).nonzero().flatten()
        return some_of(self.unseen, index), index

    def _place(self, cell: Cell) -> int:
        return self.data.classes.index(cell.about["missing"])

    def measures(self, model: nn.Module, cell: Cell, phase: str) -> dict[str, float]:
        """Return the share of the missing class's images that are found, and the accuracy, with the logit shifted.

        ``..._found_unshifted`` is the share that is found without the shift.
        """
        place, found = self._place(cell), dict[str, float]()
        logits = evaluation.predict(model, self.data.validation, self.data)
        shift = found["shift"] = shift_for_share(logits, place, 1 / len(self.data.classes))
        parts = {"validation": self.data.validation, "test": self.data.test}
        for part in parts if phase == "test" else ("validation",):
            labels = parts[part].labels
            logits = evaluation.predict(model, parts[part], self.data)
            found[f"{part}_found_unshifted"] = _found(logits, labels, place)
            logits[:, place] += shift
            found[f"{part}_found"] = _found(logits, labels, place)
            found[f"{part}_corrected"] = evaluation.accuracy(logits, labels)
        return found

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return one entry per class left out: of either kind what is found (see `interval`) and the accuracy."""
        rows = self.current(rows)
        entries = []
        for missing in self.names:
            entry: dict[str, Any] = {"missing": missing}
            for kind in ("labels", "answers"):
                about = self._about(kind, missing)
                values = column(rows, "test_found", about)
                if len(values) > 1:
                    entry[kind] = {
                        "found": interval(values),
                        "found_unshifted": mean(column(rows, "test_found_unshifted", about)),
                        "corrected": interval(column(rows, "test_corrected", about)),
                        "shift": mean(column(rows, "shift", about)),
                    }
            entries.append(entry)
        return {"student": self.model, "classes": entries}

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        found = self.summary(rows)
        lines = []
        for entry in found["classes"]:
            for kind in ("labels", "answers"):
                if of := entry.get(kind):
                    unshifted = f"{of['found_unshifted']:.1%}"
                    lines.append(
                        (entry["missing"], kind, unshifted, told(of["found"]), told(of["corrected"]))
                    )
        header = ("never shown", "learned from", "found as it is", "found with the shift, %", "accuracy, %")
        return f"{found['student']}; mean over seeds (95 % interval).\n\n{table(header, lines)}"


def shift_for_share(logits: Tensor, place: int, share: float) -> float:
    """Return what to add to one class's logit so that it is the highest for a given share of the images.

    No label is needed, only how common the class is. Hinton, Vinyals and Dean 2015, section 3, raise the bias of the
    missing class instead until the test accuracy is highest.

    Args:
        logits: [N, C].
        place: of the class.
        share: of the N images, between 0 and 1.
    """
    others = logits.clone()
    others[:, place] = -torch.inf
    return float(torch.quantile(others.amax(dim=1) - logits[:, place], share))


def _found(logits: Tensor, labels: Tensor, place: int) -> float:
    return evaluation.accuracy(logits[labels == place], labels[labels == place])
