"""Every peer's loop is the same method as ours: the same losses and the same updates on the same pictures."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import bare_pytorch, keras_loop, task, torchdistill_loop, tutorial_loop
from benchmarks.harness import NotInstalledError, Settings, Side, need
from benchmarks.task import SETTINGS, Task
from kdcourse.distillation import hinton_loss
from kdcourse.training import run
from tests.distillation import tiny

# One batch holds all pictures, so that no two sides can draw different ones; several epochs of it
# show momentum, weight decay and the course of the learning rate.
ONE_BATCH: dict[str, Any] = SETTINGS | {
    "seed": 0, "batch_size": 70, "epochs": 3, "precision": "float32", "weight_decay": 0.01,
    "learning_rate": 0.02,
}  # fmt: skip


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


@pytest.fixture
def given() -> Task:
    """A teacher that answers wrongly in training mode, and a student with a matrix and vectors."""
    reader = tiny.quarter_reader()
    teacher = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), *reader)
    torch.manual_seed(1)
    teacher[0].running_mean.fill_(0.1)
    student = nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)
    )
    return Task(tiny.dataset(), teacher, student)


def trained(
    given: Task, train: Callable[[Task, Settings], object], settings: Settings
) -> dict[str, torch.Tensor]:
    """The student's state after training a copy of it."""
    copied = Task(given.data, copy.deepcopy(given.teacher), copy.deepcopy(given.student))
    train(copied, settings)
    return copied.student.state_dict()


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], before: nn.Module) -> None:
    for name, start in before.state_dict().items():
        torch.testing.assert_close(
            theirs[name], ours[name], rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
        assert (ours[name] - start).abs().max() > 2e-4, f"{name} hardly moved, so nothing was compared"


@pytest.mark.parametrize("loss_of", [bare_pytorch.loss_of, tutorial_loop.loss_of], ids=["bare", "tutorial"])
@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 0.5), (4.0, 0.9), (8.0, 1.0), (2.0, 0.0)])
def test_hand_written_losses_are_hintons(loss_of: Any, temperature: float, alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 9, 5, generator=generator, dtype=torch.float64) * 4
    labels = torch.randint(5, (9,), generator=generator)
    want = hinton_loss(student, teacher, labels, temperature=temperature, alpha=alpha)
    if loss_of is bare_pytorch.loss_of:
        found = loss_of(student, teacher, labels, {"temperature": temperature, "alpha": alpha})
    else:
        found = loss_of(student, teacher, labels, temperature, alpha)
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


def test_the_tutorials_pictures_are_normalised_as_ours(given: Task) -> None:
    theirs = tutorial_loop.Pictures(given.data.train, given.data)
    stacked = torch.stack([theirs[at][0] for at in range(len(theirs))])
    torch.testing.assert_close(stacked, given.data.normalise(given.data.train.images).contiguous())
    assert [theirs[at][1] for at in range(len(theirs))] == given.data.train.labels.tolist()


def test_the_tutorials_loop_takes_our_steps(given: Task) -> None:
    assert_same(
        trained(given, task.train, ONE_BATCH), trained(given, tutorial_loop.train, ONE_BATCH), given.student
    )


def test_the_bare_loop_takes_our_steps(given: Task) -> None:
    targets = bare_pytorch.targets_of(given)
    ours, bare = (
        trained(given, lambda task, settings, side=side: side(task, targets, settings), ONE_BATCH)
        for side in (bare_pytorch.ours, bare_pytorch.bare)
    )
    assert_same(ours, bare, given.student)


@needs("torchdistill")
def test_torchdistill_takes_our_steps(given: Task) -> None:
    settings = ONE_BATCH | {"weight_decay": 0.0}
    theirs = trained(given, torchdistill_loop.train, settings)
    assert_same(trained(given, task.train, settings), theirs, given.student)


@needs("keras")
def test_keras_takes_our_steps_while_the_learning_rate_stays(
    given: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its momentum holds steps where PyTorch's holds gradients: they part only when the rate changes.
    for module in (keras_loop, run):
        monkeypatch.setattr(module, "one_cycle", lambda progress, warm_up: 0.5)
    settings = ONE_BATCH | {"weight_decay": 0.0}
    assert_same(
        trained(given, task.train, settings), trained(given, keras_loop.train, settings), given.student
    )


@needs("keras")
def test_keras_loss_is_hintons(given: Task) -> None:
    distiller = keras_loop.distiller_for(given, ONE_BATCH)
    images, labels = given.data.normalise(given.data.train.images).contiguous(), given.data.train.labels
    with torch.no_grad():
        ours, teacher = given.student(images), given.teacher.eval()(images)
    want = hinton_loss(ours, teacher, labels, temperature=ONE_BATCH["temperature"], alpha=ONE_BATCH["alpha"])
    found = distiller.compute_loss(images, labels, ours)
    assert float(found) == pytest.approx(float(want), rel=1e-4)
    assert float(want) != pytest.approx(float(F.cross_entropy(ours, labels)), rel=0.1)


def test_a_missing_peer_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for side, requirement in (
        (torchdistill_loop.torchdistill, "torchdistill==1.1.5"),
        (keras_loop.by_keras, "keras>=3.12"),
    ):
        with pytest.raises(NotInstalledError, match=f"pip install {requirement}"):
            side(ONE_BATCH)
    with pytest.raises(NotInstalledError):
        need("json", "json")


def test_a_try_on_two_batches_leaves_the_task_as_it_was(given: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "new_student", lambda settings: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)))
    settings = ONE_BATCH | {"batch_size": 8}
    tried, tried_settings = task.small(given, settings)
    assert (len(tried.data.train), tried_settings["epochs"], settings["epochs"]) == (16, 1, 3)
    before = tiny.state(given.student)
    task.train(tried, tried_settings)
    assert tiny.same_state(given.student, before)


def test_what_a_full_run_loads_is_settled_by_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "fashion_mnist", tiny.dataset)
    monkeypatch.setattr(
        task, "load_teachers", lambda folder, data, names: [(names[0], tiny.quarter_reader(), {})]
    )
    settings = ONE_BATCH | {"student": "mlp_25k", "pictures": 30, "test_pictures": 12}
    first, again, other = (task.load(settings | {"seed": seed}) for seed in (3, 3, 4))
    assert (len(first.data.train), len(first.data.validation), len(first.data.test)) == (30, 20, 12)
    assert tiny.same_state(again.student, first.student.state_dict())
    assert not tiny.same_state(other.student, first.student.state_dict())


def test_a_peer_is_met_with_an_mlp_and_with_a_cnn_student() -> None:
    sides: dict[str, Side] = {"kdcourse": task.distilled, "peer": task.distilled}
    mlp, cnn = task.for_each_student("peer_loop", "the peer", sides, weight_decay=0.0)
    assert (mlp.name, cnn.name) == ("peer_loop_mlp", "peer_loop_cnn")
    assert mlp.question == "How much sooner is an MLP student distilled than by the peer?"
    assert cnn.question == "How much sooner is a CNN student distilled than by the peer?"
    assert (mlp.settings["student"], cnn.settings["student"]) == ("mlp_25k", "pocket_6k")
    for comparison in (mlp, cnn):
        assert list(comparison.sides) == ["kdcourse", "peer"]
        assert comparison.settings["weight_decay"] == 0 and comparison.settings["pictures"] == 10_000
        assert comparison.quick == task.QUICK
