from __future__ import annotations

import pytest
import torch
from torch import nn

from kdcourse.errors import ArgumentError
from kdcourse.models import build
from kdcourse.models.mlp import MLP
from kdcourse.models.stacked import StackedMLP, can_stack


def members(count: int, hidden: tuple[int, ...]) -> list[nn.Module]:
    return [MLP(4, 2, hidden=hidden, size=5).double() for _ in range(count)]


@pytest.mark.parametrize("hidden", [(), (7,), (6, 3), (3, 8, 5)])
def test_a_stack_answers_as_its_members(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    parts = members(6, hidden)
    stack = StackedMLP(parts, groups=3)
    images = torch.randn(3, 9, 2, 5, 5, dtype=torch.float64)
    found = stack(images.flatten(2))
    assert found.shape == (6, 4, 9)
    for position, part in enumerate(parts):
        torch.testing.assert_close(found[position].T, part(images[position // 2]), rtol=0, atol=1e-12)
    everyone = stack(images[:1].flatten(2))
    for position, part in enumerate(parts):
        torch.testing.assert_close(everyone[position].T, part(images[0]), rtol=0, atol=1e-12)


def test_gradients_reach_each_member_alone() -> None:
    torch.manual_seed(0)
    parts = members(4, (6,))
    stack = StackedMLP(parts, groups=2)
    images = torch.randn(2, 5, 50, dtype=torch.float64)
    stack(images)[2].sum().backward()
    for parameter in (*stack.weights, *stack.biases):
        moved = parameter.grad.flatten(1).abs().sum(1) > 0
        assert moved.tolist() == [False, False, True, False]


def test_weights_come_out_as_they_went_in_and_are_copies() -> None:
    parts = members(2, (6,))
    stack = StackedMLP(parts)
    before = [parameter.clone() for parameter in parts[1].parameters()]
    with torch.no_grad():
        for parameter in (*stack.weights, *stack.biases):
            parameter.add_(1)
    assert all(torch.equal(a, b) for a, b in zip(before, parts[1].parameters(), strict=True))
    fresh = members(1, (6,))[0]
    assert stack.unload(1, fresh) is fresh
    assert all(torch.equal(a + 1, b) for a, b in zip(before, fresh.parameters(), strict=True))


def test_what_can_be_stacked() -> None:
    assert can_stack(build("mlp_25k"))
    assert not can_stack(build("pocket_2k"))
    assert not can_stack(build("mlp_25k", dropout=0.1))


@pytest.mark.parametrize(
    ("parts", "groups", "message"),
    [
        ([], 1, "0 members"),
        (members(3, (4,)), 2, "3 members for 2 groups"),
        (members(1, (4,)) + members(1, (5,)), 1, r"2\s+shape"),
        ([build("pocket_2k")], 1, "PocketCNN"),
        ([build("mlp_25k", dropout=0.5)], 1, "without dropout"),
    ],
)
def test_what_cannot_is_refused(parts: list[nn.Module], groups: int, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        StackedMLP(parts, groups)
