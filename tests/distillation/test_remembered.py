"""A teacher whose answers are kept in memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdcourse.data import text_dataset
from kdcourse.distillation import Remembered, distil
from kdcourse.models import GPT


class Shared(list[int]):
    """A list that copies have in common."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self


class Counting(nn.Module):
    """Count the rows that a network and its copies were shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.rows = network, Shared([0])

    def forward(self, tokens: Tensor) -> Tensor:
        self.rows[0] += len(tokens)
        logits: Tensor = self.network(tokens)
        return logits


def _teacher() -> Counting:
    torch.manual_seed(0)
    return Counting(GPT(30, context=8, width=16, depth=1, heads=2).eval())


@torch.no_grad()
def test_each_row_is_asked_about_once_and_copies_share_the_answers() -> None:
    teacher, tokens = _teacher(), torch.randint(30, (6, 8))
    remembered = Remembered(teacher)
    expected = teacher.network(tokens)
    assert torch.equal(remembered(tokens[:4]), expected[:4])  # the first time as they are
    for order in ([0, 1, 2, 3], [5, 2, 0, 4], [4, 5]):
        found = copy.deepcopy(remembered)(tokens[order])
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected[order], rtol=1e-3, atol=1e-3)
    assert len(remembered._kept) == 6
    assert teacher.rows == [6]


@torch.no_grad()
def test_no_more_is_kept_than_allowed() -> None:
    teacher, tokens = _teacher(), torch.randint(30, (6, 8))
    remembered = Remembered(teacher, most_bytes=2 * (2 * 8 * 30))
    for _ in range(3):
        torch.testing.assert_close(remembered(tokens), teacher.network(tokens), rtol=1e-3, atol=1e-3)
    assert teacher.rows == [6 + 4 + 4]


@pytest.mark.filterwarnings("ignore::kdcourse.errors.TeacherWarning")
def test_a_student_learns_the_same() -> None:
    text = text_dataset(
        "cats", [f"The cat sat on mat {n}. The dog {n} saw it." for n in range(60)], context=16
    )
    torch.manual_seed(0)
    teacher = Counting(GPT(len(text.vocabulary), context=16, width=16, depth=1, heads=2, init_std=0.02))
    students = []
    asked = []
    for asks in (teacher, Remembered(teacher)):
        torch.manual_seed(1)
        students.append(GPT(len(text.vocabulary), context=16, width=16, depth=1, heads=2))
        teacher.rows[0] = 0
        distil(
            students[-1], asks, text, alpha=1.0, epochs=5, batch_size=8, learning_rate=1e-2, optimizer="adamw",
            seed=0, precision="float32", validate=False, progress=False,
        )  # fmt: skip
        asked.append(teacher.rows[0])
    assert asked[0] - asked[1] >= 3 * len(text.train)  # rows differ in all epochs but the first
    for one, other in zip(students[0].parameters(), students[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-3)
