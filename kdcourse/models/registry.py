"""Build teachers and students by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import nn

from kdcourse.data import AnyDataset, TextDataset
from kdcourse.errors import ArgumentError
from kdcourse.models.convolutional import DepthwiseCNN, PocketCNN, ResidualTeacher
from kdcourse.models.gpt import GPT
from kdcourse.models.mlp import MLP
from kdcourse.models.torchvision_zoo import build_segmenter
from kdcourse.models.unet import UNet

Task = Literal["classification", "segmentation", "language"]


class _Entry(NamedTuple):
    builder: Callable[..., nn.Module]  # (num_classes, in_channels, **options)
    task: Task = "classification"


_ENTRIES: Mapping[str, _Entry] = {
    "teacher": _Entry(ResidualTeacher),
    "teacher_wide": _Entry(partial(ResidualTeacher, widths=(32, 64, 192))),
    "residual_104k": _Entry(partial(ResidualTeacher, widths=(16, 32, 56))),
    "pocket_2k": _Entry(partial(PocketCNN, widths=(4, 8, 16), depths=(0, 0, 0))),
    "pocket_6k": _Entry(partial(PocketCNN, widths=(8, 16, 16), depths=(1, 1, 0))),
    "pocket_17k": _Entry(partial(PocketCNN, widths=(16, 32), depths=(1, 1))),
    "pocket_60k": _Entry(partial(PocketCNN, widths=(16, 32, 48), depths=(1, 2, 1))),
    "pocket_200k": _Entry(partial(PocketCNN, widths=(24, 48, 96), depths=(1, 2, 1))),
    "depthwise_4k": _Entry(partial(DepthwiseCNN, widths=(16, 24, 32, 32))),
    "depthwise_16k": _Entry(partial(DepthwiseCNN, widths=(24, 48, 64, 64, 64))),
    "mlp_25k": _Entry(partial(MLP, hidden=(32,))),
    "mlp_109k": _Entry(partial(MLP, hidden=(128, 64))),
    "mlp_200k": _Entry(partial(MLP, hidden=(200, 200))),
    "unet": _Entry(partial(UNet, widths=(24, 48, 96, 192), stride=4), "segmentation"),
    "unet_wide": _Entry(partial(UNet, widths=(32, 64, 112, 192), stride=4), "segmentation"),
    "pocket_unet": _Entry(partial(UNet, widths=(12, 16, 20, 24), depth=1, stride=4), "segmentation"),
    "lraspp_mobilenet_v3_large": _Entry(
        partial(build_segmenter, "lraspp_mobilenet_v3_large"), "segmentation"
    ),
    "deeplabv3_mobilenet_v3_large": _Entry(
        partial(build_segmenter, "deeplabv3_mobilenet_v3_large"), "segmentation"
    ),
    # The course's teachers began with GPT-2's own 0.02.
    "gpt": _Entry(partial(GPT, width=160, depth=4, heads=5, init_std=0.02), "language"),
    "gpt_300k": _Entry(partial(GPT, width=96, depth=2, heads=3), "language"),
    "gpt_140k": _Entry(partial(GPT, width=64, depth=2, heads=2), "language"),
    "gpt_50k": _Entry(partial(GPT, width=32, depth=2, heads=1), "language"),
}


def names(task: Task | None = None) -> dict[str, int]:
    """List every built-in model with its number of parameters.

    Besides these, ``torchvision:NAME`` builds any torchvision classifier, its stem fitted to small
    images; `torchvision_names` lists them.

    Args:
        task: ``classification`` for those that return logits [B, C], ``segmentation`` for those that
            return [B, C, H, W], ``language`` for those that return [B, T, V]; ``None`` for all.

    Returns:
        Name -> parameters: of a classifier for 10 classes, one channel, 28x28; of a segmenter for 11
        classes (background and ten garments) and three channels; of a language model for 512 tokens and a context of
        128.

    Raises:
        ArgumentError: another task.
    """
    if task is not None and task not in get_args(Task):
        raise ArgumentError(
            f"task must be one of {', '.join(get_args(Task))}, or None for all; found {task!r}."
        )
    return {name: _count(name) for name, entry in _ENTRIES.items() if task in (None, entry.task)}


@cache
def _count(name: str) -> int:
    builder, task = _ENTRIES[name]
    with torch.device("meta"):
        model = builder(11, 3) if task == "segmentation" else builder()
    return sum(p.numel() for p in model.parameters())


def torchvision_names() -> list[str]:
    """List the names that may follow ``torchvision:``."""
    from torchvision import models as zoo

    from kdcourse.models.torchvision_zoo import UNSUITED

    return [name for name in zoo.list_models(module=zoo) if name not in UNSUITED]


def build(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    size: int | tuple[int, int] | None = None,
    data: AnyDataset | None = None,
    weights: object = None,
    **options: Any,
) -> nn.Module:
    """Build a model by name, freshly initialised or with published weights.

    A teacher that was trained on ImageNet, for the images of your own data set, in one line::

        teacher = models.build("torchvision:resnet18", weights="IMAGENET1K_V1", data=mine)

    Args:
        name: one of `names`, ``torchvision:NAME`` (such as ``torchvision:resnet18``), or, where timm or transformers is
            installed, ``timm:NAME`` or ``transformers:NAME``, NAME being also a folder for the latter.
        num_classes: length of the logits; by default as many as ``data`` has classes or tokens, else as many as the
            weights are for, else 10, or 512 of a language model.
        in_channels: channels of the images; by default those of ``data``, else 1.
        size: their height and width in pixels, by default those of ``data``, else 28. Only MLPs and vision
            transformers depend on it.
        data: the data set that the model is for. A pretrained model needs it to be given normalised images, as
            training, distillation and evaluation pass them.
        weights: for torchvision and timm, the name of published weights, such as ``IMAGENET1K_V1`` or ``DEFAULT``;
            for transformers, ``DEFAULT``. A model for images then keeps its published architecture and is wrapped in
            a `Preprocessed`, which gives it images of the size, channels and normalisation that it was trained with.
            Its file is downloaded once, into PyTorch's cache, and checked.
        options: passed on to the model's class, such as ``widths=(8, 16)``.

    Returns:
        A module in training mode, float32 [B, in_channels, H, W] -> logits [B, num_classes], or
        [B, num_classes, H, W] from a model for segmentation; tokens int64 [B, T] -> [B, T, num_classes] from a
        language model.

    Raises:
        ArgumentError: a name, weights or an option that doesn't exist, or fewer than 2 classes.
        DataError: the weights can't be downloaded.

    Warns:
        UserWarning: weights for another number of classes; the last layer is then new.
    """
    if isinstance(data, TextDataset) and name in _ENTRIES:
        options = {"context": data.context} | options
    if data is not None:
        num_classes = len(data.classes) if num_classes is None else num_classes
        in_channels = data.image_shape[0] if in_channels is None else in_channels
        size = data.image_shape[1:] if size is None and not isinstance(data, TextDataset) else size
    library, _, short = name.partition(":")
    language = library == "transformers" or (name in _ENTRIES and _ENTRIES[name].task == "language")
    if data is not None and language != isinstance(data, TextDataset):
        raise ArgumentError(
            f"Model {name!r} is for {'text' if language else 'images'}, and {data.name!r} is of "
            f"{'images' if language else 'text'}. Choose one of "
            f"{', '.join(k for k, entry in _ENTRIES.items() if (entry.task == 'language') != language)}."
        )
    if weights is None and not language:
        num_classes = 10 if num_classes is None else num_classes
    in_channels, size = in_channels if in_channels is not None else 1, 28 if size is None else size
    if (num_classes is not None and num_classes < 2) or in_channels < 1:
        raise ArgumentError(
            "A model needs num_classes of at least 2 and in_channels of at least 1; found "
            f"num_classes={num_classes}, in_channels={in_channels}."
        )
    if library == "transformers" and short:
        from kdcourse.models.causal import build_causal

        assert data is None or isinstance(data, TextDataset)
        return build_causal(short, weights, data=data, **options)
    if library == "torchvision" and short:
        from kdcourse.models.torchvision_zoo import build_torchvision, check_torchvision_name

        if weights is None:
            return build_torchvision(
                short, num_classes=num_classes or 10, in_channels=in_channels, size=size, **options
            )
        check_torchvision_name(short)
        from kdcourse.models.pretrained import pretrained_torchvision

        return pretrained_torchvision(short, weights, num_classes=num_classes, data=data, **options)
    if library == "timm" and short:
        from kdcourse.models.pretrained import build_timm

        return build_timm(
            short, weights, num_classes=num_classes, in_channels=in_channels, data=data, **options
        )
    if name not in _ENTRIES:
        raise ArgumentError(
            f"There is no model {name!r}. Choose one of {', '.join(_ENTRIES)}, "
            "or torchvision:NAME, such as torchvision:resnet18, timm:NAME, or transformers:NAME."
        )
    if weights is not None:
        raise ArgumentError(
            f"There are no published weights of model {name!r}; found weights={weights!r}. Only torchvision:NAME and "
            "timm:NAME have some; kdcourse.training.load_weights loads a file of your own."
        )
    builder = _ENTRIES[name].builder
    known = inspect.signature(builder).parameters
    for option in options:
        if option not in known:
            accepted = ", ".join(k for k in known if k not in ("num_classes", "in_channels"))
            raise ArgumentError(f"Model {name!r} has no option {option!r}; it takes {accepted}.")
    if language:
        return builder(512 if num_classes is None else num_classes, **options)
    if "size" in known:
        options["size"] = size
    return builder(num_classes, in_channels, **options)
