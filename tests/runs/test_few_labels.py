from __future__ import annotations

import json

import pytest
import torch

from kdcourse.data import Dataset, View, fashion_mnist
from kdcourse.errors import ArgumentError
from kdcourse.files import shipped
from kdcourse.runs.few_labels import few_labels, studied_pairs
from kdcourse.runs.study import half


@pytest.fixture(scope="module")
def data() -> Dataset:
    return fashion_mnist()


def test_labels_are_few_and_answers_belong_to_other_images(data: Dataset) -> None:
    few = few_labels(data, labels=20, unlabelled=40, seed=3)
    assert few.labelled.train.labels.bincount().tolist() == [2] * 10
    assert few.held_back.bincount().tolist() == [4] * 10
    assert few.unlabelled.train.labels.tolist() == [0] * 40  # erased
    assert few.labelled.validation is few.unlabelled.validation is data.validation
    images = [
        image.numpy().tobytes() for part in (few.labelled, few.unlabelled) for image in part.train.images
    ]
    unseen = half.unseen_data(data).train
    places = {image.numpy().tobytes(): place for place, image in enumerate(unseen.images)}
    found = torch.tensor(
        [places[image] for image in images]
    )  # every image is of the half that no teacher saw
    assert len(found.unique()) == 60
    assert unseen.labels[found].equal(torch.cat([few.labelled.train.labels, few.held_back]))
    answers = half.load_answers(data)
    assert few.logits.equal(answers.logits[found[20:]].float())
    assert few.answers.logits(View(), torch.arange(40)).equal(few.logits)
    assert few.teachers_accuracy == answers.notes["ensemble"]["validation_accuracy"]
    assert few.teachers_test_accuracy == answers.notes["ensemble"]["test_accuracy"] != few.teachers_accuracy


def test_the_seed_chooses_the_images(data: Dataset) -> None:
    one, again, other = (few_labels(data, 20, 40, seed=seed).labelled.train.digest for seed in (0, 0, 1))
    assert one == again != other


@pytest.mark.parametrize(("labels", "unlabelled"), [(0, 10), (10, 0), (20_000, 7_501)])
def test_numbers_that_the_half_does_not_have(data: Dataset, labels: int, unlabelled: int) -> None:
    with pytest.raises(ArgumentError, match=r"at most 27,500 together.*found"):
        few_labels(data, labels, unlabelled)


def test_pairs_of_the_study_are_of_one_seed_each() -> None:
    lines = (shipped("study") / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["phase"] == "test"]

    def of(seed: int, kind: str, images: int) -> list[float]:
        about = {"kind": kind, "images": images}
        return [row["test_accuracy"] for row in rows if (row["seed"], row["about"]) == (seed, about)]

    pairs = studied_pairs()
    assert len(pairs) >= 5
    for seed, (plain, distilled) in pairs.items():
        assert plain in of(seed, "labels", 550) and distilled in of(seed, "answers", 5_000)
    with pytest.raises(ArgumentError, match=r"no pair of 7 labels and 5,000 answers"):
        studied_pairs(labels=7)
