"""Any torchvision classifier, its first convolution fitted to small pictures."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kdcourse.errors import ArgumentError


class _LogitsOnly(nn.Module):
    """Drops the auxiliary outputs that some torchvision models return while training."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out = self.model(x)
        return out if isinstance(out, Tensor) else out.logits


def build_torchvision(name: str, *, num_classes: int, in_channels: int, **options: Any) -> nn.Module:
    """A torchvision classifier with random weights, for pictures of about 28 to 64 pixels.

    The stems of the zoo are made for 224 pixels and would leave a 28-pixel picture less than one
    pixel wide. So the first convolution takes ``in_channels`` and keeps the resolution, and a
    ResNet's first max-pooling goes (as He et al. 2016, section 4.2, do for CIFAR-10). Models of
    fixed picture size (vision transformers) are given ``image_size=28`` unless ``options`` say other.

    Raises:
        ArgumentError: no such model, or one whose layout is not known here.
    """
    from torchvision import models as zoo

    if name not in zoo.list_models(module=zoo):
        raise ArgumentError(
            f"torchvision has no classifier {name!r}. kdcourse.models.torchvision_names() lists them; "
            "resnet18 and mobilenet_v3_small are good first choices."
        )
    if name.startswith("vit_"):
        options.setdefault("image_size", 28)
    if name in ("googlenet", "inception_v3"):
        options.setdefault("init_weights", True)
        options.setdefault("aux_logits", False)  # the auxiliary heads need pictures of 75 pixels or more
    try:
        model = zoo.get_model(name, weights=None, num_classes=num_classes, **options)
    except TypeError as error:
        raise ArgumentError(f"torchvision's {name} doesn't take these options: {error}.") from error
    if name.startswith("vit_"):
        patch = model.conv_proj
        size = 4 if options["image_size"] % 4 == 0 else patch.kernel_size[0]
        model.conv_proj = nn.Conv2d(in_channels, patch.out_channels, size, stride=size)
        tokens = (options["image_size"] // size) ** 2 + 1
        model.patch_size, model.seq_length = size, tokens
        model.encoder.pos_embedding = nn.Parameter(
            model.encoder.pos_embedding.new_empty(1, tokens, patch.out_channels).normal_(std=0.02)
        )
        return model
    _fit_stem(model, name, in_channels)
    return _LogitsOnly(model) if name in ("googlenet", "inception_v3") else model


def _fit_stem(model: nn.Module, name: str, in_channels: int) -> None:
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            break
    else:
        raise ArgumentError(f"torchvision's {name} has no convolution to fit to small pictures; choose another.")
    big = module.kernel_size[0] > 3
    stem = nn.Conv2d(
        in_channels,
        module.out_channels,
        3 if big else module.kernel_size,  # type: ignore[arg-type]
        stride=1,
        padding=1 if big else module.padding,  # type: ignore[arg-type]
        bias=module.bias is not None,
    )
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    parent, _, attribute = path.rpartition(".")
    setattr(model.get_submodule(parent), attribute, stem)
    if isinstance(getattr(model, "maxpool", None), nn.MaxPool2d):
        model.maxpool = nn.Identity()
