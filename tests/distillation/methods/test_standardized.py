"""`standardized`: logits at one scale, against SciPy and torchdistill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special

from kdcourse.distillation import Outputs, kd_divergence, methods
from kdcourse.distillation.methods.standardized import standardized, standardized_loss
from kdcourse.errors import ArgumentError
from tests.distillation.methods.losses import check, pair, tells_apart

SIDES = pair((5, 4))


def reference(student: Any, teacher: Any) -> float:
    def scores(rows: Any) -> Any:
        return np.array([(row - row.mean()) / (row.std(ddof=1) + 1e-7) for row in rows])

    log_q, log_p = (special.log_softmax(scores(side) / 2, axis=1) for side in (student, teacher))
    return float(9 * 4 * (np.exp(log_p) * (log_p - log_q)).sum() / len(student))


def test_agrees_with_float64_reference() -> None:
    check(standardized_loss, reference, SIDES)
    tells_apart(
        standardized_loss,
        {
            "not standardized": lambda z, v: 9 * kd_divergence(z, v, 2.0),
            "centred alone": lambda z, v: 9 * kd_divergence(z - z.mean(1, True), v - v.mean(1, True), 2.0),
            "one scale for the batch": lambda z, v: 9 * kd_divergence(z / z.std(), v / v.std(), 2.0),
            "without T squared": lambda z, v: standardized_loss(z, v) / 4,
            "divided by C": lambda z, v: 9 * kd_divergence(*(_of_all(side) for side in (z, v)), 2.0),
        },
        SIDES,
    )


def _of_all(z: torch.Tensor) -> torch.Tensor:
    return (z - z.mean(1, True)) / z.std(1, correction=0, keepdim=True)


def test_agrees_with_torchdistill() -> None:
    mid_level = pytest.importorskip("torchdistill.losses.mid_level")
    theirs = mid_level.LogitStdKDLoss("a", "b", "a", "b", temperature=2.0, eps=1e-7, alpha=0.0)
    student, teacher = ({"a": {"b": side}} for side in SIDES)
    found = theirs(student, teacher, None)  # without labels, and then without T squared
    assert float(standardized_loss(*SIDES)) == pytest.approx(9 * 4 * float(found), rel=1e-9)


def test_how_large_and_where_the_logits_are_makes_no_difference() -> None:
    one, other = SIDES
    value = float(standardized_loss(one, other))
    assert float(standardized_loss(5 * one + 3, 0.2 * other - 1)) == pytest.approx(value, rel=1e-5)
    assert float(standardized_loss(7 * other, other)) == pytest.approx(0, abs=1e-9)
    assert bool(standardized(torch.full((2, 3), 4.0)).eq(0).all())


def test_bad_arguments() -> None:
    one, other = SIDES
    for wrong, found in (
        ((one, other[:, :3]), r"\[5, 4\] and \[5, 3\]"),
        ((one[:, :1], other[:, :1]), "single class"),
        ((one, other.masked_fill(other > 1, -torch.inf)), "aren't finite"),
    ):
        with pytest.raises(ArgumentError, match=found):
            standardized_loss(*wrong)
    for change in ({"temperature": 0.0}, {"weight": 0.0}):
        with pytest.raises(ArgumentError, match="found 0"):
            methods.build("standardized", **change)


def test_the_method_has_one_term() -> None:
    (method,) = methods.build("standardized", temperature=1.5, weight=2.0)
    (term,) = method(*(Outputs(side) for side in SIDES), None).values()
    assert float(term) == pytest.approx(float(standardized_loss(*SIDES, temperature=1.5, weight=2.0)))
