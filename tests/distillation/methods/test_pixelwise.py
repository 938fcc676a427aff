"""`pixelwise_loss` against an independent reference; every known mistake is written out and told apart."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.distillation import (
    channelwise_loss,
    hinton_loss,
    pairwise_loss,
    pixelwise_loss,
)
from kdcourse.errors import ArgumentError
from tests.distillation.methods.maps import ALPHAS, CLASSES, TEMPERATURES, Loss, everything, kl_map, maps


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
    "kl_divided_by_the_batch_alone": _soft(lambda z, v, ok, t: _masked(kl_map(z, v, t), ok).sum() / len(z)),
    "kl_summed": _soft(lambda z, v, ok, t: _masked(kl_map(z, v, t), ok).sum()),
    "kl_divided_by_batch_and_pixels": _soft(lambda z, v, ok, t: _masked(kl_map(z, v, t), ok).mean() / len(z)),
    "ignored_pixels_inside_the_kl": _soft(lambda z, v, ok, t: kl_map(z, v, t).sum(1).mean()),
    "ignored_pixels_in_the_divisor": _soft(
        lambda z, v, ok, t: _masked(kl_map(z, v, t), ok).sum() / ok.numel()
    ),
    "mean_of_the_pictures_means": _soft(
        lambda z, v, ok, t: torch.stack(
            [_masked(kl_map(z, v, t)[i : i + 1], ok[i : i + 1]).mean() for i in range(len(z)) if ok[i].any()]
        ).mean()
    ),
    "t2_missing": _soft(lambda z, v, ok, t: _masked(kl_map(z, v, t), ok).mean() / t**2),
    "t_in_place_of_t2": _soft(lambda z, v, ok, t: _masked(kl_map(z, v, t), ok).mean() / t),
    "mean_over_classes": _soft(lambda z, v, ok, t: _masked(kl_map(z, v, t), ok).mean() / z.shape[1]),
    "sides_swapped": _soft(lambda z, v, ok, t: _masked(kl_map(v, z, t), ok).mean()),
    "softmax_over_places": _soft(
        lambda z, v, ok, t: _masked(
            kl_map(z.flatten(2).transpose(1, 2), v.flatten(2).transpose(1, 2), t).transpose(1, 2),
            ok.flatten(1),
        ).mean()
    ),
    "softmax_over_columns": _soft(
        lambda z, v, ok, t: _masked(
            kl_map(z.transpose(1, 3), v.transpose(1, 3), t).transpose(1, 3), ok
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
    assert agrees_pixelwise(_soft(lambda z, v, ok, t: _masked(kl_map(z, v, t), ok).mean()))
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
