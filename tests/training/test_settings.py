"""Settings are one object, checked once; `fit` takes it, or each by name, and tells of every epoch."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdcourse import distillation, training
from kdcourse.errors import ArgumentError
from kdcourse.training import History, Settings, fit, task_of
from tests.distillation import tiny
from tests.training.test_segmentation import dataset
from tests.training.toys import FIT, Net, net, without_seconds

SETTINGS = {name: value for name, value in FIT.items() if name != "progress"}


def test_an_object_and_names_come_to_the_same() -> None:
    by_name = fit(net(), tiny.dataset(), **FIT)
    as_object = fit(net(), tiny.dataset(), Settings(**SETTINGS), progress=False)
    changed = fit(net(), tiny.dataset(), Settings(**(SETTINGS | {"epochs": 9})), epochs=3, progress=False)
    assert without_seconds(by_name) == without_seconds(as_object) == without_seconds(changed)


def test_unknown_and_missing_settings_are_told() -> None:
    with pytest.raises(
        ArgumentError, match=r"no setting 'epoch', 'lr'; known are epochs, batch_size, learning_rate"
    ):
        fit(net(), tiny.dataset(), **FIT, lr=0.1, epoch=3)
    with pytest.raises(
        ArgumentError, match=r"needs values for epochs, learning_rate, seed; epochs, seed missing"
    ):
        Settings.of(None, {"learning_rate": 0.1})
    with pytest.raises(ArgumentError, match="epochs must be at least 1; found '3'"):
        Settings(**(SETTINGS | {"epochs": "3"}))


@pytest.mark.parametrize(
    "function",
    [fit, distillation.distil, distillation.distil_grid, training.make_optimizer, training.run.Run],
)
def test_parameter_lists_are_short(function: object) -> None:
    assert len(inspect.signature(function).parameters) <= 16  # type: ignore[arg-type]


def test_after_epoch_is_told_of_each_epoch_the_checkpoint_written(tmp_path: Path) -> None:
    path, told = tmp_path / "run.safetensors", []

    def after_epoch(history: History) -> None:
        assert path.exists()
        told.append((len(history), history.last.validation_accuracy))
        path.unlink()

    history = fit(net(), tiny.dataset(), checkpoint=path, after_epoch=after_epoch, **FIT)
    assert told == list(zip((1, 2, 3), history.column("validation_accuracy"), strict=True))

    class Enough(Exception):
        pass

    def end(history: History) -> None:
        raise Enough

    with pytest.raises(Enough):
        fit(net(), tiny.dataset(), checkpoint=path, after_epoch=end, **FIT)
    assert len(fit(net(), tiny.dataset(), checkpoint=path, after_epoch=told.append, **FIT)) == 3
    assert len(told) == 5  # the first epoch came from the checkpoint


def test_what_was_frozen_on_purpose_stays_frozen() -> None:
    model = net()
    model.first_norm.eval()
    before = tiny.state(model)
    modes: list[tuple[bool, bool]] = []
    fit(
        model,
        tiny.dataset(),
        after_step=lambda *_: modes.append((model.first_norm.training, model.training)),
        **FIT,
    )
    assert torch.equal(model.first_norm.running_mean, before["first_norm.running_mean"])
    assert not torch.equal(model.second_norm.running_mean, before["second_norm.running_mean"])
    assert modes == [(False, True)] * 12  # after validations, too


class Shrinking(Net):
    """Changes what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(0.001))


@pytest.mark.parametrize("kind", [Net, Shrinking])
def test_a_model_that_changes_its_input_leaves_the_batch_alone(kind: type[nn.Module]) -> None:
    sizes: list[float] = []

    def objective(logits: Tensor, batch: object) -> Tensor:
        sizes.append(batch.images.abs().max().item())  # type: ignore[attr-defined]
        return training.cross_entropy(logits, batch)  # type: ignore[arg-type]

    torch.manual_seed(0)
    fit(kind(), tiny.dataset(), objective=objective, **FIT)
    assert min(sizes) > 0.5


def test_tasks() -> None:
    few, masks = tiny.dataset(), dataset()
    assert task_of(few) is training.LABELS is task_of(few.train.labels)
    assert task_of(masks) is training.MASKS is task_of(masks.train.labels)
    assert training.LABELS.logits_shape(5, 4, (8, 8)) == [5, 4]
    assert training.MASKS.logits_shape(5, 4, (8, 7)) == [5, 4, 8, 7]
