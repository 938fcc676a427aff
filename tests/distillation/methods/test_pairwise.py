"""`pairwise_loss` against an independent reference; every known mistake is written out and told apart."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.distillation import (
    pairwise_loss,
)
from tests.distillation.methods.maps import CLASSES, Array, Loss, everything, maps


def directions(features: Array, valid: Array, patch: int) -> list[Array]:
    """Unit vectors of the nodes of one picture [K, H, W] that have a valid pixel; 0 where there is no direction."""
    nodes = []
    for top in range(0, features.shape[1], patch):
        for left in range(0, features.shape[2], patch):
            block = (slice(top, top + patch), slice(left, left + patch))
            pixels = features[:, *block][:, valid[block]]  # [K, pixels]
            if pixels.shape[1]:
                mean = pixels.mean(1)
                length = np.sqrt((mean**2).sum())
                nodes.append(mean / length if length > 0 else mean)
    return nodes


def _similarities(features: Array, valid: Array, patch: int) -> Array:
    """Cosines [N, N] between the nodes of one picture."""
    nodes = directions(features, valid, patch)
    return np.array([[one @ other for other in nodes] for one in nodes])


def pairwise_reference(z: Tensor, v: Tensor, valid: Array, patch: int) -> float:
    gaps: list[float] = []
    for student, teacher, counts in zip(z.detach().double().numpy(), v.double().numpy(), valid, strict=True):
        gap = _similarities(student, counts, patch) - _similarities(teacher, counts, patch)
        gaps.extend((gap**2).flatten())
    return float(np.mean(gaps)) if gaps else 0.0


def agrees_pairwise(loss: Loss) -> bool:
    z, _, labels = maps()
    _, v, _ = maps(channels=8, seed=1)  # the teacher has channels of its own
    z, v = z + 1, v + 1  # means of many pixels keep a direction
    return all(
        math.isclose(
            float(loss(z, v, marked, patch=patch)),
            pairwise_reference(z, v, (marked != IGNORE).numpy(), patch),
            rel_tol=1e-10,
        )
        for marked in (labels, everything(labels))
        for patch in (1, 2, 4)  # 2 and 4 leave smaller patches at the edges of 6 x 5
    )


def test_pairwise_agrees_with_float64_reference() -> None:
    assert agrees_pairwise(pairwise_loss)
    z, v, labels = maps()
    assert float(pairwise_loss(z, v, patch=2)) == pytest.approx(
        pairwise_reference(z, v, np.ones(labels.shape, bool), 2), rel=1e-12
    )


def _pairs(
    z: Tensor,
    v: Tensor,
    labels: Tensor,
    patch: int,
    *,
    pooled: Callable[[Tensor, Tensor, int], Tensor] | None = None,
    normalised: bool = True,
) -> tuple[Tensor, Tensor]:
    """Squared differences [B, N, N] and which nodes have a pixel [B, N], the nodes pooled in a way of one's own."""
    valid = (labels != IGNORE)[:, None].double()

    def mean(features: Tensor, valid: Tensor, patch: int) -> Tensor:
        return F.avg_pool2d(features * valid, patch, ceil_mode=True)

    def similarity(features: Tensor) -> Tensor:
        nodes = (pooled or mean)(features, valid, patch).flatten(2)
        nodes = F.normalize(nodes, dim=1) if normalised else nodes
        return nodes.transpose(1, 2) @ nodes

    alive = F.max_pool2d(valid, patch, ceil_mode=True).flatten(1)
    return (similarity(z) - similarity(v)).square(), alive


def _over_pairs(gaps: Tensor, alive: Tensor) -> Tensor:
    both = alive[:, :, None] * alive[:, None]
    return (gaps * both).sum() / both.sum()


BROKEN_PAIRWISE = {
    "ignored_pixels_in_the_means": lambda z, v, labels, *, patch: _over_pairs(
        *_pairs(z, v, labels, patch, pooled=lambda f, ok, p: F.avg_pool2d(f, p, ceil_mode=True))
    ),
    "empty_nodes_in_the_divisor": lambda z, v, labels, *, patch: _pairs(z, v, labels, patch)[0].mean(),
    "summed_over_pairs": lambda z, v, labels, *, patch: _pairs(z, v, labels, patch)[0].sum() / len(z),
    "divided_by_nodes_in_place_of_pairs": lambda z, v, labels, *, patch: (
        (gaps := _pairs(z, v, labels, patch))[0].sum() / gaps[1].sum()
    ),
    "mean_of_the_pictures_means": lambda z, v, labels, *, patch: torch.stack(
        [
            _over_pairs(gap[None], alive[None])
            for gap, alive in zip(*_pairs(z, v, labels, patch), strict=True)
            if alive.any()
        ]
    ).mean(),
    "patches_at_the_edge_dropped": lambda z, v, labels, *, patch: _over_pairs(
        *_pairs(*(part[..., : 6 // patch * patch, : 5 // patch * patch] for part in (z, v, labels)), patch)
    ),
    "maximum_in_place_of_the_mean": lambda z, v, labels, *, patch: _over_pairs(
        *_pairs(
            z,
            v,
            labels,
            patch,
            pooled=lambda f, ok, p: F.max_pool2d(f.masked_fill(ok == 0, 0), p, ceil_mode=True),
        )
    ),
    "products_in_place_of_cosines": lambda z, v, labels, *, patch: _over_pairs(
        *_pairs(z, v, labels, patch, normalised=False)
    ),
    "similar_channels_in_place_of_places": lambda z, v, labels, *, patch: pairwise_loss(
        z.transpose(1, 2), v[:, :5].transpose(1, 2), patch=patch
    ),
}


@pytest.mark.parametrize("name", BROKEN_PAIRWISE)
def test_pairwise_reference_rejects_known_mistakes(name: str) -> None:
    assert not agrees_pairwise(BROKEN_PAIRWISE[name])


def test_pairwise_variants_are_rejected_for_their_mistake_alone() -> None:
    assert agrees_pairwise(lambda z, v, labels, *, patch: _over_pairs(*_pairs(z, v, labels, patch)))


def test_pairwise_sees_directions_alone() -> None:
    """Features may be as long as they like, and turned all together: similarities stay."""
    z, v, _ = maps()
    turn, _ = torch.linalg.qr(torch.randn(CLASSES, CLASSES, dtype=torch.float64))
    turned = torch.einsum("ck,bkhw->bchw", turn, 7 * v)
    assert float(pairwise_loss(turned, v, patch=1)) == pytest.approx(0, abs=1e-28)
    assert float(pairwise_loss(z, v, patch=1)) > 0.1


def test_a_node_without_direction_has_similarity_zero_and_no_gradient() -> None:
    """Dead ReLUs leave features of exactly 0, of which a cosine is 0 / 0."""
    z, v, labels = maps()
    z[0, :, :4, :4] = 0
    z.requires_grad_()
    loss = pairwise_loss(z, v, patch=2)
    (gradient,) = torch.autograd.grad(loss, z)
    expected = pairwise_reference(z, v, np.ones(labels.shape, bool), 2)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert bool(gradient.isfinite().all()) and float(gradient.abs().max()) < 1
    assert float(gradient[0, :, :4, :4].abs().max()) == 0 < float(gradient[0, :, 4:].abs().max())


def test_pairwise_is_not_rounded_by_autocast() -> None:
    z, v, labels = (part.float() if part.is_floating_point() else part for part in maps())
    plain = float(pairwise_loss(z, v, labels, patch=2))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(pairwise_loss(z, v, labels, patch=2)) == plain
