"""Every study but `labels`, in miniature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kdcourse.data import Split, View, fashion_mnist
from kdcourse.errors import ArgumentError
from kdcourse.runs import teachers
from kdcourse.runs.study import STUDIES, engine, half
from kdcourse.runs.study import rows as rows_module
from kdcourse.runs.study.budgets import Budgets
from kdcourse.runs.study.engine import Study
from kdcourse.runs.study.members import Members
from kdcourse.runs.study.missing import Missing, shift_for_share
from kdcourse.runs.study.noise import Noise, noisy_labels, with_noise
from kdcourse.runs.study.size import Size
from kdcourse.runs.study.temperature import Temperature
from tests.runs import tiny


class FewMissing(Missing):
    epochs, names = 2, (tiny.CLASSES[2], tiny.CLASSES[0])


class FewNoise(Noise):
    shares, teacher, members, teacher_steps = (0.5, 0.0), "pocket_2k", 2, 1
    model, images, steps = "pocket_2k", 24, 1


class FewBudgets(Budgets):
    model, epochs, searched, rates, temperatures = "pocket_2k", (1, 2), (1,), (0.05, 0.1), (1.0, 4.0)


class FewTemperature(Temperature):
    names, temperatures, steps, long = ("pocket_2k", "mlp_25k"), (1.0, 4.0), 1, 500


class FewSize(Size):
    names, few, searched, epochs = ("mlp_25k", "pocket_2k"), (("mlp_25k",), 1), "pocket_2k", 2


class FewMembers(Members):
    model, steps, members = "pocket_2k", 1, (1, 2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the answers of two quick teachers, and their weights."""
    monkeypatch.setattr(rows_module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(Study, "search_seeds", (0,))
    monkeypatch.setattr(Study, "test_seeds", (1, 2))
    quick = tuple(
        recipe.changed(model="pocket_2k", epochs=1, batch_size=16) for recipe in teachers.RECIPES[:2]
    )
    monkeypatch.setattr(teachers, "RECIPES", quick)
    half.make_answers(tiny.dataset(), tmp_path, say=lambda _: None, progress=False)
    return tmp_path


def quiet(_: str) -> None:
    return None


@pytest.mark.parametrize(
    ("kind", "search", "test"),
    [
        (FewMissing, 6, 8),
        (FewNoise, 12, 8),
        (FewBudgets, 6, 12),
        (FewTemperature, 0, 18),
        (FewSize, 6, 6),
        (FewMembers, 0, 4),
    ],
)
def test_a_study_runs_from_nothing_to_its_table(
    folder: Path, kind: Callable[[Any, Path], Study], search: int, test: int
) -> None:
    study = kind(tiny.dataset, folder)
    rows = engine.run(study, engine.Options(precision="float32"), quiet)
    assert [sum(row["phase"] == phase for row in rows) for phase in ("search", "test")] == [search, test]
    text, found = study.text(rows), study.summary(rows)
    assert engine.run(study, engine.Options(precision="float32"), quiet) == rows, "nothing is trained twice"
    other = [row | {"data": "others", "test_accuracy": 0.0, "test_found": 0.0} for row in rows]
    assert study.summary([*rows, *other]) == found and study.text(rows) == text
    drawn = study.curves(rows)
    assert (drawn is not None) == isinstance(study, Size) and study.curves([]) is None
    if drawn is not None:
        assert [[point["x"] for point in line] for line in drawn.lines.values()] == [[1_702]] * 2
    empty = study.text([])
    assert len(empty.splitlines()) <= len(text.splitlines()) and "%" in text


def test_every_study_is_listed_with_a_question() -> None:
    for name, study in STUDIES.items():
        assert study.name == name and study.question.endswith("?")


def test_the_shift_gives_a_class_its_share_of_the_answers() -> None:
    logits = torch.randn(1_000, 4, generator=torch.manual_seed(0))
    logits[:, 2] -= 10
    assert not (logits.argmax(dim=1) == 2).any()
    logits[:, 2] += shift_for_share(logits, 2, 0.25)
    assert (logits.argmax(dim=1) == 2).float().mean() == pytest.approx(0.25, abs=0.002)


def test_the_missing_class_is_in_no_transfer_set_and_counted_in_validation_and_test(folder: Path) -> None:
    study = FewMissing(tiny.dataset, folder)
    cell = study.candidates()[-1]
    data, index = study.transfer_set(cell, 0)
    place = data.classes.index(study.names[0])
    assert index is not None and len(data.train) == len(index) < len(study.unseen.train)
    assert place not in data.train.labels and place in data.validation.labels
    assert torch.equal(study.unseen.train.labels[index], data.train.labels)

    class Knows(torch.nn.Module):
        """Finds every class, but the logit of the missing one is 5 too low to win."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            (labels,) = (
                split.labels
                for split in (study.data.validation, study.data.test)
                if torch.equal(study.data.normalise(split.images), images)
            )
            logits = 20.0 * torch.nn.functional.one_hot(labels, 3)
            logits[labels == place] = 1.0
            logits[:, place] = torch.where(labels == place, -4.0, -50.0)
            return logits

    found = study.measures(Knows(), cell, "test")
    assert found["test_found_unshifted"] == 0 and found["test_found"] == found["test_corrected"] == 1


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
def test_noise_changes_that_share_of_labels_to_any_other_class_alike(share: float) -> None:
    labels = torch.arange(20_000) % 10
    split = Split(torch.zeros(20_000, 1, 1, 1, dtype=torch.uint8), labels)
    noisy = with_noise(split, share).labels
    wrong = noisy != labels
    assert wrong.float().mean() == pytest.approx(share, abs=0.01)
    assert torch.equal(with_noise(split, share).labels, noisy) and (noisy <= 9).all() and (noisy >= 0).all()
    if share:
        offsets = torch.bincount(((noisy - labels) % 10)[wrong], minlength=10)[1:]
        assert offsets.min() > 0.8 * offsets.float().mean()
        fewer = with_noise(split, share / 2).labels
        assert torch.equal(fewer[fewer != labels], noisy[fewer != labels])


def test_noise_stays_out_of_validation_and_test(folder: Path) -> None:
    study = FewNoise(tiny.dataset, folder)
    study.prepare(quiet)
    cell = next(cell for cell in study.candidates() if cell.about == {"kind": "labels", "noise": 0.5})
    data, index = study.transfer_set(cell, 0)
    assert (data.train.labels != study.unseen.train.labels[index]).any()
    assert torch.equal(data.validation.labels, study.data.validation.labels)
    assert torch.equal(data.test.labels, study.data.test.labels)
    digests = {study.answers(cell).digest for cell in study.candidates()}
    assert len(digests) == 2, "each share has an ensemble of its own"


def test_members_answer_together(folder: Path) -> None:
    study = FewMembers(tiny.dataset, folder)
    study.prepare(quiet)
    one, both = (study.answers(cell) for cell in study.chosen(lambda _: None))  # type: ignore[arg-type,return-value]
    assert not torch.equal(one.logits, both.logits)
    torch.testing.assert_close(both.logits, half.read_answers(folder).logits, atol=2e-3, rtol=2e-3)


def test_noisy_labels_come_with_the_answers_of_teachers_of_labels_as_wrong() -> None:
    data = fashion_mnist()
    found = noisy_labels(data, 0.4, 2_000, seed=3)
    given = found.data.train.labels
    assert len(given) == len(found.truth) == len(found.logits) == 2_000
    assert float((given != found.truth).float().mean()) == pytest.approx(0.4, abs=0.03)
    assert torch.bincount(found.truth).tolist() == [200] * 10
    right = float((found.logits.argmax(1) == found.truth).float().mean())
    assert right == pytest.approx(found.together, abs=0.03) and found.together > max(found.single) > 0.8
    rows = torch.tensor([5, 0, 1_999])
    assert torch.equal(found.answers.logits(View(), rows), found.logits[rows])
    assert torch.equal(found.data.validation.labels, data.validation.labels)
    again = noisy_labels(data, 0.4, 2_000, seed=3)
    assert torch.equal(again.data.train.images, found.data.train.images) and torch.equal(
        again.truth, found.truth
    )
    clean = noisy_labels(data, 0.0, 100)
    assert torch.equal(clean.data.train.labels, clean.truth)
    with pytest.raises(ArgumentError, match=r"0, 0.2, 0.4 as the share.*found 0.3"):
        noisy_labels(data, 0.3)
