from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from kdcourse import evaluation, models
from kdcourse.data import SegmentationDataset
from kdcourse.distillation import Ensemble
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study import engine, masks, study_named
from kdcourse.runs.study import rows as rows_module
from kdcourse.runs.study.masks import Masks, repeated
from kdcourse.training import fit
from tests.runs import tiny


class FewMasks(Masks):
    search_seeds: Sequence[int] = (0,)
    test_seeds: Sequence[int] = (10, 11)
    numbers: Sequence[int] = (8, 64)
    searched: Sequence[int] = (8, 64)
    recipe = StudentRecipe(model="pocket_unet").changed(epochs=2, batch_size=16)
    search_epochs = 1
    added: Sequence[str] = ("borders", "pairwise")
    added_seeds, long_seeds = 2, 2
    plenty = 128


@pytest.fixture(scope="module")
def data() -> SegmentationDataset:
    return tiny.scenes()


@pytest.fixture
def study(data: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FewMasks:
    monkeypatch.setattr(rows_module, "cache_folder", lambda: tmp_path / "cache")
    torch.manual_seed(0)
    # Three classes by their colour.
    teacher = nn.Conv2d(3, 3, 1)
    fit(teacher, data, epochs=3, batch_size=8, learning_rate=0.1, seed=0, progress=False)
    monkeypatch.setattr(masks, "SEGMENTATION", replace(masks.SEGMENTATION, live=FewMasks.recipe))
    made = FewMasks(lambda: data, tmp_path)
    made.__dict__["_teacher"] = Ensemble([teacher])
    made.__dict__["_plenty"] = tiny.scenes(made.plenty)
    return made


@pytest.mark.slow
def test_the_study_runs_from_search_to_summary(study: FewMasks, data: SegmentationDataset) -> None:
    rows = engine.run(study, engine.Options(precision="float32"), lambda _: None)
    assert sum(row["phase"] == "search" for row in rows) == len(study.candidates())
    tested = [row for row in rows if row["phase"] == "test"]
    assert len(tested) == 2 * (8 + len(study.added))
    assert all(row["recipe"]["epochs"] == (4 if "long" in row["about"] else 2) for row in tested)
    teachers = evaluation.evaluate_segmentation(study._teacher, data.test, data).mean_iou
    assert {row.get("test_teachers_iou", teachers) for row in tested} == {teachers}
    found = study.summary(rows)
    assert [entry["masks"] for entry in found["masks"]] == [8, 64] and found["teachers"] == teachers
    iou = {
        kind: [
            row["test_iou"]
            for row in tested
            if row["about"]["kind"] == kind and not {"added", "long"} & row["about"].keys()
        ]
        for kind in ("answers", "both")
    }
    plain = [row["test_iou"] for row in tested if row["about"] == {"kind": "masks", "masks": 8}]
    assert found["few"]["difference"]["mean"] == pytest.approx((sum(iou["answers"]) - sum(plain)) / 2)
    assert found["all"]["accuracy"] == pytest.approx(sum(iou["both"]) / 2)
    assert found["few"]["plain"]["accuracy"] == pytest.approx(sum(plain) / 2)
    long = [
        row["test_iou"] for row in tested if row["about"] == {"kind": "answers", "scenes": 64, "long": True}
    ]
    assert found["long"]["accuracy"] == pytest.approx(sum(long) / 2)
    for entry, about in (
        (found["plenty"]["plain"], {"kind": "masks", "masks": 8, "long": True, "shown": 128}),
        (found["plenty"], {"kind": "answers", "scenes": 128, "long": True}),
    ):
        own = [row["test_iou"] for row in tested if row["about"] == about]
        assert entry["accuracy"] == pytest.approx(sum(own) / 2)
    assert {entry["method"] for entry in found["added"]} == set(study.added)
    for entry in found["added"]:
        own = [row["test_iou"] for row in tested if row["about"].get("added") == entry["method"]]
        assert entry["accuracy"] == pytest.approx(sum(own) / 2) and entry["weight"] in (0.1, 1.0, 10.0)
        assert entry["difference"]["mean"] == pytest.approx((sum(own) - sum(iou["answers"])) / 2)
    assert found["added"][0]["accuracy"] >= found["added"][1]["accuracy"]
    drawn = study.curves(rows)
    assert drawn is not None and [len(line) for line in drawn.lines.values()] == [2, 2]
    told = study.text(rows)
    assert "answers to 64 scenes" in told and "64 masks and answers" in told and "pairwise" in told
    # Of other scenes, older: no part of the result.
    other = [row | {"data": "others", "test_iou": 0.0} for row in rows]
    assert study.summary([*other, *rows]) == found
    assert study.curves([]) is None and study.text([])


def test_a_student_of_answers_sees_no_mask(study: FewMasks, data: SegmentationDataset) -> None:
    cell = next(cell for cell in study.candidates() if cell.about["kind"] == "answers")
    student, _ = study.train(cell, 3, "float32")
    blank = replace(data, train=replace(data.train, masks=torch.zeros_like(data.train.masks)))
    other = FewMasks(lambda: blank, study.folder)
    other.__dict__["_teacher"] = study._teacher
    again, _ = other.train(cell, 3, "float32")
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), again.parameters(), strict=True))


def test_the_study_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    study = study_named("masks", tmp_path)
    assert pickle.loads(pickle.dumps(study)).question == study.question


def test_few_scenes_are_repeated_to_an_epoch_of_all() -> None:
    index = repeated(3, 10, seed=1)
    assert len(index) == 10 and len(index.unique()) == 3 and index.bincount().max() == 4
    assert not torch.equal(index, repeated(3, 10, seed=2)) and int(index.max()) < 10
    assert repeated(10, 10, seed=0).unique().tolist() == list(range(10))
    longer = repeated(3, 10, 1, length=25)
    assert len(longer) == 25 and longer[:10].tolist() == index.tolist()


def test_more_answers_and_as_many_steps_on_few_masks(
    study: FewMasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def note(how: StudentRecipe, data: SegmentationDataset, *_: object, **__: object) -> None:
        shown.append((how.training.epochs, len(data.train), len(data.train.images.unique(dim=0))))

    monkeypatch.setattr(masks, "train_student", note)
    for cell in study.longest(study.recipe, study.recipe):
        study.train(cell, 10, "float32")
    assert shown == [(4, 128, 8), (4, 128, 128)]


def test_masks_and_answers_get_as_many_candidates_and_so_does_every_objective() -> None:
    study = Masks(tiny.scenes, Path())
    counts = Counter(str(cell.about) for cell in study.candidates())
    added = {number for about, number in counts.items() if "added" in about}
    assert added == {3} and {number for about, number in counts.items() if "added" not in about} == {2}
    assert len(counts) == 2 + len(study.added)
    assert {cell.recipe.training.epochs for cell in study.candidates()} == {study.search_epochs}


def test_an_objective_is_added_to_the_pixelwise_one_and_gets_fewer_seeds() -> None:
    study = Masks(tiny.scenes, Path())
    winners = {str(cell.about): cell.recipe for cell in study.candidates()}
    cells = study.chosen(lambda about: winners[str(about)])
    for cell in cells[-len(study.added) :]:
        assert [method.name for method in cell.recipe.methods] == ["pixelwise", cell.about["added"]]
        assert cell.recipe.alpha == 1 and cell.recipe.weights == {cell.about["added"]: 10.0}
        assert study.seeds(cell, range(5)) == range(study.added_seeds)
    assert [study.seeds(cell, range(5)) for cell in cells[:4]] == [range(5)] * 4
    assert [cell.about.get("shown", cell.about.get("scenes")) for cell in cells[4:8]] == [
        None,
        4000,
        16_000,
        16_000,
    ]
    epochs = study.recipe.training.epochs
    for cell in cells:
        assert cell.recipe.training.epochs == (2 * epochs if "long" in cell.about else epochs)
        if "long" in cell.about:
            assert study.seeds(cell, range(5)) == range(study.long_seeds)


def test_the_student_has_at_most_30_thousand_parameters() -> None:
    model = models.build("pocket_unet", num_classes=6, in_channels=3)
    assert sum(p.numel() for p in model.parameters()) <= 30_000
