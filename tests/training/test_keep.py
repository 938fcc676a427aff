"""The epoch whose weights a network holds in the end: the last, or the best on the validation split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from kdcourse.distillation import distil, methods
from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.training import EpochRecord, History, evaluate_split, fit
from kdcourse.training.run import Run
from kdcourse.training.task import Rates
from kdcourse.training.weights import read_tensors, write_tensors
from tests.distillation import tiny
from tests.training.test_segmentation import dataset as masked
from tests.training.test_segmentation import net as masked_net
from tests.training.toys import FIT, net, without_seconds

HOW = FIT | {"epochs": 6, "optimizer": "adamw", "batch_size": 32}
SCORES = (
    0.2,
    0.5,
    0.9,
    0.4,
    0.9,
    0.3,
)  # stand for the validation accuracies, which differ from machine to machine
BEST = 2  # the first of equals


@pytest.fixture(autouse=True)
def scored(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Run._measure

    def scoring(run: Run) -> tuple[float, Rates]:
        loss, rates = measure(run)
        return loss, rates if rates.iou is not None else Rates(SCORES[run.at.epoch])

    monkeypatch.setattr(Run, "_measure", scoring)


class Stop(Exception):
    """The run is broken off."""


def stop(epoch: int, step: int, loss: float) -> None:
    if (epoch, step) == (4, 1):
        raise Stop


def every_epoch(module: nn.Module, into: list[dict[str, Tensor]]) -> Callable[[History], None]:
    return lambda _: into.append(tiny.state(module))


def test_the_best_epochs_weights_are_kept() -> None:
    data, model, states = tiny.dataset(), net(), []
    told = fit(model, data, keep="best", after_epoch=every_epoch(model, states), **HOW)
    assert told.kept is told.epochs[BEST]
    assert tiny.same_state(model, states[BEST]) and not tiny.same_state(model, states[-1])
    assert told.settings["keep"] == "best" and not any(part.training for part in model.modules())
    assert evaluate_split(model, data.validation, data)[0] == told.kept.validation_loss
    assert History.from_json(told.to_json()).kept == told.kept

    last, plainly = net(), []
    plain = fit(last, data, after_epoch=every_epoch(last, plainly), **HOW)
    assert plain.kept is plain.last and "keep" not in plain.settings
    assert tiny.same_state(last, plainly[-1]) and tiny.same_state(last, states[-1])


def test_the_first_of_equals_by_mean_iou_where_there_is_one() -> None:
    def record(epoch: int, accuracy: float, iou: float | None = None) -> EpochRecord:
        return EpochRecord(epoch, 1.0, 0.5, 1.0, accuracy, 0.1, 1.0, validation_iou=iou)

    found = [record(1, 0.5), record(2, 0.7), record(3, 0.7), record(4, 0.6)]
    assert History({"keep": "best"}, found).kept.epoch == 2
    assert History({}, found).kept.epoch == 4
    masks = [record(1, 0.9, 0.3), record(2, 0.5, 0.4), record(3, 0.6, 0.4)]
    assert History({"keep": "best"}, masks).kept.epoch == 2
    told = fit(masked_net(), masked(), keep="best", **(FIT | {"learning_rate": 0.4, "epochs": 4}))
    assert told.kept.validation_iou == max(told.column("validation_iou"))


@pytest.mark.parametrize("after", ["the best epoch", "its end"])
def test_a_broken_run_keeps_the_same(tmp_path: Path, after: str) -> None:
    data, path, whole = tiny.dataset(), tmp_path / "run.safetensors", net()
    how: dict[str, Any] = HOW | {"keep": "best", "checkpoint_every": 1}
    expected = fit(whole, data, checkpoint=tmp_path / "whole.safetensors", **how)
    if after == "its end":
        fit(net(), data, checkpoint=path, **how)
    else:
        with pytest.raises(Stop):
            fit(net(), data, checkpoint=path, after_step=stop, **how)
    resumed = net(7)
    told = fit(resumed, data, checkpoint=path, **how)
    assert tiny.same_state(resumed, tiny.state(whole)) and without_seconds(told) == without_seconds(expected)
    with pytest.raises(CheckpointError, match="keep: 'best' there, None here"):
        fit(net(), data, checkpoint=path, **HOW)

    tensors, notes = read_tensors(path)
    del tensors["best.model.head.weight"]
    write_tensors(path, tensors, notes)
    with pytest.raises(CheckpointError, match="lacks the weights of the best epoch"):
        fit(net(), data, checkpoint=path, **how)


@pytest.mark.filterwarnings("ignore::kdcourse.errors.TeacherWarning")
def test_a_methods_own_layers_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    data, teacher = tiny.dataset(), net(1, width=6)
    how: dict[str, Any] = HOW | {"alpha": 0.5, "keep": "best", "checkpoint_every": 1}

    def train(seed: int, **more: Any) -> tuple[nn.Module, nn.Module, History]:
        (method,), student = methods.build("fitnet"), net(seed)
        if (watching := more.pop("watching", None)) is not None:
            more["after_epoch"] = lambda _: watching.append((tiny.state(student), tiny.state(method)))
        return student, method, distil(student, teacher, data, method=method, **(how | more))

    states: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
    student, method, told = train(0, watching=states)
    assert told.kept is told.epochs[BEST] and list(method.parameters())
    assert tiny.same_state(student, states[BEST][0]) and tiny.same_state(method, states[BEST][1])
    assert not tiny.same_state(method, states[-1][1])

    path = tmp_path / "run.safetensors"
    with pytest.raises(Stop):
        train(0, checkpoint=path, after_step=stop)
    student, method, again = train(5, checkpoint=path)
    assert without_seconds(again) == without_seconds(told)
    assert tiny.same_state(student, states[BEST][0]) and tiny.same_state(method, states[BEST][1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": "best", "validate": False}, "keep='best' chooses the epoch by its validation metric"),
        ({"keep": "first"}, "'last' or 'best'; found 'first'"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fit(net(), tiny.dataset(), **(FIT | settings))
