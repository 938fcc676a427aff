"""What stored views cost, and that they are kept as parameters and logits, never as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdcourse.data import View
from kdcourse.distillation import soft_targets, views_cost
from kdcourse.errors import ArgumentError
from tests.distillation import tiny

SECONDS = st.floats(0.001, 1000)


def test_costs_by_hand() -> None:
    cost = views_cost(10.0, 1.0, views=2, epochs=8)
    assert (cost.stored, cost.on_the_fly, cost.cheaper) == (28.0, 88.0, "stored")
    assert cost.ratio == pytest.approx(88 / 28)
    # Three students share the views; each has a pass of the teacher an epoch otherwise.
    assert views_cost(10.0, 1.0, views=2, epochs=8, students=3).stored == 44.0
    assert views_cost(10.0, 1.0, views=2, epochs=8, students=3).on_the_fly == 264.0
    # Views that no epoch shows aren't computed.
    assert views_cost(10.0, 1.0, views=20, epochs=8).stored == 88.0
    # What is dear to keep, or cheap to ask again, is better asked again.
    assert views_cost(10.0, 1.0, views=8, epochs=8, storing=0.5).cheaper == "on the fly"
    assert views_cost(10.0, 1.0, views=7, epochs=8, storing=0.5).cheaper == "stored"
    assert views_cost(10.0, 1.0, views=7, epochs=8, on_the_fly_pass=5.0).cheaper == "on the fly"


@given(SECONDS, SECONDS, st.integers(1, 50), st.integers(1, 50), st.integers(1, 5))
def test_storing_never_loses_where_it_is_free(
    teacher: float, epoch: float, views: int, epochs: int, students: int
) -> None:
    cost = views_cost(teacher, epoch, views=views, epochs=epochs, students=students)
    assert cost.cheaper == "stored"
    more = views_cost(teacher, epoch, views=views + 1, epochs=epochs, students=students)
    assert more.stored >= cost.stored and more.on_the_fly == cost.on_the_fly
    if students == 1 and views >= epochs:
        assert cost.stored == cost.on_the_fly


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"views": 0}, "views must be at least 1; found 0"),
        ({"epochs": 0}, "epochs .*found 0"),
        ({"students": 0}, "students .*found 0"),
        ({"teacher_pass": -1.0}, "teacher_pass .*found -1"),
        ({"student_epoch": 0.0}, "student_epoch .*found 0"),
        ({"storing": float("nan")}, "storing .*found nan"),
        ({"on_the_fly_pass": float("inf")}, "on_the_fly_pass .*found inf"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"teacher_pass": 1.0, "student_epoch": 1.0, "views": 2, "epochs": 2}
    with pytest.raises(ArgumentError, match=message):
        views_cost(**(settings | wrong))


def test_stored_views_hold_logits_and_parameters_alone(tmp_path: Path) -> None:
    data, teacher = tiny.dataset(), tiny.Teacher()
    views = [View(tiny.AUGMENTATION, 3, number) for number in range(4)]
    targets = soft_targets(teacher, data.train, data, views=views, cache=tmp_path, progress=False)
    logits = 4 * len(data.train) * tiny.CLASSES * 2  # views, pictures, classes, float16
    assert targets.nbytes == logits
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 4
    overhead = 4 * 256  # a header and a checksum each
    assert logits < sum(file.stat().st_size for file in files) <= logits + overhead
    # The pictures can be shown again from the parameters: the stored logits are theirs.
    index = torch.arange(len(data.train))
    for view in targets.views:
        shown = data.normalise(
            View(view.augmentation, view.seed, view.number).apply(data.train.images, index)
        )
        torch.testing.assert_close(targets.logits(view, index), teacher.eval()(shown), rtol=2e-3, atol=2e-3)
