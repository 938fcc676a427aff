"""Teachers and students by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from kdcourse.errors import ArgumentError
from kdcourse.models.convolutional import DepthwiseCNN, PocketCNN, ResidualTeacher
from kdcourse.models.mlp import MLP

TORCHVISION = "torchvision:"

_BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "teacher": ResidualTeacher,
    "teacher_wide": partial(ResidualTeacher, widths=(32, 64, 192)),
    "pocket_2k": partial(PocketCNN, widths=(4, 8, 16), depths=(0, 0, 0)),
    "pocket_6k": partial(PocketCNN, widths=(8, 16, 16), depths=(1, 1, 0)),
    "pocket_17k": partial(PocketCNN, widths=(16, 32), depths=(1, 1)),
    "pocket_60k": partial(PocketCNN, widths=(16, 32, 48), depths=(1, 2, 1)),
    "pocket_200k": partial(PocketCNN, widths=(24, 48, 96), depths=(1, 2, 1)),
    "depthwise_4k": partial(DepthwiseCNN, widths=(16, 24, 32, 32)),
    "depthwise_16k": partial(DepthwiseCNN, widths=(24, 48, 64, 64, 64)),
    "mlp_25k": partial(MLP, hidden=(32,)),
    "mlp_109k": partial(MLP, hidden=(128, 64)),
    "mlp_200k": partial(MLP, hidden=(200, 200)),
}


def names() -> dict[str, int]:
    """Every built-in model with its number of parameters (10 classes, one channel, 28x28).

    Besides these, ``torchvision:NAME`` builds any torchvision classifier, its stem fitted to small
    pictures; `torchvision_names` lists them.
    """
    return dict(_counts())


@cache
def _counts() -> tuple[tuple[str, int], ...]:
    with torch.device("meta"):
        return tuple(
            (name, sum(p.numel() for p in build().parameters())) for name, build in _BUILDERS.items()
        )


def torchvision_names() -> list[str]:
    """What may follow ``torchvision:``."""
    from torchvision import models as zoo

    from kdcourse.models.torchvision_zoo import UNSUITED

    return [name for name in zoo.list_models(module=zoo) if name not in UNSUITED]


def build(
    name: str,
    *,
    num_classes: int = 10,
    in_channels: int = 1,
    size: int | tuple[int, int] = 28,
    **options: Any,
) -> nn.Module:
    """A freshly initialised model.

    Args:
        name: one of `names`, or ``torchvision:NAME`` (such as ``torchvision:resnet18``).
        num_classes: length of the logits.
        in_channels: channels of the pictures.
        size: their height and width in pixels; matters to MLPs and vision transformers alone.
        options: passed on to the model's class, such as ``widths=(8, 16)``.

    Returns:
        A module float32 [B, in_channels, H, W] -> logits [B, num_classes], in training mode.

    Raises:
        ArgumentError: a name or an option that doesn't exist, or fewer than 2 classes.
    """
    if num_classes < 2 or in_channels < 1:
        raise ArgumentError(
            "A classifier needs num_classes of at least 2 and in_channels of at least 1; found "
            f"num_classes={num_classes}, in_channels={in_channels}."
        )
    if name.startswith(TORCHVISION):
        from kdcourse.models.torchvision_zoo import build_torchvision

        return build_torchvision(
            name.removeprefix(TORCHVISION),
            num_classes=num_classes,
            in_channels=in_channels,
            size=size,
            **options,
        )
    if name not in _BUILDERS:
        raise ArgumentError(
            f"There is no model {name!r}. Choose one of {', '.join(_BUILDERS)}, "
            "or torchvision:NAME, such as torchvision:resnet18."
        )
    builder = _BUILDERS[name]
    known = inspect.signature(builder).parameters
    for option in options:
        if option not in known:
            accepted = ", ".join(k for k in known if k not in ("num_classes", "in_channels"))
            raise ArgumentError(f"Model {name!r} has no option {option!r}; it takes {accepted}.")
    if "size" in known:
        options["size"] = size
    return builder(num_classes, in_channels, **options)
