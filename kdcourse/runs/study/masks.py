"""Measure what a few true masks, and what a teacher's answers to scenes without masks, teach a small student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse import evaluation, training
from kdcourse.data import Augmentation, SegmentationDataset, garment_scenes
from kdcourse.distillation import Ensemble, SoftTargets, methods, soft_targets, teacher_digest
from kdcourse.runs.students import StudentRecipe, train_student
from kdcourse.runs.study.engine import Cell, Curves, Study, results
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import (
    against,
    column,
    interval,
    paired,
    point,
    table,
    told,
    told_difference,
    told_points,
)
from kdcourse.runs.tasks import SEGMENTATION

FLIPS = Augmentation(shift=0, flip=True, erase=0.0)
SCENES = (4000, 200, 400)


class Masks(Study):
    """Compare students of N true masks, of the teachers' answers to all scenes without a mask, and of both.

    The images are garment scenes, the teachers three U-Nets that were trained on other scenes. ``masks``: the true
    masks of N scenes, which are chosen with the seed of the student. ``answers``: the teachers' logits for all training
    scenes, and no mask. ``both``: the masks and the logits of all scenes. All take the same number of steps: where N
    scenes are fewer than all, an epoch shows them several times. ``long``: few masks, and answers, for twice as many
    epochs. Then answers to four times as many scenes, for twice as many epochs too, and few masks for as many steps.

    ``answers`` fit the teachers' prediction at every pixel. For four rows, another objective's term is added to that
    one. They have two seeds, because each of their steps takes longer, up to two and a half times as long.

    Settings are searched with one seed and half of the epochs: for 100 masks and for answers, scenes as they are or
    some mirrored; for every other objective the weight of its term, on scenes as they are.

    Attributes:
        recipe: of every student, on masks alone.
        search_epochs: of every candidate.
        numbers: of masks, the most telling ones first.
        searched: the number of masks that settings are searched at, and that of all scenes.
        temperature: of the answers.
        plenty: scenes without a mask, of which all others are the first.
        added: methods whose terms are added to the pixel-wise one.
        added_seeds, long_seeds: how many seeds these rows, and the long ones, get.
    """

    name = "masks"
    question = "With few masks, what are a teacher's answers to unlabelled scenes worth?"
    criterion = "validation_iou"
    reads = staticmethod(partial(garment_scenes, scenes=SCENES))
    files = ()
    search_seeds: Sequence[int] = (0,)
    numbers: Sequence[int] = (100, SCENES[0])
    searched: Sequence[int] = (100, SCENES[0])
    temperature = 1.0
    recipe: StudentRecipe = SEGMENTATION.live.plain()
    search_epochs = 5
    plenty: int = 4 * SCENES[0]
    added: Sequence[str] = ("borders", "channelwise", "pairwise", "cross_image")
    added_seeds, long_seeds = 2, 3

    data: SegmentationDataset  # type: ignore[assignment]

    @cached_property
    def _teacher(self) -> Ensemble:
        return SEGMENTATION.ensemble(self.data)

    @cached_property
    def _every(self) -> int:
        return len(self.data.train)

    @cached_property
    def _plenty(self) -> SegmentationDataset:
        return replace(self.data, train=garment_scenes(scenes=(self.plenty, 1, 1)).train)

    def candidates(self) -> Sequence[Cell]:
        """Return two candidates each for few masks and for answers, and three for every objective, see the class.

        Mirrored scenes are shown in two views, each of which mirrors another half of them.
        """
        few, every = self.searched
        mirrored: dict[str, Any] = {"augmentation": FLIPS, "views": 2}
        answers = _taught(self.recipe, self.temperature, 1.0)
        tries = [
            Cell(about, recipe.changed(**how))
            for about, recipe in (
                (self._about("masks", few), self.recipe),
                (self._about("answers", every), answers),
            )
            for how in ({}, mirrored)
        ]
        tries += [
            Cell(self._about("answers", every, name), _with(answers, name, weight))
            for name in self.added
            for weight in (0.1, 1.0, 10.0)
        ]
        return [replace(cell, recipe=cell.recipe.changed(epochs=self.search_epochs)) for cell in tries]

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return masks at every number, with the settings of few; answers, and both, with the settings of answers.

        Then few masks and answers for twice as long, and answers with every other objective: the settings of answers,
        the weight of the objective.
        """
        few, every = self.searched
        on_masks, on_answers = (
            best(self._about(kind, number)).changed(epochs=self.recipe.training.epochs)
            for kind, number in (("masks", few), ("answers", every))
        )
        weights = {name: best(self._about("answers", every, name)).weights[name] for name in self.added}
        return [
            *(Cell(self._about("masks", number), on_masks) for number in self.numbers),
            Cell(self._about("answers", every), on_answers),
            Cell(self._about("both", every), on_answers.changed(alpha=0.5)),
            self._long(self._about("masks", few, long=True), on_masks),
            self._long(self._about("answers", every, long=True), on_answers),
            *self.longest(on_masks, on_answers),
            *(
                Cell(self._about("answers", every, name), _with(on_answers, name, weight))
                for name, weight in weights.items()
            ),
        ]

    def longest(self, on_masks: StudentRecipe, on_answers: StudentRecipe) -> tuple[Cell, Cell]:
        """Return few masks, and answers to the most scenes, both trained for twice as many epochs of so many scenes."""
        few = self._about("masks", self.searched[0], long=True, shown=self.plenty)
        answers = self._about("answers", self.plenty, long=True)
        return self._long(few, on_masks), self._long(answers, on_answers)

    def _long(self, about: dict[str, Any], recipe: StudentRecipe) -> Cell:
        return Cell(about, recipe.changed(epochs=2 * self.recipe.training.epochs))

    def seeds(self, cell: Cell, seeds: Sequence[int]) -> Sequence[int]:
        """Return fewer seeds for the students with another objective, and for those that are trained for longer."""
        if "added" in cell.about:
            return seeds[: self.added_seeds]
        return seeds[: self.long_seeds] if "long" in cell.about else seeds

    def _about(
        self,
        kind: str,
        number: int,
        added: str | None = None,
        *,
        long: bool = False,
        shown: int | None = None,
    ) -> dict[str, Any]:
        about: dict[str, Any] = {"kind": kind, "masks" if kind != "answers" else "scenes": number}
        further = {"long": long or None, "shown": shown, "added": added}
        return about | {name: value for name, value in further.items() if value is not None}

    def digests(self, cell: Cell) -> dict[str, str | None]:
        """Return the digest of the scenes, and of the teachers where the kind learns from them."""
        teacher = teacher_digest(self._teacher)[:16] if cell.recipe.distilled else None
        return {"data": self.data.train.digest[:16], "answers": teacher}

    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        """Train a student of one kind."""
        how = cell.recipe.changed(seed=seed, precision=precision, validate=False)
        data = self._plenty if cell.about.get("scenes") == self.plenty else self.data
        number = cell.about.get("masks", self._every)
        if number < self._every:
            few = repeated(number, self._every, seed, cell.about.get("shown", self._every))
            data = replace(data, train=data.train.subset(few))
        return train_student(how, data, self._targets(how, data) if how.distilled else None, progress=False)

    def _targets(self, recipe: StudentRecipe, data: SegmentationDataset) -> SoftTargets:
        key = (data.train.digest, *(view.key for view in recipe.views))
        if self._held is None or self._held[0] != key:
            self._held = None  # makes room: they are gigabytes
            made = soft_targets(self._teacher, data.train, data, views=recipe.views, progress=False)
            self._held = (key, made)
        return self._held[1]

    _held: tuple[tuple[str, ...], SoftTargets] | None = None

    def scores(self, model: nn.Module) -> dict[str, float | None]:
        """Return the model's pixel accuracy, mean IoU and boundary IoU on the test split."""
        found = evaluation.evaluate_segmentation(model, self.data.test, self.data)
        return {
            "test_accuracy": found.pixel_accuracy,
            "test_iou": found.mean_iou,
            "test_boundary_iou": found.boundary_iou,
        }

    def measures(self, model: nn.Module, cell: Cell, phase: str) -> dict[str, float]:
        """Return the ensemble's mean IoU on the test split, so that a summary needs neither scenes nor teachers."""
        return {"test_teachers_iou": self._teacher_iou} if phase == "test" and cell.recipe.distilled else {}

    @cached_property
    def _teacher_iou(self) -> float:
        return evaluation.evaluate_segmentation(self._teacher, self.data.test, self.data).mean_iou

    def current(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of the test phase that were trained as the search chose, on the latest scenes and answers."""
        for part in ("data", "answers"):
            latest = next((row[part] for row in reversed(rows) if row[part] is not None), None)
            rows = [row for row in rows if row[part] in (None, latest)]
        return results(self, rows)

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the mean IoU (as ``accuracy``, see `interval`) of every kind, and what answers add.

        ``masks`` has an entry per number of masks, in increasing order. ``few`` compares the fewest searched masks with
        answers alone, ``long`` does so for the longer trainings, ``plenty`` for still longer ones, with answers to more
        scenes; ``all`` compares all masks with all masks and answers: the first of the two as ``plain``, the
        difference, the gap recovered. ``added`` has an entry per further objective, the best first: its mean IoU, and
        its difference from answers alone.
        """
        rows = self.current(rows)
        if not rows:
            return {"masks": []}
        every = self.searched[-1]
        taught_rows = [row for row in rows if "test_teachers_iou" in row]
        teacher: float | None = taught_rows[-1]["test_teachers_iou"] if taught_rows else None
        by_number = {number: self._iou(rows, "masks", number) for number in sorted(self.numbers)}
        answers, both = self._iou(rows, "answers", every), self._iou(rows, "both", every)
        found: dict[str, Any] = {
            "student": {"model": self.recipe.model, "parameters": rows[-1]["parameters"]},
            "teachers": teacher,
            "masks": [{"masks": n, **interval(iou)} for n, iou in by_number.items() if len(iou) > 1],
        }
        few = self.searched[0]
        for name, plain, taught in (
            ("few", by_number[few], answers),
            (
                "long",
                self._iou(rows, "masks", few, long=True),
                self._iou(rows, "answers", every, long=True),
            ),
            (
                "plenty",
                self._iou(rows, "masks", few, long=True, shown=self.plenty),
                self._iou(rows, "answers", self.plenty, long=True),
            ),
            ("all", by_number[every], both),
        ):
            if teacher is not None and (comparison := against(plain, taught, teacher)):
                found[name] = interval(taught) | comparison | {"plain": interval(plain)}
        entries = [self._against(rows, name, answers) for name in self.added]
        found["added"] = sorted(
            (entry for entry in entries if entry is not None), key=lambda entry: -entry["accuracy"]
        )
        return found

    def _against(self, rows: Sequence[Row], added: str, answers: dict[int, float]) -> dict[str, Any] | None:
        """Return a further objective's entry, compared with answers alone; ``None`` with fewer than 2 paired seeds."""
        about = self._about("answers", self.searched[-1], added)
        iou = column(rows, "test_iou", about)
        own, alone = paired(iou, answers)
        if len(own) < 2:
            return None
        weight = next(row["recipe"][added] for row in rows if row["about"] == about)
        difference = asdict(evaluation.paired_difference(own, alone))
        return {"method": added, "weight": float(weight), **interval(iou), "difference": difference}

    def _iou(self, rows: Sequence[Row], kind: str, number: int, **further: Any) -> dict[int, float]:
        return column(rows, "test_iou", self._about(kind, number, **further))

    def curves(self, rows: Sequence[Row]) -> Curves | None:
        """Return the mean IoU against the number of masks, beside that of answers alone; ``None`` without both."""
        found = self.summary(rows)
        if not found["masks"] or "few" not in found:
            return None
        few, every = self.searched[0], self.searched[-1]
        taught = found["few"]
        return Curves(
            title=f"{self.recipe.model} on garment scenes",
            x="masks",
            lines={
                "true masks": [point(entry["masks"], entry) for entry in found["masks"]],
                f"answers to {every:,} scenes": [point(n, taught) for n in sorted((few, every))],
            },
            teacher=found["teachers"],
            finding=(
                f"Without a single mask, the answers to {every:,} scenes bring the student "
                f"{100 * taught['difference']['mean']:+.1f} points of IoU against {few} masks."
            ),
            command=f"kdcourse study {self.name}",
            score="mean IoU",
        )

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        found = self.summary(rows)
        if not found["masks"]:
            return "There are no results yet."
        every = self.searched[-1]
        lines = [(f"{entry['masks']:,} masks", told(entry), "") for entry in found["masks"]]
        few, times = self.searched[0], 2 * self.plenty // every
        for name, title, plain in (
            ("few", f"answers to {every:,} scenes", None),
            ("all", f"{every:,} masks and answers", None),
            ("long", f"answers to {every:,} scenes, 2 times the steps", f"{few} masks, 2 times the steps"),
            (
                "plenty",
                f"answers to {self.plenty:,} scenes, {times} times the steps",
                f"{few} masks, {times} times the steps",
            ),
        ):
            if name in found:
                if plain is not None:
                    lines.append((plain, told(found[name]["plain"]), ""))
                lines.append((title, told(found[name]), ", ".join(told_difference(found[name]))))
        header = ("learned from", "mean IoU, %", "points, and gap recovered")
        student = found["student"]
        title = (
            f"{student['model']} ({student['parameters']:,} parameters); mean over seeds (95 % interval). The "
            f"teachers: {found['teachers']:.2%}. Answers alone are compared with {few} masks and as many steps, masks "
            "and answers with all masks."
        )
        parts = [title, table(header, lines)]
        if found["added"]:
            parts.append(
                f"Answers to {every:,} scenes, and another term beside the pixel-wise one ({self.added_seeds} seeds):"
            )
            further = [
                (entry["method"], f"{entry['weight']:g}", told(entry), told_points(entry["difference"]))
                for entry in found["added"]
            ]
            parts.append(table(("term", "weight", "mean IoU, %", "points over answers alone"), further))
        return "\n\n".join(parts)


def repeated(number: int, of: int, seed: int, length: int | None = None) -> Tensor:
    """Draw ``number`` of ``of`` scenes with a seed, and repeat them to ``length``, else ``of``: int64 [length].

    An epoch then has as many steps as one of all scenes.
    """
    few = torch.randperm(of, generator=torch.Generator().manual_seed(seed))[:number]
    length = of if length is None else length
    return few.repeat(-(-length // number))[:length]


def _with(recipe: StudentRecipe, added: str, weight: float) -> StudentRecipe:
    """Return a recipe of answers whose objective has another method's term as well."""
    return recipe.changed(methods=(*recipe.methods, *methods.build(added)), weights={added: weight})


def _taught(recipe: StudentRecipe, temperature: float, alpha: float) -> StudentRecipe:
    return recipe.changed(methods=methods.build("pixelwise", temperature=temperature), alpha=alpha)
