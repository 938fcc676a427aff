"""A run that is killed and goes on ends bit for bit as if it had never stopped."""

from __future__ import annotations

import functools
import itertools
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.training import fit, load_weights, save_weights
from kdcourse.training import run as training_run
from tests.distillation import tiny
from tests.training.toys import FIT, net, without_seconds, write_history

forks = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has used PyTorch")
EVERY = 2  # four steps an epoch: one checkpoint in the middle, one before and one after validation
PATIENCE = 120  # seconds


def train(folder: Path, optimizer: str, precision: str = "float32", seed: int = 0, **settings: Any) -> None:
    """One process's share: begin or go on, and when the end is reached, store weights and history."""
    torch.set_num_threads(1)
    model = net(seed)
    history = fit(
        model, tiny.dataset(), optimizer=optimizer, augmentation=tiny.AUGMENTATION,
        checkpoint=folder / "run.safetensors", checkpoint_every=EVERY,
        **(FIT | {"precision": precision} | settings),
    )  # fmt: skip
    save_weights(model, folder / "final.safetensors")
    write_history(history, folder / "history.json")


def in_child(action: Callable[[], None], kill_after: float | None = None) -> int:
    """Run ``action`` in a forked process; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    began = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        waited = time.monotonic() - began
        if waited > PATIENCE or (kill_after is not None and waited > kill_after):
            os.kill(child, signal.SIGKILL)
            kill_after = None
        time.sleep(0.002)


def die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def on_call(number: int, function: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, but ``instead`` on its ``number``th call (from 1)."""
    calls = itertools.count(1)
    return lambda *args, **kwargs: (instead if next(calls) == number else function)(*args, **kwargs)


class HalfWritten:
    """A file on whose first write half the bytes arrive before the process is killed."""

    def __init__(self, descriptor: int, mode: str) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, data: bytes) -> None:
        os.write(self.descriptor, data[: len(data) // 2])
        die()


# Where a kill may strike, how often a run of three epochs gets there, and how it is brought about. The child
# changes its own modules only.
def after_a_step(number: int) -> dict[str, Any]:
    return {"after_step": on_call(number, lambda *_: None, die)}


def during_a_write(number: int) -> dict[str, Any]:
    os.fdopen = on_call(number, os.fdopen, HalfWritten)  # type: ignore[assignment]
    return {}


def before_the_rename(number: int) -> dict[str, Any]:
    os.replace = on_call(number, os.replace, die)
    return {}


def after_the_rename(number: int) -> dict[str, Any]:
    rename = os.replace
    os.replace = on_call(number, rename, lambda *paths: (rename(*paths), die()))
    return {}


def during_validation(number: int) -> dict[str, Any]:
    training_run.evaluate = on_call(number, training_run.evaluate, die)  # type: ignore[assignment]
    return {}


BOMBS: dict[Callable[[int], dict[str, Any]], int] = {
    after_a_step: 12,
    during_a_write: 9,
    before_the_rename: 9,
    after_the_rename: 9,
    during_validation: 3,
}


def kill_points() -> list[Any]:
    """Twenty, drawn at random once and for all; each optimizer and each kind of place comes up."""
    draw, optimizers = random.Random(20), itertools.cycle(("sgd", "adamw", "muon"))
    points = []
    for place, times in BOMBS.items():
        for number in draw.sample(range(1, times + 1), 8 if place is after_a_step else 3):
            optimizer = next(optimizers)
            points.append(pytest.param(place, number, optimizer, id=f"{optimizer}-{place.__name__}-{number}"))
    return points


@pytest.fixture(scope="module", autouse=True)
def everything_imported() -> None:
    """What PyTorch and accelerate import on first use takes seconds: once here rather than in every child."""
    for optimizer in ("sgd", "adamw", "muon"):
        fit(net(), tiny.dataset(), optimizer=optimizer, **(FIT | {"epochs": 1}))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a run that nobody killed."""

    @functools.cache
    def run(optimizer: str, precision: str = "float32") -> Path:
        folder = tmp_path_factory.mktemp(f"{optimizer}-{precision}")
        assert in_child(lambda: train(folder, optimizer, precision)) == 0
        return folder

    return run


def assert_same_end(folder: Path, expected: Path) -> None:
    for name in ("final.safetensors", "history.json"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name


@forks
@pytest.mark.parametrize(("place", "number", "optimizer"), kill_points())
def test_killed_anywhere_and_resumed(
    tmp_path: Path,
    unbroken: Callable[..., Path],
    place: Callable[[int], dict[str, Any]],
    number: int,
    optimizer: str,
) -> None:
    assert in_child(lambda: train(tmp_path, optimizer, **place(number))) == -signal.SIGKILL
    assert not (tmp_path / "final.safetensors").exists()
    # Another seed for the fresh network: all that counts must come from the checkpoint, if one was written.
    seed = 77 if (tmp_path / "run.safetensors").exists() else 0
    assert in_child(lambda: train(tmp_path, optimizer, seed=seed)) == 0
    assert_same_end(tmp_path, unbroken(optimizer))


@forks
@pytest.mark.parametrize(("optimizer", "precision"), [("sgd", "float32"), ("muon", "bfloat16")])
def test_killed_again_and_again(
    tmp_path: Path, unbroken: Callable[..., Path], optimizer: str, precision: str
) -> None:
    exits = []
    while not exits or exits[-1] != 0:
        exits.append(in_child(lambda: train(tmp_path, optimizer, precision, **after_a_step(EVERY + 1))))
        assert len(exits) < 10
    assert exits[:-1] == [-signal.SIGKILL] * 5
    assert_same_end(tmp_path, unbroken(optimizer, precision))


@forks
def test_killed_from_outside_at_any_moment(tmp_path: Path, unbroken: Callable[..., Path]) -> None:
    expected = unbroken("adamw")
    for patience in itertools.chain((0.03, 0.06, 0.1, 0.15), itertools.repeat(None)):
        if in_child(lambda: train(tmp_path, "adamw"), kill_after=patience) == 0:
            break
    assert_same_end(tmp_path, expected)


class Stop(Exception):
    """Ctrl-C in the middle of a run."""


def stop_at(epoch: int, step: int) -> Callable[[int, int, float], None]:
    def look(at_epoch: int, at_step: int, loss: float) -> None:
        if (at_epoch, at_step) == (epoch, step):
            raise Stop

    return look


def half_done(path: Path, **settings: Any) -> None:
    with pytest.raises(Stop):
        fit(
            net(),
            tiny.dataset(),
            checkpoint=path,
            checkpoint_every=1,
            after_step=stop_at(1, 2),
            **(FIT | settings),
        )


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    model = net()
    history = fit(model, tiny.dataset(), checkpoint=path, **FIT)
    content = path.read_bytes()
    again = net(5)
    told = fit(again, tiny.dataset(), checkpoint=path, after_step=stop_at(0, 1), **FIT)
    assert told == history
    assert tiny.same_state(again, tiny.state(model)) and not again.training
    assert path.read_bytes() == content


def test_seconds_go_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    slow = 0.05

    def wait(epoch: int, step: int, loss: float) -> None:
        time.sleep(slow)
        if (epoch, step) == (0, 3):
            raise Stop

    with pytest.raises(Stop):
        fit(net(), tiny.dataset(), checkpoint=path, checkpoint_every=1, after_step=wait, **FIT)
    history = fit(net(), tiny.dataset(), checkpoint=path, **FIT)
    assert history.epochs[0].seconds > 2 * slow


def test_the_random_numbers_of_the_caller_stay_as_they_were(tmp_path: Path) -> None:
    half_done(tmp_path / "run.safetensors")
    torch.manual_seed(123)
    before = torch.get_rng_state()
    fit(net_keeping_generator(), tiny.dataset(), checkpoint=tmp_path / "run.safetensors", **FIT)
    assert torch.equal(torch.get_rng_state(), before)


def net_keeping_generator() -> torch.nn.Module:
    with torch.random.fork_rng():
        return net()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.01}, "learning_rate: 0.05 there, 0.01 here"),
        ({"seed": 4}, "seed: 3 there, 4 here"),
        ({"optimizer": "adamw"}, "optimizer: 'sgd' there, 'adamw' here"),
        ({"epochs": 9}, "epochs: 3 there, 9 here"),
        ({"augmentation": tiny.AUGMENTATION}, "augmentation: None there"),
        ({"objective": lambda logits, batch: logits.square().mean()}, "objective: 'cross_entropy' there"),
    ],
)
def test_a_checkpoint_of_other_settings(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "run.safetensors"
    half_done(path)
    model = net(5)
    before = tiny.state(model)
    with pytest.raises(CheckpointError, match=message) as caught:
        fit(model, tiny.dataset(), checkpoint=path, **(FIT | change))
    assert str(path) in str(caught.value) and "name another checkpoint file" in str(caught.value)
    assert tiny.same_state(model, before)


def test_a_checkpoint_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    half_done(path)
    with pytest.raises(
        CheckpointError, match=r"another architecture than Net: .*first.weight \[4, 1, 3, 3\] in the"
    ):
        fit(net(width=5), tiny.dataset(), checkpoint=path, **FIT)


def test_a_checkpoint_goes_on_in_its_own_precision(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    half_done(path, precision="bfloat16")
    history = fit(net(), tiny.dataset(), checkpoint=path, **(FIT | {"precision": "auto"}))
    assert history.settings["precision"] == "bfloat16"


def test_weights_alone_are_no_checkpoint_and_a_checkpoint_is_no_model(tmp_path: Path) -> None:
    save_weights(net(), tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"weights.safetensors is no training checkpoint"):
        fit(net(), tiny.dataset(), checkpoint=tmp_path / "weights.safetensors", **FIT)
    half_done(tmp_path / "run.safetensors")
    with pytest.raises(CheckpointError, match=r"run.safetensors is the checkpoint of a training under way"):
        load_weights(net(), tmp_path / "run.safetensors")


def test_the_optimizer_finds_its_numbers_as_they_lay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every processor rounds alike where tensors are laid out differently."""
    path = tmp_path / "run.safetensors"
    steppers: list[torch.optim.Optimizer] = []
    make = training_run.make_optimizer
    monkeypatch.setattr(
        training_run, "make_optimizer", lambda *a, **k: steppers.append(make(*a, **k)) or steppers[-1]
    )
    half_done(path)
    fit(net(), tiny.dataset(), checkpoint=path, **FIT)

    def strides(stepper: torch.optim.Optimizer) -> list[tuple[int, ...]]:
        states = stepper.state_dict()["state"]
        buffers = [states[number]["momentum_buffer"] for number in sorted(states)]
        # The stride along an axis of length 1 says nothing about where numbers lie.
        return [
            tuple(step for step, size in zip(each.stride(), each.shape, strict=True) if size > 1)
            for each in buffers
        ]

    assert len(strides(steppers[0])) == 12 and strides(steppers[0]) == strides(steppers[1])


@pytest.mark.parametrize("every", [0, -2])
def test_steps_between_checkpoints(tmp_path: Path, every: int) -> None:
    with pytest.raises(ArgumentError, match=f"checkpoint_every .* found {every}"):
        fit(net(), tiny.dataset(), checkpoint=tmp_path / "run.safetensors", checkpoint_every=every, **FIT)


def test_results_without_a_checkpoint_are_the_same(tmp_path: Path) -> None:
    with_file, without = net(), net()
    history = fit(
        with_file, tiny.dataset(), checkpoint=tmp_path / "run.safetensors", checkpoint_every=1, **FIT
    )
    assert without_seconds(fit(without, tiny.dataset(), **FIT)) == without_seconds(history)
    assert tiny.same_state(without, tiny.state(with_file))
