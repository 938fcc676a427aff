"""Validation before training, and divergence checks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kdcourse.data import AnyDataset
from kdcourse.errors import ArgumentError, DivergedError
from kdcourse.models.inputs import as_input, call_keeping_input
from kdcourse.models.mode import evaluating
from kdcourse.training.task import task_of


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Let dropout and its kind follow from ``seed`` inside; the caller's (CPU) generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def check_model(model: nn.Module, data: AnyDataset, device: torch.device) -> None:
    """Try ``model`` on an image or two, so that a misfit is named before any training.

    Raises:
        ArgumentError: images that it can't take, or answers other than logits for all classes, [B, C] or, where every
            pixel has one, [B, C, H, W], for a text [B, T, V].
    """
    weight = next(model.parameters(), None)
    images = data.normalise(data.train.images[:2].to(device))
    images = images if weight is None else as_input(images, weight.dtype)
    try:
        with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = call_keeping_input(model, images)
    except ArgumentError:
        raise
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"{type(model).__name__} can't take the images of {data.name!r}, {str(images.dtype)[6:]} "
            f"{list(images.shape)}: {error}. Build it for their size and channels, or resize them."
        ) from error
    wanted = task_of(data).logits_shape(len(images), len(data.classes), data.image_shape[1:])
    if not isinstance(logits, Tensor):
        raise ArgumentError(
            f"{type(model).__name__} must return logits {wanted} for {len(images)} images; found a "
            f"{type(logits).__name__}. Wrap it in a module that returns its logits alone."
        )
    found = list(logits.shape)
    if found != wanted:
        raise ArgumentError(
            f"{type(model).__name__} must return logits {wanted} for {len(images)} images of {len(data.classes)} "
            f"classes; found {found}. Build it with num_classes={len(data.classes)}."
        )


def finite(value: float, what: str, epoch: int, step: int, rate: float) -> float:
    """Return ``value``, a finite number.

    Args:
        value: to check.
        what: its name.
        epoch, step: where it turned up, counted from 0 and from 1.
        rate: the learning rate there.

    Raises:
        DivergedError: NaN or infinity.
    """
    if math.isfinite(value):
        return value
    raise DivergedError(
        f"The {what} became {value} in epoch {epoch + 1}, step {step}, at a learning rate of {rate:.4g}: "
        "the run has diverged. Try a third of the learning rate, a longer warm_up, or, where bfloat16 is in use, "
        'precision="float32"; and check that the images and soft targets hold no NaN.'
    )
