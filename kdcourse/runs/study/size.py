"""Measure what distillation is worth in parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kdcourse import models
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study import half
from kdcourse.runs.study.engine import Cell, Curves
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import (
    compared,
    interval,
    point,
    table,
    told,
    told_difference,
    told_worth,
    worth,
)
from kdcourse.runs.study.unseen import Unseen, on_answers, on_labels
from kdcourse.runs.trials import GENTLE


class Size(Unseen):
    """Train students of all sizes on all unseen images, on their labels and on the teachers' answers.

    The largest has the size of one teacher: Hinton, Vinyals and Dean 2015, section 4, distil an ensemble into one
    network of its members' size. What a single network of that size reaches on labels of its half, the teachers show.

    Attributes:
        names: of the students.
        few: of the students that take too long for all seeds, and how many seeds they get.
        searched: the student whose settings all others take over.
        epochs: of the trainings.
    """

    name = "size"
    question = "How many parameters is distillation worth?"
    names: Sequence[str] = ("pocket_17k", "pocket_60k", "pocket_6k", "pocket_2k", "residual_104k", "teacher")
    few: tuple[Sequence[str], int] = (("residual_104k", "teacher"), 3)
    searched = "pocket_17k"
    epochs = 12

    def candidates(self) -> Sequence[Cell]:
        """Return three candidates for either kind: half the epochs, which shows whether longer helps, and two more."""
        short = {"epochs": self.epochs // 2}
        ways: Sequence[tuple[float, dict[str, Any]]] = (
            (4.0, {"augmentation": GENTLE}), (4.0, {"augmentation": GENTLE} | short),
        )  # fmt: skip
        return [
            *(self._cell("labels", self.searched, None, **how) for _, how in ways),
            self._cell("labels", self.searched),
            *(self._cell("answers", self.searched, t, **how) for t, how in ways),
            self._cell("answers", self.searched, 4.0),
        ]

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return both kinds of every size."""
        recipes = {
            kind: best({"kind": kind, "model": self.searched}).changed(epochs=self.epochs)
            for kind in ("labels", "answers")
        }
        return [
            Cell({"kind": kind, "model": name}, recipe.changed(model=name))
            for name in self.names
            for kind, recipe in recipes.items()
        ]

    def _cell(self, kind: str, name: str, temperature: float | None = None, **changes: Any) -> Cell:
        recipe = StudentRecipe(model=name).changed(**{"epochs": self.epochs} | changes)
        taught = on_labels(recipe) if temperature is None else on_answers(recipe, temperature)
        return Cell({"kind": kind, "model": name}, taught)

    def seeds(self, cell: Cell, seeds: Sequence[int]) -> Sequence[int]:
        """Return fewer seeds for the largest students."""
        names, count = self.few
        return seeds[:count] if cell.about["model"] in names else seeds

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return one entry per size, and what answers are worth in parameters.

        An entry of ``sizes`` has ``plain`` and ``taught``, their comparison, and ``worth``: the number of parameters of
        a plain student that reaches what the distilled one does. ``single`` is one teacher's accuracy, ``ensemble``
        that of all.
        """
        rows, answers = self.current(rows), half.read_answers(self.folder)
        entries, curve = [], []
        for name in sorted(self.names, key=lambda each: models.names()[each]):
            found = compared(
                rows, {"kind": "labels", "model": name}, {"kind": "answers", "model": name}, answers.accuracy
            )
            size = models.names()[name]
            if "plain" in found:
                curve.append({"parameters": size, **found["plain"]})
            entries.append({"model": name, "parameters": size, **found})
        for entry in entries:
            if "taught" in entry:
                entry |= worth(entry["taught"]["accuracy"], curve, "parameters")
        single = [each["test_accuracy"] for each in answers.notes["teachers"]]
        return {
            "sizes": entries,
            "single": interval(dict(enumerate(single))),
            "ensemble": answers.accuracy,
            "teachers": sum(each["parameters"] for each in answers.notes["teachers"]),
        }

    def curves(self, rows: Sequence[Row]) -> Curves | None:
        """Return the accuracy against the number of parameters, on labels and on answers; ``None`` without both."""
        found = self.summary(rows)
        lines = {
            name: [point(entry["parameters"], entry[kind]) for entry in found["sizes"] if kind in entry]
            for name, kind in (("true labels", "plain"), ("teachers' answers", "taught"))
        }
        if not all(lines.values()):
            return None
        said = ""
        if counted := [entry for entry in found["sizes"] if "worth" in entry]:
            best = max(counted, key=lambda entry: entry["worth"] / entry["parameters"])
            ratio = best["worth"] / best["parameters"]
            said = (
                f"With {best['parameters']:,} parameters, distillation is worth a factor of {ratio:.1f}: on true "
                f"labels, a student as good needs {best['worth']:,.0f} parameters."
            )
        return Curves(
            title="Students of several sizes on the images that the teachers never saw",
            x="parameters",
            lines=lines,
            teacher=found["ensemble"],
            finding=said,
            command=f"kdcourse study {self.name}",
        )

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        found = self.summary(rows)
        header = ("student", "parameters", "labels, %", "answers, %", "difference", "gap recovered", "worth")
        lines = [
            (
                entry["model"], f"{entry['parameters']:,}", told(entry.get("plain")), told(entry.get("taught")),
                *told_difference(entry), told_worth(entry, entry["parameters"], "times"),
            )
            for entry in found["sizes"]
        ]  # fmt: skip
        title = (
            f"One teacher: {told(found['single'])} %; the ensemble: {found['ensemble']:.2%}. Mean over seeds (95 % "
            "interval); worth: parameters of a plain student as good."
        )
        return f"{title}\n\n{table(header, lines)}"
