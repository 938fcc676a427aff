"""A teacher that is broken is refused, one that seems not to know its task is warned of."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdcourse.data import Dataset, Split
from kdcourse.distillation import Ensemble, check_teacher, distil
from kdcourse.errors import ArgumentError, TeacherWarning
from tests.distillation import tiny

ONCE = {
    "epochs": 1, "seed": 0, "batch_size": 10, "learning_rate": 0.05, "precision": "float32", "device": "cpu",
    "temperature": 2.0, "cache": False, "progress": False,
}  # fmt: skip


class Answering(nn.Module):
    """The quarter reader, its answers changed by a function."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.reader, self.change = tiny.quarter_reader(), change

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.reader(images))


def ruled_out(logits: Tensor) -> Tensor:
    return logits.masked_fill(logits < logits.amax(1, keepdim=True), -torch.inf)


def with_nan(logits: Tensor) -> Tensor:
    logits[:3, 0] = torch.nan
    return logits


BROKEN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "NaN": (with_nan, "NaN or infinity for 3 of 20 images"),
    "infinite": (lambda z: z.masked_fill(z > 0, torch.inf), "NaN or infinity"),
    "no class": (lambda z: torch.full_like(z, -torch.inf), "NaN or infinity for 20 of 20"),
    "fewer": (lambda z: z[:, :3], "returns 3 logits, and there are 4 classes"),
    "more": (lambda z: torch.cat([z, z[:, :1]], 1), "returns 5 logits, and there are 4 classes"),
    "constant": (
        lambda z: torch.tensor([[0.1, 3.0, 0.2, 0.3]]).expand_as(z),
        "the same logits for all of 20",
    ),
    "probabilities": (lambda z: z.softmax(1), "returns probabilities"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_teacher_is_refused(name: str) -> None:
    (change, message), data = BROKEN[name], tiny.dataset()
    for labels in (True, False):
        with pytest.raises(ArgumentError, match=message):
            check_teacher(Answering(change), data.validation, data, labels=labels)


def test_a_single_logit_is_refused() -> None:
    data = tiny.dataset()
    two = [Split(split.images, split.labels % 2) for split in (data.train, data.validation, data.test)]
    pair = Dataset("pair", ("left", "right"), *two)
    with pytest.raises(ArgumentError, match="one logit per image, as networks that end in a sigmoid"):
        check_teacher(Answering(lambda z: z[:, :1]), pair.train, pair)
    both = Answering(lambda z: torch.stack([z[:, ::2].amax(1), z[:, 1::2].amax(1)], 1))
    assert check_teacher(both, pair.train, pair) == 1


@pytest.mark.parametrize("change", [torch.clone, ruled_out, lambda z: z.log_softmax(1)])
def test_a_good_teacher_passes(change: Callable[[Tensor], Tensor]) -> None:
    data = tiny.dataset()
    assert check_teacher(Answering(change), data.validation, data) == 1
    assert check_teacher(Ensemble([tiny.quarter_reader()]), data.validation, data) == 1
    half = tiny.quarter_reader((0, 1, 3, 2))
    with pytest.warns(TeacherWarning, match="predicts d for most images of c, c for most images of d"):
        found = check_teacher(half, data.train, data, images=50, batch_size=7)
    assert found == pytest.approx(0.5)


def test_a_teacher_that_names_the_wrong_classes_is_warned_of_and_the_warning_can_be_silenced() -> None:
    data, wrong = tiny.dataset(), tiny.quarter_reader((1, 2, 3, 0))
    with pytest.warns(
        TeacherWarning, match=r"finds 0\.0% .* 20 images of 'quarters'.*4 classes gives 25\.0%"
    ) as told:
        assert check_teacher(wrong, data.validation, data) == 0
    found = re.search(
        r"warnings\.filterwarnings\('(\w+)', category=(kdcourse\.errors\.\w+)\)", str(told[0].message)
    )
    assert found is not None and found.groups() == ("ignore", "kdcourse.errors.TeacherWarning")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=TeacherWarning)
        check_teacher(wrong, data.validation, data)


def test_rare_classes_count() -> None:
    """Finds every one of the 2 % ill, and about as many healthy ones: right no more often than 'always healthy'."""
    generator = torch.Generator().manual_seed(1)

    def screening(count: int) -> Split:
        labels = torch.zeros(count, dtype=torch.long)
        labels[torch.randperm(count, generator=generator)[: count // 50]] = 1
        images = torch.randint(0, 100, (count, 1, 8, 8), generator=generator)
        images[labels == 1] += 100
        images[torch.randperm(count, generator=generator)[: count // 50]] += 100
        return Split(images.clamp(max=255).to(torch.uint8), labels)

    data = Dataset("screening", ("healthy", "ill"), screening(1000), screening(100), screening(100))

    class Finds(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            bright = images.mean((1, 2, 3)) * 6 - 12
            return torch.stack([-bright, bright], 1)

    class Healthy(Finds):  # right on 98 %, and of no use
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * 0.01 + torch.tensor([5.0, 0.0])

    found = check_teacher(Finds(), data.train, data)
    assert found is not None and found > 0.95
    with pytest.warns(TeacherWarning, match=r"50\.0% of each class's images"):
        check_teacher(Healthy(), data.train, data)


def test_no_labels_are_read_where_none_are_needed() -> None:
    data, teacher = tiny.dataset(), tiny.quarter_reader((1, 2, 3, 0))
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    for how in ({}, {"augmentation": tiny.AUGMENTATION}):  # stored, and on the fly
        with warnings.catch_warnings():
            warnings.simplefilter("error", TeacherWarning)
            distil(copy.deepcopy(student), teacher, data, alpha=1.0, **ONCE, **how)
        with pytest.warns(TeacherWarning):
            distil(copy.deepcopy(student), teacher, data, alpha=0.9, **ONCE, **how)
    same = Dataset(
        "unlabelled", data.classes, Split(data.train.images, torch.zeros_like(data.train.labels)),
        data.validation, data.test,
    )  # fmt: skip
    assert check_teacher(teacher, same.train, same) is None  # one class: nothing to judge by


@pytest.mark.parametrize("wrong", [{"images": 0}, {"batch_size": 0}])
def test_numbers_below_one(wrong: dict[str, Any]) -> None:
    data = tiny.dataset()
    with pytest.raises(ArgumentError, match="found"):
        check_teacher(tiny.quarter_reader(), data.validation, data, **wrong)


def test_asking_leaves_modes_and_statistics_as_they_were() -> None:
    data, network = tiny.dataset(), tiny.Teacher().train()
    network.norm.eval()
    before = tiny.state(network)
    check_teacher(network, data.train, data, labels=False)
    assert network.training and network.drop.training and not network.norm.training
    assert tiny.same_state(network, before)
