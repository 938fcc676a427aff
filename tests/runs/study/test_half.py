from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdcourse import evaluation
from kdcourse.data import View, fashion_mnist
from kdcourse.errors import CheckpointError
from kdcourse.files import shipped
from kdcourse.runs import teachers
from kdcourse.runs.study import half
from tests.runs import tiny


def test_the_halves_are_stratified_and_share_no_image() -> None:
    data = fashion_mnist()
    mine, others = half.halves(data)
    assert len(mine) == len(others) == 27_500
    assert torch.cat([mine, others]).sort().values.equal(torch.arange(55_000))
    for part in (mine, others):
        assert data.train.labels[part].bincount().tolist() == [2_750] * 10
    assert half.teachers_data(data).train.digest.startswith("08721b45d2938ef2")


def test_answers_are_made_by_command_and_belong_to_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    quick = tuple(
        recipe.changed(model="pocket_2k", epochs=1, batch_size=16) for recipe in teachers.RECIPES[:2]
    )
    monkeypatch.setattr(teachers, "RECIPES", quick)
    data, said = tiny.dataset(), []
    made = half.make_answers(data, tmp_path, say=said.append, progress=False)
    assert len(said) == 2 and made.logits.shape == (48, 3) and made.logits.dtype == torch.float16
    assert made.notes["ensemble"]["test_accuracy"] == made.accuracy
    assert [each["settings"]["name"] for each in made.notes["teachers"]] == ["teacher_1", "teacher_2"]

    unseen = half.unseen_data(data)
    some = torch.tensor([5, 1, 30])
    views = (View(number=0), View(number=1))
    targets = made.targets(unseen.train.subset(some), views, some)
    for view in views:
        assert targets.logits(view, torch.arange(3)).equal(made.logits[some].float())

    before = (tmp_path / half.FILE).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(half, "soft_targets", None)  # nothing is computed again
        assert half.make_answers(data, tmp_path, say=said.append, progress=False).digest == made.digest
    assert len(half.load_answers(data, tmp_path).logits) == 48
    with pytest.raises(CheckpointError, match=r"belong to other images.*kdcourse study teachers"):
        half.load_answers(tiny.dataset(train=90), tmp_path)
    (tmp_path / half.FILE).write_bytes(before[:-1])
    with pytest.raises(CheckpointError, match="is not the file that was stored"):
        half.load_answers(data, tmp_path)
    assert half.make_answers(data, tmp_path, say=said.append, progress=False).digest == made.digest
    assert (tmp_path / half.FILE).read_bytes() == before


@pytest.mark.skipif(not (shipped("study") / half.FILE).exists(), reason="no answers are stored")
def test_the_stored_answers_are_about_the_unseen_half_and_better_than_any_of_their_teachers() -> None:
    data = fashion_mnist()
    answers, unseen = half.load_answers(data), half.unseen_data(data)
    assert answers.logits.shape == (27_500, 10) and answers.logits.dtype == torch.float16
    right = evaluation.accuracy(answers.logits.float(), unseen.train.labels)
    assert right == pytest.approx(answers.notes["ensemble"]["unseen_accuracy"], abs=2e-4)
    assert len(answers.notes["teachers"]) == 5
    for each in answers.notes["teachers"]:
        assert each["settings"]["data"] == half.teachers_data(data).train.digest[:16]
        assert each["test_accuracy"] < answers.accuracy
