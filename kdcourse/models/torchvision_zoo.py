"""Build torchvision classifiers and two of its segmenters, the first convolution fitted to small images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.errors import ArgumentError

PATCH = 4  # pixels per side of what a vision transformer takes as one word
UNSUITED = {
    "maxvit_t": "its windows of 7x7 must divide the image after five halvings, so it takes multiples of 224 pixels"
}


class LogitsOnly(nn.Module):
    """Drop the auxiliary outputs that some torchvision models return while training."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out = self.model(x)
        return out if isinstance(out, Tensor) else out.logits


def build_torchvision(
    name: str, *, num_classes: int, in_channels: int, size: int | tuple[int, int] = 28, **options: Any
) -> nn.Module:
    """Build a torchvision classifier with random weights, for images of about 28 to 64 pixels.

    The stems of the zoo are made for 224 pixels and would leave a 28-pixel image less than one
    pixel wide. So the first convolution takes ``in_channels`` and keeps the resolution, and a
    ResNet's first max-pooling goes (as He et al. 2016, section 4.2, do for CIFAR-10); so do the two
    of Inception v3, and VGG's five keep the odd last row and column. Vision transformers are built for
    square images of ``size``, in patches of 4x4 pixels.

    Raises:
        ArgumentError: no such model, one that small images don't suit, options or a size that it doesn't take.
    """
    from torchvision import models as zoo

    check_torchvision_name(name)
    if name in UNSUITED:
        raise ArgumentError(
            f"torchvision's {name} isn't offered: {UNSUITED[name]}. Choose another, such as torchvision:resnet18."
        )
    if name in ("googlenet", "inception_v3"):
        options.setdefault("init_weights", True)
        options.setdefault("aux_logits", False)  # the auxiliary heads need images of 75 pixels or more
    model: Any = take_options(name, zoo.get_model, name, weights=None, num_classes=num_classes, **options)
    if name.startswith("vit_"):
        _fit_patches(model, name, in_channels, size)
        return model
    _fit_stem(model, name, in_channels)
    if name.startswith("vgg"):
        for module in model.features:
            if isinstance(module, nn.MaxPool2d):
                module.ceil_mode = True
    if name == "inception_v3":
        model.maxpool1 = model.maxpool2 = nn.Identity()
    return LogitsOnly(model) if name in ("googlenet", "inception_v3") else model


class TorchvisionSegmenter(nn.Module):
    """Wrap one of torchvision's segmentation networks so that it returns its logits alone.

    Maps float32 [B, C, H, W] to logits [B, classes, H, W]; torchvision itself returns them in a dict.
    ``network`` is torchvision's own module, so weights stored for it can be loaded there.

    Raises:
        ArgumentError: when called in training mode with so little that BatchNorm is left one value per channel:
            DeepLab, which pools an image to one pixel, with a single image.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes, H, W] for float32 [B, C, H, W], enlarged bilinearly from the coarse ones."""
        try:
            logits: Tensor = self.network(images)["out"]
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ArgumentError(
                f"{type(self.network).__name__} can't be trained on {list(images.shape)}: where an image is down to "
                "one pixel, BatchNorm needs at least two images. Take a batch_size of 2 or more."
            ) from error
        return logits


def check_torchvision_name(name: str) -> None:
    """Raise ArgumentError unless torchvision has a classifier of this name."""
    from torchvision import models as zoo

    if name not in zoo.list_models(module=zoo):
        raise ArgumentError(
            f"torchvision has no classifier {name!r}. kdcourse.models.torchvision_names() lists them; "
            "resnet18 and mobilenet_v3_small are good first choices."
        )


def take_options(name: str, build: Callable[..., nn.Module], *arguments: Any, **options: Any) -> nn.Module:
    """Return what ``build`` makes of its arguments.

    Raises:
        ArgumentError: options that model ``name`` doesn't take.
    """
    try:
        return build(*arguments, **options)
    except TypeError as error:
        raise ArgumentError(
            f"{name} doesn't take these options: {error}. Leave them out, or correct them."
        ) from error


def build_segmenter(name: str, num_classes: int, in_channels: int, *, stem_stride: int = 1) -> nn.Module:
    """Build torchvision's LR-ASPP (Howard et al. 2019) or DeepLab v3 (Chen et al. 2017), untrained.

    Nothing is downloaded. The stem is made for images of about 520 pixels, of which features keep every
    sixteenth; small ones would be left with 4x4. So, as for classifiers, the first convolution keeps the
    resolution unless told otherwise, and features keep every eighth pixel.

    Args:
        name: ``lraspp_mobilenet_v3_large`` or ``deeplabv3_mobilenet_v3_large``.
        num_classes, in_channels: of the logits and of the images.
        stem_stride: 1 for small images, 2 as published: a quarter of the work.

    Raises:
        ArgumentError: another stride.

    Sources: https://arxiv.org/abs/1905.02244, section 6.4; https://arxiv.org/abs/1706.05587, section 3.
    """
    from torchvision.models import segmentation as zoo

    if stem_stride not in (1, 2):
        raise ArgumentError(
            f"stem_stride must be 1, for small images, or 2, as published; found {stem_stride!r}."
        )
    network = getattr(zoo, name)(weights=None, weights_backbone=None, num_classes=num_classes)
    _fit_stem(network, name, in_channels, stem_stride)
    return TorchvisionSegmenter(network)


def _fit_patches(model: Any, name: str, in_channels: int, size: int | tuple[int, int]) -> None:
    """Rebuild a vision transformer's first layer for small images.

    It is done afterwards since the zoo's builders fix a patch of 14 to 32 pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height != width or height % PATCH:
        raise ArgumentError(
            f"torchvision's {name} takes square images whose side is a multiple of {PATCH} pixels; found "
            f"size={height}x{width}. Resize them."
        )
    units = model.conv_proj.out_channels
    model.conv_proj = nn.Conv2d(in_channels, units, PATCH, stride=PATCH)
    nn.init.trunc_normal_(model.conv_proj.weight, std=(in_channels * PATCH**2) ** -0.5)
    nn.init.zeros_(model.conv_proj.bias)
    model.image_size, model.patch_size = height, PATCH
    model.seq_length = (height // PATCH) ** 2 + 1
    model.encoder.pos_embedding = nn.Parameter(torch.empty(1, model.seq_length, units).normal_(std=0.02))


def _fit_stem(model: nn.Module, name: str, in_channels: int, stride: int = 1) -> None:
    first = next(((p, m) for p, m in model.named_modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        raise ArgumentError(
            f"torchvision's {name} has no convolution to fit to small images; choose another."
        )
    path, module = first
    big = module.kernel_size[0] > 3
    stem = nn.Conv2d(
        in_channels,
        module.out_channels,
        3 if big else module.kernel_size,  # type: ignore[arg-type]
        stride=stride,
        padding=1 if big else module.padding,  # type: ignore[arg-type]
        bias=module.bias is not None,
    )
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    parent, _, attribute = path.rpartition(".")
    setattr(model.get_submodule(parent), attribute, stem)
    if isinstance(getattr(model, "maxpool", None), nn.MaxPool2d):
        model.maxpool = nn.Identity()
