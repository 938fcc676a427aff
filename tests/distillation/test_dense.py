"""The objectives for masks against independent references; every known mistake is written out and told apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from torch import Tensor, nn

from kdcourse.data import IGNORE, Augmentation, Batch, Batches, MaskedSplit, SegmentationDataset, View
from kdcourse.distillation import (
    DenseObjective,
    DenseSource,
    Ensemble,
    PixelwiseObjective,
    channelwise_loss,
    dense_targets,
    freeze,
    hinton_loss,
    pairwise_loss,
    pixel_cross_entropy,
    pixelwise_loss,
    soft_targets,
    teacher_digest,
)
from kdcourse.errors import ArgumentError
from kdcourse.training import cross_entropy, fit
from tests.distillation import tiny

Loss = Callable[..., Tensor]
Array = npt.NDArray[Any]
TEMPERATURES = (0.5, 1.0, 4.0)
ALPHAS = (0.0, 0.3, 1.0)
CLASSES = 5


def maps(
    batch: int = 4, channels: int = CLASSES, size: tuple[int, int] = (6, 5), seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Two maps, and labels of which about a third is ignored: all of the third picture, none of the last."""
    generator = torch.Generator().manual_seed(seed)
    z, v = torch.randn(2, batch, channels, *size, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(channels, (batch, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = IGNORE
    labels[0, :2, :2] = IGNORE  # a node without a single pixel
    labels[2:3] = IGNORE
    labels[-1] = torch.randint(channels, size, generator=generator)
    return z, v, labels


def everything(labels: Tensor) -> Tensor:
    return labels.masked_fill(labels == IGNORE, 1)


# --- pixel by pixel -------------------------------------------------------------------------------------------------


def pixelwise_reference(z: Tensor, v: Tensor, labels: Tensor, temperature: float, alpha: float) -> float:
    """A list of pixels, in float64 NumPy and SciPy."""
    pixels = np.argwhere(labels.numpy() != IGNORE)
    total = 0.0
    for picture, row, column in pixels:
        student = z[picture, :, row, column].detach().double().numpy()
        teacher = v[picture, :, row, column].detach().double().numpy()
        p = special.softmax(teacher / temperature)
        gap = special.log_softmax(teacher / temperature) - special.log_softmax(student / temperature)
        hard = -special.log_softmax(student)[int(labels[picture, row, column])]
        total += alpha * temperature**2 * np.where(p > 0, p * gap, 0.0).sum() + (1 - alpha) * hard
    return total / max(len(pixels), 1)


def agrees_pixelwise(loss: Loss) -> bool:
    z, v, labels = maps()
    return all(
        math.isclose(
            float(loss(z, v, marked, temperature=temperature, alpha=alpha)),
            pixelwise_reference(z, v, marked, temperature, alpha),
            rel_tol=1e-10,
            abs_tol=1e-12,
        )
        for marked in (labels, everything(labels))
        for temperature in TEMPERATURES
        for alpha in ALPHAS
    )


def test_pixelwise_agrees_with_float64_reference() -> None:
    assert agrees_pixelwise(pixelwise_loss)


def _kl_map(z: Tensor, v: Tensor, temperature: float) -> Tensor:
    """T^2 p (log p - log q), [B, C, H, W]."""
    log_q, log_p = F.log_softmax(z / temperature, 1), F.log_softmax(v / temperature, 1)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True)


def _soft(distillation: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> Loss:
    """A pixel-wise loss whose distillation term is ``distillation(z, v, valid, T)``."""

    def loss(z: Tensor, v: Tensor, labels: Tensor, *, temperature: float, alpha: float) -> Tensor:
        soft = distillation(z, v, labels != IGNORE, temperature)
        return alpha * soft + (1 - alpha) * F.cross_entropy(z, labels, ignore_index=IGNORE)

    return loss


def _hard(cross_entropy: Callable[[Tensor, Tensor, float], Tensor]) -> Loss:
    """A pixel-wise loss whose other term is ``cross_entropy(z, labels, T)``."""

    def loss(z: Tensor, v: Tensor, labels: Tensor, *, temperature: float, alpha: float) -> Tensor:
        soft = pixelwise_loss(z, v, labels, temperature=temperature, alpha=1)
        return alpha * soft + (1 - alpha) * cross_entropy(z, labels, temperature)

    return loss


def _masked(values: Tensor, valid: Tensor) -> Tensor:
    return values.sum(1)[valid]


BROKEN_PIXELWISE = {
    "kl_divided_by_the_batch_alone": _soft(lambda z, v, ok, t: _masked(_kl_map(z, v, t), ok).sum() / len(z)),
    "kl_summed": _soft(lambda z, v, ok, t: _masked(_kl_map(z, v, t), ok).sum()),
    "kl_divided_by_batch_and_pixels": _soft(
        lambda z, v, ok, t: _masked(_kl_map(z, v, t), ok).mean() / len(z)
    ),
    "ignored_pixels_inside_the_kl": _soft(lambda z, v, ok, t: _kl_map(z, v, t).sum(1).mean()),
    "ignored_pixels_in_the_divisor": _soft(
        lambda z, v, ok, t: _masked(_kl_map(z, v, t), ok).sum() / ok.numel()
    ),
    "mean_of_the_pictures_means": _soft(
        lambda z, v, ok, t: torch.stack(
            [_masked(_kl_map(z, v, t)[i : i + 1], ok[i : i + 1]).mean() for i in range(len(z)) if ok[i].any()]
        ).mean()
    ),
    "t2_missing": _soft(lambda z, v, ok, t: _masked(_kl_map(z, v, t), ok).mean() / t**2),
    "t_in_place_of_t2": _soft(lambda z, v, ok, t: _masked(_kl_map(z, v, t), ok).mean() / t),
    "mean_over_classes": _soft(lambda z, v, ok, t: _masked(_kl_map(z, v, t), ok).mean() / z.shape[1]),
    "sides_swapped": _soft(lambda z, v, ok, t: _masked(_kl_map(v, z, t), ok).mean()),
    "softmax_over_places": _soft(
        lambda z, v, ok, t: _masked(
            _kl_map(z.flatten(2).transpose(1, 2), v.flatten(2).transpose(1, 2), t).transpose(1, 2),
            ok.flatten(1),
        ).mean()
    ),
    "softmax_over_columns": _soft(
        lambda z, v, ok, t: _masked(
            _kl_map(z.transpose(1, 3), v.transpose(1, 3), t).transpose(1, 3), ok
        ).mean()
    ),
    "ignore_index_as_a_class": _hard(lambda z, labels, t: F.cross_entropy(z, labels % CLASSES)),
    "cross_entropy_over_all_pixels": _hard(
        lambda z, labels, t: F.cross_entropy(z, labels, ignore_index=IGNORE, reduction="none").mean()
    ),
    "cross_entropy_at_temperature": _hard(
        lambda z, labels, t: F.cross_entropy(z / t, labels, ignore_index=IGNORE)
    ),
    "cross_entropy_summed": _hard(
        lambda z, labels, t: F.cross_entropy(z, labels, ignore_index=IGNORE, reduction="sum")
    ),
    "alpha_weighs_the_labels": lambda z, v, labels, *, temperature, alpha: pixelwise_loss(
        z, v, labels, temperature=temperature, alpha=1 - alpha
    ),
}


@pytest.mark.parametrize("name", BROKEN_PIXELWISE)
def test_pixelwise_reference_rejects_known_mistakes(name: str) -> None:
    assert not agrees_pixelwise(BROKEN_PIXELWISE[name])


def test_pixelwise_variants_are_rejected_for_their_mistake_alone() -> None:
    assert agrees_pixelwise(_soft(lambda z, v, ok, t: _masked(_kl_map(z, v, t), ok).mean()))
    assert agrees_pixelwise(_hard(lambda z, labels, t: F.cross_entropy(z, labels, ignore_index=IGNORE)))


def test_pixelwise_of_one_pixel_a_picture_is_hintons() -> None:
    z, v, labels = maps(7, size=(1, 1))
    labels = everything(labels)
    for alpha in ALPHAS:
        expected = hinton_loss(z[..., 0, 0], v[..., 0, 0], labels[:, 0, 0], temperature=3.0, alpha=alpha)
        found = pixelwise_loss(z, v, labels, temperature=3.0, alpha=alpha)
        assert float(found) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 0.9])
def test_torchdistill_divides_by_pictures_where_we_divide_by_pixels(alpha: float) -> None:
    """torchdistill 1.1.5 on maps: its KL is H * W times ours, its cross-entropy is ours; no pixel can be left out.

    (It has neither the pair-wise loss of Liu et al. nor the channel-wise one of Shu et al.)
    """
    mid_level = pytest.importorskip("torchdistill.losses.mid_level")
    z, v, labels = maps()
    labels = everything(labels)
    theirs = mid_level.KDLoss("net", "output", "net", "output", temperature=4.0, alpha=1 - alpha)
    value = float(theirs({"net": {"output": z}}, {"net": {"output": v}}, labels))
    soft = float(pixelwise_loss(z, v, labels, temperature=4.0, alpha=1))
    hard = float(pixelwise_loss(z, v, labels, temperature=4.0, alpha=0))
    per_picture = labels[0].numel()
    assert value == pytest.approx(alpha * per_picture * soft + (1 - alpha) * hard, rel=1e-12)
    assert value != pytest.approx(alpha * soft + (1 - alpha) * hard, rel=0.1)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_pixelwise_gradient_in_closed_form(temperature: float) -> None:
    z, v, labels = maps()
    z.requires_grad_()
    valid = (labels != IGNORE).numpy()[:, None]
    onehot = np.moveaxis(np.eye(CLASSES)[everything(labels)], -1, 1)
    for alpha in ALPHAS:
        loss = pixelwise_loss(z, v, labels, temperature=temperature, alpha=alpha)
        (found,) = torch.autograd.grad(loss, z)
        numbers = z.detach().numpy()
        q, p = special.softmax(numbers / temperature, axis=1), special.softmax(v / temperature, axis=1)
        hard = special.softmax(numbers, axis=1) - onehot
        expected = np.where(valid, (alpha * temperature * (q - p) + (1 - alpha) * hard) / valid.sum(), 0.0)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-15, rtol=1e-10)


def test_labels_may_be_missing_with_alpha_one_only() -> None:
    z, v, labels = maps()
    valid = labels != IGNORE
    found = pixelwise_loss(z, v, None, temperature=2.0, alpha=1)
    assert float(found) == pytest.approx(pixelwise_reference(z, v, everything(labels), 2.0, 1), rel=1e-12)
    masked = pixelwise_loss(z, v, valid, temperature=2.0, alpha=1)
    assert float(masked) == float(pixelwise_loss(z, v, labels, temperature=2.0, alpha=1)) != float(found)
    unknown = torch.where(valid, 200, IGNORE)  # beyond the classes: not looked at
    assert float(pixelwise_loss(z, v, unknown, temperature=2.0, alpha=1)) == float(masked)
    with pytest.raises(ArgumentError, match="alpha is below 1; found None"):
        pixelwise_loss(z, v, None, temperature=2.0, alpha=0.9)
    with pytest.raises(ArgumentError, match="bool mask says which pixels count"):
        pixelwise_loss(z, v, valid, temperature=2.0, alpha=0.9)


def test_another_ignore_index() -> None:
    z, v, labels = maps()
    other = labels.masked_fill(labels == IGNORE, -100)
    for loss in (
        lambda marked, index: pixelwise_loss(z, v, marked, temperature=2.0, alpha=0.5, ignore_index=index),
        lambda marked, index: channelwise_loss(z, v, marked, temperature=2.0, ignore_index=index),
        lambda marked, index: pairwise_loss(z, v, marked, patch=2, ignore_index=index),
    ):
        assert float(loss(other, -100)) == float(loss(labels, IGNORE))
    with pytest.raises(
        ArgumentError, match=r"0\.\.4 for logits of 5 classes, or be 255 .*found labels from -100"
    ):
        pixelwise_loss(z, v, other, temperature=2.0, alpha=0.5)


# --- by channels ----------------------------------------------------------------------------------------------------


def channelwise_reference(z: Tensor, v: Tensor, valid: Array, temperature: float) -> float:
    """Picture by picture, channel by channel, over the list of valid places."""
    terms = []
    for student, teacher, counts in zip(z.detach().double().numpy(), v.double().numpy(), valid, strict=True):
        if not counts.any():
            continue
        for one, other in zip(student, teacher, strict=True):
            log_q = special.log_softmax(one[counts] / temperature)
            log_p = special.log_softmax(other[counts] / temperature)
            p = np.exp(log_p)
            terms.append(temperature**2 * np.where(p > 0, p * (log_p - log_q), 0.0).sum())
    return float(np.mean(terms)) if terms else 0.0


def agrees_channelwise(loss: Loss) -> bool:
    z, v, labels = maps()
    return all(
        math.isclose(
            float(loss(z, v, marked, temperature=temperature)),
            channelwise_reference(z, v, (marked != IGNORE).numpy(), temperature),
            rel_tol=1e-10,
        )
        for marked in (labels, everything(labels))
        for temperature in TEMPERATURES
    )


def test_channelwise_agrees_with_float64_reference() -> None:
    assert agrees_channelwise(channelwise_loss)
    z, v, labels = maps()
    assert float(channelwise_loss(z, v, temperature=4.0)) == pytest.approx(
        channelwise_reference(z, v, np.ones(labels.shape, bool), 4.0), rel=1e-12
    )


def _places(z: Tensor, v: Tensor, labels: Tensor, t: float, fill: float = -1e6) -> Tensor:
    """T^2 p (log p - log q) [B, C, H W], softmax over the places."""
    valid = (labels != IGNORE)[:, None]
    z, v = (torch.where(valid, part / t, fill) if fill else part / t for part in (z, v))
    return _kl_map(z.flatten(2).transpose(1, 2), v.flatten(2).transpose(1, 2), 1.0) * t**2


def _pictures(labels: Tensor) -> Tensor:
    return (labels != IGNORE).flatten(1).any(1).sum()


BROKEN_CHANNELWISE = {
    "ignored_places_in_the_softmax": lambda z, v, labels, *, temperature: (
        _places(z, v, labels, temperature, fill=0).sum() / (z.shape[1] * _pictures(labels))
    ),
    "ignored_places_in_the_softmax_but_not_in_the_sum": lambda z, v, labels, *, temperature: (
        (
            _places(z, v, labels, temperature, fill=0).transpose(1, 2)
            * (labels != IGNORE).flatten(1)[:, None]
        ).sum()
        / (z.shape[1] * _pictures(labels))
    ),
    "softmax_over_classes": lambda z, v, labels, *, temperature: (
        _kl_map(z, v, temperature).sum(1)[labels != IGNORE].sum() / (z.shape[1] * _pictures(labels))
    ),
    "softmax_over_places_and_channels": lambda z, v, labels, *, temperature: channelwise_loss(
        z.reshape(len(z), 1, -1, z.shape[3]),
        v.reshape(len(z), 1, -1, z.shape[3]),
        labels.repeat(1, z.shape[1], 1),
        temperature=temperature,
    ),
    "t2_missing": lambda z, v, labels, *, temperature: (
        channelwise_loss(z, v, labels, temperature=temperature) / temperature**2
    ),
    "mean_over_places": lambda z, v, labels, *, temperature: _places(z, v, labels, temperature).mean(),
    "summed_over_channels": lambda z, v, labels, *, temperature: (
        channelwise_loss(z, v, labels, temperature=temperature) * z.shape[1]
    ),
    "summed_over_pictures": lambda z, v, labels, *, temperature: (
        _places(z, v, labels, temperature).sum() / z.shape[1]
    ),
    "empty_pictures_in_the_divisor": lambda z, v, labels, *, temperature: (
        _places(z, v, labels, temperature).sum() / (z.shape[1] * len(z))
    ),
    "sides_swapped": lambda z, v, labels, *, temperature: channelwise_loss(
        v, z, labels, temperature=temperature
    ),
}


@pytest.mark.parametrize("name", BROKEN_CHANNELWISE)
def test_channelwise_reference_rejects_known_mistakes(name: str) -> None:
    assert not agrees_channelwise(BROKEN_CHANNELWISE[name])


def test_channelwise_variants_are_rejected_for_their_mistake_alone() -> None:
    assert agrees_channelwise(
        lambda z, v, labels, *, temperature: (
            _places(z, v, labels, temperature).sum() / (z.shape[1] * _pictures(labels))
        )
    )


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_channelwise_gradient_in_closed_form(temperature: float) -> None:
    z, v, labels = maps()
    z.requires_grad_()
    (found,) = torch.autograd.grad(channelwise_loss(z, v, labels, temperature=temperature), z)
    valid = (labels != IGNORE).numpy()
    expected = np.zeros(z.shape)
    for picture in np.flatnonzero(valid.any((1, 2))):
        for channel in range(CLASSES):
            counts = valid[picture]
            q, p = (
                special.softmax(part[picture, channel].detach().numpy()[counts] / temperature)
                for part in (z, v)
            )
            expected[picture, channel][counts] = temperature * (q - p) / (CLASSES * 3)  # 3 have pixels
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-15, rtol=1e-10)


# --- by pairs of places ---------------------------------------------------------------------------------------------


def _similarities(features: Array, valid: Array, patch: int) -> Array:
    """Cosines [N, N] between the nodes of one picture [K, H, W] that have a valid pixel."""
    nodes = []
    for top in range(0, features.shape[1], patch):
        for left in range(0, features.shape[2], patch):
            block = (slice(top, top + patch), slice(left, left + patch))
            pixels = features[:, *block][:, valid[block]]  # [K, pixels]
            if pixels.shape[1]:
                mean = pixels.mean(1)
                length = np.sqrt((mean**2).sum())
                nodes.append(mean / length if length > 0 else mean)
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


# --- what holds for all three ---------------------------------------------------------------------------------------

LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "pixelwise": lambda z, v, labels: pixelwise_loss(z, v, labels, temperature=3.0, alpha=1),
    "pixelwise_with_labels": lambda z, v, labels: pixelwise_loss(z, v, labels, temperature=3.0, alpha=0.4),
    "pairwise": lambda z, v, labels: pairwise_loss(z, v, labels, patch=2),
    "channelwise": lambda z, v, labels: channelwise_loss(z, v, labels, temperature=3.0),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


@every_loss
def test_gradient_by_finite_differences(name: str) -> None:
    z, v, labels = maps(3, 3, (3, 4))
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, v, labels), z.requires_grad_())


@every_loss
def test_scale_depends_on_neither_batch_nor_size_nor_what_is_ignored(name: str) -> None:
    loss = LOSSES[name]
    z, v, labels = maps(size=(6, 8))
    value = float(loss(z, v, labels))
    assert float(loss(z.repeat(3, 1, 1, 1), v.repeat(3, 1, 1, 1), labels.repeat(3, 1, 1))) == pytest.approx(
        value
    )

    def enlarged(part: Tensor) -> Tensor:
        return part.repeat_interleave(2, -1).repeat_interleave(2, -2)

    double = {**LOSSES, "pairwise": lambda z, v, labels: pairwise_loss(z, v, labels, patch=4)}[name]
    assert float(double(enlarged(z), enlarged(v), enlarged(labels))) == pytest.approx(value)
    # What is ignored might as well not be there.
    labels = everything(labels)
    outside = labels.index_fill(1, torch.arange(4, 6), IGNORE).index_fill(2, torch.arange(6, 8), IGNORE)
    inside = float(loss(z[..., :4, :6], v[..., :4, :6], labels[:, :4, :6]))
    assert float(loss(z, v, outside)) == pytest.approx(inside)
    assert inside != pytest.approx(float(loss(z, v, labels)))


@every_loss
def test_nothing_gets_through_from_ignored_pixels(name: str) -> None:
    z, v, labels = maps()
    ignored = (labels == IGNORE)[:, None]

    def value_and_gradient(z: Tensor, v: Tensor) -> tuple[float, Tensor]:
        z = z.clone().requires_grad_()
        loss = LOSSES[name](z, v, labels)
        return loss.item(), torch.autograd.grad(loss, z)[0]

    value, gradient = value_and_gradient(z, v)
    for rubbish in (math.nan, math.inf, 1e30):
        found, slope = value_and_gradient(z.masked_fill(ignored, rubbish), v.masked_fill(ignored, rubbish))
        assert found == value and torch.equal(slope, gradient)
    assert float(gradient.abs().masked_fill(~ignored, 0).max()) == 0 < float(gradient.abs().max())


@every_loss
def test_without_a_valid_pixel_loss_and_gradient_are_zero(name: str) -> None:
    z, v, labels = maps()
    z.requires_grad_()
    loss = LOSSES[name](z, v, torch.full_like(labels, IGNORE))
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.item() == 0 and float(gradient.abs().max()) == 0


@every_loss
def test_zero_where_student_is_the_teacher(name: str) -> None:
    z, v, labels = maps()
    if name == "pixelwise_with_labels":
        hard = float(LOSSES[name](v.clone(), v, labels))
        assert hard == pytest.approx(0.6 * float(F.cross_entropy(v, labels, ignore_index=IGNORE)))
    else:
        assert float(LOSSES[name](v.clone(), v, labels)) == 0 < float(LOSSES[name](z, v, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@every_loss
def test_large_gaps_stay_finite(name: str, dtype: torch.dtype) -> None:
    """Logits 1e4 apart, some on the student's side and some on the teacher's."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([1e4, 0, -1e4], dtype=dtype)
    z, v = (levels[torch.randint(3, (2, 3, 3, 4), generator=generator)] for _ in range(2))
    z.requires_grad_()
    labels = torch.randint(3, (2, 3, 4), generator=generator)
    labels[0, 0] = IGNORE
    loss = LOSSES[name](z, v, labels)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert bool(loss.isfinite()) and loss.item() > 0 and bool(gradient.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_loss
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    """Only the maps are rounded; the gradient comes back in their precision."""
    z, v, labels = maps()
    z, v = z.to(dtype).requires_grad_(), v.to(dtype)
    loss = LOSSES[name](z, v, labels)
    loss.backward()
    assert loss.dtype == torch.float32 and z.grad is not None and z.grad.dtype == dtype
    assert loss.item() == pytest.approx(
        float(LOSSES[name](z.detach().double(), v.double(), labels)), rel=1e-5
    )


@every_loss
def test_no_gradient_reaches_the_teacher(name: str) -> None:
    z, v, labels = maps()
    z.requires_grad_()
    v.requires_grad_()
    LOSSES[name](z, v, labels).backward()
    assert z.grad is not None and v.grad is None
    with pytest.raises(ArgumentError, match="its own"):
        LOSSES[name](z, z, labels)


@every_loss
def test_memory_layout_does_not_matter(name: str) -> None:
    z, v, labels = maps()
    last = torch.channels_last
    found = LOSSES[name](z.contiguous(memory_format=last), v.contiguous(memory_format=last), labels)
    assert float(found) == pytest.approx(float(LOSSES[name](z, v, labels)), rel=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_holds_for_any_shape_mask_temperature_and_logits(data: st.DataObject) -> None:
    shape = [data.draw(st.integers(1, 3)) for _ in range(4)]
    temperature, alpha = data.draw(st.floats(0.1, 20)), data.draw(st.floats(0, 1))
    dtype = data.draw(st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))
    count = math.prod(shape)
    numbers = st.lists(st.floats(-1e4, 1e4, width=32), min_size=count, max_size=count)
    z, v = (torch.tensor(data.draw(numbers), dtype=dtype).view(shape) for _ in range(2))
    choices = st.sampled_from([*range(shape[1]), IGNORE])
    pixels = shape[0] * shape[2] * shape[3]
    labels = torch.tensor(data.draw(st.lists(choices, min_size=pixels, max_size=pixels)))
    labels = labels.view(shape[0], *shape[2:])
    valid = (labels != IGNORE).numpy()
    z.requires_grad_()
    size = float(torch.stack([z, v]).detach().abs().max())
    rounding = 20 * torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    rounding *= 1 + temperature**2 + (1 + temperature) * size

    for loss, expected in (
        (
            pixelwise_loss(z, v, labels, temperature=temperature, alpha=alpha),
            pixelwise_reference(z, v, labels, temperature, alpha),
        ),
        (
            channelwise_loss(z, v, labels, temperature=temperature),
            channelwise_reference(z, v, valid, temperature),
        ),
    ):
        (gradient,) = torch.autograd.grad(loss, z)
        assert loss.item() == pytest.approx(expected, rel=1e-5, abs=rounding)
        assert bool(gradient.isfinite().all())
        assert float(gradient[(labels == IGNORE)[:, None].expand(shape)].abs().sum()) == 0


def _bad_arguments() -> dict[str, tuple[str, dict[str, object], str]]:
    z, v, labels = maps()
    pixelwise: dict[str, tuple[dict[str, object], str]] = {
        "temperature zero": ({"temperature": 0}, "found 0"),
        "temperature nan": ({"temperature": math.nan}, "found nan"),
        "alpha above one": ({"alpha": 1.5}, r"found 1\.5"),
        "alpha nan": ({"alpha": math.nan}, "found nan"),
        "classes differ": ({"teacher": v[:, :3]}, r"\[4, 5, 6, 5\] and \[4, 3, 6, 5\]"),
        "sizes differ": ({"teacher": v[..., :3]}, r"and \[4, 5, 6, 3\].*interpolate"),
        "batches differ": ({"teacher": v[:3]}, r"and \[3, 5, 6, 5\]"),
        "a classifier's logits": ({"student": z[..., 0, 0], "teacher": v[..., 0, 0]}, r"found \[4, 5\]"),
        "empty batch": ({"student": z[:0], "teacher": v[:0], "labels": labels[:0]}, r"\[0, 5, 6, 5\]"),
        "integers": ({"student": z.long()}, "torch.int64"),
        "integer teacher": ({"teacher": v.long()}, "torch.int64"),
        "other device": ({"teacher": v.to("meta")}, "meta"),
        "label too high": ({"labels": everything(labels) + 4}, r"0\.\.4 .*found labels from"),
        "label negative": ({"labels": labels.masked_fill(labels == 0, -1)}, r"0\.\.4 .*from -1 to"),
        "label type": ({"labels": labels.to(torch.uint8)}, "torch.uint8"),
        "one label a picture": ({"labels": labels[:, 0, 0]}, r"int64 \[4, 6, 5\].*found torch.int64 \[4\]"),
        "labels of another size": ({"labels": labels[:, ::2]}, r"\[4, 3, 5\].*every n-th pixel"),
    }
    channelwise: dict[str, tuple[dict[str, object], str]] = {
        name: pixelwise[name]
        for name in (
            "temperature zero",
            "classes differ",
            "sizes differ",
            "integers",
            "other device",
            "label type",
        )
    }
    pairwise: dict[str, tuple[dict[str, object], str]] = {
        name: pixelwise[name]
        for name in (
            "sizes differ",
            "batches differ",
            "a classifier's logits",
            "integers",
            "labels of another size",
        )
    }
    pairwise |= {
        "no channels": ({"teacher": v[:, :0]}, "nothing to compare"),
        "patch zero": ({"patch": 0}, "found 0"),
        "patch not whole": ({"patch": 2.0}, r"found 2\.0"),
        "patch of the whole picture": ({"patch": 6}, "patch=6 a map of 6x5 is a single node"),
    }
    groups = {"pixelwise": pixelwise, "channelwise": channelwise, "pairwise": pairwise}
    return {
        f"{loss}: {name}": (loss, *case) for loss, cases in groups.items() for name, case in cases.items()
    }


@pytest.mark.parametrize("case", _bad_arguments())
def test_bad_arguments(case: str) -> None:
    name, changes, found = _bad_arguments()[case]
    z, v, labels = maps()
    good: dict[str, Any] = {"student": z, "teacher": v, "labels": labels}
    good |= {
        "pixelwise": {"temperature": 2.0, "alpha": 0.5},
        "channelwise": {"temperature": 2.0},
        "pairwise": {"patch": 2},
    }[name]
    loss: Loss = {"pixelwise": pixelwise_loss, "channelwise": channelwise_loss, "pairwise": pairwise_loss}[
        name
    ]

    def call(student: Tensor, teacher: Tensor, labels: Tensor, **options: Any) -> Tensor:
        return loss(student, teacher, labels, **options)

    with pytest.raises(ArgumentError, match=found):
        call(**(good | changes))
    assert float(call(**good)) > 0


# --- in the training loop -------------------------------------------------------------------------------------------

AUGMENTATION = Augmentation(shift=2, flip=True, erase=0)


def scenes(pictures: int, seed: int = 0) -> MaskedSplit:
    """What is red is class 1, what is green class 2, a frame is left out."""
    generator = torch.Generator().manual_seed(seed)
    masks = (
        torch.randint(3, (pictures, 4, 4), generator=generator)
        .repeat_interleave(2, 1)
        .repeat_interleave(2, 2)
    )
    images = torch.randint(90, (pictures, 3, 8, 8), generator=generator)
    images[:, 0] += 150 * (masks == 1)
    images[:, 1] += 150 * (masks == 2)
    masks[:, 0] = IGNORE
    return MaskedSplit(images.to(torch.uint8), masks.to(torch.uint8))


def dataset() -> SegmentationDataset:
    return SegmentationDataset("colours", ("neither", "red", "green"), scenes(24), scenes(8, 1), scenes(8, 2))


class Pixels(nn.Module):
    """A network for masks with the parts that training could change: weights, BatchNorm statistics, dropout."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.features = nn.Conv2d(3, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.drop = nn.Dropout(0.5)
            self.head = nn.Conv2d(6, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(self.norm(self.features(images)).relu()))


class Stored:
    """The logits of one view, as stored targets hand them out."""

    def __init__(self, teacher: nn.Module, data: SegmentationDataset, view: View) -> None:
        self.teacher, self.view = teacher_digest(teacher), view
        index = torch.arange(len(data.train))
        with torch.no_grad():
            self.table = teacher.eval()(data.normalise(view.apply(data.train.images, index)))
        self.masks = view.apply_to_masks(data.train.masks, index)
        self.asked = 0

    def logits(self, view: View, index: Tensor) -> Tensor:
        self.asked += 1
        return self.table[index]

    def check_labels(self, view: View, index: Tensor, labels: Tensor) -> None:
        if view.key != self.view.key or not torch.equal(self.masks[index].long(), labels):
            raise ArgumentError("other masks")


@pytest.fixture
def batch() -> Batch:
    data = dataset()
    return next(Batches(data.train, data, batch_size=6, seed=0, augmentation=AUGMENTATION).epoch(2))


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("pairwise", "channelwise"), [(0, 0), (10, 0), (0, 3), (10, 3)])
def test_stored_live_and_direct_are_one(
    batch: Batch, alpha: float, pairwise: float, channelwise: float
) -> None:
    teacher, z = Pixels().eval(), torch.randn(6, 3, 8, 8)
    with torch.no_grad():
        v = teacher(batch.images)
    expected = float(pixelwise_loss(z, v, batch.labels, temperature=3.0, alpha=alpha))
    expected += pairwise * float(pairwise_loss(z, v, batch.labels, patch=2))
    expected += channelwise * float(channelwise_loss(z, v, batch.labels, temperature=3.0))
    stored = Stored(teacher, dataset(), batch.view)
    for targets in (teacher, stored, freeze(teacher)):
        objective = DenseObjective(
            targets, temperature=3.0, alpha=alpha, pairwise=pairwise, channelwise=channelwise, patch=2
        )
        assert float(objective(z, batch)) == pytest.approx(expected, rel=1e-5)
    assert stored.asked == (alpha + pairwise + channelwise > 0)  # with no weight at all it isn't asked
    if pairwise == channelwise == 0:
        found = PixelwiseObjective(teacher, temperature=3.0, alpha=alpha)(z, batch)
        assert float(found) == pytest.approx(expected, rel=1e-5)


def test_an_ensemble_and_its_stored_logits_teach_alike(batch: Batch) -> None:
    data, z = dataset(), torch.randn(6, 3, 8, 8)
    for average in ("logits", "probabilities"):
        ensemble = Ensemble([Pixels(0), Pixels(1)], average)  # type: ignore[arg-type]
        stored = dense_targets(ensemble, data.train, data, views=[batch.view], progress=False)
        assert isinstance(stored, DenseSource)
        live, looked_up = (
            DenseObjective(targets, temperature=3.0, alpha=0.5, pairwise=1, channelwise=1)
            for targets in (ensemble, stored)
        )
        assert float(live(z, batch)) == pytest.approx(float(looked_up(z, batch)), rel=1e-3)
        assert live.name == looked_up.name


def test_live_teacher_is_asked_on_the_students_own_view(batch: Batch) -> None:
    seen: list[Tensor] = []

    class Recorder(Pixels):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return super().forward(images)

    z = torch.randn(6, 3, 8, 8)
    PixelwiseObjective(Recorder(), temperature=2.0, alpha=0.5)(z, batch)
    assert len(seen) == 1 and torch.equal(seen[0], batch.images)
    PixelwiseObjective(Recorder(), temperature=2.0, alpha=0)(z, batch)
    assert len(seen) == 1
    DenseObjective(Recorder(), temperature=2.0, alpha=0, channelwise=1)(z, batch)
    assert len(seen) == 2


def test_training_a_student_leaves_the_live_teacher_alone(batch: Batch) -> None:
    teacher, student = Pixels(0).train(), Pixels(1).train()
    before = tiny.state(teacher)
    objective = DenseObjective(teacher, temperature=2.0, alpha=0.5, pairwise=1, channelwise=1)
    held = tiny.state(objective.targets)
    for _ in range(3):
        for part in (*student.modules(), *objective.targets.modules()):
            part.train()
        objective(student(batch.images), batch).backward()
        with torch.no_grad():
            for parameter in student.parameters():
                assert parameter.grad is not None
                parameter -= 0.1 * parameter.grad
    assert tiny.same_state(teacher, before) and teacher.training
    assert tiny.same_state(objective.targets, held)
    assert all(
        parameter.grad is None for net in (teacher, objective.targets) for parameter in net.parameters()
    )


def test_a_student_is_never_its_own_moving_teacher(batch: Batch) -> None:
    student = Pixels().eval()
    objective = PixelwiseObjective(student, temperature=2.0, alpha=1)
    assert float(objective(student(batch.images), batch).detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        student.head.weight.add_(torch.randn_like(student.head.weight))
    assert float(objective(student(batch.images), batch).detach()) > 0.001


def test_pairing_is_guarded(batch: Batch) -> None:
    objective = PixelwiseObjective(Stored(Pixels(), dataset(), batch.view), temperature=2.0, alpha=1)
    z = torch.randn(6, 3, 8, 8)
    assert bool(objective(z, batch).isfinite())
    for wrong in (
        Batch(batch.images, batch.labels, batch.index.flip(0), batch.view),
        Batch(batch.images, batch.labels, batch.index, View()),
    ):
        with pytest.raises(ArgumentError, match="other masks"):
            objective(z, wrong)
    with pytest.raises(ArgumentError, match=r"\[6, 2, 8, 8\] and \[6, 3, 8, 8\]"):
        objective(z[:, :2], batch)
    with pytest.raises(ArgumentError, match=r"0\.\.1 for logits of 2 classes"):
        PixelwiseObjective(Pixels(), temperature=2.0, alpha=0.5)(z[:, :2], batch)
    with pytest.raises(ArgumentError, match=r"\[batch, classes, height, width\].*\[6, 3\]"):
        objective(z[..., 0, 0], batch)


def test_settings_are_checked_and_told() -> None:
    for wrong, found in (
        ({"temperature": 0}, "temperature"),
        ({"alpha": 2}, "alpha"),
        ({"pairwise": -1}, "pairwise is the weight of a loss.*-1"),
        ({"channelwise": math.nan}, "channelwise .*nan"),
        ({"pairwise": math.inf}, "pairwise .*inf"),
        ({"patch": 0}, "patch .*0"),
    ):
        with pytest.raises(ArgumentError, match=found):
            DenseObjective(Pixels(), **({"temperature": 1, "alpha": 1} | wrong))  # type: ignore[arg-type]
    pictures = tiny.dataset()
    rows = soft_targets(tiny.Teacher(), pictures.train, pictures, cache=False, progress=False)
    with pytest.raises(ArgumentError, match=r"from dense_targets.*found SoftTargets"):
        PixelwiseObjective(rows, temperature=1, alpha=1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="found Tensor"):
        DenseObjective(torch.zeros(3), temperature=1, alpha=1)  # type: ignore[arg-type]

    first, second = (PixelwiseObjective(Pixels(seed), temperature=2, alpha=0.9) for seed in (0, 1))
    assert first.name == f"pixelwise(temperature=2, alpha=0.9, teacher={teacher_digest(Pixels(0))[:16]})"
    assert first.name != second.name
    stored = Stored(Pixels(0), dataset(), View())
    assert PixelwiseObjective(stored, temperature=2, alpha=0.9).name == first.name
    assert repr(first) == "PixelwiseObjective(temperature=2, alpha=0.9)"
    both = DenseObjective(Pixels(), temperature=2, alpha=0.9, pairwise=10, channelwise=3)
    assert repr(both) == "DenseObjective(temperature=2, alpha=0.9, pairwise=10, patch=4, channelwise=3)"
    assert both.name.startswith(
        "dense(temperature=2, alpha=0.9, pairwise=10, patch=4, channelwise=3, teacher="
    )


def test_pixel_cross_entropy(batch: Batch) -> None:
    z = torch.randn(6, 3, 8, 8)
    logs = special.log_softmax(z.double().numpy(), axis=1)
    terms = [
        -logs[picture, int(label), row, column]
        for (picture, row, column), label in np.ndenumerate(batch.labels.numpy())
        if label != IGNORE
    ]
    assert 0 < len(terms) < batch.labels.numel()
    assert float(pixel_cross_entropy(z, batch)) == pytest.approx(np.mean(terms), rel=1e-6)
    assert torch.equal(pixel_cross_entropy(z, batch), cross_entropy(z, batch))
    beyond = z.masked_fill((batch.labels == IGNORE)[:, None], torch.nan)
    for logits in (z, beyond):
        logits.requires_grad_()
    losses = [pixel_cross_entropy(logits, batch) for logits in (z, beyond)]
    assert torch.equal(*losses)
    gradients = [
        torch.autograd.grad(loss, logits)[0] for loss, logits in zip(losses, (z, beyond), strict=True)
    ]
    assert torch.equal(*gradients)
    z.requires_grad_(False)
    half = pixel_cross_entropy(z.bfloat16(), batch)
    assert half.dtype == torch.float32 and float(half) == pytest.approx(np.mean(terms), rel=1e-2)

    nothing = Batch(batch.images, torch.full_like(batch.labels, IGNORE), batch.index, batch.view)
    z.requires_grad_()
    for objective in (
        pixel_cross_entropy,
        DenseObjective(Pixels(), temperature=2.0, alpha=0.5, pairwise=1, channelwise=1),
    ):
        loss = objective(z, nothing)
        (gradient,) = torch.autograd.grad(loss, z)
        assert loss.item() == 0 and float(gradient.abs().max()) == 0
    with pytest.raises(ArgumentError, match=r"0\.\.1 for logits of 2 classes"):
        pixel_cross_entropy(z[:, :2], batch)
    with pytest.raises(ArgumentError, match=r"int64 \[6, 8, 4\]"):
        pixel_cross_entropy(z[..., ::2], batch)
    with pytest.raises(ArgumentError, match="at least one pixel"):
        pixel_cross_entropy(z[..., 0, 0], batch)


def test_fit_trains_a_student_to_imitate() -> None:
    """With alpha = 1 and all three terms, the student ends closer to its teacher, and the record says to whom."""
    data, teacher, student = dataset(), Pixels(0), Pixels(1)
    options: dict[str, Any] = {
        "epochs": 12,
        "batch_size": 4,
        "learning_rate": 0.1,
        "seed": 0,
        "progress": False,
    }
    options["precision"] = "float32"
    fit(teacher, data, objective=pixel_cross_entropy, **options)
    objective = DenseObjective(teacher, temperature=2.0, alpha=1, pairwise=1, channelwise=1)
    images = data.normalise(data.test.images)

    def disagreement() -> float:
        with torch.no_grad():
            answers = [net.eval()(images).argmax(1) for net in (student, teacher)]
        return float((answers[0] != answers[1]).double().mean())

    before = disagreement()
    history = fit(student, data, objective=objective, augmentation=AUGMENTATION, **options)
    assert disagreement() < before / 3 and before > 0.3
    assert history.settings["objective"] == objective.name
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss / 2
