"""Measure what a teacher's answer to an image is worth, in true labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse import models, training
from kdcourse.data import Augmentation, Batch, Dataset, stratified_index
from kdcourse.distillation import distil, kd_divergence
from kdcourse.distillation.objective import TaughtBatch
from kdcourse.figures.style import listed, percent
from kdcourse.runs.students import StudentRecipe, build_student
from kdcourse.runs.study import half
from kdcourse.runs.study.engine import Cell, Curves
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import HEADER, accuracies, against, interval, line, point, worth
from kdcourse.runs.study.unseen import Unseen, epochs_of, on_answers, some_of
from kdcourse.runs.trials import GENTLE


class SomeLabels:
    """Minimise the distillation term over all images, plus the cross-entropy of those whose label is known.

    ``T^2 KL(p || q)``, mean over the batch, plus the sum of the labelled images' cross-entropies over the batch size.

    Args:
        labelled: bool [N], whether an image of the split has a label.
        temperature: T of the distillation term.
    """

    def __init__(self, labelled: Tensor, temperature: float) -> None:
        self._labelled, self._temperature = labelled, temperature
        self.name = f"kd(temperature={temperature:g}) + labels of {int(labelled.sum())}"

    def __call__(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the student's logits [B, C], with both terms."""
        answers = cast(TaughtBatch, batch).teacher_logits
        known = self._labelled.to(batch.index.device)[batch.index]
        kd = kd_divergence(logits, answers, self._temperature)
        each = F.cross_entropy(logits, batch.labels, reduction="none")
        labels = (each * known).sum() / len(batch)
        return {"loss": kd + labels, "kd": kd, "labels": labels}


class Labels(Unseen):
    """Compare students of N images that the teachers never saw, on labels, on answers, and on both.

    ``labels``: the true labels of the N images. ``answers``: the teachers' logits for the same images, and no label.
    ``both``: N labels, and the answers to all unseen images. The images are drawn with the seed of the student, so the
    intervals cover which images were labelled.

    Attributes:
        model, batch: of every student.
        steps: of every student, whatever the number of its images; 1,000 are 13 epochs of 5,000 images.
        long: steps where images without labels, which cost nothing, are plenty.
        few: the number of labelled images beside images without labels.
        searched: numbers of images that settings are searched at; others take over those of the nearest one.
        numbers: of images, the most telling ones first: wherever the study is interrupted, what is there is complete.
        temperature: of the candidates, but for one, whose temperature is 1.
    """

    name = "labels"
    question = "How many true labels is a teacher's answer worth?"
    model = "pocket_60k"
    batch = 64
    steps = 1_000
    long = 6_000
    few = 550
    searched: Sequence[int] = (5_000, 550, 27_500)
    numbers: Sequence[int] = (5_000, 550, 27_500, 2_000, 15_000, 250, 100)
    temperature = 4.0

    def recipe(self, images: int, temperature: float | None = None, **changes: Any) -> StudentRecipe:
        """Return the recipe of a student of so many images: on their labels, or with a temperature on answers alone."""
        recipe = StudentRecipe(model=self.model).changed(
            epochs=self.epochs(images, self.steps), batch_size=self.batch, **changes
        )
        return recipe if temperature is None else on_answers(recipe, temperature)

    def epochs(self, images: int, steps: int) -> int:
        """Return the number of epochs whose steps come closest to ``steps``, at least 1."""
        return epochs_of(images, steps, self.batch)

    def candidates(self) -> Sequence[Cell]:
        """Return three candidates for either kind at either number: the augmentation for labels, which answers share.

        Erasing hides parts of an image that a stored answer was about, so answers try another temperature in its
        place.
        """
        none: dict[str, Any] = {"augmentation": None}
        gentle, strong = {"augmentation": GENTLE}, {"augmentation": Augmentation()}
        taught = ((self.temperature, none), (self.temperature, gentle), (1.0, gentle))
        return [
            *(
                Cell({"kind": "labels", "images": images}, self.recipe(images, **how))
                for images in self.searched
                for how in (none, gentle, strong)
            ),
            *(
                Cell({"kind": "answers", "images": images}, self.recipe(images, temperature, **how))
                for images in self.searched
                for temperature, how in taught
            ),
        ]

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return both kinds at every number of images; then few labels with all answers, and longer trainings."""

        def at(kind: str, images: int, steps: int) -> StudentRecipe:
            nearest = min(self.searched, key=lambda number: abs(math.log(number / images)))
            return best({"kind": kind, "images": nearest}).changed(epochs=self.epochs(images, steps))

        every, cells = max(self.numbers), list[Cell]()
        for images in self.numbers:
            cells += [
                Cell({"kind": kind, "images": images}, at(kind, images, self.steps))
                for kind in ("labels", "answers")
            ]
            if images == self.few:
                cells.append(Cell(self._both(), at("answers", every, self.steps)))
        longer = {"schedule": "long"}
        return [
            *cells,
            Cell(self._both() | longer, at("answers", every, self.long)),
            Cell({"kind": "labels", "images": self.few} | longer, at("labels", self.few, self.long)),
        ]

    def _both(self) -> dict[str, Any]:
        return {"kind": "both", "labels": self.few, "images": max(self.numbers)}

    def transfer_set(self, cell: Cell, seed: int) -> tuple[Dataset, Tensor | None]:
        """Return so many of the unseen images, drawn with the student's seed."""
        index = stratified_index(self.unseen.train.labels, cell.about["images"], seed)
        return some_of(self.unseen, index), index

    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        """Train a student of one kind on the images that its seed draws."""
        if cell.about["kind"] != "both":
            return super().train(cell, seed, precision)
        how, unseen = cell.recipe.changed(seed=seed, precision=precision, validate=False), self.unseen
        labelled = torch.zeros(len(unseen.train), dtype=torch.bool)
        labelled[stratified_index(unseen.train.labels, cell.about["labels"], seed)] = True
        student = build_student(how, unseen)
        history = distil(
            student, self.shipped.targets(unseen.train, how.views), unseen, how.training,
            objective=SomeLabels(labelled, how.settings["temperature"]), progress=False,
        )  # fmt: skip
        return student.cpu(), history

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return both curves, what answers are worth in labels, and the gap recovered; accuracies are 0 to 1.

        ``labels`` and ``answers`` hold one entry per number of images, in increasing order: the mean test accuracy over
        seeds with its 95 % interval. An entry of ``answers`` also has its lead over labels of the same images, the
        share of the gap between labels and teachers that it recovers, and its `worth`. ``few`` compares few labels with
        few labels and all answers, at either length of training.
        """
        answers = half.read_answers(self.folder)
        teachers, accuracy = answers.notes["teachers"], answers.accuracy
        rows = self.current(rows)
        curves = {kind: self._curve(rows, kind) for kind in ("labels", "answers")}
        for entry in curves["answers"]:
            if plain := accuracies(rows, kind="labels", images=entry["images"]):
                entry |= against(plain, accuracies(rows, kind="answers", images=entry["images"]), accuracy)
            entry |= worth(entry["accuracy"], curves["labels"])
        few = []
        for longer in ({}, {"schedule": "long"}):
            about = self._both() | longer
            plain = accuracies(rows, kind="labels", images=self.few, **longer)
            taught = accuracies(rows, **about)
            if min(len(plain), len(taught)) > 1:
                entry = {"about": about, "plain": interval(plain), **interval(taught)}
                few.append(
                    entry | against(plain, taught, accuracy) | worth(entry["accuracy"], curves["labels"])
                )
        parameters = sum(each["parameters"] for each in teachers)
        return {
            "student": {"model": self.model, "parameters": self._parameters, "steps": self.steps},
            "teachers": {"accuracy": accuracy, "parameters": parameters},
            **curves,
            "few": few,
        }

    @property
    def _parameters(self) -> int:
        return models.names()[self.model]

    def _curve(self, rows: Sequence[Row], kind: str) -> list[dict[str, Any]]:
        points = []
        for images in sorted(self.numbers):
            values = accuracies(rows, kind=kind, images=images)
            if len(values) > 1:
                points.append({"images": images, **interval(values)})
        return points

    def curves(self, rows: Sequence[Row]) -> Curves | None:
        """Return the accuracy against the number of images, on labels and on answers; ``None`` without both."""
        found = self.summary(rows)
        lines = {
            name: [point(entry["images"], entry) for entry in found[kind]]
            for name, kind in (("true labels", "labels"), ("teachers' answers", "answers"))
        }
        if not all(lines.values()):
            return None
        taught = [entry for entry in found["answers"] if "difference" in entry]
        ahead, level = (
            [f"{entry['images']:,}" for entry in taught if (entry["difference"]["low"] > 0) is won]
            for won in (True, False)
        )
        said = []
        if ahead:
            said.append(
                f"The teachers' answers beat the true labels of the same {listed(ahead)} images beyond noise."
            )
        if level:
            said.append(f"At {listed(level)} images they don't.")
        if counted := [entry for entry in taught if "worth" in entry]:
            best = max(counted, key=lambda entry: entry["worth"] / entry["images"])
            ratio = best["worth"] / best["images"]
            said.append(f"At {best['images']:,} images, an answer is worth {ratio:.1f} labels.")
        if found["few"]:
            both, (labels, images) = found["few"][-1], (self.few, max(self.numbers))
            said.append(
                f"With {labels:,} labels and the answers to {images:,} images, the student reaches "
                f"{percent(both['accuracy'])}, on the labels alone {percent(both['plain']['accuracy'])}."
            )
        return Curves(
            title=f"{self.model} on images that the teachers never saw",
            x="images",
            lines=lines,
            teacher=found["teachers"]["accuracy"],
            finding=" ".join(said),
            command=f"kdcourse study {self.name}",
        )

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        found = self.summary(rows)
        student, teachers = found["student"], found["teachers"]
        ratio = teachers["parameters"] / student["parameters"]
        lines = [
            f"{student['model']} ({student['parameters']:,} parameters, 1/{ratio:.0f} of its teachers' together): test "
            "accuracy in %, mean over seeds (95 % interval).",
            f"The teachers, trained on the other half of the images: {teachers['accuracy']:.2%}. The study has "
            f"{len(rows)} rows.",
            "",
            HEADER,
        ]
        curves = [{entry["images"]: entry for entry in found[kind]} for kind in ("labels", "answers")]
        for images in sorted(self.numbers):
            plain, taught = (curve.get(images) for curve in curves)
            if plain or taught:
                lines.append(line(plain, taught, images))
        for entry in found["few"]:
            labels, images = entry["about"]["labels"], entry["about"]["images"]
            title = "longer training" if "schedule" in entry["about"] else "as many steps"
            lines += [
                "",
                f"{labels:,} labels alone, and {labels:,} labels with answers to {images:,} images ({title}):",
                line(entry["plain"], entry, labels),
            ]
        return "\n".join(lines)
