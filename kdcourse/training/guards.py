"""What keeps a run from going wrong unnoticed: misfits named before the first step, a diverging loss at once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from kdcourse.data import Dataset, SegmentationDataset
from kdcourse.errors import ArgumentError, DivergedError
from kdcourse.training.checkpoint import Position

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def own_random_numbers(train: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Let dropout and its kind follow from ``seed`` too, and leave the caller's (CPU) generator as it was."""

    @functools.wraps(train)
    def seeded(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        seed = kwargs.get("seed")
        with torch.random.fork_rng(devices=[]):
            if isinstance(seed, int):  # anything else is for `train` to complain of
                torch.manual_seed(seed % 2**63)
            return train(*args, **kwargs)

    return seeded


def check_model(model: nn.Module, data: Dataset | SegmentationDataset, device: torch.device) -> None:
    """Try ``model`` on a picture or two, so that a misfit is named before any training.

    Raises:
        ArgumentError: pictures that it can't take, or answers other than logits for all classes, [B, C] or, where every
            pixel has one, [B, C, H, W].
    """
    weight = next(model.parameters(), None)
    images = data.normalise(data.train.images[:2].to(device))
    images = images if weight is None else images.to(weight.dtype)
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = model(images)
    except ArgumentError:
        raise
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"{type(model).__name__} can't take the pictures of {data.name!r}, float32 {list(images.shape)}: {error}. "
            "Build it for their size and channels, or resize them."
        ) from error
    per_pixel = list(data.image_shape[1:]) if isinstance(data, SegmentationDataset) else []
    wanted = f"logits {[len(images), len(data.classes), *per_pixel]}"
    if not isinstance(logits, Tensor):
        raise ArgumentError(
            f"{type(model).__name__} must return {wanted} for {len(images)} pictures; found a "
            f"{type(logits).__name__}. Wrap it in a module that returns its logits alone."
        )
    shape = list(logits.shape)
    if (
        len(shape) != 2 + len(per_pixel)
        or shape[1] < len(data.classes)
        or [shape[0], *shape[2:]] != [len(images), *per_pixel]
    ):
        raise ArgumentError(
            f"{type(model).__name__} must return {wanted} for {len(images)} pictures of {len(data.classes)} classes; "
            f"found {list(logits.shape)}. Build it with num_classes={len(data.classes)}."
        )


def check_loss(loss: Tensor) -> Tensor:
    """``loss`` itself, a scalar with a gradient.

    Raises:
        ArgumentError: anything else.
    """
    if isinstance(loss, Tensor) and loss.ndim == 0 and loss.requires_grad:
        return loss
    if isinstance(loss, Tensor):
        found = f"a tensor {list(loss.shape)}, requires_grad={loss.requires_grad}"
    else:
        found = f"a {type(loss).__name__}"
    raise ArgumentError(
        f"An objective must return one number as a scalar tensor with a gradient; found {found}. Average over "
        "the batch, don't detach the logits, and don't call fit under torch.no_grad()."
    )


def finite(value: float, what: str, at: Position, rate: float) -> float:
    """``value`` itself, a finite number.

    Raises:
        DivergedError: NaN or infinity.
    """
    if math.isfinite(value):
        return value
    raise DivergedError(
        f"The {what} became {value} in epoch {at.epoch + 1}, step {at.step}, at a learning rate of {rate:.4g}: "
        "the run has diverged. Try a third of the learning rate, a longer warm_up, or, where bfloat16 is in use, "
        'precision="float32"; and check that the pictures and soft targets hold no NaN.'
    )
