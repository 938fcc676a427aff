"""Objectives: their parts, their own layers, and how one is told from another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import Batch
from kdcourse.distillation import freeze
from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.training import History, Muon, fit, make_optimizer
from kdcourse.training.objective import fingerprint
from tests.distillation import tiny
from tests.training.toys import FIT, net, without_seconds


class Regressing(nn.Module):
    """Pulls its own layer's answer to 1, beside the labels."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(4, 3)

    def forward(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        hint = (self.layer(logits) - 1).square().mean()
        labels = F.cross_entropy(logits, batch.labels)
        return {"loss": labels + hint, "labels": labels, "hint": hint}


def test_parts_are_means_over_the_images_seen() -> None:
    seen: list[float] = []

    def objective(logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        size = logits.square().mean()
        seen.append(size.item())
        return {"loss": F.cross_entropy(logits, batch.labels) + size, "size": size}

    told = fit(net(), tiny.dataset(), objective=objective, **FIT)
    for epoch, record in enumerate(told.epochs):
        assert record.parts == {"size": pytest.approx(sum(seen[4 * epoch : 4 * epoch + 4]) / 4)}
    assert told.part("size") == [record.parts["size"] for record in told.epochs]
    assert told.part("nothing") == [None] * 3
    assert History.from_json(told.to_json()) == told
    old = told.to_json().replace('"parts"', '"was"')
    with pytest.raises(TypeError):
        History.from_json(old)


def test_a_history_from_before_there_were_parts_is_read() -> None:
    told = fit(net(), tiny.dataset(), **FIT)
    text = told.to_json().replace(', "parts": {}', "")
    assert "parts" not in text and History.from_json(text) == told


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_its_layers_are_trained_and_the_model_is_none_the_wiser(optimizer: str) -> None:
    objective, model = Regressing(), net()
    before = tiny.state(objective)
    told = fit(model, tiny.dataset(), objective=objective, optimizer=optimizer, **FIT)
    assert not any(torch.equal(now, before[name]) for name, now in objective.state_dict().items())
    assert told.epochs[0].parts["hint"] > told.last.parts["hint"]
    assert model.state_dict().keys() == net().state_dict().keys()


def test_muon_sorts_the_models_layers_as_without_an_objective() -> None:
    model, objective = net(), Regressing()
    alone = make_optimizer("muon", model, learning_rate=0.1, weight_decay=0.1)
    both = make_optimizer(
        "muon", model, learning_rate=0.1, weight_decay=0.1, further=list(objective.parameters())
    )
    assert isinstance(both, Muon)
    groups = [[id(p) for p in group["params"]] for group in both.param_groups]
    assert groups[:2] == [[id(p) for p in group["params"]] for group in alone.param_groups]
    assert groups[2:] == [[id(objective.layer.weight)], [id(objective.layer.bias)]]
    assert [group["matrix"] for group in both.param_groups] == [True, False, True, False]
    assert [group["weight_decay"] for group in both.param_groups] == [0.1, 0.0, 0.1, 0.0]


def test_what_is_frozen_or_the_models_own_is_not_trained_twice() -> None:
    class Holding(nn.Module):
        def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
            super().__init__()
            self.student, self.teacher = student, freeze(teacher)

        def forward(self, logits: Tensor, batch: Batch) -> Tensor:
            return F.mse_loss(logits, self.teacher(batch.images))

    model, teacher = net(), tiny.quarter_reader()
    holding = Holding(model, teacher)
    before = tiny.state(holding.teacher)
    fit(model, tiny.dataset(), objective=holding, **FIT)
    assert tiny.same_state(holding.teacher, before)


class Stop(Exception):
    """The run is broken off."""


def stop(epoch: int, step: int, loss: float) -> None:
    if (epoch, step) == (1, 2):
        raise Stop


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_broken_run_resumes_bit_for_bit(tmp_path: Path, optimizer: str) -> None:
    settings: dict[str, Any] = FIT | {"optimizer": optimizer}
    whole, objective = net(), Regressing()
    told = fit(whole, tiny.dataset(), objective=objective, **settings)
    settings |= {"checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 1}
    with pytest.raises(Stop):
        fit(net(), tiny.dataset(), objective=Regressing(), after_step=stop, **settings)
    resumed, other = net(5), Regressing(5)
    again = fit(resumed, tiny.dataset(), objective=other, **settings)
    assert without_seconds(again) == without_seconds(told)
    assert tiny.same_state(resumed, tiny.state(whole)) and tiny.same_state(other, tiny.state(objective))


def weighted(weights: list[float]) -> Callable[[Tensor, Batch], Tensor]:
    return lambda logits, batch: F.cross_entropy(logits, batch.labels, weight=torch.tensor(weights))


class Scaled:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        return self.scale * F.cross_entropy(logits, batch.labels)


class Teaching(nn.Module):
    def __init__(self, teacher: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.teacher, self.scale = teacher.requires_grad_(False), scale

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        return self.scale * F.mse_loss(logits, self.teacher(batch.images))


def leaking(slope: float) -> nn.Module:
    return nn.Sequential(*(nn.LeakyReLU(0.3) for _ in range(20)), nn.LeakyReLU(slope))


def with_default(scale: float) -> Callable[..., Tensor]:
    def loss(logits: Tensor, batch: Batch, scale: float = scale) -> Tensor:
        return scale * F.cross_entropy(logits, batch.labels)

    return loss


def called(code: str) -> Any:
    """An object of a class that a notebook's cell defines."""
    space: dict[str, Any] = {}
    exec(f"class Mine:\n    def __call__(self, logits, batch):\n        return {code}", space)
    return space["Mine"]()


PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "closures": (lambda: weighted([1.0] * 4), lambda: weighted([1.0, 9.0, 1.0, 1.0])),
    "code": (
        lambda: lambda logits, batch: F.cross_entropy(logits, batch.labels),
        lambda: lambda logits, batch: 2 * F.cross_entropy(logits, batch.labels),
    ),
    "functions called": (
        lambda: lambda logits, batch: F.cross_entropy(logits, batch.labels),
        lambda: lambda logits, batch: F.multi_margin_loss(logits, batch.labels),
    ),
    "attributes": (lambda: Scaled(1.0), lambda: Scaled(2.0)),
    "code of objects": (lambda: called("logits.mean()"), lambda: called("logits.sum()")),
    "defaults": (lambda: with_default(1.0), lambda: with_default(2.0)),
    "partials": (
        lambda: partial(with_default(1.0), scale=2.0),
        lambda: partial(with_default(1.0), scale=3.0),
    ),
    "frozen teachers": (lambda: Teaching(tiny.Teacher(0)), lambda: Teaching(tiny.Teacher(1))),
    "settings of modules": (lambda: Teaching(tiny.Teacher(), 1.0), lambda: Teaching(tiny.Teacher(), 2.0)),
    "settings of a later part": (lambda: Teaching(leaking(0.1)), lambda: Teaching(leaking(0.2))),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_objectives_without_a_name_are_told_apart(pair: str) -> None:
    one, other = PAIRS[pair]
    model = net()
    assert fingerprint(one(), model) == fingerprint(one(), model) is not None
    assert fingerprint(one(), model) != fingerprint(other(), model)


def test_a_checkpoint_of_another_objective_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    settings: dict[str, Any] = FIT | {"checkpoint": path}
    with pytest.raises(Stop):
        fit(net(), tiny.dataset(), objective=weighted([1.0] * 4), after_step=stop, **settings)
    with pytest.raises(CheckpointError, match=r"another objective: '<lambda>'.*name"):
        fit(net(), tiny.dataset(), objective=weighted([1.0, 9.0, 1.0, 1.0]), **settings)
    assert len(fit(net(), tiny.dataset(), objective=weighted([1.0] * 4), **settings)) == 3


def test_an_objective_that_cannot_be_told_is_refused_on_resuming_only(tmp_path: Path) -> None:
    generator = (1.0 for _ in range(100))  # has no lasting description

    def objective(logits: Tensor, batch: Batch) -> Tensor:
        return next(generator) * F.cross_entropy(logits, batch.labels)

    settings: dict[str, Any] = FIT | {"checkpoint": tmp_path / "run.safetensors", "objective": objective}
    assert fingerprint(objective, net()) is None
    with pytest.raises(Stop):
        fit(net(), tiny.dataset(), after_step=stop, **settings)
    with pytest.raises(CheckpointError, match=r"another objective: 'objective'.*can't be compared"):
        fit(net(), tiny.dataset(), **settings)
    objective.name = "counted"  # type: ignore[attr-defined]
    assert fingerprint(objective, net()) == "counted"


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (lambda z: {"labels": z.mean()}, "under 'loss'; found 'labels'"),
        (lambda z: {"loss": z.mean(), "labels": z}, r"part 'labels' .*found a tensor \[16, 4\]"),
        (lambda z: {"loss": z.mean(), "labels": 3.0}, "part 'labels' .*found float"),
        (lambda z: {"loss": z}, r"one number .*found a tensor \[16, 4\]"),
    ],
)
def test_parts_that_cannot_be_recorded(returned: Any, found: str) -> None:
    with pytest.raises(ArgumentError, match=found):
        fit(net(), tiny.dataset(), objective=lambda z, batch: returned(z), **FIT)
