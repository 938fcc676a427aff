"""Measure what distillation, pruning and int8 each save, and what they cost in accuracy."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from statistics import median
from typing import Any

from torch import Tensor, nn

from kdcourse import deploy, evaluation, training
from kdcourse.data import View, stratified_index
from kdcourse.distillation import Ensemble, SoftTargets, distil, methods, soft_targets, teacher_digest
from kdcourse.files import shipped
from kdcourse.runs import recorded, table, teachers, trials
from kdcourse.runs.recipe import TRAINING
from kdcourse.runs.ship import Student, onnx_content, onnx_int8_content
from kdcourse.runs.students import StudentRecipe, train_student
from kdcourse.runs.study.engine import Cell, Study, results
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import column, interval, paired, told, told_points
from kdcourse.runs.study.summary import table as as_table
from kdcourse.runs.study.unseen import some_of

ENSEMBLE, TEACHER = "ensemble", "teacher"
FLOAT, INT8, PLAIN, DISTILLED = "float", "int8", "plain", "distilled"
AWARE, LONGER = "distilled, quantization-aware", "distilled longer, int8"
_MADE = (PLAIN, DISTILLED, f"{DISTILLED}, {INT8}", AWARE, LONGER)  # of every student
STUDENTS = "ship-students"  # folder of trained students, beside the rows
_SEED = 0  # of the student whose time every other is compared with


class Ship(Study):
    """Write each network as an ONNX file, and measure the file: accuracy, bytes, time, and work by type of number.

    Networks are the course's five teachers together; each of them alone, in float, in int8, and pruned, with and
    without distillation as repair; and students of three sizes, plain, distilled, and distilled in int8. Nothing is
    chosen.

    The teachers and the students of 17,000 parameters are those that come with the course, one per seed. Students of
    other sizes have another recipe, so only students of one size are compared with each other. A repair trains the
    pruned network for one epoch of 11,000 images on the ensemble's answers. "Quantization-aware" trains the distilled
    student for one more epoch with rounded numbers, and "distilled longer" for the same epoch without rounding. Columns
    of a row about training and validation are those of the last training, before int8.

    Times are those of one image in onnxruntime with one thread, each taken in turn with that of the plain student of
    17,000 parameters: "times" is the ratio, which other programs change less than milliseconds.

    Attributes:
        stored: the student whose weights come with the course.
        names: of all students.
        few: number of seeds of students that don't come with the course.
        amounts: shares of the teacher's weights that are set to 0.
        student_recipe: of the other students.
        repair: recipe of repairs and of quantization-aware training.
        repaired: number of images of a teacher's repair.
    """

    name = "ship"
    question = "What do distillation, pruning and int8 each save, and what do they cost?"
    files = ()
    test_seeds: Sequence[int] = (0, 1, 2, 3, 4)
    stored = "pocket_17k"
    names: Sequence[str] = ("pocket_17k", "pocket_2k", "pocket_60k")
    few = 3
    amounts: Sequence[float] = (0.5, 0.75, 0.9)
    student_recipe = StudentRecipe(
        model="pocket_2k", methods=methods.build("kd", temperature=2.0), alpha=0.9
    ).changed(epochs=8)
    repair = student_recipe.changed(epochs=1, learning_rate=0.01)
    repaired = 11_000

    def candidates(self) -> Sequence[Cell]:
        """Return no candidates: every setting is a result."""
        return []

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return all networks, those that need no training first."""
        of_teachers = StudentRecipe(model=TEACHER, training=TRAINING)
        repair = self.repair.changed(model=TEACHER)
        stored = [name for name in self.names if name == self.stored]
        return [
            *(self._student(name, made) for name in stored for made in _MADE[:3]),
            *(Cell(_about(TEACHER, made), of_teachers) for made in (FLOAT, INT8)),
            Cell(_about(ENSEMBLE, FLOAT), of_teachers),
            *(Cell(_about(TEACHER, _pruned(amount)), of_teachers) for amount in self.amounts),
            *(self._student(name, made) for name in stored for made in _MADE[3:]),
            *(Cell(_about(TEACHER, _pruned(amount, True)), repair) for amount in self.amounts[::-1]),
            *(self._student(name, made) for name in self.names if name != self.stored for made in _MADE),
        ]  # fmt: skip

    def _student(self, name: str, made: str) -> Cell:
        if made in (AWARE, LONGER):
            return Cell(_about(name, made), self.repair.changed(model=name))
        return Cell(_about(name, made), self._recipe(name, PLAIN if made == PLAIN else DISTILLED))

    def _recipe(self, name: str, kind: str) -> StudentRecipe:
        if name == self.stored:
            return trials.RECORDED[kind]
        recipe = self.student_recipe.changed(model=name)
        return recipe.plain() if kind == PLAIN else recipe

    def seeds(self, cell: Cell, seeds: Sequence[int]) -> Sequence[int]:
        """Return one seed for the ensemble, and fewer for students that don't come with the course."""
        if cell.about["network"] == ENSEMBLE:
            return seeds[:1]
        return seeds if cell.about["network"] in (TEACHER, self.stored) else seeds[: self.few]

    def digests(self, cell: Cell) -> dict[str, str | None]:
        """Return the digest of the training images, and of the teachers where the network is or had one."""
        plain = cell.about["made"] == PLAIN
        return {"data": self.data.train.digest[:16], "answers": None if plain else self._teacher[:16]}

    @cached_property
    def _members(self) -> list[tuple[nn.Module, training.History]]:
        """Return the course's teachers and their histories."""
        found = teachers.load_teachers(shipped("teachers"), self.data)
        return [
            (model, training.History.from_json(json.dumps(notes["history"]))) for _, model, notes in found
        ]

    @cached_property
    def _ensemble(self) -> Ensemble:
        return Ensemble([model for model, _ in self._members])

    @cached_property
    def _teacher(self) -> str:
        return teacher_digest(self._ensemble)

    @cached_property
    def _answers(self) -> SoftTargets:
        return soft_targets(self._ensemble, self.data.train, self.data, progress=False)

    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        """Make one network ready, and keep its file for `scores` and `measures`."""
        network, made = cell.about["network"], cell.about["made"]
        model: nn.Module
        if network == ENSEMBLE:
            model, history = self._ensemble, self._members[0][1]
        elif network == TEACHER:
            model, history = self._as_teacher(cell, seed, precision)
        else:
            model, history = self._as_student(cell, seed, precision)
        self._content = self._file(model, rounded=INT8 in made or made == AWARE)
        return model, history

    def _as_teacher(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        made = cell.about["made"]
        teacher, history = self._members[self.test_seeds.index(seed)]
        model = copy.deepcopy(teacher)
        for amount in self.amounts:
            if made in (_pruned(amount), _pruned(amount, True)):
                deploy.prune_weights(model, amount)
                if made == _pruned(amount, True):
                    index = stratified_index(self.data.train.labels, self.repaired, seed)
                    history = self._taught(model, cell.recipe, seed, precision, index)
                deploy.finish_pruning(model)
        return model, history

    def _as_student(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        name, made = cell.about["network"], cell.about["made"]
        kind = PLAIN if made == PLAIN else DISTILLED
        if name == self.stored:
            model, history = recorded.load(recorded.shipped_folder(), f"{kind}_seed{seed}", self.data)
        else:
            model, history = train_student(
                self._recipe(name, kind), self.data, self._answers if kind == DISTILLED else None, progress=False,
                path=self.folder / STUDENTS / f"{name}_{kind}_seed{seed}.safetensors",
                seed=seed, precision=precision, validate=False,
            )  # fmt: skip
        if made == AWARE:
            deploy.make_quantization_aware(model)
        if made in (AWARE, LONGER):
            history = self._taught(model, cell.recipe, seed, precision)
        if made == AWARE:
            deploy.finish_quantization(model)
        return model, history

    def _taught(
        self, model: nn.Module, recipe: StudentRecipe, seed: int, precision: str, index: Tensor | None = None
    ) -> training.History:
        """Train a network further on the ensemble's answers to all images, or to those of an index."""
        data, targets = self.data, self._answers
        if index is not None:
            logits = targets.logits(View(), index)
            data = some_of(data, index)
            targets = SoftTargets((View(),), [logits], [None], data.train, self._teacher)
        how = recipe.changed(seed=seed, precision=precision, validate=False)
        history = distil(
            model, targets, data, how.training, method=copy.deepcopy(how.methods), alpha=how.alpha, progress=False
        )  # fmt: skip
        model.cpu().eval()
        return history

    def _file(self, model: nn.Module, *, rounded: bool = False) -> bytes:
        return (onnx_int8_content if rounded else onnx_content)(Student(model.eval(), "", self.data, {}), {})

    @cached_property
    def _reference(self) -> deploy.OnnxFile:
        model, _ = recorded.load(recorded.shipped_folder(), f"{PLAIN}_seed{_SEED}", self.data)
        return deploy.OnnxFile(self._file(model))

    def scores(self, model: nn.Module) -> dict[str, float | None]:
        """Return the columns of a row about the test split, of the file's answers."""
        test = self.data.test
        found = table.scores(deploy.OnnxFile(self._content).logits(test.images), test.labels, None)
        return {f"test_{name}": found[name] for name in ("accuracy", "nll", "ece")}

    def measures(self, model: nn.Module, cell: Cell, phase: str) -> dict[str, float]:
        """Return what the file costs.

        ``bytes`` on disk and ``packed_bytes`` after zlib, which shortens zeros; ``zeros``, the share of weights that
        are 0; ``macs_float32`` and ``macs_int8``, multiply-accumulates per image; ``latency_ms``, ``times`` and its
        quartiles ``times_low`` and ``times_high``, see the class.
        """
        macs = evaluation.cost(model, self.data.image_shape, latency=False).macs
        rounded = INT8 in cell.about["made"] or cell.about["made"] == AWARE
        timed = deploy.compare_times(
            self._reference, deploy.OnnxFile(self._content), self.data.test.images[:1]
        )
        return {
            "bytes": len(self._content),
            "packed_bytes": len(zlib.compress(self._content, 9)),
            "zeros": deploy.zero_share(model),
            "macs_float32": 0 if rounded else macs,
            "macs_int8": macs if rounded else 0,
            "latency_ms": timed.second_ms,
            "times": timed.ratio,
            "times_low": timed.ratio_quartiles[0],
            "times_high": timed.ratio_quartiles[1],
        }

    def current(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of the latest teachers and images, made as this version of the study makes them."""
        for part in ("data", "answers"):
            latest = next((row[part] for row in reversed(rows) if row[part] is not None), None)
            rows = [row for row in rows if row[part] in (None, latest)]
        return results(self, rows)

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return one entry per network, in the order of `chosen`, as far as rows go.

        Each has ``network``, ``made``, ``values`` (test accuracy by seed), with at least two seeds their `interval`,
        medians of what `measures` returns, and ``against``: the paired difference to the network that it was made of.
        ``missing`` names the networks without a row.
        """
        rows = self.current(rows)
        entries, missing = [], []
        for cell in self.chosen(lambda _: self.repair):
            values = column(rows, "test_accuracy", cell.about)
            if not values:
                missing.append(" ".join(cell.about.values()))
                continue
            entry: dict[str, Any] = {
                **cell.about,
                "values": values,
                "accuracy": sum(values.values()) / len(values),
            }
            if len(values) > 1:
                entry |= interval(values)
            for name in _MEASURED:
                entry[name] = median(column(rows, name, cell.about).values())
            origin = _origin(cell.about)
            first, second = paired(values, column(rows, "test_accuracy", origin) if origin else {})
            if len(first) > 1:
                entry["against"] = asdict(evaluation.paired_difference(first, second))
            entries.append(entry)
        return {
            "networks": entries,
            "missing": missing,
            "processors": sorted({row["machine"]["processor"] for row in rows}),
            "seeds": max((len(entry["values"]) for entry in entries), default=0),
        }

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""
        found = self.summary(rows)
        if not found["networks"]:
            return "There are no results yet."
        header = (
            "network",
            "",
            "accuracy, %",
            "change, points",
            "bytes",
            "packed",
            "MACs",
            "type",
            "ms",
            "times",
        )
        lines = [
            (
                entry["network"], entry["made"],
                told(entry) if "low" in entry else f"{100 * entry['accuracy']:.2f}",
                told_points(entry["against"]) if "against" in entry else "",
                f"{entry['bytes']:,.0f}", f"{entry['packed_bytes']:,.0f}",
                f"{max(entry['macs_float32'], entry['macs_int8']):,.0f}", "int8" if entry["macs_int8"] else "float",
                f"{entry['latency_ms']:.3f}",
                f"{entry['times']:.2f} ({entry['times_low']:.2f} to {entry['times_high']:.2f})",
            )
            for entry in found["networks"]
        ]  # fmt: skip
        title = (
            f"Test accuracy, mean over up to {found['seeds']} seeds (95 % interval), and its change against "
            "the network that it was made of. Bytes: the ONNX file, and packed by zlib. Times: one image, one thread, "
            f"against the plain {self.stored} (quartiles), on {' and '.join(found['processors'])}."
        )
        missing = f"\n\nNot measured yet: {'; '.join(found['missing'])}." if found["missing"] else ""
        return f"{title}\n{self.finding(found)}\n\n{as_table(header, lines)}{missing}"

    def finding(self, found: dict[str, Any]) -> str:
        """Return what int8 costs and saves, in words, from a `summary`; nothing without a pair of float and int8."""
        entries = {(entry["network"], entry["made"]): entry for entry in found["networks"]}
        said = []
        for (network, made), entry in entries.items():
            origin = _origin({"network": network, "made": made})
            base = entries.get((origin["network"], origin["made"])) if origin else None
            if INT8 not in made or made == LONGER or base is None or "against" not in entry:
                continue
            speed = entry["times"] / base["times"]
            said.append(
                f"int8 makes the file of {network} {base['bytes'] / entry['bytes']:.1f} times smaller, changes its "
                f"accuracy by {100 * entry['against']['mean']:+.2f} points, and takes {speed:.2f} times float's time."
            )
        return " ".join(said)


_MEASURED = (
    "bytes", "packed_bytes", "zeros", "macs_float32", "macs_int8", "latency_ms", "times", "times_low", "times_high",
)  # fmt: skip


def _about(network: str, made: str) -> dict[str, Any]:
    return {"network": network, "made": made}


def _pruned(amount: float, repaired: bool = False) -> str:
    return f"pruned {amount:.0%}{', repaired' if repaired else ''}"


def _origin(about: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the network that one was made of is about: a pruned one for a repaired one."""
    network, made = about["network"], about["made"]
    if network == ENSEMBLE or made in (FLOAT, PLAIN):
        return None
    if network == TEACHER:
        return _about(network, made.removesuffix(", repaired") if "repaired" in made else FLOAT)
    return _about(network, PLAIN if made == DISTILLED else DISTILLED)
