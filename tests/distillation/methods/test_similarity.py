"""`similarity`: which images are alike, against a reference and torchdistill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdcourse.distillation import Outputs, methods
from kdcourse.distillation.methods.similarity import similarities, similarity_loss
from kdcourse.errors import ArgumentError
from tests.distillation.methods.losses import check, pair, tells_apart

SIDES = pair((4, 2, 3, 3), (4, 5, 2, 2))


def reference(student: Any, teacher: Any) -> float:
    def alike(maps: Any) -> Any:
        flat = [picture.ravel() for picture in maps]
        rows = np.array([[a @ b for b in flat] for a in flat])
        return np.array([row / np.sqrt((row**2).sum()) for row in rows])

    return float(((alike(student) - alike(teacher)) ** 2).sum() / len(student) ** 2)


def test_agrees_with_float64_reference() -> None:
    check(similarity_loss, reference, SIDES)
    tells_apart(
        similarity_loss,
        {
            "divided by B": lambda z, v: len(z) * similarity_loss(z, v),
            "vectors of length 1 instead of rows": lambda z, v: (_cosines(z) - _cosines(v)).square().mean(),
            "columns": lambda z, v: (similarities(z).T - similarities(v)).square().mean(),
        },
        SIDES,
    )


def _cosines(maps: torch.Tensor) -> torch.Tensor:
    flat = torch.nn.functional.normalize(maps.flatten(1), dim=1)
    return flat @ flat.T


def test_torchdistill_divides_rows_by_their_sum_where_the_paper_has_their_length() -> None:
    mid_level = pytest.importorskip("torchdistill.losses.mid_level")
    theirs = mid_level.SPKDLoss("", "", "batchmean").compute_spkd_loss(SIDES[1], SIDES[0]) / 16
    by_sum = [side.flatten(1) @ side.flatten(1).T for side in SIDES]
    by_sum = [rows / rows.abs().sum(1, keepdim=True) for rows in by_sum]
    assert float(theirs) == pytest.approx(float((by_sum[0] - by_sum[1]).square().mean()), rel=1e-12)
    assert float(similarity_loss(*SIDES)) != pytest.approx(float(theirs), rel=0.1)


def test_bad_arguments() -> None:
    one, other = SIDES
    for wrong, found in (
        ((one[:3], other), r"\[3, 2, 3, 3\] and \[4, 5, 2, 2\]"),
        ((one[:0], other[:0]), "empty"),
        ((one[:, 0, 0, 0], other), r"\[4\]"),
    ):
        with pytest.raises(ArgumentError, match=found):
            similarity_loss(*wrong)
    with pytest.raises(ArgumentError, match="weight"):
        methods.build("similarity", weight=0.0)


def test_the_method_weighs_the_last_maps() -> None:
    (method,) = methods.build("similarity", weight=2.0)
    student, teacher = (Outputs(torch.zeros(4, 4), {"map": side}) for side in SIDES)
    (term,) = method(student, teacher, None).values()
    assert float(term) == pytest.approx(2 * float(similarity_loss(*SIDES)))
