"""`dist`: correlated predictions, against SciPy and torchdistill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats

from kdcourse.distillation import Outputs, methods
from kdcourse.distillation.methods.dist import dist_loss
from kdcourse.errors import ArgumentError
from tests.distillation.methods.losses import check, pair, tells_apart

SIDES = pair((5, 4))


def loss(z: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return dist_loss(z, v, temperature=3.0, inter=2.0, intra=0.5)


def reference(student: Any, teacher: Any) -> float:
    q, p = (special.softmax(side / 3, axis=1) for side in (student, teacher))
    inter = np.mean([1 - stats.pearsonr(a, b).statistic for a, b in zip(q, p, strict=True)])
    intra = np.mean([1 - stats.pearsonr(a, b).statistic for a, b in zip(q.T, p.T, strict=True)])
    return float(9 * (2 * inter + 0.5 * intra))


def test_agrees_with_float64_reference() -> None:
    check(loss, reference, SIDES)
    tells_apart(
        loss,
        {
            "weights exchanged": lambda z, v: dist_loss(z, v, temperature=3.0, inter=0.5, intra=2.0),
            "without T squared": lambda z, v: loss(z, v) / 9,
            "of logits": lambda z, v: dist_loss(100 * z, 100 * v, temperature=3.0, inter=2.0, intra=0.5),
        },
        SIDES,
    )


def test_agrees_with_torchdistill() -> None:
    mid_level = pytest.importorskip("torchdistill.losses.mid_level")
    theirs = mid_level.DISTLoss("a", "b", "a", "b", beta=2.0, gamma=0.5, tau=3.0)
    student, teacher = ({"a": {"b": side}} for side in SIDES)
    assert float(loss(*SIDES)) == pytest.approx(float(theirs(student, teacher)), rel=1e-9)


def test_a_student_that_is_less_sure_loses_nothing_between_classes() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)
    weaker = (0.5 * p + 0.5 / 3).log()
    assert float(dist_loss(weaker, p.log())) == pytest.approx(0, abs=1e-12)


def test_a_single_image_has_no_relations_within_a_class() -> None:
    one, other = (side[:1] for side in SIDES)
    assert float(dist_loss(one, other, inter=0.0)) == 0 < float(dist_loss(one, other))


def test_bad_arguments() -> None:
    one, other = SIDES
    with pytest.raises(ArgumentError, match=r"\[5, 4\] and \[5, 3\]"):
        dist_loss(one, other[:, :3])
    for change, found in (
        ({"temperature": 0.0}, "found 0"),
        ({"inter": -1.0}, "inter .* found -1"),
        ({"inter": 0.0, "intra": 0.0}, "nothing to learn"),
    ):
        with pytest.raises(ArgumentError, match=found):
            methods.build("dist", **change)


def test_the_method_returns_both_terms() -> None:
    (method,) = methods.build("dist", temperature=3.0, inter=2.0, intra=0.5)
    terms = method(*(Outputs(side) for side in SIDES), None)
    assert terms.keys() == {"inter", "intra"}
    assert float(sum(terms.values())) == pytest.approx(float(loss(*SIDES)))
