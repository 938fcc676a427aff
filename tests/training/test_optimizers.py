from __future__ import annotations

import pytest
import torch
from torch import nn

from kdcourse import models
from kdcourse.errors import ArgumentError
from kdcourse.training import OPTIMIZERS, Muon, make_optimizer, one_cycle
from kdcourse.training.optimizers import orthogonalise
from tests.training.toys import net


def names_of(model: nn.Module, params: list[nn.Parameter]) -> set[str]:
    chosen = {id(p) for p in params}
    return {name for name, p in model.named_parameters() if id(p) in chosen}


def test_one_cycle_rises_and_falls_in_straight_lines() -> None:
    assert [round(one_cycle(k / 10), 4) for k in range(11)] == [
        0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0
    ]  # fmt: skip
    assert one_cycle(0.5, warm_up=0.5) == 1
    assert [one_cycle(p, warm_up=0) for p in (0, 0.25, 1)] == [1, 0.75, 0]
    for warm_up in (-0.1, 1.0, 2.0, float("nan")):
        with pytest.raises(ArgumentError, match=f"warm_up .*found {warm_up}"):
            one_cycle(0.5, warm_up)


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (16, 144), (192, 64 * 9)])
def test_orthogonalise_pulls_singular_values_towards_one(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values.clamp(
        min=0.05 * float(values.max())
    )  # five iterations don't lift what is next to nothing
    out = orthogonalise((left * values) @ right)
    assert out.shape == shape and out.dtype == torch.float32
    found = torch.linalg.svdvals(out)
    assert float(found.min()) > 0.6 and float(found.max()) < 1.3
    # The same singular vectors: U^T out V is nearly diagonal.
    core = left.T @ out @ right.T
    assert float((core - torch.diag(core.diag())).abs().max()) < 0.1


def test_orthogonalise_computes_a_float64_matrix_in_float64_and_half_precision_in_float32() -> None:
    exact = torch.randn(6, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(exact, full_matrices=False)
    values = values / exact.norm()
    for _ in range(5):  # the same polynomial, on the singular values alone
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    out = orthogonalise(exact)
    assert out.dtype == torch.float64
    torch.testing.assert_close(out, (left * values) @ right, atol=1e-6, rtol=0)  # 1e-7 is added to the norm
    assert float((out - orthogonalise(exact.float())).abs().max()) > 1e-8
    half = exact.bfloat16()
    assert torch.equal(orthogonalise(half), orthogonalise(half.float()).bfloat16())


def test_orthogonalise_is_blind_to_scale_and_safe_at_zero() -> None:
    matrix = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        orthogonalise(matrix * 1e-3), orthogonalise(matrix * 1e3), atol=0.03, rtol=0.03
    )
    assert torch.equal(orthogonalise(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_spares_vectors(name: str) -> None:
    model = net()
    decayed, spared = make_optimizer(name, model, learning_rate=0.1, weight_decay=0.01).param_groups
    assert decayed["weight_decay"] == 0.01 and spared["weight_decay"] == 0
    assert names_of(model, decayed["params"]) == {
        "first.weight",
        "second.weight",
        "hidden.weight",
        "head.weight",
    }
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_no_gradient_only_decay_moves_weights(name: str) -> None:
    model = net()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    stepper = make_optimizer(name, model, learning_rate=0.5, weight_decay=0.1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    stepper.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    decayed = {"second.weight", "hidden.weight"} | (
        {"first.weight", "head.weight"} if name != "muon" else set()
    )
    assert moved == decayed
    # SGD adds decay to the gradient, so that Nesterov's first step takes 1 + 0.9 of it; the others decouple it.
    shrunk = 1 - 0.5 * 0.1 * (1.9 if name == "sgd" else 1)
    torch.testing.assert_close(model.hidden.weight.detach(), before["hidden.weight"] * shrunk)


def test_muon_leaves_head_stem_and_vectors_to_sgd() -> None:
    model = net()
    matrices, others = Muon(model.parameters(), lr=0.1).param_groups
    assert names_of(model, matrices["params"]) == {"second.weight", "hidden.weight"}
    assert {"first.weight", "head.weight", "first.bias", "head.bias"} <= names_of(model, others["params"])
    colour = net(channels=3)  # a stem of several channels is a matrix like any other
    assert "first.weight" in names_of(colour, Muon(colour.parameters(), lr=0.1).param_groups[0]["params"])
    depthwise = models.build("depthwise_4k")
    matrices = Muon(depthwise.parameters(), lr=0.1).param_groups[0]
    assert {p.shape[2] for p in matrices["params"]} == {1}  # pointwise kernels alone


def test_muon_knows_a_head_made_of_convolution() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 10, 1, bias=False))
    matrices, others = Muon(model.parameters(), lr=0.1).param_groups
    assert names_of(model, matrices["params"]) == {"0.weight"} and "1.weight" in names_of(
        model, others["params"]
    )
    (only,) = Muon([nn.Linear(3, 2).weight], lr=0.1).param_groups  # nothing but a head
    assert not only["matrix"]


def test_one_step_of_muon_by_hand() -> None:
    hidden, head, bias = (nn.Parameter(torch.randn(shape)) for shape in ((6, 3), (2, 6), (2,)))
    before = [p.detach().clone() for p in (hidden, head, bias)]
    stepper = Muon([hidden, bias, head], lr=0.1, momentum=0.9, other_lr_ratio=2.0, weight_decay=0.01)
    first, second = ([torch.randn_like(p) for p in (hidden, head, bias)] for _ in range(2))
    for gradients in (first, second):
        for p, gradient in zip((hidden, head, bias), gradients, strict=True):
            p.grad = gradient.clone()
        stepper.step()
    momentum = [0.9 * a + b for a, b in zip(first, second, strict=True)]
    steps = [
        [a + 0.9 * a for a in first],
        [b + 0.9 * m for b, m in zip(second, momentum, strict=True)],
    ]
    expected = before[0]
    for step in steps:
        expected = expected * (1 - 0.1 * 0.01) - 0.1 * (6 / 3) ** 0.5 * orthogonalise(step[0])
    torch.testing.assert_close(hidden.detach(), expected)
    for k, p in ((1, head), (2, bias)):
        torch.testing.assert_close(p.detach(), before[k] - 0.1 * 2 * (steps[0][k] + steps[1][k]))


def test_muon_takes_a_closure_and_skips_what_has_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    unused = nn.Parameter(torch.ones(4, 4))
    stepper = Muon([unused, *model.parameters()], lr=0.001)

    def closure() -> torch.Tensor:
        stepper.zero_grad()
        loss = model(torch.ones(2, 3)).square().sum()
        loss.backward()
        return loss

    first = stepper.step(closure).item()
    assert stepper.step(closure).item() < first
    assert torch.equal(unused.detach(), torch.ones(4, 4))


@pytest.mark.parametrize(
    ("name", "rate", "decay", "message"),
    [
        ("adam", 0.1, 0, "no optimizer 'adam'; choose one of sgd, adamw, muon"),
        ("sgd", 0.0, 0, "learning_rate must be a positive number; found 0.0"),
        ("sgd", -1, 0, "learning_rate .*found -1"),
        ("sgd", float("nan"), 0, "learning_rate .*found nan"),
        ("sgd", 0.1, -1e-4, "weight_decay .*found -0.0001"),
        ("sgd", 0.1, float("inf"), "weight_decay .*found inf"),
    ],
)
def test_settings_that_make_no_sense(name: str, rate: float, decay: float, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make_optimizer(name, net(), learning_rate=rate, weight_decay=decay)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_frozen_model(name: str) -> None:
    with pytest.raises(ArgumentError, match=r"nothing to train.*frozen teacher"):
        make_optimizer(name, net().requires_grad_(False), learning_rate=0.1, weight_decay=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_parts_stay_out(name: str) -> None:
    model = net()
    model.first.requires_grad_(False)
    held = [
        p
        for group in make_optimizer(name, model, learning_rate=0.1, weight_decay=0).param_groups
        for p in group["params"]
    ]
    assert names_of(model, held) == {n for n, _ in model.named_parameters()} - {"first.weight", "first.bias"}


def iterated_on_the_whole_matrix(matrix: torch.Tensor, steps: int) -> torch.Tensor:
    """Newton-Schulz as it is written down, in float64."""
    x = matrix.double()
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (64, 576)])
def test_iterating_small_squares_gives_the_same_as_whole_matrices(shape: tuple[int, int], steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(shape, generator=generator) * torch.rand(shape[0], 1, generator=generator) ** 4
    expected = iterated_on_the_whole_matrix(matrix, steps)
    found = orthogonalise(matrix, steps).double()
    assert float((found - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (40, 2, 3, 3), (6, 4, 1, 1), (6, 4, 5)])
def test_muon_steps_alike_however_a_kernel_lies_in_memory(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(2)
    weight, *gradients = (torch.randn(shape, generator=generator) for _ in range(3))
    found = []
    for turned in (False, True):
        p, head = nn.Parameter(weight.clone()), nn.Parameter(torch.zeros(2, 2))
        if turned:
            p.data = p.data.movedim(1, -1).contiguous().movedim(-1, 1)
        stepper = Muon([p, head], lr=0.1, weight_decay=0.01)
        for gradient in gradients:
            p.grad = gradient.clone()
            stepper.step()
        found.append(p.detach())
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    expected = weight * (1 - 0.1 * 0.01)
    step = 1.9 * gradients[0].flatten(1)
    length = 0.1 * max(1.0, step.shape[0] / step.shape[1]) ** 0.5
    expected = expected - length * iterated_on_the_whole_matrix(step, 5).float().view(shape)
    second = gradients[1] + 0.9 * (0.9 * gradients[0] + gradients[1])
    expected = expected * (1 - 0.1 * 0.01)
    expected = expected - length * iterated_on_the_whole_matrix(second.flatten(1), 5).float().view(shape)
    torch.testing.assert_close(found[1], expected, rtol=1e-3, atol=1e-4)
