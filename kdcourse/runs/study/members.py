"""Measure how much the number and the quality of teachers matter to their student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from kdcourse import evaluation, training
from kdcourse.distillation import teacher_digest
from kdcourse.runs import teachers
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study import half
from kdcourse.runs.study.engine import Cell, Say
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import accuracies, against, interval, table, told, told_points
from kdcourse.runs.study.unseen import BATCH, IMAGES, Unseen, epochs_of, on_answers

FILE = "members.safetensors"


class Members(Unseen):
    """Train one student on the answers of one to five teachers, all else equal; nothing is chosen.

    The teachers' weights don't come with the course: ``kdcourse study teachers`` trains them.

    Attributes:
        model, steps, temperature: of every student.
        members: how many of the five teachers answer.
    """

    name = "members"
    question = "Does a student need many teachers?"
    files = (f"{half.TEACHERS}/{FILE}",)
    model, steps, temperature = "pocket_60k", 1_000, 4.0
    members: Sequence[int] = (1, 5, 3, 2, 4)

    @property
    def _file(self) -> Path:
        return self.folder / half.TEACHERS / FILE

    def prepare(self, say: Say) -> None:
        """Store each teacher's answers beside its weights.

        Raises:
            CheckpointError: the teachers aren't there, or are damaged.
        """
        if self._file.exists():
            return
        mine = half.teachers_data(self.data)
        names = [recipe.name for recipe in teachers.RECIPES]
        found = [model for _, model, _ in teachers.load_teachers(self.folder / half.TEACHERS, mine, names)]
        logits = [evaluation.predict(model, self.unseen.train, self.data).half() for model in found]
        notes = {
            "members": [
                {"digest": teacher_digest(model), "test_accuracy": self.test_accuracy(model)}
                for model in found
            ]
        }
        training.weights.write_tensors(self._file, {"logits": torch.stack(logits)}, notes)
        say(f"answers of {len(found)} teachers in {self._file}")

    @cached_property
    def _stored(self) -> tuple[torch.Tensor, list[dict[str, Any]]]:
        tensors, notes = training.weights.read_tensors(self._file)
        return tensors["logits"], notes["members"]

    def answers(self, cell: Cell) -> half.Answers:
        """Return the mean of the first members' logits."""
        logits, notes = self._stored
        count = cell.about["members"]
        digest = "-".join(member["digest"][:16] for member in notes[:count])
        return half.Answers(logits[:count].float().mean(dim=0).half(), {"ensemble": {"digest": digest}})

    def candidates(self) -> Sequence[Cell]:
        """Return no candidates: every setting is a result."""
        return []

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return one student per number of members."""
        recipe = StudentRecipe(model=self.model).changed(
            epochs=epochs_of(IMAGES, self.steps), batch_size=BATCH
        )
        return [Cell({"members": count}, on_answers(recipe, self.temperature)) for count in self.members]

    def sources(self) -> Sequence[half.Answers] | None:
        """Return what identifies the answers, where the teachers are in the folder."""
        if not self._file.exists():
            return None
        return [self.answers(cell) for cell in self.chosen(lambda _: StudentRecipe(model=self.model))]

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return one entry per number of members, with the student's accuracy (see `interval`) and its lead over one.

        ``lead`` is the paired difference to the student of one member.
        """
        rows, entries = self.current(rows), []
        one = accuracies(rows, members=1)
        for count in sorted(self.members):
            values = accuracies(rows, members=count)
            if len(values) > 1:
                lead = against(one, values, 1.0).get("difference") if count > 1 else None
                entries.append({"members": count, **interval(values), "lead": lead})
        singles = [each["test_accuracy"] for each in half.read_answers(self.folder).notes["teachers"]]
        return {
            "student": self.model,
            "teachers": singles,
            "ensemble": half.read_answers(self.folder).accuracy,
            "members": entries,
        }

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        found = self.summary(rows)
        lines = []
        for entry in found["members"]:
            lead = ""
            if of := entry["lead"]:
                lead = told_points(of)
            lines.append((str(entry["members"]), told(entry), lead))
        singles = ", ".join(f"{each:.2%}" for each in found["teachers"])
        title = (
            f"{found['student']}; mean over seeds (95 % interval). The teachers: {singles}; all of them together: "
            f"{found['ensemble']:.2%}."
        )
        return f"{title}\n\n{table(('teachers', 'student, %', 'lead over one teacher, points'), lines)}"
