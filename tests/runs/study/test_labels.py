from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kdcourse.data import View
from kdcourse.distillation import kd_divergence
from kdcourse.distillation.objective import TaughtBatch
from kdcourse.files import CHECKSUMS, sha256, shipped
from kdcourse.runs import teachers
from kdcourse.runs.study import FOLDER, engine, half, study_named
from kdcourse.runs.study import rows as rows_module
from kdcourse.runs.study.labels import Labels, SomeLabels
from kdcourse.runs.study.rows import Row, Rows, identity
from kdcourse.runs.study.summary import worth
from tests.runs import tiny


class Miniature(Labels):
    """Students of 2 k parameters, trained for three steps on some of 48 images."""

    search_seeds, test_seeds = (0,), (1, 2)
    model, batch, steps, long = "pocket_2k", 8, 3, 6
    few, searched, numbers = 9, (24, 9, 48), (24, 9, 48)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Labels:
    """The study in miniature, with the answers of two quick teachers."""
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(rows_module, "cache_folder", lambda: tmp_path / "cache")
    quick = tuple(
        recipe.changed(model="pocket_2k", epochs=1, batch_size=16) for recipe in teachers.RECIPES[:2]
    )
    monkeypatch.setattr(teachers, "RECIPES", quick)
    half.make_answers(tiny.dataset(), tmp_path, say=lambda _: None, progress=False)
    return Miniature(tiny.dataset, tmp_path)


def test_the_whole_study_runs_and_its_table_is_derived_from_its_rows(small: Labels) -> None:
    rows = engine.run(small, engine.Options(precision="float32"), lambda _: None)
    search = [row for row in rows if row["phase"] == "search"]
    assert len(search) == 18 and len(rows) == 18 + 2 * (3 * 2 + 3)
    assert all((row["answers"] is None) == (row["about"]["kind"] == "labels") for row in rows)
    found = small.summary(rows)
    assert [entry["images"] for entry in found["labels"]] == [9, 24, 48]
    assert [entry["about"].get("schedule") for entry in found["few"]] == [None, "long"]
    test = [row for row in rows if row["phase"] == "test"]
    plain, taught = (
        [row["test_accuracy"] for row in test if row["about"] == {"kind": kind, "images": 24}]
        for kind in ("labels", "answers")
    )
    assert len(plain) == len(taught) == 2
    assert found["labels"][1]["accuracy"] == pytest.approx(sum(plain) / 2)
    curves = small.curves(rows)
    assert curves is not None and curves.x == "images" and curves.command == "kdcourse study labels"
    for kind, name in (("labels", "true labels"), ("answers", "teachers' answers")):
        assert curves.lines[name] == [
            {"x": each["images"], **{key: each[key] for key in ("accuracy", "low", "high", "seeds")}}
            for each in found[kind]
        ]
    beaten = [each["images"] for each in found["answers"] if each["difference"]["low"] > 0]
    assert ("beyond noise" in curves.finding) == bool(beaten) and ("they don't" in curves.finding) == (
        len(beaten) < 3
    )
    assert small.curves(search) is None
    assert found["answers"][1]["difference"]["mean"] == pytest.approx((sum(taught) - sum(plain)) / 2)
    text = small.text(rows)
    assert "pocket_2k" in text and text.count("labels alone") == 2
    assert "labels alone" not in small.text(search), "nothing tested yet"

    other_recipe = [row | {"recipe": row["recipe"] | {"epochs": 99}, "test_accuracy": 0.0} for row in test]
    other_images = [row | {"data": "others", "test_accuracy": 0.0} for row in test]
    other_answers = [row | {"answers": "others", "test_accuracy": 0.0} for row in test]
    for stale in (other_recipe, other_images, other_answers):
        assert small.summary([*rows, *stale]) == small.summary([*stale, *rows]) == found
    assert small.summary(rows[1:])["labels"] == [], "an incomplete search chooses nothing"


def test_either_kind_has_as_many_candidates_at_each_number_of_images() -> None:
    cells = study_named("labels", Path()).candidates()
    count: dict[tuple[Any, Any], int] = {}
    for cell in cells:
        key = (cell.about["kind"], cell.about["images"])
        count[key] = count.get(key, 0) + 1
        assert cell.recipe.training.batch_size == Labels.batch
    assert count == {(kind, images): 3 for kind in ("labels", "answers") for images in (550, 5_000, 27_500)}


@pytest.mark.parametrize("images", Labels.numbers)
def test_every_student_gets_about_the_same_number_of_steps(images: int) -> None:
    study = study_named("labels", Path())
    assert isinstance(study, Labels)
    assert study.epochs(images, study.steps) * (images // study.batch) == pytest.approx(study.steps, rel=0.3)


def test_labels_count_where_they_are_known_and_answers_everywhere() -> None:
    generator = torch.manual_seed(0)
    logits, answers = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    truth, index = torch.tensor([0, 2, 1, 1]), torch.tensor([5, 0, 3, 4])
    labelled = torch.tensor([True, False, False, False, True, False])
    batch = TaughtBatch(torch.zeros(4, 1, 28, 28), truth, index, View(), answers)
    found = SomeLabels(labelled, 2.0)(logits, batch)
    known = F.cross_entropy(logits[[1, 3]], truth[[1, 3]], reduction="sum") / 4
    torch.testing.assert_close(found["labels"], known)
    torch.testing.assert_close(found["loss"], known + kd_divergence(logits, answers, 2.0))


CURVE = [
    {"images": 100, "accuracy": 0.7},
    {"images": 1_000, "accuracy": 0.8},
    {"images": 10_000, "accuracy": 0.9},
]


@pytest.mark.parametrize(
    ("accuracy", "curve", "expected"),
    [
        (0.75, CURVE, {"worth": 10**2.5}),
        (0.9, CURVE, {"worth": 10_000}),
        (0.91, CURVE, {"more_than": 10_000}),
        (0.69, CURVE, {"less_than": 100}),
        (0.69, [], {}),
    ],
)
def test_worth_is_read_off_the_curve_of_labels(
    accuracy: float, curve: list[dict[str, Any]], expected: Mapping[str, float]
) -> None:
    assert worth(accuracy, curve) == pytest.approx(expected)


STORED = Rows(shipped(FOLDER), "labels")


@pytest.mark.skipif(not STORED.path.exists(), reason="no rows are stored")
def test_stored_rows_are_whole_and_each_training_is_there_once() -> None:
    rows = STORED.checked()
    assert len(set(map(identity, rows))) == len(rows)
    assert len({row["precision"] for row in rows}) == 1
    study = study_named("labels", STORED.path.parent)
    places: dict[str, list[Row]] = {"search": [], "test": []}
    for row in rows:
        places[row["phase"]].append(row)
    candidates = {str(cell.settings) for cell in study.candidates()}
    assert {str({name: row[name] for name in ("about", "recipe")}) for row in places["search"]} <= candidates
    assert {row["seed"] for row in places["search"]} <= set(study.search_seeds)
    assert {row["seed"] for row in places["test"]} <= set(study.test_seeds)
    assert not any("test_accuracy" in row for row in places["search"])
    listed = (STORED.path.parent / CHECKSUMS).read_text()
    assert f"{sha256(STORED.path)}  labels.jsonl" in listed
