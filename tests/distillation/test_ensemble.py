"""Teachers hold still, and the three ways of averaging them are what they are called."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor, nn

from kdcourse import models
from kdcourse.distillation import (
    Ensemble,
    freeze,
    kd_divergence,
    mean_softened,
    softened,
    softened_mean,
    teacher_digest,
)
from kdcourse.distillation.inference import teacher_inference
from kdcourse.errors import ArgumentError
from kdcourse.models.mlp import MLP
from kdcourse.runs.teachers import shipped_folder
from kdcourse.training import load_weights
from tests.distillation import tiny

IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class StudentWithTeacher(nn.Module):
    """A student that holds its teacher as a part of itself: everything done to it reaches the teacher."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.student = tiny.Teacher(9)
        self.teacher = teacher


def is_changed_by_training(teacher: nn.Module, put_in_train_mode: Callable[[nn.Module], object]) -> set[str]:
    """What a few careless training steps change in a teacher: its weights, statistics, gradients, answers."""
    both = StudentWithTeacher(teacher)
    before, answers = tiny.state(teacher), teacher(IMAGES).detach()
    for _ in range(2):
        put_in_train_mode(both)
        student_logits, teacher_logits = both.student(IMAGES), both.teacher(IMAGES)
        loss = kd_divergence(student_logits, teacher_logits, 2.0) + 0.1 * teacher_logits.square().sum()
        loss.backward()
        with torch.no_grad():
            for parameter in both.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * (parameter.grad + 0.1 * parameter)
    changed = {
        "statistics" if "running" in name or "tracked" in name else "weights"
        for name, tensor in teacher.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    if any(parameter.grad is not None for parameter in teacher.parameters()):
        changed.add("gradients")
    if not torch.equal(teacher(IMAGES), answers):
        changed.add("answers")
    return changed


def train_everything(model: nn.Module) -> None:
    model.train()


def train_every_part(model: nn.Module) -> None:
    for part in model.modules():
        part.train()


@pytest.mark.parametrize("put_in_train_mode", [train_everything, train_every_part])
def test_training_cannot_change_a_frozen_teacher(put_in_train_mode: Callable[[nn.Module], object]) -> None:
    for teacher in (
        freeze(tiny.Teacher()),
        Ensemble([tiny.Teacher(0), tiny.Teacher(1)]),
        Ensemble([tiny.Teacher(0), tiny.Teacher(1)], "probabilities"),
    ):
        assert not is_changed_by_training(teacher, put_in_train_mode)


def test_a_frozen_teacher_stays_in_eval_mode_and_records_nothing() -> None:
    for teacher in (freeze(tiny.Teacher()), Ensemble([tiny.Teacher(0), tiny.Teacher(1)])):
        both = StudentWithTeacher(teacher).train()
        assert both.student.training and not any(part.training for part in teacher.modules())
        assert not teacher(IMAGES.clone().requires_grad_()).requires_grad
        teacher.requires_grad_(True)
        assert not teacher(IMAGES).requires_grad
    assert not teacher.member_logits(IMAGES.clone().requires_grad_()).requires_grad


def test_an_unfrozen_teacher_is_seen_to_change() -> None:
    everything = {"weights", "statistics", "gradients", "answers"}
    assert is_changed_by_training(tiny.Teacher().eval(), train_everything) == everything

    broken_only_eval_once = tiny.Teacher().eval().requires_grad_(False)
    assert is_changed_by_training(broken_only_eval_once, train_everything) == {"statistics", "answers"}

    class BrokenStillRecordsGradients(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network.eval()

        def train(self, mode: bool = True) -> BrokenStillRecordsGradients:
            return self

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images)

    assert is_changed_by_training(BrokenStillRecordsGradients(tiny.Teacher()), train_everything) == {
        "weights",
        "gradients",
        "answers",
    }


def test_freezing_leaves_the_callers_network_alone() -> None:
    network = tiny.Teacher().train()
    network.norm.eval()
    network(IMAGES).sum().backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    frozen, ensemble = freeze(network), Ensemble([network])
    assert network.training and not network.norm.training
    assert all(
        parameter.requires_grad and torch.equal(parameter.grad, gradient)
        for parameter, gradient in zip(network.parameters(), gradients, strict=True)
    )
    # A copy of its own: going on with the network's training doesn't move the teacher.
    expected = copy.deepcopy(network).eval()(IMAGES)
    with torch.no_grad():
        network.head.weight.zero_()
    for teacher in (frozen, ensemble):
        assert not teacher.training and not teacher(IMAGES).requires_grad
        torch.testing.assert_close(teacher(IMAGES), expected)
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert freeze(frozen) is frozen and freeze(ensemble) is ensemble


def test_answers_survive_saving_and_copying() -> None:
    ensemble = Ensemble([tiny.Teacher(0), tiny.Teacher(1)], "probabilities")
    twin = Ensemble([tiny.Teacher(2), tiny.Teacher(3)], "probabilities")
    assert not torch.equal(twin(IMAGES), ensemble(IMAGES))
    twin.load_state_dict(ensemble.state_dict())
    assert torch.equal(twin(IMAGES), ensemble(IMAGES))
    assert torch.equal(copy.deepcopy(ensemble)(IMAGES), ensemble(IMAGES))
    assert "average='probabilities'" in repr(ensemble)


def test_averages_are_what_they_are_called() -> None:
    members = [tiny.Teacher(seed) for seed in range(3)]
    one_by_one = np.stack([member.eval()(IMAGES).detach().double().numpy() for member in members])
    ensemble = Ensemble(members)
    np.testing.assert_allclose(ensemble.member_logits(IMAGES), one_by_one, atol=1e-6)
    np.testing.assert_allclose(ensemble(IMAGES), one_by_one.mean(0), atol=1e-6)

    # The mean of logits gives the normalised geometric mean of the probabilities ...
    probabilities = special.softmax(one_by_one, axis=2)
    geometric = np.exp(np.log(probabilities).mean(0))
    geometric /= geometric.sum(1, keepdims=True)
    np.testing.assert_allclose(softened(ensemble(IMAGES), 1), geometric, atol=1e-6)
    # ... and "probabilities" the arithmetic one, to which its logits are the logarithm itself.
    arithmetic = Ensemble(members, "probabilities")(IMAGES)
    np.testing.assert_allclose(arithmetic.exp(), probabilities.mean(0), atol=1e-6)
    assert np.abs(geometric - probabilities.mean(0)).max() > 0.01
    # Members' answers that are at hand already are combined in the same way.
    for average in ("logits", "probabilities"):
        same = Ensemble(members, average)  # type: ignore[arg-type]
        assert torch.equal(same.combine(ensemble.member_logits(IMAGES)), same(IMAGES))
        with pytest.raises(ArgumentError, match=r"found \[6, 4\]"):
            same.combine(ensemble(IMAGES))


def test_softening_the_mean_is_not_the_mean_of_the_softened() -> None:
    logits = torch.tensor([[[4.0, 0.0, 0.0]], [[0.0, 1.0, -5.0]]], dtype=torch.float64)
    z = logits.numpy()
    for temperature in (1.0, 3.0):
        first, second = softened_mean(logits, temperature), mean_softened(logits, temperature)
        np.testing.assert_allclose(first, special.softmax(z.mean(0) / temperature, axis=1), atol=1e-15)
        np.testing.assert_allclose(second, special.softmax(z / temperature, axis=2).mean(0), atol=1e-15)
        # The third: the ensemble of probabilities, softened. It meets the second at T = 1 alone.
        mean_probability = special.softmax(z, axis=2).mean(0)
        third = softened(torch.from_numpy(np.log(mean_probability)), temperature)
        assert float((first - second).abs().max()) > 0.01
        assert float((first - third).abs().max()) > 0.01
        assert (float((second - third).abs().max()) > 0.01) == (temperature != 1)
    for single in (softened_mean, mean_softened):
        torch.testing.assert_close(single(logits[:1], 2.0), softened(logits[0], 2.0))
        assert single(logits.bfloat16(), 2.0).dtype == torch.float32


def test_log_of_mean_probability_keeps_impossible_classes_finite() -> None:
    class Certain(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([[1e4, 0.0, -1e4]]).expand(len(images), 3)

    logits = Ensemble([Certain(), Certain()], "probabilities")(IMAGES)
    assert torch.isfinite(logits).all() and bool((logits[:, 1] > logits[:, 2]).all())


def test_members_that_do_not_fit_together() -> None:
    with pytest.raises(ArgumentError, match="at least one member; found none"):
        Ensemble([])
    network = tiny.Teacher()
    with pytest.raises(ArgumentError, match="3 members more than once"):
        Ensemble([network, tiny.Teacher(1), network])
    with pytest.raises(ArgumentError, match="found 'median'"):
        Ensemble([network], "median")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="found function"):
        Ensemble([network, lambda images: images])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match=r"found \[4, 5\] classes"):
        Ensemble([network, tiny.Teacher(classes=5)])(IMAGES)
    with pytest.raises(ArgumentError, match="returned tuple"):

        class Pair(tiny.Teacher):
            def forward(self, images: Tensor) -> Tensor:
                return super().forward(images), images  # type: ignore[return-value]

        freeze(Pair())(IMAGES)
    with pytest.raises(ArgumentError, match=r"returned \[6, 1, 8, 8\]"):
        freeze(nn.Identity())(IMAGES)
    with pytest.raises(ArgumentError, match=r"must be a torch\.nn\.Module"):
        freeze("teacher")  # type: ignore[arg-type]
    network.lock = threading.Lock()
    with pytest.raises(ArgumentError, match="can't be copied"):
        freeze(network)
    with pytest.raises(ArgumentError, match=r"found \[0, 3, 4\]"):
        mean_softened(torch.zeros(0, 3, 4), 1.0)
    with pytest.raises(ArgumentError, match=r"found \[3, 4\]"):
        softened_mean(torch.zeros(3, 4), 1.0)
    with pytest.raises(ArgumentError, match="found -1"):
        softened_mean(torch.zeros(2, 3, 4), -1)
    with pytest.raises(ArgumentError, match="found 0"):
        mean_softened(torch.zeros(2, 3, 4), 0)


MLPS = [models.build("mlp_109k", size=8, num_classes=4).double() for _ in range(3)]


def one_after_another(members: list[nn.Module], images: Tensor) -> Tensor:
    return torch.stack([member.eval()(images) for member in members]).detach()


@pytest.mark.parametrize("count", [1, 5])
def test_mlps_computed_together_answer_as_one_after_another(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randn(count, 1, 8, 8, dtype=torch.float64)
    ensemble = Ensemble(MLPS)
    expected = one_after_another(MLPS, images)
    monkeypatch.setattr(MLP, "forward", lambda *_: pytest.fail("a member was asked alone"))
    torch.testing.assert_close(ensemble.member_logits(images), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(ensemble(images), expected.mean(0), rtol=0, atol=1e-12)


def test_weights_that_change_are_noticed() -> None:
    images = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    others = [models.build("mlp_109k", size=8, num_classes=4).double() for _ in range(3)]
    ensemble = Ensemble(MLPS)
    ensemble(images)
    ensemble.load_state_dict(Ensemble(others).state_dict())
    torch.testing.assert_close(ensemble.member_logits(images), one_after_another(others, images))
    with torch.no_grad():
        ensemble.members[1].layers[0].bias.add_(1.0)
    expected = one_after_another(list(ensemble.members), images)
    torch.testing.assert_close(ensemble.member_logits(images), expected)
    ensemble.members[2] = copy.deepcopy(MLPS[0])
    replaced = one_after_another(MLPS[:1], images)[0]
    torch.testing.assert_close(ensemble.member_logits(images)[2], replaced)
    twin = copy.deepcopy(ensemble)
    with torch.no_grad():
        twin.members[0].layers[0].weight.zero_()
    torch.testing.assert_close(twin.member_logits(images), one_after_another(list(twin.members), images))
    single = ensemble.float()
    assert single(images.float()).dtype == torch.float32
    expected = one_after_another(list(single.members), images.float())
    torch.testing.assert_close(single.member_logits(images.float()), expected)


def test_members_that_cannot_be_computed_together() -> None:
    images = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    wide = models.build("mlp_200k", size=8, num_classes=4).double()
    dropping = models.build("mlp_109k", size=8, num_classes=4, dropout=0.5).double()
    for members in ([MLPS[0], wide], [MLPS[0], dropping], MLPS[:1], [MLPS[0], tiny.Teacher().double()]):
        ensemble = Ensemble(members).train()
        expected = one_after_another(members, images)
        torch.testing.assert_close(ensemble.member_logits(images), expected, rtol=0, atol=1e-12)
    with pytest.raises(ArgumentError, match=r"found 49"):
        Ensemble(MLPS)(images[..., 1:, 1:])
    with torch.inference_mode():
        unversioned = Ensemble(MLPS)
        torch.testing.assert_close(unversioned.member_logits(images), one_after_another(MLPS, images))


def test_kernels_are_turned_in_the_copy_alone_and_answers_stay() -> None:
    network = models.build("teacher").double().eval()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
                part.weight.normal_()
    images = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    expected, before = network(images).detach(), tiny.state(network)
    strides = [p.stride() for p in network.parameters()]
    last = torch.channels_last
    for teacher in (freeze(network), Ensemble([network])):
        torch.testing.assert_close(teacher(images), expected, rtol=0, atol=1e-9)
        kernels = [p for p in teacher.parameters() if p.ndim == 4]
        assert kernels and all(kernel.is_contiguous(memory_format=last) for kernel in kernels)
    with teacher_inference(network) as ask:
        torch.testing.assert_close(ask(images), expected, rtol=0, atol=1e-9)
    assert [p.stride() for p in network.parameters()] == strides and tiny.same_state(network, before)
    assert all(p.requires_grad for p in network.parameters())
    with (
        pytest.raises(ArgumentError, match="Sequential returned"),
        teacher_inference(nn.Sequential(nn.Conv2d(1, 2, 3))) as ask,
    ):
        ask(images)


def test_the_courses_own_teachers_answer_as_before() -> None:
    folder = shipped_folder()
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    network = models.build("teacher").eval()
    load_weights(network, folder / "teacher_1.safetensors")
    with torch.no_grad():
        plain = network.double()(images.double())
    network.float()
    for teacher in (freeze(network), Ensemble([network])):
        torch.testing.assert_close(teacher(images).double(), plain, rtol=1e-4, atol=1e-4)
    with teacher_inference(network) as ask:
        torch.testing.assert_close(ask(images).double(), plain, rtol=1e-4, atol=1e-4)


def test_weighted_members_count_by_their_share() -> None:
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    members = [tiny.Teacher(seed) for seed in range(3)]
    weighted = {
        average: Ensemble(members, average, weights=[1, 3, 0])  # type: ignore[arg-type]
        for average in ("logits", "probabilities")
    }
    one, other, _ = logits.numpy()
    of_logits, of_probabilities = (each.combine(logits).numpy() for each in weighted.values())
    np.testing.assert_allclose(of_logits, 0.25 * one + 0.75 * other, rtol=1e-12)
    mixed = 0.25 * special.softmax(one, axis=1) + 0.75 * special.softmax(other, axis=1)
    np.testing.assert_allclose(special.softmax(of_probabilities, axis=1), mixed, rtol=1e-12)
    ruled_out = logits.clone()
    ruled_out[2, :, 0] = -torch.inf  # by the member that doesn't count
    for average, each in weighted.items():
        assert bool(each.combine(ruled_out).isfinite().all())
        even = Ensemble(members, average, weights=[2, 2, 2])  # type: ignore[arg-type]
        plain = Ensemble(members, average)  # type: ignore[arg-type]
        torch.testing.assert_close(even.combine(logits), plain.combine(logits))
        assert "weights=[0.25, 0.75, 0.0]" in repr(each) and "weights" not in repr(plain)
        assert len({teacher_digest(teacher) for teacher in (each, even, plain)}) == 3
        assert teacher_digest(plain) != teacher_digest(each)
    for wrong in ([1.0, 2.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, float("nan"), 1.0]):
        with pytest.raises(ArgumentError, match="one number of at least 0 per member, 3 of them"):
            Ensemble(members, weights=wrong)
    with pytest.raises(ArgumentError, match="weighs 3 members; found the logits of 2"):
        weighted["logits"].combine(logits[:2])
