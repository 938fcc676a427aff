"""Measure which temperature suits which student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from kdcourse import evaluation, models
from kdcourse.distillation import kd_divergence
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study import half
from kdcourse.runs.study.engine import Cell
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import column, compared, mean, table, told, told_difference
from kdcourse.runs.study.unseen import BATCH, IMAGES, Unseen, epochs_of, on_answers, on_labels

_ASKED = 5_000  # unseen images on which a trained student is compared with its teachers


class Temperature(Unseen):
    """Train students of several sizes on answers at several temperatures, all else equal; nothing is chosen.

    Attributes:
        names: of the students.
        temperatures: of the answers.
        steps: of every student.
        long: steps of the smallest, which shows whether time alone was short.
    """

    name = "temperature"
    question = "Which temperature suits which student?"
    names: Sequence[str] = ("pocket_2k", "pocket_17k", "mlp_25k", "pocket_6k", "pocket_60k")
    temperatures: Sequence[float] = (1.0, 4.0, 2.0, 8.0)
    steps, long = 1_000, 6_000

    def candidates(self) -> Sequence[Cell]:
        """Return no candidates: every setting is a result."""
        return []

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return labels and every temperature, for every student; then the smallest student for longer."""
        lengths = [(name, self.steps) for name in self.names] + [(self.names[0], self.long)]
        return [
            cell
            for name, steps in lengths
            for cell in (self._cell(name, steps), *(self._cell(name, steps, t) for t in self.temperatures))
        ]

    def _cell(self, name: str, steps: int, temperature: float | None = None) -> Cell:
        recipe = StudentRecipe(model=name).changed(epochs=epochs_of(IMAGES, steps), batch_size=BATCH)
        if name.startswith("mlp"):
            recipe = recipe.changed(optimizer="adamw", learning_rate=3e-3, weight_decay=1e-2)
        about = {"kind": "labels", "model": name, "steps": steps}
        if temperature is None:
            return Cell(about, on_labels(recipe))
        return Cell(about | {"kind": "answers", "temperature": temperature}, on_answers(recipe, temperature))

    def measures(self, model: nn.Module, cell: Cell, phase: str) -> dict[str, float]:
        """Return how far the student is from its teachers on images of the transfer set.

        ``kl_1`` and ``kl_4`` are ``KL(p || q)`` at T = 1 and T = 4, in nats, ``agreement`` the share of images with the
        same answer.
        """
        theirs = self.shipped.logits[:_ASKED].float()
        logits = evaluation.predict(model, self.unseen.train.images[:_ASKED], self.unseen)
        found = {f"kl_{t:g}": float(kd_divergence(logits, theirs, t)) / t**2 for t in (1.0, 4.0)}
        return found | {"agreement": float((logits.argmax(1) == theirs.argmax(1)).float().mean())}

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return one entry per student, number of steps and temperature, by size and temperature."""
        rows, teacher, entries = self.current(rows), half.read_answers(self.folder).accuracy, []
        lengths = sorted(
            [(name, self.steps) for name in self.names] + [(self.names[0], self.long)], key=_size
        )
        for name, steps in lengths:
            plain = self._cell(name, steps).about
            for temperature in sorted(self.temperatures):
                about = self._cell(name, steps, temperature).about
                entry = compared(rows, plain, about, teacher)
                if "taught" in entry:
                    means = {
                        key: mean(column(rows, key, about))
                        for key in ("validation_accuracy", "kl_1", "kl_4", "agreement")
                    }
                    entries.append(
                        {"model": name, "steps": steps, "temperature": temperature, **means, **entry}
                    )
        return {"teachers": teacher, "students": entries}

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        header = (
            "student", "steps", "T", "labels, %", "answers, %", "difference", "gap recovered", "KL, T = 1",
            "KL, T = 4",
        )  # fmt: skip
        lines = [
            (
                entry["model"], f"{entry['steps']:,}", f"{entry['temperature']:g}", told(entry.get("plain")),
                told(entry["taught"]), *told_difference(entry), f"{entry['kl_1']:.4f}", f"{entry['kl_4']:.4f}",
            )
            for entry in self.summary(rows)["students"]
        ]  # fmt: skip
        return f"Mean over seeds (95 % interval).\n\n{table(header, lines)}"


def _size(length: tuple[str, int]) -> tuple[int, int]:
    return models.names()[length[0]], length[1]
