"""`rkd`: distances and angles, against loops, torchdistill, and with equal images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdcourse.distillation import Outputs, methods
from kdcourse.distillation.methods.rkd import angles, relative_distances, rkd_loss
from kdcourse.errors import ArgumentError
from tests.distillation.methods.losses import check, pair, tells_apart

SIDES = pair((5, 3), (5, 7))


def _distances(vectors: Any) -> Any:
    gaps = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in vectors] for a in vectors])
    return gaps / gaps[gaps > 0].mean() if (gaps > 0).any() else gaps


def _angles(vectors: Any) -> Any:
    def unit(line: Any) -> Any:
        return line / np.sqrt((line**2).sum()) if line.any() else line

    return np.array([[[unit(a - at) @ unit(b - at) for b in vectors] for a in vectors] for at in vectors])


def _huber(gap: Any) -> float:
    return float(np.where(abs(gap) <= 1, gap**2 / 2, abs(gap) - 0.5).mean())


def reference(student: Any, teacher: Any) -> float:
    student, teacher = (side.reshape(len(side), -1) for side in (student, teacher))
    return 25 * _huber(_distances(student) - _distances(teacher)) + 50 * _huber(
        _angles(student) - _angles(teacher)
    )


def test_agrees_with_float64_reference() -> None:
    check(rkd_loss, reference, SIDES)
    one, other = SIDES
    assert torch.allclose(relative_distances(one), torch.from_numpy(_distances(one.numpy())))
    assert torch.allclose(angles(other), torch.from_numpy(_angles(other.numpy())))
    tells_apart(
        rkd_loss,
        {
            "angles at another corner": lambda z, v: (
                25 * _smooth(relative_distances(z), relative_distances(v))
                + 50 * _smooth(angles(z).transpose(0, 1), angles(v))
            ),
            "distances not divided": lambda z, v: (
                25 * _smooth(torch.cdist(z, z), torch.cdist(v, v)) + 50 * _smooth(angles(z), angles(v))
            ),
            "weights exchanged": lambda z, v: rkd_loss(z, v, distance=50, angle=25),
        },
        SIDES,
    )


_smooth = torch.nn.functional.smooth_l1_loss


def test_agrees_with_torchdistill() -> None:
    mid_level = pytest.importorskip("torchdistill.losses.mid_level")
    theirs = mid_level.RKDLoss("", "", dist_factor=25.0, angle_factor=50.0, reduction="mean")
    one, other = SIDES
    distance, angle = theirs.compute_rkd_distance_loss(other, one), theirs.compute_rkd_angle_loss(other, one)
    assert float(rkd_loss(one, other, angle=0)) == pytest.approx(25 * float(distance), rel=1e-6)
    assert float(rkd_loss(one, other, distance=0)) == pytest.approx(50 * float(angle), rel=1e-6)


def test_only_relations_count() -> None:
    one, _ = SIDES
    turn, _ = torch.linalg.qr(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    )
    assert float(rkd_loss(one, 7 * one @ turn + 3)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("equal", [2, 5])
def test_equal_images_have_finite_gradients(equal: int) -> None:
    one, other = SIDES
    one = one.index_fill(0, torch.arange(equal), 0.5).requires_grad_()
    loss = rkd_loss(one, other)
    (gradient,) = torch.autograd.grad(loss, one)
    assert bool(gradient.isfinite().all())
    assert loss.item() == pytest.approx(reference(one.detach().numpy(), other.numpy()))


def test_bad_arguments() -> None:
    one, other = SIDES
    for wrong, found in (
        ((one[:1], other[:1]), "at least two images"),
        ((one[:3], other), r"\[3, 3\] and \[5, 7\]"),
        ((one[:, 0], other), r"\[5\]"),
    ):
        with pytest.raises(ArgumentError, match=found):
            rkd_loss(*wrong)
    for change, found in (
        ({"distance": -1.0}, "found -1"),
        ({"distance": 0.0, "angle": 0.0}, "nothing to learn"),
    ):
        with pytest.raises(ArgumentError, match=found):
            methods.build("rkd", **change)


def test_the_method_returns_both_terms_and_a_single_image_has_none() -> None:
    (method,) = methods.build("rkd")
    student, teacher = (Outputs(torch.zeros(5, 4), {"head": side}) for side in SIDES)
    terms = method(student, teacher, None)
    assert terms.keys() == {"distance", "angle"}
    assert float(sum(terms.values())) == pytest.approx(float(rkd_loss(*SIDES)))
    alone = Outputs(torch.zeros(1, 4), {"head": SIDES[0][:1].clone().requires_grad_()})
    (term,) = method(alone, Outputs(torch.zeros(1, 4), {"head": SIDES[1][:1]}), None).values()
    assert term.item() == 0 and term.requires_grad
