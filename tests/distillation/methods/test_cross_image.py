"""`cross_image_loss` against an independent reference; every known mistake is written out and told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.distillation import cross_image_loss
from kdcourse.distillation.methods.pairwise import alive, nodes
from tests.distillation.methods.maps import Array, Loss, everything, maps
from tests.distillation.methods.test_pairwise import directions


def reference(z: Tensor, v: Tensor, valid: Array, patch: int, temperature: float) -> float:
    student, teacher = (
        [
            directions(picture, counts, patch)
            for picture, counts in zip(maps.double().numpy(), valid, strict=True)
        ]
        for maps in (z.detach(), v)
    )
    gaps = []
    for i in range(len(z)):
        for j in range(len(z)):
            for own, taught in zip(student[i], teacher[i], strict=True):
                if not student[j]:
                    continue
                log_q = special.log_softmax([own @ other / temperature for other in student[j]])
                log_p = special.log_softmax([taught @ other / temperature for other in teacher[j]])
                gaps.append((np.exp(log_p) * (log_p - log_q)).sum())
    return float(np.mean(gaps)) if gaps else 0.0


def agrees(loss: Loss) -> bool:
    z, _, labels = maps()
    _, v, _ = maps(channels=8, seed=1)  # the teacher has channels of its own
    z, v = z + 1, v + 1  # means of many pixels keep a direction
    return all(
        math.isclose(
            float(loss(z, v, marked, patch=patch, temperature=temperature)),
            reference(z, v, (marked != IGNORE).numpy(), patch, temperature),
            rel_tol=1e-9,
        )
        for marked in (labels, everything(labels))
        for patch in (1, 2, 4)  # 2 and 4 leave smaller patches at the edges of 6 x 5
        for temperature in (0.1, 1.0)
    )


def test_it_agrees_with_a_float64_reference() -> None:
    assert agrees(cross_image_loss)
    z, v, labels = maps()
    expected = reference(z, v, np.ones(labels.shape, bool), 2, 0.5)
    assert float(cross_image_loss(z, v, patch=2, temperature=0.5)) == pytest.approx(expected, rel=1e-10)


def _gaps(
    z: Tensor, v: Tensor, labels: Tensor, patch: int, temperature: float, *, over_all: bool = False
) -> tuple[Tensor, Tensor]:
    """KL [B, N, B] of each node with each image, or [B, N, 1] ``over_all`` at once; which nodes count [B, N]."""
    valid = labels != IGNORE
    counts = alive(valid, patch)
    logs = []
    for maps_ in (z, v):
        flat = nodes(maps_, valid, patch).transpose(1, 2)
        cosines = torch.einsum("bnk,cmk->bncm", flat, flat) / temperature
        cosines = cosines.masked_fill(~counts, -1e9)
        logs.append(F.log_softmax(cosines.flatten(2)[:, :, None] if over_all else cosines, -1))
    gap = F.kl_div(*logs, reduction="none", log_target=True).sum(-1)
    return gap, counts


def _mean(gap: Tensor, counts: Tensor) -> Tensor:
    rows = counts[:, :, None] & (
        counts.any(1)[None, None] if gap.shape[2] > 1 else torch.ones(1, 1, 1, dtype=torch.bool)
    )
    return gap[rows.expand_as(gap)].mean()


BROKEN = {
    "softmax_over_all_images": lambda z, v, m, *, patch, temperature: _mean(
        *_gaps(z, v, m, patch, temperature, over_all=True)
    ),
    "own_image_alone": lambda z, v, m, *, patch, temperature: (
        (found := _gaps(z, v, m, patch, temperature))[0].diagonal(dim1=0, dim2=2).T[found[1]].mean()
    ),
    "empty_images_in_the_divisor": lambda z, v, m, *, patch, temperature: (
        found := _gaps(z, v, m, patch, temperature)
    )[0][found[1]].mean(),
    "summed_over_images": lambda z, v, m, *, patch, temperature: (
        len(z) * _mean(*_gaps(z, v, m, patch, temperature))
    ),
    "sides_of_kl_exchanged": lambda z, v, m, *, patch, temperature: cross_image_loss(
        v, z, m, patch=patch, temperature=temperature
    ),
    "multiplied_by_temperature_squared": lambda z, v, m, *, patch, temperature: (
        temperature**2 * cross_image_loss(z, v, m, patch=patch, temperature=temperature)
    ),
    "ignored_pixels_in_the_means": lambda z, v, m, *, patch, temperature: cross_image_loss(
        z, v, everything(m), patch=patch, temperature=temperature
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_reference_rejects_known_mistakes(name: str) -> None:
    assert not agrees(BROKEN[name])


def test_variants_are_rejected_for_their_mistake_alone() -> None:
    assert agrees(lambda z, v, m, *, patch, temperature: _mean(*_gaps(z, v, m, patch, temperature)))


def test_a_single_image_compares_its_own_places() -> None:
    z, v, _ = maps(batch=5)
    one = cross_image_loss(z[-1:], v[-1:], patch=2, temperature=0.5)
    assert float(one) == pytest.approx(reference(z[-1:], v[-1:], np.ones((1, 6, 5), bool), 2, 0.5))


def test_it_is_not_rounded_by_autocast() -> None:
    z, v, labels = (part.float() if part.is_floating_point() else part for part in maps())
    plain = float(cross_image_loss(z, v, labels, patch=2, temperature=0.1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(cross_image_loss(z, v, labels, patch=2, temperature=0.1)) == plain
