from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from kdcourse import evaluation, models
from kdcourse.data import TextDataset, text_dataset
from kdcourse.errors import CheckpointError
from kdcourse.runs import language
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study import engine
from kdcourse.runs.study import language as module
from kdcourse.runs.study import rows as rows_module
from kdcourse.runs.study.language import KL, PLAIN, TEXTS, THREE, Language, few_chapters
from kdcourse.training import fit, load_weights

WORDS = (
    "the",
    "cat",
    "sat",
    "on",
    "mat",
    "and",
    "a",
    "dog",
    "lay",
    "by",
    "its",
    "door",
    "while",
    "rain",
    "fell",
)
TINY = {"width": 8, "depth": 1, "heads": 1}


def chapter(number: int) -> str:
    order = torch.randperm(len(WORDS), generator=torch.Generator().manual_seed(number))
    return f"{number}: " + " ".join(WORDS[place] for place in order) + "."


@pytest.fixture(scope="module")
def text() -> TextDataset:
    return text_dataset("tiny", [chapter(number) for number in range(60)], context=24)


class Few(Language):
    test_seeds: Sequence[int] = (10, 11)
    recipe = StudentRecipe(model="gpt_50k").changed(epochs=1, batch_size=4, optimizer="adamw")
    steps, chapters, written = 3, 3, 5
    rates: Sequence[float] = (1e-3, 2e-3)


@pytest.fixture
def study(text: TextDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Few:
    monkeypatch.setattr(rows_module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(module, "_PROMPT", 4)
    monkeypatch.setattr(module, "_CONTINUED", (2, 8))
    monkeypatch.setattr(module, "_TAUGHT", (KL, "on_policy"))
    monkeypatch.setattr(module, "teacher_text", _short(module.teacher_text))
    made = Few(lambda: text, tmp_path)
    made.__dict__["teachers"] = [_teacher(text, seed) for seed in range(3)]
    return made


def _teacher(text: TextDataset, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = models.build("gpt", data=text, **TINY)
    fit(
        model, text, epochs=2, batch_size=16, learning_rate=0.01, optimizer="adamw", seed=seed, validate=False,
        progress=False,
    )  # fmt: skip
    return model.eval()


def _short(write: object) -> object:
    return lambda *args, **settings: write(*args, prompt=4, **settings)  # type: ignore[operator]


@pytest.mark.slow
def test_the_study_runs_from_search_to_summary(study: Few, text: TextDataset) -> None:
    rows = engine.run(study, engine.Options(precision="float32"), lambda _: None)
    search = [row for row in rows if row["phase"] == "search"]
    assert len(search) == 5 * 2 and {row["about"]["text"] for row in search} == {"little"}
    tested = [row for row in rows if row["phase"] == "test"]
    assert len(tested) == 5 * 2 * 2
    assert {row["answers"] is None for row in tested if row["about"]["method"] == PLAIN} == {True}
    assert (
        len({row["answers"] for row in tested if row["about"]["method"] != PLAIN}) == 2
    )  # one teacher, and three
    found = study.summary(rows)
    bits = evaluation.bits_per_byte(study.teachers[0], text.test).mean
    assert found["teachers"][KL] == pytest.approx(bits) and found["teachers"][THREE] != found["teachers"][KL]
    for amount, entries in found["text"].items():
        assert {entry["row"] for entry in entries} == {PLAIN, TEXTS, KL, "on_policy", THREE}, amount
        means = [entry["bits"]["mean"] for entry in entries]
        assert means == sorted(means)
        taught = next(entry for entry in entries if entry["row"] == KL)
        mine, plain = (
            [r["test_bits_per_byte"] for r in tested if r["about"] == {"method": m, "text": amount}]
            for m in (KL, PLAIN)
        )
        expected = sum(mine) / 2 - sum(plain) / 2
        assert taught["difference"]["mean"] == pytest.approx(expected)
        gap = taught["gap_recovered"]
        assert gap["gap"] == pytest.approx(sum(plain) / 2 - bits)
    said = study.text(rows)
    assert "3 chapters:" in said and "All chapters:" in said and f"one teacher {bits:.3f}" in said


def test_every_student_takes_the_same_steps_on_its_own_text(
    study: Few, text: TextDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, TextDataset] = {}

    def note(how: StudentRecipe, shown: TextDataset, teacher: object, **_: object) -> tuple[None, None]:
        seen[f"{row}, {amount}"] = shown
        assert how.training.epochs == 1
        return None, None

    monkeypatch.setattr(module, "train_student", note)
    for row in (PLAIN, TEXTS):
        for amount in ("little", "much"):
            study.train(engine.Cell({"method": row, "text": amount}, study._recipe(row, 1e-3)), 10, "float32")
    assert {len(shown.train) for shown in seen.values()} == {study.steps * 4}
    little = few_chapters(text, 3, 10)
    assert text.train.document[little].unique().numel() == 3
    known = {tuple(tokens) for tokens in text.train.tokens[little].tolist()}
    assert {tuple(tokens) for tokens in seen["plain, little"].train.tokens.tolist()} <= known
    # What the teacher writes begins like the student's own text, and goes on otherwise.
    begun = {tokens[:4] for tokens in known}
    texts = [tuple(tokens) for tokens in seen[f"{TEXTS}, little"].train.tokens.tolist()]
    assert {tokens[:4] for tokens in texts} <= begun and not set(texts) & known


def test_teachers_are_trained_once_and_loaded_with_a_checksum(
    text: TextDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = tuple(recipe.changed(model="gpt_50k", epochs=1) for recipe in language.RECIPES[:2])
    monkeypatch.setattr(language, "RECIPES", quick)
    monkeypatch.setattr(language, "shipped", lambda _: tmp_path)
    said: list[str] = []
    language.train_teachers(text, tmp_path, say=said.append, batch_size=8)
    first, second = language.load_teachers(text)
    assert len(said) == 2 and not torch.equal(first.token.weight, second.token.weight)  # type: ignore[union-attr, arg-type]
    when = (tmp_path / "gpt_1.safetensors").stat().st_mtime_ns
    language.train_teachers(text, tmp_path, say=said.append, batch_size=8)
    assert (tmp_path / "gpt_1.safetensors").stat().st_mtime_ns == when
    notes = load_weights(models.build("gpt_50k", data=text), tmp_path / "gpt_1.safetensors")
    assert notes["settings"]["warm_up"] == 0.05 and json.dumps(notes)
    other = text_dataset("other", ["eins", "zwei", "drei"], vocabulary=260, context=24)
    with pytest.raises(
        CheckpointError, match=r"trained for the classes .* and 247 more.*kdcourse teachers --task language"
    ):
        language.load_teachers(other)
    (tmp_path / "gpt_2.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="not the file that was stored"):
        language.load_teachers(text)
