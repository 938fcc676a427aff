"""`fitnet`: its loss, and a regressor that is trained, stored with the run and left out of the student."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdcourse import evaluation
from kdcourse.distillation import Method, Outputs, distil, hint_loss, methods, soft_targets
from kdcourse.distillation.features import Tap
from kdcourse.distillation.methods.fitnet import resized
from kdcourse.errors import ArgumentError
from kdcourse.training import History, fit, save_weights
from kdcourse.training.weights import read_tensors
from tests.distillation import tiny
from tests.training.toys import FIT, net, without_seconds


def maps(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=torch.float64)
    return one.to(dtype), other.to(dtype)


def test_agrees_with_float64_reference() -> None:
    one, other = maps()
    gap = one.numpy() - other.numpy()
    assert float(hint_loss(one, other)) == pytest.approx(np.square(gap).mean(), rel=1e-12)
    assert torch.autograd.gradcheck(lambda z: hint_loss(z, other), one.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    one, other = maps(dtype)
    one = (one * 100).requires_grad_()  # squares beyond float16 in sum
    other.requires_grad_()
    loss = hint_loss(one, other)
    loss.backward()
    assert loss.dtype == torch.float32 and other.grad is None
    gap = one.detach().double() - other.detach().double()
    assert loss.item() == pytest.approx(float(gap.square().mean()), rel=1e-5)


def test_bad_arguments() -> None:
    one, other = maps()
    for wrong, found in (
        ((one, other[:, :3]), r"\[3, 4, 5, 6\] and \[3, 3, 5, 6\]"),
        ((one[0], other[0]), r"\[4, 5, 6\]"),
        ((one[:0], other[:0]), "not empty"),
        ((one.long(), other), "torch.int64"),
    ):
        with pytest.raises(ArgumentError, match=found):
            hint_loss(*wrong)
    one.requires_grad_()
    with pytest.raises(ArgumentError, match="its own"):
        hint_loss(one, one)


def test_maps_are_brought_to_one_size() -> None:
    one, _ = maps()
    assert resized(one, (5, 6)) is one
    assert torch.allclose(resized(one[..., :4, :], (2, 3))[:, :, 0, 0], one[..., :2, :2].mean((2, 3)))
    assert resized(one, (10, 12)).shape == (3, 4, 10, 12)
    assert torch.allclose(resized(torch.ones(1, 2, 4, 4), (7, 3)), torch.ones(1, 2, 7, 3))


def test_prepare_fits_the_regressor_to_both_networks() -> None:
    (method,) = methods.build("fitnet")
    assert not list(method.parameters())
    student, teacher = (
        Outputs(torch.zeros(2, 4), {"layer": torch.randn(2, channels, side, side)})
        for channels, side in ((3, 7), (5, 4))
    )
    method.prepare(student, teacher)
    assert method.regressor.weight.shape == (5, 3, 1, 1)
    terms = method(student, teacher, None)
    assert terms.keys() == {"hint"} and terms["hint"].requires_grad
    with pytest.raises(ArgumentError, match="layer 'head' returns"):
        method.prepare(student, Outputs(torch.zeros(2, 4), {"head": torch.zeros(2, 4)}))


# --- in the training loop -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    model = net(1, width=6)
    fit(model, tiny.dataset(), **(FIT | {"epochs": 12}))
    return model


def run(student: nn.Module, teacher: Any, **change: Any) -> tuple[History, Method]:
    (method,) = methods.build("fitnet")
    settings: dict[str, Any] = FIT | {"alpha": 0.5, "method": method, "cache": False} | change
    return distil(student, teacher, tiny.dataset(), **settings), method


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_the_regressor_is_trained_and_no_part_of_the_student(
    teacher: nn.Module, tmp_path: Path, optimizer: str
) -> None:
    student, before = net(), tiny.state(teacher)
    names, parameters = list(student.state_dict()), sum(p.numel() for p in student.parameters())
    history, method = run(student, teacher, optimizer=optimizer, learning_rate=0.02)
    regressor = method.regressor
    torch.manual_seed(0)
    fresh, untrained = methods.build("fitnet")[0], tiny.state(method)
    run(net(), teacher, method=fresh, epochs=1, learning_rate=1e-12, weight_decay=0.0, optimizer=optimizer)
    assert not torch.allclose(fresh.regressor.weight, untrained["regressor.weight"], atol=1e-4)
    assert history.last.parts["fitnet"] < history.epochs[0].parts["fitnet"]
    assert history.settings["objective"].startswith(
        "fitnet() at second_norm as second_norm, alpha=0.5, teacher="
    )
    assert list(student.state_dict()) == names and regressor.weight.requires_grad
    save_weights(student, tmp_path / "student.safetensors")
    assert sorted(read_tensors(tmp_path / "student.safetensors")[0]) == sorted(names)
    assert evaluation.cost(student, (1, 8, 8)).parameters == parameters
    assert tiny.same_state(teacher, before)
    for network in (student, teacher):
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())
    copy.deepcopy(student)(torch.zeros(1, 1, 8, 8))


def test_the_student_comes_closer_to_the_hint(teacher: nn.Module) -> None:
    alone, hinted = net(), net()
    weights = {"fitnet": 5.0}
    losses = [
        run(student, teacher, alpha=0.0, weights=weights, epochs=6)[0].part("fitnet")[-1]
        for student in (hinted,)
    ]
    for p in alone.parameters():
        p.requires_grad_(False)
    alone.head.requires_grad_(True)  # only the regressor can follow
    losses.append(run(alone, teacher, alpha=0.0, weights=weights, epochs=6)[0].part("fitnet")[-1])
    assert losses[0] < losses[1]


class Stop(Exception):
    """The run is broken off."""


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_broken_run_resumes_bit_for_bit(teacher: nn.Module, tmp_path: Path, optimizer: str) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "augmentation": tiny.AUGMENTATION}
    whole, resumed = net(), net(7)
    told, method = run(whole, teacher, **settings)

    def stop(epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (1, 3):
            raise Stop

    settings |= {"checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 3}
    student = net()
    with pytest.raises(Stop):
        run(student, teacher, after_step=stop, **settings)
    assert not any(part._forward_hooks for part in student.modules())  # also after an error
    again, other = run(resumed, teacher, **settings)
    assert without_seconds(again) == without_seconds(told)
    assert tiny.same_state(resumed, tiny.state(whole)) and tiny.same_state(other, tiny.state(method))


def test_stored_targets_hold_no_layers(teacher: nn.Module) -> None:
    data = tiny.dataset()
    targets = soft_targets(teacher, data.train, data, cache=False, progress=False)
    with pytest.raises(ArgumentError, match="compares layers, which soft targets don't hold"):
        run(net(), targets)


def test_logits_come_from_stored_targets_and_layers_from_a_network_beside_them(teacher: nn.Module) -> None:
    data, other = tiny.dataset(), tiny.Teacher(9).eval()
    targets = soft_targets(other, data.train, data, cache=False, progress=False)
    seen: list[tuple[Outputs, Tensor]] = []

    class Seen(Method):
        """Keep what the teacher's side shows."""

        layers = "map"

        def forward(self, student: Outputs, teacher: Outputs, batch: Any) -> dict[str, Tensor]:
            seen.append((teacher, batch.images))
            return {"seen": student.feature.square().mean() + student.logits.square().mean()}

    for logits_of in (targets, other):
        seen.clear()
        distil(
            net(), logits_of, data, method=Seen(), alpha=1.0, layers_of=teacher, epochs=1, seed=0, cache=False,
            progress=False,
        )  # fmt: skip
        for outputs, images in seen:
            torch.testing.assert_close(outputs.logits, other(images), rtol=1e-3, atol=1e-3)
            with Tap(teacher, list(outputs.features), always=True) as tap:
                teacher(images)
                torch.testing.assert_close(outputs.feature, next(iter(tap.features.values())))
    with pytest.raises(ArgumentError, match="no method here compares layers"):
        distil(net(), targets, data, method="kd", alpha=1.0, layers_of=teacher, epochs=1, seed=0)
    student = net()
    with pytest.raises(ArgumentError, match="the student itself"):
        distil(student, targets, data, method="fitnet", alpha=1.0, layers_of=student, epochs=1, seed=0)


def test_with_weight_zero_nothing_is_asked(teacher: nn.Module) -> None:
    plain, taught = net(), net()
    expected = fit(plain, tiny.dataset(), **FIT)
    found, method = run(taught, teacher, alpha=0.0)
    assert without_seconds(found)["epochs"] == without_seconds(expected)["epochs"]
    assert tiny.same_state(taught, tiny.state(plain)) and not list(method.parameters())
