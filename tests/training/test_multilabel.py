"""Images with any number of labels: data, training, distillation, the teacher's check and evaluation."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import Tensor, nn

from kdcourse.data import Augmentation, Batch, MultiLabelDataset, MultiLabelSplit, View
from kdcourse.distillation import check_teacher, distil, soft_targets
from kdcourse.errors import ArgumentError, DataError, TeacherWarning
from kdcourse.evaluation import evaluate_multilabel, predict
from kdcourse.training import (
    MULTILABEL,
    CrossEntropy,
    History,
    MultiLabelRecord,
    balanced_weights,
    cross_entropy,
    evaluate_split,
    fit,
    task_of,
)
from tests.distillation import tiny
from tests.training.toys import FIT, net, plain_net, without_seconds

HOW: dict[str, Any] = FIT | {"epochs": 8, "learning_rate": 0.02, "optimizer": "adamw", "batch_size": 10}

MILD = Augmentation(shift=1, flip=False, erase=0.0)  # which quarters are bright stays


def split(count: int, seed: int) -> MultiLabelSplit:
    """Class k is there where quarter k of an 8x8 image is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(count, 4, generator=generator) < torch.tensor([0.5, 0.4, 0.3, 0.2])
    images = torch.randint(90, (count, 1, 8, 8), generator=generator)
    bright = labels.view(-1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return MultiLabelSplit((images + 150 * bright).to(torch.uint8), labels)


def dataset() -> MultiLabelDataset:
    return MultiLabelDataset("bright", tuple("abcd"), split(80, 0), split(30, 1), split(30, 2))


def reader() -> nn.Module:
    """A teacher that sees how bright each quarter is."""
    teacher = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4, 4))
    teacher[2].weight, teacher[2].bias = nn.Parameter(8 * torch.eye(4)), nn.Parameter(torch.full((4,), -2.0))
    return teacher


@pytest.mark.parametrize("augmentation", [None, MILD])
def test_it_learns_and_is_recorded(tmp_path: Path, augmentation: Any) -> None:
    data, model = dataset(), plain_net()
    told = fit(model, data, augmentation=augmentation, checkpoint=tmp_path / "run", **HOW)
    last = told.last
    assert isinstance(last, MultiLabelRecord) and last.validation_f1 is not None and last.train_f1 is not None
    assert last.validation_f1 > (0.9 if augmentation is None else 0.6) and last.validation_iou is None
    assert last.train_f1 > told.epochs[0].train_f1
    assert evaluate_split(model, data.validation, data) == (last.validation_loss, last.validation_f1)
    logits = predict(model, data.validation, data)
    true = data.validation.labels
    assert last.validation_f1 == pytest.approx(f1_score(true, logits > 0, average="macro"), rel=1e-12)
    assert last.validation_accuracy == pytest.approx(float(((logits > 0) == true).double().mean()), rel=1e-12)
    assert last.validation_loss == pytest.approx(
        float(F.binary_cross_entropy_with_logits(logits, true.float())), rel=1e-6
    )
    again = History.from_json(told.to_json())
    assert again == told and isinstance(again.last, MultiLabelRecord)
    other = plain_net(5)
    assert without_seconds(
        fit(other, data, augmentation=augmentation, checkpoint=tmp_path / "run", **HOW)
    ) == (without_seconds(told))
    assert tiny.same_state(other, tiny.state(model))


def test_other_records_are_as_before() -> None:
    told = fit(plain_net(), tiny.dataset(), **(FIT | {"epochs": 1}))
    assert "f1" not in told.to_json()


def test_counts_add_up_over_batches() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 6), torch.rand(50, 6) < 0.3
    labels[:, 5], logits[:, 5] = False, -1.0  # a class that is nowhere
    sums = sum(
        MULTILABEL.count(z, y.long(), 6) for z, y in zip(logits.split(7), labels.split(7), strict=True)
    )
    assert isinstance(sums, Tensor) and torch.equal(sums, MULTILABEL.count(logits, labels, 6))
    rates = MULTILABEL.rates(sums)
    assert rates.metric == pytest.approx(
        f1_score(labels[:, :5], logits[:, :5] > 0, average="macro"), rel=1e-12
    )
    assert rates.accuracy == pytest.approx(float(((logits > 0) == labels).double().mean()), rel=1e-12)
    nothing = MULTILABEL.count(-torch.ones(3, 2), torch.zeros(3, 2), 2)
    assert MULTILABEL.rates(nothing).metric == 1.0


def test_the_labels_loss() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4), (torch.rand(5, 4) < 0.4).long()
    batch = Batch(torch.zeros(5, 1, 8, 8), labels, torch.arange(5), View())
    assert task_of(labels) is MULTILABEL is task_of(dataset())
    plain = F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    torch.testing.assert_close(cross_entropy(logits, batch), plain.mean())
    smooth = F.binary_cross_entropy_with_logits(logits, labels * 0.8 + 0.1)
    torch.testing.assert_close(CrossEntropy(0.2)(logits, batch), smooth)
    weights = torch.tensor([1.0, 2, 3, 4])
    torch.testing.assert_close(
        CrossEntropy(class_weights=weights.tolist())(logits, batch),
        (plain * weights).sum() / (5 * weights.sum()),
    )
    counts = dataset().train.labels.sum(0)
    assert balanced_weights(dataset()) == pytest.approx((counts.sum() / (4 * counts)).tolist())


@pytest.mark.filterwarnings("ignore::kdcourse.errors.TeacherWarning")
def test_a_student_is_distilled(tmp_path: Path) -> None:
    data, how = dataset(), HOW | {"cache": tmp_path}
    student = plain_net()
    told = distil(student, reader(), data, alpha=0.9, **how)
    assert told.settings["objective"].startswith("mld(temperature=1), alpha=0.9") and told.last.metric > 0.9
    assert set(told.last.parts) == {"labels", "mld"}
    assert told.last.parts["mld"] < 0.3 * told.epochs[0].parts["mld"]
    targets = soft_targets(reader(), data.train, data, cache=tmp_path)
    assert targets.task is MULTILABEL and len(list(tmp_path.glob("*.npy"))) == 1
    again = plain_net()
    distil(again, targets, data, alpha=0.9, **how)
    assert tiny.same_state(again, tiny.state(student))
    on_the_fly = distil(
        plain_net(),
        reader(),
        data,
        alpha=1.0,
        temperature=2.0,
        augmentation=MILD,
        **how,
    )
    assert on_the_fly.last.metric > 0.6 and set(on_the_fly.last.parts) == {"mld"}
    hinted = distil(net(), net(1, width=6), data, method="fitnet", alpha=0.5, **(how | {"epochs": 1}))
    assert hinted.last.parts["fitnet"] > 0


def test_methods_for_one_label_are_refused_and_the_others_named() -> None:
    with pytest.raises(
        ArgumentError, match="kd is for labels, and 'bright' has any number of labels per image"
    ):
        distil(plain_net(), reader(), dataset(), method="kd", alpha=0.5, **HOW)
    with pytest.raises(ArgumentError, match="mld is for multilabel, and 'quarters' has one label per image"):
        distil(plain_net(), reader(), tiny.dataset(), method="mld", alpha=0.5, **HOW)
    other = soft_targets(tiny.quarter_reader(), tiny.dataset().train, tiny.dataset(), cache=False)
    with pytest.raises(ArgumentError, match="these soft targets are for data with one label per image"):
        distil(plain_net(), other, dataset(), alpha=0.5, **HOW)


def test_the_teacher_is_judged_by_its_ranking() -> None:
    data, teacher = dataset(), reader()
    logits = predict(teacher, data.train, data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = check_teacher(teacher, data.train, data)
    assert found == pytest.approx(roc_auc_score(data.train.labels, logits, average="macro"), rel=1e-12)
    tied = reader()
    tied[2].weight.data[0] = 0  # one class gets the same logit for every image
    logits = predict(tied, data.train, data)
    wanted = roc_auc_score(data.train.labels, logits, average="macro")
    assert check_teacher(tied, data.train, data) == pytest.approx(wanted, rel=1e-12)
    other_order = nn.Sequential(teacher, Columns((1, 2, 3, 0)))
    with pytest.warns(
        TeacherWarning, match="ranks an image with a label above one without in .* chance is 50 %"
    ):
        check_teacher(other_order, data.train, data)
    assert check_teacher(other_order, data.train, data, labels=False) is None
    with pytest.raises(ArgumentError, match="numbers from 0 to 1 alone, as a sigmoid does"):
        check_teacher(nn.Sequential(teacher, nn.Sigmoid()), data.train, data)
    with pytest.raises(ArgumentError, match="returns 3 logits, and there are 4 classes"):
        check_teacher(nn.Sequential(teacher, Columns((1, 2, 3))), data.train, data)


class Columns(nn.Module):
    """Chooses logits."""

    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__()
        self.order = list(order)

    def forward(self, logits: Tensor) -> Tensor:
        return logits[:, self.order]


def test_evaluation_is_scikit_learns() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(60, 5), torch.rand(60, 5) < 0.3
    logits = (2 * logits).round() / 2  # ties
    scores = evaluate_multilabel(logits, labels)
    wanted = average_precision_score(labels, logits, average=None)
    assert scores.average_precision.tolist() == pytest.approx(wanted.tolist(), rel=1e-12)
    assert scores.mean_average_precision == pytest.approx(np.mean(wanted), rel=1e-12)
    assert scores.f1.tolist() == pytest.approx(f1_score(labels, logits > 0, average=None).tolist(), rel=1e-12)
    assert scores.mean_f1 == pytest.approx(f1_score(labels, logits > 0, average="macro"), rel=1e-12)
    assert (
        scores.accuracy == pytest.approx(float(((logits > 0) == labels).double().mean())) and scores.n == 60
    )
    labels[:, 2] = False
    rare = evaluate_multilabel(logits, labels)
    assert bool(rare.average_precision[2].isnan()) and 0 < rare.mean_average_precision < 1
    assert evaluate_multilabel(labels.float() - 0.5, labels).mean_average_precision == 1
    assert evaluate_multilabel(labels.float() - 0.5, labels.long()).mean_f1 == 1


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(3), torch.zeros(3), r"found torch.float32 \[3\]"),
        (torch.zeros(3, 2).long(), torch.zeros(3, 2), "finite floating-point numbers; found torch.int64"),
        (torch.full((3, 2), torch.nan), torch.zeros(3, 2), "with NaN or infinity"),
        (torch.zeros(3, 2), torch.zeros(3, 3), r"\[3, 2\] as the logits; found torch.float32 \[3, 3\]"),
        (torch.zeros(3, 2), torch.full((3, 2), 0.5), "bool, or 0 and 1"),
        (torch.zeros(3, 2), torch.zeros(3, 2), "No image has a label"),
    ],
)
def test_evaluation_refuses(logits: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        evaluate_multilabel(logits, labels)


def test_data_that_is_refused() -> None:
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(DataError, match=r"bool tensor \[N, classes\]; found torch.int64 \[3\]"):
        MultiLabelSplit(images, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(DataError, match="3 images and 2 rows"):
        MultiLabelSplit(images, torch.ones(2, 4, dtype=torch.bool))
    right, empty = split(5, 0), MultiLabelSplit(images, torch.zeros(3, 4, dtype=torch.bool))
    with pytest.raises(DataError, match=r"\[N, 3\], one column per class; train has \[5, 4\]"):
        MultiLabelDataset("three", tuple("abc"), right, right, right)
    with pytest.raises(DataError, match="No image of validation in 'none' has a label"):
        MultiLabelDataset("none", tuple("abcd"), right, empty, right)
    part = right.subset(torch.tensor([1, 2]))
    assert len(part) == 2 and part.digest != right.digest
    with pytest.raises(ArgumentError, match=r"must return logits \[2, 4\] .* found \[2, 3\]"):
        fit(nn.Sequential(reader(), Columns((0, 1, 2))), dataset(), **HOW)
