from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kdcourse import models
from kdcourse.data import Augmentation, Dataset, Split
from kdcourse.distillation import Ensemble, distil, freeze, soft_targets
from kdcourse.evaluation import predict
from kdcourse.models.layout import arranged, suits_channels_last
from kdcourse.models.preprocessed import Preprocessed
from kdcourse.training import fit

LAST = torch.channels_last
ONCE = {
    "epochs": 2, "seed": 0, "batch_size": 20, "learning_rate": 0.05, "precision": "float32", "device": "cpu",
    "progress": False,
}  # fmt: skip
TAUGHT = {**ONCE, "temperature": 2.0, "alpha": 0.9, "cache": False}


def stripes() -> Dataset:
    """A bright stripe whose place is the class: 12x12 in colour, so that both layouts differ."""

    def split(count: int, seed: int) -> Split:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 3
        images = torch.randint(0, 60, (count, 3, 12, 12), generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            image[:, :, 4 * label : 4 * label + 4] += 150
        return Split(images.to(torch.uint8), labels)

    return Dataset("stripes", ("left", "middle", "right"), split(60, 1), split(30, 2), split(30, 3))


class Flattening(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6 * 10 * 10, 3)

    def flat(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.flat(torch.relu(self.conv(x))))


class Viewing(Flattening):
    """What many networks hold: view, not flatten."""

    def flat(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)


class ViewingInTraining(Flattening):
    def flat(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1) if self.training else x.flatten(1)


class Strided(Flattening):
    """Works in both layouts, and gives another answer."""

    def flat(self, x: Tensor) -> Tensor:
        return x.as_strided((len(x), 600), (600, 1))


def fresh(kind: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind()


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "alone": Viewing,
    "in training alone": ViewingInTraining,
    "scripted": lambda: torch.jit.script(Viewing()),
    "data-parallel": lambda: nn.DataParallel(Viewing()),
    "compiled": lambda: torch.compile(Viewing(), backend="eager"),
    "preprocessed": lambda: Preprocessed(
        Viewing(), size=None, mean=(0.5,) * 3, std=(0.25,) * 3, data=stripes()
    ),
    "part of another": lambda: nn.Sequential(Viewing()),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_network_that_views_its_maps_is_a_student_a_teacher_and_a_member(kind: str) -> None:
    data, student = stripes(), fresh(WRAPPED[kind])
    fit(student, data, **{**ONCE, "epochs": 8})
    alone = predict(student, data.test, data)
    assert (alone.argmax(1) == data.test.labels).float().mean() > 0.9
    distil(fresh(WRAPPED[kind]), student, data, **TAUGHT)
    if kind != "compiled":  # which can't be copied
        distil(fresh(Flattening), student, data, **TAUGHT, augmentation=Augmentation(shift=1))
        pair = Ensemble([student, copy.deepcopy(student)])
        torch.testing.assert_close(predict(pair, data.test, data), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "suits"),
    [(Flattening, True), (Viewing, False), (Strided, False), (ViewingInTraining, False)],
)
def test_channels_last_is_taken_where_it_works_and_gives_the_same_answer(
    kind: Callable[[], nn.Module], suits: bool
) -> None:
    data, network = stripes(), fresh(kind)
    images = data.normalise(data.train.images[:4])
    before = copy.deepcopy(network.state_dict())
    assert suits_channels_last(network, images) is suits
    assert arranged(network, images).is_contiguous(memory_format=LAST) is suits
    assert all(torch.equal(now, before[name]) for name, now in network.state_dict().items())
    fit(network, data, **ONCE)
    assert network.conv.weight.is_contiguous(memory_format=LAST) is suits
    frozen = freeze(network)
    frozen(images)
    if kind is not ViewingInTraining:  # which is asked in eval mode
        assert frozen.network.conv.weight.is_contiguous(memory_format=LAST) is suits


def test_a_trial_leaves_statistics_modes_and_random_numbers_as_they_were() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(400, 3)
    )
    network[1].eval()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    assert suits_channels_last(network, torch.randn(4, 3, 12, 12, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(now, before[name]) for name, now in network.state_dict().items())
    assert network.training and not network[1].training and network[2].training


def test_our_own_networks_are_taken_at_their_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "deepcopy", lambda *_: pytest.fail("was tried"))
    network = models.build("pocket_2k", in_channels=3)
    assert suits_channels_last(network, torch.zeros(2, 3, 28, 28))
    assert suits_channels_last(torch.compile(network, backend="eager"), torch.zeros(2, 3, 28, 28))


def test_stored_answers_of_a_network_that_views_are_its_own() -> None:
    data, network = stripes(), fresh(Viewing)
    stored = soft_targets(network, data.train, data, cache=False, dtype=torch.float32, progress=False)
    index = torch.arange(len(data.train))
    with torch.no_grad():
        expected = network(data.normalise(data.train.images))
    torch.testing.assert_close(stored.logits(stored.views[0], index), expected, rtol=0, atol=1e-5)
