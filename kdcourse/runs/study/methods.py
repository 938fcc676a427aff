"""Compare all distillation methods, each searched alike: the leaderboard."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from kdcourse import evaluation, training
from kdcourse.data import Augmentation, Dataset, stratified_index
from kdcourse.distillation import distil, methods, teacher_digest
from kdcourse.figures.style import listed
from kdcourse.runs import teachers
from kdcourse.runs.memory import added_memory
from kdcourse.runs.students import StudentRecipe, build_student
from kdcourse.runs.study import half
from kdcourse.runs.study.engine import Cell, Say, results
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import column, interval, mean, paired, table, told, told_points
from kdcourse.runs.study.unseen import BATCH, IMAGES, Unseen, epochs_of, on_labels, some_of
from kdcourse.runs.trials import GENTLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAIN, HARD, KD = "plain", "hard answers", "kd"
_CONFIDENCE = 0.95
_TEACHER = teachers.RECIPES[0]  # its layers are compared; see `Methods`
_BEST = 4  # methods that are trained elsewhere, too
_COSTS = ("training_seconds", "added_memory", "extra_parameters")


class Methods(Unseen):
    """Train one student with few labels, many images without any, and each method; settings are searched alike.

    ``plain`` learns from 550 labels alone. All others see all unseen images: the labels of these 550, and for each of
    the others the class that the teachers find likeliest, as if it were its label. ``hard answers`` learns from these
    labels, without a method. A method adds its term: one that compares predictions with weight 0.9 beside labels of
    weight 0.1, as is usual for ``kd``; one that compares hidden layers with a weight of its own beside labels of
    weight 1, as in its paper, and in a second row beside ``kd``.

    Predictions are those of the five teachers together, stored. Layers are those of the first teacher alone, which
    runs along. Where the folder lacks it, it is trained again, and on another kind of processor its weights differ by
    rounding: so rows are told apart by its recipe, and keep the digest of its weights as a mere record.

    Each row has three candidates: settings that its method names, its temperature, or the weight of its term;
    augmentation for ``plain``; augmentation or label smoothing for ``hard answers``. The search trains each for a third
    of the steps that count, which halves the hours of the whole. A method that is added to the course's methods for
    labels is a row of this study.

    Then the four methods with the best validation accuracy, ``kd`` and ``plain`` are trained ``elsewhere``, with the
    settings that won here: with a smaller and a residual student, and with all labels.

    Attributes:
        names: of the methods.
        elsewhere: students and numbers of labels of the further phase.
        few: students that take too long for all seeds, and how many seeds they get.
        model, steps: of every student.
        search_steps: of every candidate.
        labels: the number of images with a label.
        images: the number of all unseen images.
        temperature: of ``kd`` beside another method.
    """

    name = "methods"
    question = "Which distillation methods beat Hinton's?"
    files = ("*.safetensors", f"{half.TEACHERS}/{_TEACHER.name}.safetensors", f"{half.TEACHERS}/SHA256SUMS")
    model, steps, search_steps, labels, images, temperature = "pocket_60k", 1_300, 430, 550, IMAGES, 4.0
    elsewhere: Sequence[tuple[str, int]] = (
        ("pocket_17k", 550),
        ("residual_104k", 550),
        ("pocket_60k", IMAGES),
    )
    few: tuple[Sequence[str], int] = (("residual_104k",), 3)

    def __init__(self, data: Callable[[], Dataset], folder: Path) -> None:
        super().__init__(data, folder)
        known = methods.names("labels")
        self.names: Sequence[str] = sorted(known, key=lambda name: (name != KD, self._deep(name)))
        self._measures: dict[str, Any] = {}

    @staticmethod
    def _deep(name: str) -> bool:
        return methods.describe(name).layers is not None

    def prepare(self, say: Say) -> None:
        """Train the teacher whose layers are compared, where the folder lacks it: 20 minutes on two cores."""
        mine = half.teachers_data(self.data)
        notes = teachers.train_teacher(_TEACHER, mine, self.folder / half.TEACHERS, progress=False)
        accuracy = notes["history"]["epochs"][-1]["validation_accuracy"]
        say(f"{_TEACHER.name}, whose layers are compared: validation accuracy {accuracy:.2%}")

    @cached_property
    def teacher(self) -> nn.Module:
        """Return the teacher whose layers are compared."""
        mine = half.teachers_data(self.data)
        return teachers.load_teachers(self.folder / half.TEACHERS, mine, [_TEACHER.name])[0][1]

    def candidates(self) -> Sequence[Cell]:
        """Return three candidates for every row, see the class."""
        return [cell for row in self._rows() for cell in self._tries(row)]

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return every row with the settings that won."""
        return [Cell(_about(row), self._full(best(_about(row)), row)) for row in self._rows()]

    def further(self, best: Callable[[dict[str, Any]], StudentRecipe], rows: Sequence[Row]) -> Sequence[Cell]:
        """Return ``plain``, ``kd`` the four best others by validation accuracy, for each of ``elsewhere``."""
        found = {name: column(rows, "validation_accuracy", _about(name)) for name in self._rows()}
        others = [name for name, values in found.items() if values and name not in (PLAIN, HARD, KD)]
        four = sorted(others, key=lambda name: -mean(found[name]))[:_BEST]
        return [
            Cell(
                _about(name, model, labels),
                self._full(best(_about(name)), name, labels).changed(model=model),
            )
            for model, labels in self.elsewhere
            for name in (PLAIN, KD, *four)
        ]

    def seeds(self, cell: Cell, seeds: Sequence[int]) -> Sequence[int]:
        """Return fewer seeds for the students that take long."""
        names, count = self.few
        return seeds[:count] if cell.about.get("model") in names else seeds

    def _full(self, recipe: StudentRecipe, row: str, labels: int = 0) -> StudentRecipe:
        return recipe.changed(epochs=self._epochs(row, self.steps, labels or self.labels))

    def _epochs(self, row: str, steps: int, labels: int) -> int:
        """Return a row's epochs; one that sees images with a label alone takes as many steps as the others."""
        epochs = epochs_of(self.images, steps)
        return epochs_of(labels, epochs * (self.images // BATCH)) if row == PLAIN else epochs

    def _rows(self) -> list[str]:
        return [PLAIN, HARD, *self.names, *(f"{KD} + {name}" for name in self.names if self._deep(name))]

    def _tries(self, row: str) -> list[Cell]:
        epochs = self._epochs(row, self.search_steps, self.labels)
        every = StudentRecipe(model=self.model).changed(epochs=epochs, batch_size=BATCH)
        ways: Sequence[dict[str, Any]]
        gentle: dict[str, Any] = {"augmentation": GENTLE}
        if row == PLAIN:
            ways = ({}, gentle, {"augmentation": Augmentation()})
            return [Cell(_about(row), on_labels(every, **way)) for way in ways]
        if row == HARD:
            ways = ({}, gentle, {"label_smoothing": 0.1})
            return [Cell(_about(row), on_labels(every, **way)) for way in ways]
        *beside, name = row.split(" + ")
        if not beside and not self._deep(name) and (tries := self._settings_tried(name)):
            built = (methods.build(name, **settings) for settings in tries)
            return [Cell(_about(row), every.changed(methods=each, alpha=0.9)) for each in built]
        used = (
            (*methods.build(beside, temperature=self.temperature), *methods.build(name))
            if beside
            else methods.build(name)
        )
        alpha = 0.9 if beside else 0.0
        return [
            Cell(_about(row), every.changed(methods=used, alpha=alpha, weights={name: weight}))
            for weight in (0.1, 1.0, 10.0)
        ]

    @staticmethod
    def _settings_tried(name: str) -> Sequence[Mapping[str, Any]]:
        about = methods.describe(name)
        if about.tries or "temperature" not in about.settings:
            return about.tries
        return [{"temperature": about.settings["temperature"] * factor} for factor in (0.5, 1.0, 2.0)]

    def digests(self, cell: Cell) -> dict[str, str | None]:
        """Return the digest of the unseen half, and of the answers; with layers that of their teacher's recipe, too."""
        answers = None if cell.about["method"] == PLAIN else self.shipped.digest[:16]
        if answers is not None and cell.recipe.compared:
            answers = _with_layers(answers)
        return {"data": self.unseen.train.digest[:16], "answers": answers}

    def transfer_set(self, cell: Cell, seed: int) -> tuple[Dataset, Tensor | None]:
        """Return the images with a label, or all unseen ones, whose labels but for these are the teachers'."""
        unseen = self.unseen
        known = stratified_index(unseen.train.labels, cell.about.get("labels", self.labels), seed)
        if cell.about["method"] == PLAIN:
            return some_of(unseen, known), known
        labels = self.shipped.logits.float().argmax(1)
        labels[known] = unseen.train.labels[known]
        return replace(unseen, train=replace(unseen.train, labels=labels)), None

    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        """Train a student of one row, and measure what the training costs."""
        how = cell.recipe.changed(seed=seed, precision=precision, validate=False)
        data, _ = self.transfer_set(cell, seed)
        student, used = build_student(how, data), copy.deepcopy(how.methods)
        deep = self.teacher if how.compared else None
        began = time.process_time()
        with added_memory() as most:
            if how.distilled:
                history = distil(
                    student, self.shipped.targets(data.train, how.views), data, how.training, method=used,
                    alpha=how.alpha, weights=how.weights, layers_of=deep, progress=False,
                )  # fmt: skip
            else:
                history = training.fit(student, data, how.training, progress=False)
            memory = most()
        layers = {} if deep is None else {"layers": teacher_digest(deep)[:16]}
        self._measures = (
            layers
            | {
                "training_seconds": round(time.process_time() - began, 1),
                "extra_parameters": sum(
                    p.numel() for method in used for p in method.parameters() if p.requires_grad
                ),
            }
            | ({} if memory is None else {"added_memory": memory})
        )
        return student.cpu(), history

    def measures(self, model: nn.Module, cell: Cell, phase: str) -> dict[str, Any]:
        """Return what the training that has just ended cost, and whose layers it compared.

        ``training_seconds`` of processor time, of all cores; ``added_memory``, the bytes by which the process grew at
        most; ``extra_parameters``, those that the method trained beside the student's; ``layers``, the digest of the
        teacher's weights.
        """
        return self._measures

    def current(self, rows: Sequence[Row], phase: str = "test") -> list[Row]:
        """Return a phase's rows of methods whose search is complete, on today's images and answers."""
        shipped = half.read_answers(self.folder)
        answers = shipped.digest[:16]
        known = (None, answers, _with_layers(answers))
        unseen = shipped.notes["split"]["unseen"][:16]
        rows = [row for row in rows if row["data"] == unseen and row["answers"] in known]
        searched = copy.copy(self)
        searched._rows = lambda: [row for row in self._rows() if self._is_searched(row, rows)]  # type: ignore[method-assign]
        return results(searched, rows, phase)

    def _is_searched(self, row: str, rows: Sequence[Row]) -> bool:
        there = {(str(each["recipe"]), each["seed"]) for each in rows if each["phase"] == "search"}
        return all(
            (str(cell.recipe.settings), seed) in there
            for cell in self._tries(row)
            for seed in self.search_seeds
        )

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return one entry per row, the best first: its test accuracy (see `interval`), comparisons and costs.

        ``against_plain`` and ``against_kd`` are paired differences. The intervals of ``against_kd`` hold for all rows
        at once with 95 % confidence, by Bonferroni's correction: of 20 single intervals, one would exclude 0 by chance.
        ``verdict`` is "better" or "worse" where that interval excludes 0, else "noise". ``times`` is the processor time
        of a training over that of a plain one, ``memory`` the bytes that it adds to the process, both medians.
        ``elsewhere`` has the same comparisons for each student and number of labels of the further phase.
        """
        further = self.current(rows, "further")
        rows = self.current(rows)
        entries = _compared({name: column(rows, "test_accuracy", _about(name)) for name in self._rows()})
        costs = {
            entry["row"]: [list(column(rows, cost, _about(entry["row"])).values()) for cost in _COSTS]
            for entry in entries
        }
        for entry in entries:
            seconds, memory, extra = costs[entry["row"]]
            entry["extra"] = round(extra[0])
            entry["settings"] = next(row["recipe"] for row in rows if row["about"] == _about(entry["row"]))
            if PLAIN in costs:
                entry["times"] = median(seconds) / max(0.1, median(costs[PLAIN][0]))
            if memory:
                entry["memory"] = median(memory)
        elsewhere = []
        for model, labels in self.elsewhere:
            abouts = {name: _about(name, model, labels) for name in self._rows()}
            found = _compared(
                {name: column(further, "test_accuracy", about, "further") for name, about in abouts.items()}
            )
            if found:
                elsewhere.append({"student": model, "labels": labels, "methods": found})
        return {
            "student": self.model,
            "teachers": half.read_answers(self.folder).accuracy,
            "compared": max(1, len(costs.keys() - {KD})),
            "methods": entries,
            "elsewhere": elsewhere,
        }

    def finding(self, found: dict[str, Any]) -> str:
        """Return which methods beat ``kd`` beyond noise, in words, from a `summary`."""
        by = {
            verdict: [
                each["row"]
                for each in found["methods"]
                if each.get("verdict") == verdict and each["row"] != PLAIN
            ]
            for verdict in ("better", "worse", "noise")
        }
        if not any(by.values()):
            return ""
        said = [
            f"Better than kd beyond noise: {listed(by['better'])}."
            if by["better"]
            else "No method beats kd beyond noise."
        ]
        if by["noise"]:
            said.append(f"Not told apart from kd: {listed(by['noise'])}.")
        if by["worse"]:
            said.append(f"Worse: {listed(by['worse'])}.")
        for place in found["elsewhere"]:
            better = [each["row"] for each in place["methods"] if each.get("verdict") == "better"]
            said.append(
                f"With {place['student']} and {place['labels']:,} labels, better than kd beyond noise: "
                f"{listed(better) if better else 'none'}."
            )
        return " ".join(said)

    def figure(self, rows: Sequence[Row]) -> Figure | None:
        """Return the differences from ``kd``, the best method first; ``None`` without any."""
        from kdcourse import figures

        found = self.summary(rows)["methods"]
        if not any("against_kd" in entry for entry in found):
            return None
        ranked = [
            figures.Ranked(
                entry["row"],
                entry["accuracy"],
                evaluation.Interval(**entry["against_kd"]) if "against_kd" in entry else None,
            )
            for entry in found
        ]
        return figures.leaderboard(
            ranked,
            reference=KD,
            title=f"{self.model}, {self.labels:,} labels, {self.images:,} images: methods against {KD}",
            intervals="simultaneous 95 %",
        )

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        found = self.summary(rows)
        lines = []
        for entry in found["methods"]:
            against = [entry.get("against_plain"), entry.get("against_kd")]
            lines.append(
                (
                    entry["row"], told(entry), *("" if of is None else told_points(of) for of in against),
                    entry.get("verdict", ""), f"{entry['times']:.1f}" if "times" in entry else "",
                    f"{entry['memory'] / 1e6:,.0f}" if "memory" in entry else "", f"{entry['extra']:,}",
                )
            )  # fmt: skip
        header = (
            "learns by", "accuracy, %", "over plain", "over kd", "over kd is", "time, x plain", "memory, MB",
            "extra parameters",
        )  # fmt: skip
        title = (
            f"{found['student']}, {self.labels:,} labels, {self.images:,} images; test accuracy, mean over seeds (95 % "
            f"interval). The teachers: {found['teachers']:.2%}. Intervals over kd hold for all {found['compared']} "
            "rows at once. Time and memory are those of the training."
        )
        parts = [f"{title}\n{self.finding(found)}", table(header, lines)]
        for place in found["elsewhere"]:
            best = [
                (
                    entry["row"], told(entry),
                    *("" if of is None else told_points(of) for of in map(entry.get, ("against_plain", "against_kd"))),
                    entry.get("verdict", ""),
                )
                for entry in place["methods"]
            ]  # fmt: skip
            parts += [f"{place['student']}, {place['labels']:,} labels:", table(header[:5], best)]
        return "\n\n".join(parts)


def _with_layers(answers: str) -> str:
    """Return the digest of stored answers, and of the recipe of the teacher whose layers are compared beside them."""
    recipe = hashlib.sha256(json.dumps(_TEACHER.settings, sort_keys=True).encode()).hexdigest()
    return f"{answers}-{recipe[:16]}"


def _about(row: str, model: str | None = None, labels: int = 0) -> dict[str, Any]:
    """Return what a cell of the search and the test phase is about, or with a student, of the further phase."""
    return {"method": row} if model is None else {"method": row, "model": model, "labels": labels}


def _compared(found: dict[str, dict[int, float]]) -> list[dict[str, Any]]:
    """Return entries of test accuracies by row and seed, the best first; rows with a single seed are left out."""
    found = {name: values for name, values in found.items() if len(values) > 1}
    compared = max(1, len(found.keys() - {KD}))
    entries = []
    for name, values in sorted(found.items(), key=lambda item: -mean(item[1])):
        entry: dict[str, Any] = {"row": name, **interval(values)}
        if PLAIN in found and name != PLAIN:
            entry["against_plain"] = _difference(values, found[PLAIN], _CONFIDENCE)
        if KD in found and name != KD:
            of = _difference(values, found[KD], 1 - (1 - _CONFIDENCE) / compared)
            if of is not None:
                verdict = "better" if of["low"] > 0 else "worse" if of["high"] < 0 else "noise"
                entry |= {"against_kd": of, "verdict": verdict}
        entries.append(entry)
    return entries


def _difference(
    values: dict[int, float], others: dict[int, float], confidence: float
) -> dict[str, Any] | None:
    """Return the paired difference over the seeds that both have, or ``None`` for fewer than two."""
    first, second = paired(values, others)
    return asdict(evaluation.paired_difference(first, second, confidence)) if len(first) > 1 else None
