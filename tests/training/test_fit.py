from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse import models
from kdcourse.data import Augmentation, Batch, Dataset, View
from kdcourse.distillation import methods
from kdcourse.distillation.objective import Distillation
from kdcourse.distillation.targets.source import source_of
from kdcourse.errors import ArgumentError, DivergedError
from kdcourse.training import OPTIMIZERS, History, cross_entropy, evaluate_split, fit, history, one_cycle
from kdcourse.training import run as training_run
from kdcourse.training.objective import describe
from tests.distillation import tiny
from tests.training.toys import FIT, Net, net, plain_net, without_seconds


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_model_learns(optimizer: str) -> None:
    data = tiny.dataset()
    model = models.build("mlp_25k", num_classes=4, size=8, hidden=(16,))
    rate = {"sgd": 0.1, "adamw": 0.02, "muon": 0.05}[optimizer]
    told = fit(model, data, **(FIT | {"optimizer": optimizer, "learning_rate": rate, "epochs": 6}))
    assert told.last.validation_accuracy == 1.0
    losses = told.column("train_loss")
    assert losses[-1] < 0.5 * losses[0]
    assert told.last.train_accuracy > told.epochs[0].train_accuracy
    assert evaluate_split(model, data.test, data)[1] == 1.0


def test_twice_the_same_whatever_the_generator_stands_at() -> None:
    models_, told = [net(), net()], []
    for k, model in enumerate(models_):
        torch.manual_seed(100 + k)  # dropout must follow from fit's own seed
        told.append(without_seconds(fit(model, tiny.dataset(), augmentation=tiny.AUGMENTATION, **FIT)))
    assert told[0] == told[1]
    assert tiny.same_state(models_[0], tiny.state(models_[1]))
    other = net()
    fit(other, tiny.dataset(), augmentation=tiny.AUGMENTATION, **(FIT | {"seed": 4}))
    assert not tiny.same_state(other, tiny.state(models_[0]))


def test_dropout_follows_the_seed() -> None:
    def dropped(seed: int) -> list[Tensor]:
        seen: list[Tensor] = []
        model = net()
        model.drop.register_forward_hook(lambda _, __, out: seen.append(out.detach() == 0))
        fit(model, tiny.dataset(), **(FIT | {"seed": seed, "epochs": 1, "learning_rate": 1e-9}))
        return [s for s in seen if len(s) == 16]

    assert not torch.equal(dropped(3)[0], dropped(3)[1])
    assert torch.equal(dropped(3)[0], dropped(3)[0])
    assert not torch.equal(dropped(3)[0], dropped(5)[0])


class Watched(nn.Module):
    """Notes in which mode it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()
        self.calls: list[tuple[int, bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((len(x), self.training, self.inner.second_norm.training))
        return self.inner(x)


@pytest.mark.parametrize("validate", [True, False])
def test_training_mode_in_training_and_eval_mode_in_validation(validate: bool) -> None:
    model = Watched().eval()
    fit(model, tiny.dataset(), validate=validate, **FIT)
    training = [call for call in model.calls if call[0] == 16]
    others = [call for call in model.calls if call[0] != 16]
    assert training == [(16, True, True)] * 12  # after the first validation, too
    assert {call[1:] for call in others} == {(False, False)}
    assert [call[0] for call in others].count(20) == (3 if validate else 1)
    assert not any(part.training for part in model.modules())


def test_batch_norm_goes_on_learning_after_the_first_validation() -> None:
    model, means = net(), []
    fit(
        model,
        tiny.dataset(),
        after_step=lambda *_: means.append(model.first_norm.running_mean.clone()),
        **FIT,
    )
    assert len(means) == 12
    assert not any(torch.equal(a, b) for a, b in pairwise(means))
    assert int(model.first_norm.num_batches_tracked) == 12


def test_history_tells_what_happened() -> None:
    data, model = tiny.dataset(), net()
    told = fit(model, data, **FIT)
    assert len(told) == 3 and told.column("epoch") == [1, 2, 3]
    assert told.last is told.epochs[-1]
    assert (told.last.validation_loss, told.last.validation_accuracy) == evaluate_split(
        model, data.validation, data
    )
    assert told.column("learning_rate") == [0.05 * one_cycle(step / 13) for step in (4, 8, 12)]
    assert all(record.seconds > 0 for record in told.epochs)
    assert told.settings["precision"] == "float32" and told.settings["device"] == "cpu"
    assert told.settings["objective"] == "cross_entropy" and told.settings["seed"] == 3
    assert told.settings["data"] == data.train.digest[:16]
    again = History.from_json(told.to_json())
    assert again == told and isinstance(again.epochs[0], history.EpochRecord)
    assert "NaN" not in told.to_json()


def test_training_figures_are_means_over_the_pictures_seen() -> None:
    seen: list[tuple[float, float]] = []

    def objective(logits: Tensor, batch: Batch) -> Tensor:
        loss = F.cross_entropy(logits, batch.labels)
        seen.append((float(loss.detach()), float((logits.argmax(1) == batch.labels).double().mean())))
        return loss

    told = fit(net(), tiny.dataset(), objective=objective, **FIT)
    for epoch, record in enumerate(told.epochs):
        losses, right = zip(*seen[epoch * 4 : epoch * 4 + 4], strict=True)
        assert record.train_loss == pytest.approx(sum(losses) / 4)
        assert record.train_accuracy == pytest.approx(sum(right) / 4)


def test_without_validation_only_the_last_epoch_is_measured() -> None:
    told = fit(net(), tiny.dataset(), validate=False, **FIT)
    assert told.column("validation_loss")[:2] == [None, None] == told.column("validation_accuracy")[:2]
    assert told.last.validation_loss is not None
    assert History.from_json(told.to_json()) == told
    measured = fit(net(), tiny.dataset(), **FIT)
    assert told.last.validation_loss == measured.last.validation_loss  # measuring changes nothing


def test_the_learning_rate_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    real = training_run.make_optimizer

    def spied(*args: Any, **settings: Any) -> torch.optim.Optimizer:
        stepper = real(*args, **settings)
        stepper.register_step_pre_hook(
            lambda stepper, *_: rates.extend({group["lr"] for group in stepper.param_groups})
        )
        return stepper

    monkeypatch.setattr(training_run, "make_optimizer", spied)
    fit(net(), tiny.dataset(), warm_up=0.5, **FIT)
    assert rates == [0.05 * one_cycle(step / 13, 0.5) for step in range(1, 13)]
    assert max(rates) == pytest.approx(0.05, rel=0.1) and rates.index(max(rates)) in (5, 6)


def test_the_objective_sees_float32_logits_and_the_batch() -> None:
    data, seen = tiny.dataset(), []

    def objective(logits: Tensor, batch: Batch) -> Tensor:
        assert logits.dtype == torch.float32 and logits.shape == (16, 4) and logits.requires_grad
        assert torch.equal(data.train.labels[batch.index], batch.labels)
        expected = batch.view.apply(data.train.images[batch.index], batch.index)
        assert torch.equal(batch.images, data.normalise(expected))
        seen.append(batch.view)
        return F.cross_entropy(logits, batch.labels)

    settings = FIT | {"precision": "bfloat16", "epochs": 5}
    fit(net(), data, objective=objective, augmentation=tiny.AUGMENTATION, views=2, view_seed=8, **settings)
    assert seen[::4] == [View(tiny.AUGMENTATION, 8, number) for number in (0, 1, 0, 1, 0)]


def test_the_chosen_precision_is_used_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[torch.dtype] = []

    class Spy(Net):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            if self.training and len(x) > 2:  # two are the trial of a memory layout
                kinds.append(out.dtype)
            return out

    for choice, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        monkeypatch.setattr(training_run, "usual_precision", lambda *_, choice=choice: choice)
        kinds.clear()
        told = fit(Spy(), tiny.dataset(), **(FIT | {"precision": "auto", "epochs": 1}))
        assert told.settings["precision"] == choice and set(kinds) == {dtype}
    monkeypatch.undo()
    told = fit(net(), tiny.dataset(), **(FIT | {"precision": "auto", "epochs": 1}))
    assert told.settings["precision"] in ("float32", "bfloat16")


def test_the_caller_keeps_generator_and_progress_bar_says_what_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = net()
    before = torch.get_rng_state()
    fit(model, tiny.dataset(), **(FIT | {"progress": "student 1", "precision": "auto"}))
    assert torch.equal(torch.get_rng_state(), before)
    said = capsys.readouterr().err
    assert "student 1" in said and "12/12" in said and "validation" in said
    fit(model, tiny.dataset(), **FIT)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": 0}, ArgumentError, "epochs must be at least 1; found 0"),
        ({"batch_size": 0}, ArgumentError, "batch_size must be at least 1; found 0"),
        ({"learning_rate": 0.0}, ArgumentError, "learning_rate must be a positive number; found 0.0"),
        ({"learning_rate": -0.1}, ArgumentError, "learning_rate .* found -0.1"),
        ({"weight_decay": -1.0}, ArgumentError, "weight_decay .* found -1.0"),
        ({"warm_up": 1.0}, ArgumentError, "warm_up .* found 1.0"),
        ({"warm_up": -0.2}, ArgumentError, "warm_up .* found -0.2"),
        ({"optimizer": "lion"}, ArgumentError, "no optimizer 'lion'"),
        ({"precision": "float16"}, ArgumentError, "precision must be .* found 'float16'"),
        ({"views": 0}, ArgumentError, "views .* found 0"),
        ({"seed": -1}, ArgumentError, "seed .* found -1"),
        ({"seed": "one"}, ArgumentError, "seed .* found 'one'"),
        ({"seed": 2**70}, ArgumentError, "seed .* found"),
        ({"device": "gpu"}, ArgumentError, "device must be auto, cpu, cuda, cuda:N .* or mps; found 'gpu'"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(net(), tiny.dataset(), **(FIT | change))


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "mps"):
        with pytest.raises(
            ArgumentError,
            match=f"device='{device}' was requested, and PyTorch found no .* GPU. Use device='auto'",
        ):
            fit(net(), tiny.dataset(), **(FIT | {"device": device}))


class Auxiliary(nn.Module):
    """Returns a pair in training mode alone, as GoogLeNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> object:
        logits = self.layer(x.flatten(1))
        return (logits, logits) if self.training else logits


def test_auxiliary_outputs_of_training_mode_are_named() -> None:
    with pytest.raises(
        ArgumentError, match=r"Auxiliary returns logits in eval mode and a tuple in training.*aux_logits"
    ):
        fit(Auxiliary(), tiny.dataset(), **FIT)


def test_lazy_layers_take_their_shapes_from_the_images() -> None:
    def trained() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
        fit(model, tiny.dataset(), **FIT)
        return model

    first, second = trained(), trained()
    assert first[3].weight.shape == (4, 4 * 6 * 6)
    assert tiny.same_state(first, tiny.state(second))


class Returning(nn.Module):
    def __init__(self, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.answer, self.layer = answer, nn.Linear(64, 4)

    def forward(self, x: Tensor) -> object:
        return self.answer(self.layer(x.flatten(1)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: net(channels=3),
            r"Net can't take the images of 'quarters', float32 \[2, 1, 8, 8\].*channels",
        ),
        (lambda: models.build("mlp_25k", num_classes=4), "784 numbers each; found 64"),
        (lambda: net(classes=6), r"return logits \[2, 4\] .* of 4 classes; found \[2, 6\]"),  # none to spare
        (lambda: net(classes=3), r"return logits \[2, 4\] .* found \[2, 3\]. Build it with num_classes=4"),
        (lambda: Returning(lambda z: (z, z)), r"return logits \[2, 4\] .* found a tuple"),
        (lambda: Returning(lambda z: z[:, :, None]), r"found \[2, 4, 1\]"),
        (lambda: Returning(lambda z: z[:1]), r"found \[1, 4\]"),
        (lambda: net().requires_grad_(False), "nothing to train.*frozen"),
    ],
)
def test_models_that_do_not_fit(model: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fit(model(), tiny.dataset(), **FIT)


@pytest.mark.parametrize(
    ("objective", "found"),
    [
        (
            lambda z, batch: F.cross_entropy(z, batch.labels, reduction="none"),
            r"a tensor \[16\], requires_grad=True",
        ),
        (lambda z, batch: F.cross_entropy(z.detach(), batch.labels), r"a tensor \[\], requires_grad=False"),
        (lambda z, batch: 0.5, "a float"),
        (lambda z, batch: None, "a NoneType"),
    ],
)
def test_objectives_that_cannot_be_minimised(objective: Any, found: str) -> None:
    with pytest.raises(ArgumentError, match=f"one number as a scalar tensor with a gradient; found {found}"):
        fit(net(), tiny.dataset(), objective=objective, **FIT)


def test_fit_under_no_grad_says_so() -> None:
    with torch.no_grad(), pytest.raises(ArgumentError, match=r"don't call fit under torch\.no_grad"):
        fit(net(), tiny.dataset(), **FIT)


def test_a_learning_rate_that_is_far_too_large() -> None:
    with pytest.raises(DivergedError) as caught:
        fit(plain_net(), tiny.dataset(), **(FIT | {"learning_rate": 1e12}))
    said = str(caught.value)
    for part in ("became", "epoch 1, step", "at a learning rate of", "a third of the learning rate", "NaN"):
        assert part in said


def test_an_objective_that_turns_into_nan(tmp_path: Path) -> None:
    calls: list[int] = []

    def objective(logits: Tensor, batch: Batch) -> Tensor:
        calls.append(1)
        return F.cross_entropy(logits, batch.labels) * (float("nan") if len(calls) == 7 else 1.0)

    path = tmp_path / "run.safetensors"
    rate = 0.05 * one_cycle(7 / 13)
    with pytest.raises(
        DivergedError, match=f"The loss became nan in epoch 2, step 3, at a learning rate of {rate:.4g}"
    ):
        fit(net(), tiny.dataset(), objective=objective, checkpoint=path, checkpoint_every=1, **FIT)
    # What was stored before is whole, and its run can be gone on with.
    told = fit(net(), tiny.dataset(), objective=objective, checkpoint=path, **FIT)
    assert len(told) == 3


def test_a_validation_loss_that_is_not_finite() -> None:
    class Broken(Net):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            return out if self.training or len(x) == 2 else out * float("nan")

    with pytest.raises(DivergedError, match="The validation loss became nan in epoch 1, step 4"):
        fit(Broken(), tiny.dataset(), **FIT)


def test_evaluating_keeps_each_parts_mode_and_the_weights() -> None:
    data, model = tiny.dataset(), net().train()
    model.second_norm.eval()  # frozen statistics in a network that trains
    before, modes = tiny.state(model), [part.training for part in model.modules()]
    loss, accuracy = evaluate_split(model, data.validation, data, batch_size=7)
    assert [part.training for part in model.modules()] == modes
    assert tiny.same_state(model, before)
    whole = evaluate_split(model, data.validation, data)
    assert loss == pytest.approx(whole[0]) and accuracy == whole[1]
    with torch.no_grad():
        logits = model.eval()(data.normalise(data.validation.images))
    assert loss == pytest.approx(float(F.cross_entropy(logits, data.validation.labels)))
    assert accuracy == pytest.approx(float((logits.argmax(1) == data.validation.labels).double().mean()))


def test_objectives_have_names_for_records() -> None:
    def mine(logits: Tensor, batch: Batch) -> Tensor:
        return logits.sum()

    class Bare:
        def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
            return logits.sum()

    class Told(Bare):
        def __repr__(self) -> str:
            return "Told(3)"

    assert [describe(o) for o in (cross_entropy, mine, Bare(), Told())] == [
        "cross_entropy",
        "mine",
        "Bare",
        "Told(3)",
    ]
    one, other = (
        Distillation(methods.build("kd", temperature=2), source_of(tiny.Teacher(seed)), alpha=0.5)
        for seed in (0, 1)
    )  # another teacher is another objective: a checkpoint must not be gone on with
    assert describe(one) != describe(other) and "temperature=2" in describe(one)


def test_pictures_of_other_shapes_train_too() -> None:
    data = tiny.dataset()
    wide = Dataset("wide", data.classes, *(
        type(s)(s.images.repeat(1, 3, 1, 2), s.labels) for s in (data.train, data.validation, data.test)
    ))  # fmt: skip
    model = models.build("depthwise_4k", num_classes=4, in_channels=3)
    assert (
        len(fit(model, wide, augmentation=Augmentation(1, erase_sides=(1, 3)), **(FIT | {"epochs": 1}))) == 1
    )


@pytest.mark.parametrize(
    ("optimizer", "losses", "tolerance"),
    [
        ("sgd", [1.372893006, 1.32978645, 1.286637157], 1e-5),
        ("adamw", [1.433487266, 1.299826622, 1.075643048], 1e-4),
        (
            "muon",
            [1.372283727, 1.317087799, 1.238572866],
            2e-3,
        ),  # bfloat16 inside, which processors round differently
    ],
)
def test_the_numbers_stay_what_they_were(optimizer: str, losses: list[float], tolerance: float) -> None:
    """Recorded teachers and students rest on this arithmetic: a change here makes them unrepeatable."""
    told = fit(plain_net(), tiny.dataset(), augmentation=tiny.AUGMENTATION, optimizer=optimizer, **FIT)
    assert told.column("train_loss") == pytest.approx(losses, rel=tolerance)


def test_a_batch_too_small_for_batch_norm_is_named() -> None:
    pooled = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 4)
    )
    with pytest.raises(ArgumentError, match=r"batch of 1 image\(s\).*larger batch_size"):
        fit(pooled, tiny.dataset(), **(FIT | {"batch_size": 1}))
