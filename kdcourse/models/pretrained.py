"""Build pretrained classifiers by name, from torchvision and timm."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from kdcourse.data.download import download
from kdcourse.errors import ArgumentError, CheckpointError, DataError
from kdcourse.models.preprocessed import Normalising, Preprocessed
from kdcourse.models.torchvision_zoo import LogitsOnly, take_options

DEFAULT = "DEFAULT"


def pretrained_torchvision(
    name: str, weights: object, *, num_classes: int | None, data: Normalising | None, **options: Any
) -> nn.Module:
    """Build a torchvision classifier with published weights, as it was published: its stem isn't changed.

    Args:
        name: such as ``resnet18``.
        weights: their name (``IMAGENET1K_V1``, ``DEFAULT``) or torchvision's own object.
        num_classes: length of the logits; by default that of the weights. Another number gives a new last layer,
            with a warning.
        data: see `Preprocessed`.
        options: for torchvision's builder; ``progress=False`` hides the download's bar.

    Raises:
        ArgumentError: no such classifier, weights or option.
        DataError: the weights can't be downloaded.
        CheckpointError: the file holds something other than weights.
    """
    from torchvision import models as zoo
    from torchvision.models import WeightsEnum

    known = zoo.get_model_weights(name)
    wanted = weights.name if isinstance(weights, WeightsEnum) else str(weights).rpartition(".")[2]
    if wanted not in known.__members__ or (
        isinstance(weights, WeightsEnum) and not isinstance(weights, known)
    ):
        raise ArgumentError(
            f"torchvision's {name} has no weights {weights!r}; it has {', '.join(known.__members__)}. "
            "Pass the name of one, or leave weights= out for random ones."
        )
    chosen = known[wanted]
    _fetched(chosen.url, progress=bool(options.get("progress", True)))
    network = take_options(name, zoo.get_model, name, weights=chosen, **options)
    if name in ("googlenet", "inception_v3"):
        network = LogitsOnly(network)
    own, wished = len(chosen.meta["categories"]), num_classes
    if wished is not None and wished != own:
        _replace_head(network, own, wished)
        _say_new_head(f"torchvision:{name}", chosen.name, own, wished)
    preset = chosen.transforms()
    return Preprocessed(
        network, size=preset.crop_size[0], mean=preset.mean, std=preset.std, data=data
    ).train()


def build_timm(
    name: str,
    weights: object,
    *,
    num_classes: int | None,
    in_channels: int,
    data: Normalising | None,
    **options: Any,
) -> nn.Module:
    """Build a timm classifier (https://huggingface.co/docs/timm), with random or with published weights.

    Args:
        name: such as ``resnet18``, with or without the tag of its weights (``resnet18.a1_in1k``).
        weights: ``None`` for random ones; ``DEFAULT`` for timm's first choice, or a tag, such as ``a1_in1k``.
        num_classes: length of the logits; by default that of the weights, else 10.
        in_channels: without weights, channels of the images.
        data: see `Preprocessed`.
        options: for ``timm.create_model``; a vision transformer for other sizes needs ``img_size=...``.

    Raises:
        ArgumentError: timm isn't installed; no such classifier, weights or option.
        DataError: the weights can't be downloaded.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"timm:{name} needs the package timm, which is not installed here. Install it with: pip install timm. "
            "torchvision:NAME works without it."
        ) from error
    if not timm.is_model(name):
        base = name.split(".")[0]
        near = timm.list_models(f"*{base}*")[:5] or ["resnet18", "vit_small_patch16_224"]
        raise ArgumentError(f"timm has no classifier {name!r}. Some that it has: {', '.join(near)}.")
    if weights is None:
        return take_options(
            name, timm.create_model, name, pretrained=False, num_classes=num_classes or 10, in_chans=in_channels,
            **options,
        ).train()  # fmt: skip
    base = name.split(".")[0]
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
    if weights is not True and weights != DEFAULT:
        if weights not in tags:
            raise ArgumentError(
                f"timm's {base} has no weights {weights!r}; it has {', '.join(tags) or 'none'}. Pass one of them, or "
                f"{DEFAULT!r} for timm's first choice."
            )
        name = f"{base}.{weights}"
    shown = bool(options.pop("progress", True))
    overlay = options.get("pretrained_cfg_overlay") or {}
    config = {**timm.models.get_pretrained_cfg(name).to_dict(), **overlay}
    if config.get("url") and not config.get("hf_hub_id"):
        _fetched(config["url"], progress=shown)
    own = int(config["num_classes"])
    wished = own if num_classes is None else num_classes
    try:
        network = take_options(name, timm.create_model, name, pretrained=True, num_classes=wished, **options)
    except ArgumentError:
        raise
    except Exception as error:  # the hub's client raises errors of many kinds
        raise DataError(
            f"The weights of timm:{name} can't be had: {type(error).__name__}: {str(error).splitlines()[0][:200]}. "
            "Check the network, and behind a proxy set HTTP_PROXY and HTTPS_PROXY, then try again."
        ) from error
    if wished != own:
        _say_new_head(f"timm:{name}", str(config.get("tag") or DEFAULT), own, wished)
    seen = timm.data.resolve_model_data_config(network)
    return Preprocessed(
        network, size=tuple(seen["input_size"][1:]), mean=seen["mean"], std=seen["std"], data=data
    ).train()


def _fetched(url: str, *, progress: bool) -> None:
    """Have the file of ``url`` in PyTorch's cache, whole and with the checksum that its name gives.

    Raises:
        DataError: it can't be downloaded.
        CheckpointError: it holds something other than weights.
    """
    name = Path(urlparse(url).path).name
    digest = re.search(r"-([0-9a-f]{8,})\.", name)
    if digest is None:
        return  # without a checksum it is left to the library
    advice = f"Or put the file into {Path(torch.hub.get_dir()) / 'checkpoints'} by hand."
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    download([url], path, sha256=digest[1], progress=progress, advice=advice)
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # unpickling raises errors of many kinds
        raise CheckpointError(
            f"{path} holds something other than weights, and loading it could run code: "
            f"{str(error).splitlines()[0][:200]}. It was not loaded; remove it and report it."
        ) from error


def _replace_head(network: nn.Module, own: int, wished: int) -> None:
    """Put a new layer of ``wished`` outputs in the place of the last one of ``own``."""
    found = [
        (path, layer)
        for path, layer in network.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == own)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == own)
    ]
    path, layer = found[-1]
    new = (
        nn.Conv2d(layer.in_channels, wished, layer.kernel_size, bias=layer.bias is not None)  # type: ignore[arg-type]
        if isinstance(layer, nn.Conv2d)
        else nn.Linear(layer.in_features, wished, bias=layer.bias is not None)
    )
    parent, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(parent), attribute, new)


def _say_new_head(name: str, weights: str, own: int, wished: int) -> None:
    warnings.warn(
        f"The weights {weights} of {name} are for {own} classes and {wished} are wanted: its last layer is new and "
        "untrained. Train the network (kdcourse.training.fit) before you distil from it.",
        UserWarning,
        stacklevel=4,
    )
