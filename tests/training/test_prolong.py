"""A finished run continued to more epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kdcourse.data import Batch
from kdcourse.distillation import distil
from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.training import History, cross_entropy, fit, one_cycle
from tests.distillation import tiny
from tests.training.toys import FIT, net, plain_net, without_seconds

HOW: dict[str, Any] = FIT | {"augmentation": tiny.AUGMENTATION, "optimizer": "adamw", "learning_rate": 0.01}
STEPS = 4  # per epoch


class Stop(Exception):
    """The run is broken off."""


def train(path: Path | None, epochs: int, seed: int = 0, **more: Any) -> tuple[nn.Module, History]:
    model = net(seed)
    return model, fit(model, tiny.dataset(), checkpoint=path, **(HOW | {"epochs": epochs} | more))


def rate(step: int, epochs: int) -> float:
    return 0.01 * one_cycle((step + 1) / (epochs * STEPS + 1))


def test_it_goes_on_where_the_run_ended(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    short, before = train(path, 4)
    longer, told = train(path, 6, seed=9, prolong=True)
    assert len(told) == 6 and told.settings["epochs"] == 6 and told.settings["prolonged"] == [4]
    assert without_seconds(History({}, told.epochs[:4])) == without_seconds(History({}, before.epochs))
    assert not tiny.same_state(longer, tiny.state(short))
    ends = [rate(STEPS * epoch - 1, 4) for epoch in (1, 2, 3, 4)] + [
        rate(STEPS * epoch - 1, 6) for epoch in (5, 6)
    ]
    assert told.column("learning_rate") == pytest.approx(ends, rel=1e-12)
    assert told.column("learning_rate")[4] > told.column("learning_rate")[3]  # it went up again
    assert History.from_json(told.to_json()) == told
    _, planned = train(None, 6)
    assert "prolonged" not in planned.settings
    assert without_seconds(told)["epochs"] != without_seconds(planned)["epochs"]


def test_images_come_as_in_a_run_of_so_many_epochs(tmp_path: Path) -> None:
    seen: list[tuple[str, list[int]]] = []

    class Watching:
        name = "watching"

        def __call__(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
            seen.append((batch.view.key, batch.index.tolist()))
            return cross_entropy(logits, batch)

    train(tmp_path / "run.safetensors", 2, objective=Watching())
    train(tmp_path / "run.safetensors", 4, objective=Watching(), prolong=True)
    prolonged, seen[:] = list(seen), []
    train(None, 4, objective=Watching())
    assert prolonged == seen and len(seen) == 4 * STEPS


@pytest.mark.parametrize("keep", ["last", "best"])
def test_an_interrupted_continuation_is_resumed_bit_for_bit(tmp_path: Path, keep: str) -> None:
    paths = [tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"]
    for path in paths:
        train(path, 2, keep=keep)
    whole, expected = train(paths[0], 4, keep=keep, prolong=True)

    def stop(epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (2, 3):
            raise Stop

    with pytest.raises(Stop):
        train(paths[1], 4, keep=keep, prolong=True, checkpoint_every=1, after_step=stop)
    with pytest.raises(
        CheckpointError, match=r"had ended after 2 epochs and was prolonged.*Pass prolong=True"
    ):
        train(paths[1], 4, keep=keep)
    with pytest.raises(CheckpointError, match="can't be prolonged yet: 2 of its epochs are done"):
        train(paths[1], 5, keep=keep, prolong=True)
    resumed, told = train(paths[1], 4, seed=7, keep=keep, prolong=True)
    assert tiny.same_state(resumed, tiny.state(whole)) and without_seconds(told) == without_seconds(expected)
    content = paths[1].read_bytes()
    again, told = train(paths[1], 4, seed=8, keep=keep, prolong=True)  # finished: nothing left to do
    assert tiny.same_state(again, tiny.state(whole)) and paths[1].read_bytes() == content
    _, told = train(paths[1], 5, keep=keep, prolong=True)
    assert told.settings["prolonged"] == [2, 4] and len(told) == 5


def test_a_distilled_student_is_prolonged_too(tmp_path: Path) -> None:
    how = FIT | {"checkpoint": tmp_path / "run.safetensors", "alpha": 0.5, "cache": False}
    data, teacher = tiny.dataset(), tiny.quarter_reader()
    distil(plain_net(), teacher, data, **(how | {"epochs": 2}))
    told = distil(plain_net(3), teacher, data, prolong=True, **(how | {"epochs": 3}))
    assert told.settings["prolonged"] == [2] and told.column("epoch") == [1, 2, 3]
    assert all(record.parts["kd"] > 0 for record in told.epochs)


def test_what_cannot_be_prolonged(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(
        ArgumentError, match="prolong=True goes on from the checkpoint of a finished run, and none"
    ):
        train(None, 3, prolong=True)
    with pytest.raises(
        CheckpointError, match=r"There is no checkpoint .*run.safetensors of a run to prolong"
    ):
        train(path, 3, prolong=True)
    train(path, 2)
    content = path.read_bytes()
    with pytest.raises(
        CheckpointError, match=r"epochs: 2 there, 3 here.*To continue this finished run, pass prolong"
    ):
        train(path, 3)
    with pytest.raises(CheckpointError, match=r"epochs: 2 there, 1 here\). Go on with its settings"):
        train(path, 1, prolong=True)
    with pytest.raises(CheckpointError, match=r"epochs: 2 there, 3 here; seed: 3 there, 4 here\). Go on"):
        fit(net(), tiny.dataset(), checkpoint=path, prolong=True, **(HOW | {"epochs": 3, "seed": 4}))
    assert path.read_bytes() == content
