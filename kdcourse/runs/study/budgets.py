"""Measure which temperature helps when there is little time to train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study import half
from kdcourse.runs.study.engine import Cell
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import column, compared, mean, table, told, told_difference
from kdcourse.runs.study.unseen import Unseen, on_answers, on_labels


class Budgets(Unseen):
    """Train for few epochs of all unseen images: on labels, and on answers at each temperature.

    Attributes:
        model: of every student.
        epochs: of the trainings.
        searched: epochs that the learning rate of either kind is searched at; others take over the nearer one's.
        temperatures, rates: of answers; of the search.
    """

    name = "budgets"
    question = "Which temperature helps when there is little time to train?"
    model = "pocket_17k"
    epochs: Sequence[int] = (1, 2, 4, 8)
    searched: Sequence[int] = (1, 4)
    temperatures: Sequence[float] = (1.0, 2.0, 4.0)
    rates: Sequence[float] = (0.025, 0.05, 0.1)

    def candidates(self) -> Sequence[Cell]:
        """Return three learning rates for labels, and for answers at each temperature."""
        # Each temperature has rates of its own: at T = 4 the rate that suits T = 1 may be too high.
        return [
            cell
            for epochs in self.searched
            for rate in self.rates
            for cell in (
                self._labels(epochs, rate), *(self._answers(epochs, t, rate) for t in self.temperatures),
            )
        ]  # fmt: skip

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return labels and every temperature for every number of epochs."""

        def rate(cell: Cell) -> float:
            return best(cell.about).training.learning_rate

        cells = []
        for epochs in self.epochs:
            near = min(self.searched, key=lambda each: abs(each - epochs))
            cells.append(self._labels(epochs, rate(self._labels(near, 0.05))))
            cells += [self._answers(epochs, t, rate(self._answers(near, t, 0.05))) for t in self.temperatures]
        return cells

    def _recipe(self, epochs: int, rate: float) -> StudentRecipe:
        return StudentRecipe(model=self.model).changed(epochs=epochs, learning_rate=rate)

    def _labels(self, epochs: int, rate: float) -> Cell:
        return Cell({"kind": "labels", "epochs": epochs}, on_labels(self._recipe(epochs, rate)))

    def _answers(self, epochs: int, temperature: float, rate: float) -> Cell:
        about = {"kind": "answers", "epochs": epochs, "temperature": temperature}
        return Cell(about, on_answers(self._recipe(epochs, rate), temperature))

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return one entry per number of epochs and temperature, with the validation accuracy to choose by."""
        rows, teacher, entries = self.current(rows), half.read_answers(self.folder).accuracy, []
        for epochs in sorted(self.epochs):
            for temperature in self.temperatures:
                about = self._answers(epochs, temperature, 0.05).about
                entry = compared(rows, self._labels(epochs, 0.05).about, about, teacher)
                if "taught" in entry:
                    validation = mean(column(rows, "validation_accuracy", about))
                    entries.append(
                        {"epochs": epochs, "temperature": temperature, "validation": validation, **entry}
                    )
        return {"student": self.model, "teachers": teacher, "budgets": entries}

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        found = self.summary(rows)
        header = ("epochs", "T", "labels, %", "answers, %", "difference", "gap recovered")
        lines = [
            (
                str(entry["epochs"]), f"{entry['temperature']:g}", told(entry.get("plain")),
                told(entry["taught"]), *told_difference(entry),
            )
            for entry in found["budgets"]
        ]  # fmt: skip
        return f"{found['student']}; mean over seeds (95 % interval).\n\n{table(header, lines)}"
