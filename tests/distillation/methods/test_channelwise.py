"""`channelwise_loss` against an independent reference; every known mistake is written out and told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.distillation import (
    channelwise_loss,
)
from tests.distillation.methods.maps import CLASSES, TEMPERATURES, Array, Loss, everything, kl_map, maps


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
    return kl_map(z.flatten(2).transpose(1, 2), v.flatten(2).transpose(1, 2), 1.0) * t**2


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
        kl_map(z, v, temperature).sum(1)[labels != IGNORE].sum() / (z.shape[1] * _pictures(labels))
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
