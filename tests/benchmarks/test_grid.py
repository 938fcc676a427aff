from __future__ import annotations

import pytest
import torch

from benchmarks import grid
from benchmarks.task import Task
from kdcourse.distillation import soft_targets
from kdcourse.models import PocketCNN
from tests.distillation import tiny

SETTINGS = {
    "student": "pocket_2k", "epochs": 1, "batch_size": 16, "learning_rate": 0.05, "weight_decay": 5e-4, "warm_up": 0.2,
    "precision": "float32", "temperatures": [2, 8], "alphas": [0.5, 0.9], "seeds": 1,
}  # fmt: skip


def test_grouped_convolutions_answer_as_the_students_they_were_made_of() -> None:
    torch.manual_seed(0)
    members = [PocketCNN(4, 1, widths=(3, 5), depths=(1, 2)).eval() for _ in range(3)]
    grouped = grid.GroupedPocketCNN(members).eval()
    images = torch.randn(6, 1, 8, 8)
    for position, member in enumerate(members):
        torch.testing.assert_close(grouped(images)[position].T, member(images), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(grouped.member(position)(images), member(images), rtol=1e-5, atol=1e-5)


def test_all_three_ways_train_the_same_students(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid.models, "build", lambda name, **_: PocketCNN(4, 1, widths=(3, 4), depths=(1, 0)))
    data = tiny.dataset()
    teacher = tiny.quarter_reader()
    targets = soft_targets(teacher, data.train, data, cache=False, progress=False)
    task = Task(data, teacher, PocketCNN(4, 1, widths=(3, 4), depths=(1, 0)))
    found = [
        way(task, targets, SETTINGS)
        for way in (grid.in_a_grid, grid.one_after_another, grid.as_grouped_convolutions)
    ]
    assert len(found[0]) == 4
    assert found[0] == pytest.approx(found[1], abs=0.051)  # 20 pictures: one may tip by rounding
    assert found[2] == pytest.approx(found[1], abs=0.051)
