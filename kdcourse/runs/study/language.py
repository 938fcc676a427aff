"""Compare what a small language model learns from text alone, and from larger ones, in several ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse import evaluation, training
from kdcourse.data import TextDataset, austen
from kdcourse.distillation import Ensemble, Remembered, continued, methods, teacher_digest, teacher_text
from kdcourse.runs import language
from kdcourse.runs.students import StudentRecipe, train_student
from kdcourse.runs.study.engine import Cell, Study, results
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.summary import column, paired, table

PLAIN, TEXTS, KL, THREE = "plain", "teacher's texts", "token_kl", "token_kl, three teachers"
ON_POLICY = "on_policy"
_TAUGHT = (KL, "token_reverse_kl", "token_jsd", "token_top_k", ON_POLICY)
_PROMPT = 16  # tokens of the test texts that students continue
_CONTINUED = (64, 64)  # how many beginnings, and by how many tokens


class Language(Study):
    """Train one small GPT on little or much text: plain, on a teacher's probabilities, or on the teacher's own texts.

    Little text is a few chapters, drawn with the student's seed; much is all of them. The teacher's own texts are some
    rows that it wrote, see ``written``, whatever the amount. Every student takes the same number of steps, and every
    row has three candidates of the learning rate, tried on little text with one seed. The teacher is the first of
    three; one row learns from the mean of all three.

    Attributes:
        recipe: of every student; its one epoch shows the rows as often as the steps need.
        steps: of every student.
        rates: learning rates of the search.
        chapters: of little text.
        written: rows of text that the teacher writes.
    """

    name = "language"
    question = "What does a small language model learn from a larger one, and by which method?"
    criterion = "validation_bytes_per_bit"
    reads = staticmethod(austen)
    files = ()
    search_seeds: Sequence[int] = (0,)
    recipe = StudentRecipe(model="gpt_50k").changed(
        epochs=1, batch_size=16, optimizer="adamw", weight_decay=0.1, warm_up=0.05
    )
    steps, chapters, written = 500, 15, 1_600
    rates: Sequence[float] = (5e-3, 1e-2, 2e-2)

    data: TextDataset  # type: ignore[assignment]

    @cached_property
    def teachers(self) -> Sequence[nn.Module]:
        """Return the teachers, of which all rows but one learn from the first."""
        return language.load_teachers(self.data)

    @cached_property
    def _three(self) -> Ensemble:
        return Ensemble(self.teachers)

    def candidates(self) -> Sequence[Cell]:
        """Return three learning rates for every row, on little text."""
        return [
            Cell(_about(row, "little"), self._recipe(row, rate)) for row in _rows() for rate in self.rates
        ]

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return every row with little and with much text, at the rate that won with little."""
        return [
            Cell(_about(row, text), best(_about(row, "little")))
            for row in _rows()
            for text in ("little", "much")
        ]

    def _recipe(self, row: str, rate: float) -> StudentRecipe:
        recipe = self.recipe.changed(learning_rate=rate)
        if row in (PLAIN, TEXTS):
            return recipe
        used = methods.build(KL if row == THREE else row)
        return recipe.changed(methods=used, alpha=1.0 if row == ON_POLICY else 0.9)

    def digests(self, cell: Cell) -> dict[str, str | None]:
        """Return the digest of the text, and of the teacher unless the student is plain."""
        row = cell.about["method"]
        teacher = None if row == PLAIN else teacher_digest(self._teacher_of(row))[:16]
        return {"data": self.data.train.digest[:16], "answers": teacher}

    def _teacher_of(self, row: str) -> nn.Module:
        return self._three if row == THREE else self.teachers[0]

    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        """Train a student of one row."""
        row = cell.about["method"]
        text = self._text(cell.about["text"], seed)
        if row == TEXTS:
            text = self._written(text, seed)
        how = cell.recipe.changed(seed=seed, precision=precision, validate=False)
        shown = _drawn(text, self.steps * how.training.batch_size, seed)  # in one epoch
        teacher = self._asked(row) if how.distilled else None
        return train_student(how, shown, teacher, progress=False)

    def _asked(self, row: str) -> nn.Module:
        """Return the teacher of a row. But for a student's own texts, the same rows come again and again."""
        if row == ON_POLICY:
            return self._teacher_of(row)
        return self._three_remembered if row == THREE else self._one_remembered

    @cached_property
    def _one_remembered(self) -> Remembered:
        return Remembered(self.teachers[0])

    @cached_property
    def _three_remembered(self) -> Remembered:
        return Remembered(self._three)

    def _text(self, amount: str, seed: int) -> TextDataset:
        if amount == "much":
            return self.data
        return replace(self.data, train=self.data.train.subset(few_chapters(self.data, self.chapters, seed)))

    def _written(self, text: TextDataset, seed: int) -> TextDataset:
        """Return the teacher's continuations of rows of ``text``, drawn with ``seed``, some of them more than once."""
        if self._held is None or self._held[0] != (text.train.digest, seed):
            begun = _drawn(text, self.written, seed)
            self._held = (text.train.digest, seed), teacher_text(self.teachers[0], begun, seed=seed)
        return self._held[1]

    _held: tuple[tuple[str, int], TextDataset] | None = None

    def scores(self, model: nn.Module) -> dict[str, float | None]:
        """Return the student's figures on the test chapters, and those of texts that it writes.

        ``test_bits_per_byte``, ``test_accuracy`` of the next token, ``test_ece``, ``test_agreement`` and ``test_kl``
        with the first teacher, ``test_likelihood`` (nats per token that this teacher gives to the student's texts) and
        ``test_repetition``.
        """
        found = evaluation.evaluate_language(model, self.data.test, self.teachers[0])
        rows, count = _CONTINUED
        begun = self.data.test.tokens[:rows, :_PROMPT]
        texts = continued(model, begun, count, generator=torch.Generator().manual_seed(0))
        written = evaluation.score_samples(texts, _PROMPT, self.teachers[0])
        return {
            "test_bits_per_byte": found.bits_per_byte.mean,
            "test_accuracy": found.accuracy,
            "test_ece": found.calibration_error,
            "test_agreement": found.agreement,
            "test_kl": found.kl_to_teacher,
            "test_likelihood": written.likelihood,
            "test_repetition": written.repetition,
        }

    def measures(self, model: nn.Module, cell: Cell, phase: str) -> dict[str, float]:
        """Return in the search what decides it; then the teacher's bits per byte, for the gap recovered."""
        if phase == "search":
            bits = evaluation.bits_per_byte(model, self.data.validation)
            return {self.criterion: 1 / bits.mean}  # 0, which a diverged student gets, is the worst
        return (
            {} if cell.about["method"] == PLAIN else {"test_teacher_bits": self._bits(cell.about["method"])}
        )

    def _bits(self, row: str) -> float:
        name = THREE if row == THREE else KL
        if name not in self._known:
            model = self._teacher_of(name)
            self._known[name] = evaluation.bits_per_byte(model, self.data.test).mean
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, float]:
        return {}

    def current(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of the test phase that were trained as the search chose, on the latest text and teachers."""
        data = next((row["data"] for row in reversed(rows)), None)
        latest = {
            three: next(
                (
                    row["answers"]
                    for row in reversed(rows)
                    if row["answers"] and (row["about"]["method"] == THREE) == three
                ),
                None,
            )
            for three in (False, True)
        }
        return results(
            self,
            [
                row
                for row in rows
                if row["data"] == data and row["answers"] in (None, latest[row["about"]["method"] == THREE])
            ],
        )

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return for little and much text one entry per row, the fewest bits first.

        Each has ``bits`` (mean, low, high, n), the ``accuracy``, ``agreement``, ``likelihood`` and ``repetition`` as
        means; all but plain their ``difference`` from plain in bits per byte, over paired seeds, and the share of the
        gap to the teacher that they close, ``gap_recovered``. ``teachers`` are the bits of one and of all three.
        ``few_and_a_teacher`` are the bits of ``token_kl`` on little text minus those of plain on much.
        """
        rows = self.current(rows)
        found: dict[str, Any] = {"student": {"model": self.recipe.model}, "teachers": {}, "text": {}}
        if not rows:
            return found
        found["student"]["parameters"] = rows[-1]["parameters"]
        for row in rows:
            if "test_teacher_bits" in row:
                name = THREE if row["about"]["method"] == THREE else KL
                found["teachers"][name] = row["test_teacher_bits"]
        for amount in ("little", "much"):
            bits = {row: column(rows, "test_bits_per_byte", _about(row, amount)) for row in _rows()}
            bits = {row: values for row, values in bits.items() if len(values) > 1}
            entries = [self._entry(rows, row, amount, bits, found["teachers"]) for row in bits]
            found["text"][amount] = sorted(entries, key=lambda entry: entry["bits"]["mean"])
        pair = (column(rows, "test_bits_per_byte", _about(*of)) for of in ((KL, "little"), (PLAIN, "much")))
        taught, plain = paired(*pair)
        if len(plain) > 1:
            found["few_and_a_teacher"] = asdict(evaluation.paired_difference(taught, plain))
        return found

    def _entry(
        self,
        rows: Sequence[Row],
        row: str,
        amount: str,
        bits: dict[str, dict[int, float]],
        teachers: dict[str, float],
    ) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "row": row,
            "bits": asdict(evaluation.mean_interval(list(bits[row].values()))),
        }
        for name in ("accuracy", "agreement", "likelihood", "repetition"):
            values = list(column(rows, f"test_{name}", _about(row, amount)).values())
            entry[name] = sum(values) / len(values)
        if row != PLAIN and PLAIN in bits:
            plain, taught = paired(bits[PLAIN], bits[row])
            if len(plain) > 1:
                entry["difference"] = asdict(evaluation.paired_difference(taught, plain))
                teacher = teachers[THREE if row == THREE else KL]
                # Bits are better the fewer they are; the share of the gap is the same with all signs turned.
                entry["gap_recovered"] = asdict(
                    evaluation.gap_recovered([-b for b in plain], [-b for b in taught], -teacher)
                )
        return entry

    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as two tables in plain text."""
        found = self.summary(rows)
        if not found["text"]:
            return "There are no results yet."
        header = (
            "learned by", "bits per byte", "more than plain", "gap recovered", "agreement", "likelihood", "repetition",
        )  # fmt: skip
        student, teachers = found["student"], found["teachers"]
        names = {KL: "one teacher", THREE: "three teachers"}
        said = ", ".join(f"{names[name]} {bits:.3f}" for name, bits in teachers.items())
        parts = [
            f"{student['model']} ({student['parameters']:,} parameters) on the novels of Jane Austen, {self.steps} "
            "steps; test chapters, mean over seeds (95 % interval). Bits per byte, the fewer the better: "
            f"{said}. Likelihood: nats per token that the teacher gives to what the student writes; repetition: share "
            "of four tokens that were there before."
        ]
        for amount, entries in found["text"].items():
            title = f"{self.chapters} chapters:" if amount == "little" else "All chapters:"
            parts += [title, table(header, [_line(entry) for entry in entries])]
        return "\n\n".join(parts)


def few_chapters(text: TextDataset, chapters: int, seed: int) -> Tensor:
    """Return which training rows belong to ``chapters`` documents drawn with a seed: bool [N]."""
    documents = text.train.document.unique()
    drawn = torch.randperm(len(documents), generator=torch.Generator().manual_seed(seed))[:chapters]
    return torch.isin(text.train.document, documents[drawn])


def _drawn(text: TextDataset, rows: int, seed: int) -> TextDataset:
    """Return ``rows`` training rows, in an order drawn with a seed; where there are fewer, each several times."""
    order = torch.randperm(len(text.train), generator=torch.Generator().manual_seed(seed))
    return replace(text, train=text.train.subset(order.repeat(-(-rows // len(order)))[:rows]))


def _rows() -> tuple[str, ...]:
    return (PLAIN, TEXTS, *_TAUGHT, THREE)


def _about(row: str, amount: str) -> dict[str, Any]:
    return {"method": row, "text": amount}


def _line(entry: dict[str, Any]) -> tuple[str, ...]:
    def told(of: dict[str, Any], signed: bool = False) -> str:
        sign = "+" if signed else ""
        return f"{of['mean']:{sign}.3f} ({of['low']:{sign}.3f} to {of['high']:{sign}.3f})"

    difference, gap = entry.get("difference"), entry.get("gap_recovered")
    return (
        entry["row"],
        told(entry["bits"]),
        told(difference, signed=True) if difference else "",
        "" if gap is None else f"{gap['value']:.0%}" if gap["reported"] else "within noise",
        f"{entry['agreement']:.1%}",
        f"{entry['likelihood']:.2f}",
        f"{entry['repetition']:.1%}",
    )
