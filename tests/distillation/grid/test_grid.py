from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from kdcourse.distillation import GridResult, SoftTargets, distil, distil_grid, soft_targets
from kdcourse.distillation.grid import grid as grid_module
from kdcourse.errors import ArgumentError
from kdcourse.models import MLP, PocketCNN
from tests.distillation import tiny

DATA = tiny.dataset()
TARGETS = soft_targets(tiny.quarter_reader(), DATA.train, DATA, cache=False, progress=False)
SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "precision": "float64", "device": "cpu"}


def mlp() -> nn.Module:
    return MLP(4, 1, hidden=(6, 5), size=8)


def cnn() -> nn.Module:
    return PocketCNN(4, 1, widths=(3, 4), depths=(1, 0))


def with_dropout() -> nn.Module:
    return MLP(4, 1, hidden=(6,), size=8, dropout=0.3)


def grid(student: Callable[[], nn.Module] = mlp, **changes: Any) -> GridResult:
    asked: dict[str, Any] = (
        {"temperatures": [1, 4], "alphas": [0, 0.5, 1], "seeds": [3, 5]} | SETTINGS | changes
    )
    return distil_grid(
        asked.pop("temperatures"), asked.pop("alphas"), asked.pop("seeds"),
        **{"data": DATA, "teacher": TARGETS, "progress": False} | asked, student=student,
    )  # fmt: skip


def assert_each_as_alone(result: GridResult, student: Callable[[], nn.Module], **changes: Any) -> None:
    for row, trained in zip(result.rows, result.students, strict=True):
        torch.manual_seed(row.setting.seed)
        alone = student()
        history = distil(
            alone, changes.get("teacher", TARGETS), DATA, temperature=row.setting.temperature,
            alpha=row.setting.alpha, learning_rate=row.setting.learning_rate, seed=row.setting.seed, progress=False,
            **SETTINGS | {key: value for key, value in changes.items() if key != "teacher"},
        )  # fmt: skip
        for mine, other in zip(trained.parameters(), alone.parameters(), strict=True):
            assert mine.dtype == torch.float64
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-9)
        assert len(row.history) == len(history)
        for column in (
            "train_loss",
            "train_accuracy",
            "validation_loss",
            "validation_accuracy",
            "learning_rate",
        ):
            for mine, other in zip(row.history.column(column), history.column(column), strict=True):
                assert mine == pytest.approx(other, abs=1e-9)
        assert not trained.training


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_students_of_a_stack_end_as_each_alone(optimizer: str) -> None:
    changes = {"optimizer": optimizer, "learning_rates": [0.02, 0.05]}
    result = grid(**changes)
    assert result.how == "stacked, 24 at a time"
    assert [row.setting.learning_rate for row in result.rows[:4]] == [0.02, 0.02, 0.05, 0.05]
    assert_each_as_alone(result, mlp, optimizer=optimizer)


def test_students_of_a_stack_end_as_each_alone_on_stored_views() -> None:
    changes = {"augmentation": tiny.AUGMENTATION, "views": 2, "epochs": 3}
    result = grid(teacher=tiny.quarter_reader(), cache=False, **changes)
    assert_each_as_alone(result, mlp, teacher=tiny.quarter_reader(), cache=False, **changes)


def test_students_one_by_one_end_as_each_alone() -> None:
    result = grid(cnn, learning_rates=[0.02, 0.05])
    assert result.how.startswith("one by one")
    assert_each_as_alone(result, cnn)


def test_random_layers_are_trained_one_at_a_time_and_muon_outside_a_stack() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        dropping = grid(with_dropout, temperatures=[4], seeds=[3])
        assert dropping.how == "one by one"
        assert_each_as_alone(dropping, with_dropout)
        turning = grid(optimizer="muon", temperatures=[4], seeds=[3])
        assert turning.how == "one by one, 2 at a time, a thread each"
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert_each_as_alone(turning, mlp, optimizer="muon")


def test_a_grid_too_large_for_one_stack_is_trained_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = grid()
    parameters = sum(p.numel() for p in mlp().parameters())
    monkeypatch.setattr(grid_module, "STACK_PARAMETERS", 5 * parameters)
    parts = grid()
    assert parts.how == "stacked, 3 at a time"
    for one, other in zip(whole.table, parts.table, strict=True):
        assert one == pytest.approx(other, abs=1e-12)


@pytest.mark.parametrize("student", [mlp, cnn])
def test_stopping_keeps_what_was_found(student: Callable[[], nn.Module]) -> None:
    seen: list[GridResult] = []
    result = grid(student, after_epoch=seen.append, should_stop=lambda: bool(seen), epochs=50)
    assert result.cancelled and not seen[0].cancelled
    done = [len(row.history) for row in result.rows]
    assert 0 < sum(done) < 50 * len(done)
    assert seen[0].students == () and len(result.students) == len(result.rows)
    assert all(not trained.training for trained in result.students)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("distil_grid")]
    known = [cell["validation_accuracy"] is not None for cell in result.table]
    assert known == [count > 0 for count in done]


@pytest.mark.parametrize("student", [mlp, cnn])
def test_stopping_ends_students_in_the_middle(student: Callable[[], nn.Module]) -> None:
    asked: list[None] = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) > 3

    result = grid(student, should_stop=should_stop, epochs=10**5, temperatures=[1], alphas=[1], seeds=[3])
    assert result.cancelled
    assert len(result.rows[0].history) < 10**5


@pytest.mark.parametrize("student", [mlp, cnn])
def test_an_interruption_keeps_what_was_found_and_an_error_is_not_swallowed(
    student: Callable[[], nn.Module],
) -> None:
    def interrupt(_: GridResult) -> None:
        raise KeyboardInterrupt

    result = grid(student, after_epoch=interrupt)
    assert result.cancelled
    assert sum(len(row.history) for row in result.rows) > 0

    def fail(_: GridResult) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        grid(student, after_epoch=fail)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("distil_grid")]


@pytest.mark.parametrize("student", [mlp, cnn])
def test_a_student_that_diverges_is_marked_and_disturbs_no_other(student: Callable[[], nn.Module]) -> None:
    result = grid(student, learning_rates=[0.05, 1e200], temperatures=[2], alphas=[1], seeds=[3])
    calm, wild = result.rows
    assert (calm.diverged, wild.diverged) == (False, True)
    assert len(calm.history) == 2 and len(wild.history) < 2
    assert result.table[1]["validation_accuracy"] is None
    assert math.isnan(result.mean()[2, 1])
    alone = grid(student, learning_rates=[0.05], temperatures=[2], alphas=[1], seeds=[3])
    assert result.table[0] == pytest.approx(alone.table[0], abs=1e-12)


def test_results_so_far_fill_in_row_by_row() -> None:
    seen: list[GridResult] = []
    result = grid(after_epoch=seen.append)
    assert [[len(row.history) for row in each.rows] for each in seen] == [[1] * 12, [2] * 12]
    assert not result.cancelled
    assert [each.seconds for each in seen] == sorted(each.seconds for each in seen)
    ones: list[GridResult] = []
    grid(cnn, after_epoch=ones.append, temperatures=[1])
    assert [sum(len(row.history) == 2 for row in each.rows) for each in ones] == [1, 2, 3, 4, 5, 6]


def test_the_table_is_tidy_and_cells_average_over_seeds() -> None:
    result = grid()
    assert [(row["temperature"], row["alpha"], row["seed"]) for row in result.table] == [
        (t, a, s) for t in (1, 4) for a in (0, 0.5, 1) for s in (3, 5)
    ]
    assert {tuple(row) for row in result.table} == {tuple(result.table[0])}
    cell = [row["validation_loss"] for row in result.table if (row["temperature"], row["alpha"]) == (4, 0.5)]
    assert result.mean("validation_loss")[4, 0.5] == pytest.approx(sum(cell) / 2)
    assert result.student(temperature=4, alpha=0.5, seed=5) is result.students[9]
    with pytest.raises(ArgumentError, match="found 0"):
        result.student(temperature=3, alpha=0.5, seed=5)
    with pytest.raises(ArgumentError, match="seconds"):
        result.mean("seconds")
    several = grid(learning_rates=[0.02, 0.05])
    with pytest.raises(ArgumentError, match="found 2"):
        several.student(temperature=4, alpha=0.5, seed=5)
    assert several.student(temperature=4, alpha=0.5, seed=5, learning_rate=0.05) in several.students


def test_the_callers_random_numbers_stay_and_a_grid_repeats_itself() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    for student in (mlp, cnn):
        torch.manual_seed(11)
        one = grid(student)
        assert torch.equal(torch.rand(3), expected)
        assert one.table == grid(student).table


def test_a_student_may_be_named_and_validation_may_wait() -> None:
    result = distil_grid(
        [4], [0.9], [0], data=DATA, teacher=TARGETS, epochs=3, batch_size=16, validate=False, progress=False
    )
    assert sum(p.numel() for p in result.students[0].parameters()) == 64 * 32 + 32 + 32 * 4 + 4
    assert [loss is None for loss in result.rows[0].history.column("validation_loss")] == [True, True, False]
    settings = result.rows[0].history.settings
    assert settings["precision"] in ("float32", "bfloat16") and settings["device"]


def test_a_bar_counts_epochs_of_students(capsys: pytest.CaptureFixture[str]) -> None:
    grid(progress="my grid")
    shown = capsys.readouterr().err
    assert "my grid" in shown and "24/24 epochs" in shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperatures": []}, "temperatures must be one value or more"),
        ({"alphas": [0.5, 0.5]}, "alphas must be"),
        ({"temperatures": [0]}, "temperature must be"),
        ({"alphas": [1.5]}, "alpha"),
        ({"seeds": [-1]}, r"seed must be a whole number from 0 to 2\*\*32 - 1; found -1"),
        ({"seeds": [1.0]}, "seed must be a whole number"),
        ({"seeds": [2**32]}, "seed must be a whole number"),
        ({"learning_rates": [0.0]}, "learning_rates must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"optimizer": "adam"}, "no optimizer 'adam'"),
        ({"augmentation": tiny.AUGMENTATION}, "views=4"),
        ({"augmentation": tiny.AUGMENTATION, "views": 2}, "lack 2 of the 2 views"),
        ({"precision": "float16"}, "float16"),
        ({"seed": 3}, r"seeds as an axis; found seed=3 beside them. Pass seeds=\[3\]"),
        ({"learning_rate": 0.2}, r"found learning_rate=0\.2 beside them. Pass learning_rates=\[0\.2\]"),
        ({"teacher": tiny.Teacher(classes=5), "cache": False}, "returns 5 logits, and there are 4 classes"),
    ],
)
def test_wrong_arguments_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        grid(**changes)


def test_targets_of_another_split_are_refused() -> None:
    other = soft_targets(tiny.quarter_reader(), DATA.test, DATA, cache=False, progress=False)
    assert isinstance(other, SoftTargets)
    with pytest.raises(ArgumentError, match="another split"):
        grid(teacher=other)
