"""Fit a network with its own input size, channels and normalisation to the images of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.errors import ArgumentError


class Normalising(Protocol):
    """Describe what is known of a data set's images, such as a `kdcourse.data.Dataset`."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Return the mean per channel, on a scale from 0 to 1."""

    @property
    def std(self) -> tuple[float, ...]:
        """Return the standard deviation per channel, on a scale from 0 to 1."""


class Preprocessed(nn.Module):
    """Give a network images as it was trained on them, whatever the data set's look like.

    A pretrained teacher expects, say, 224x224 pixels, three channels and ImageNet's normalisation; the student takes
    the data set's 64x64 pixels and its normalisation. Both are given the same batch: this module undoes the data set's
    normalisation, repeats a grey channel, resizes the whole image (bilinear, antialiased; its proportions stay, and
    what is left of the square is filled with the mean colour), and normalises with the network's own mean and std.
    So a teacher in this wrapper works wherever a network does: in `fit`, `distil`, `predict` and `export_onnx`.

    Its weights are stored as ``network.*``; statistics and sizes aren't stored.

    Args:
        network: float [B, C, H, W] of its own kind -> logits.
        size: height and width that it expects, in pixels; one number for square images, ``None`` to leave them as
            they are.
        mean, std: its own normalisation, one number per channel on a scale from 0 to 1.
        data: the data set whose normalised images it will be given. Without one, it takes images that aren't
            normalised: uint8 from 0 to 255, or floating point from 0 to 1.

    Raises:
        ArgumentError: statistics or a size that can't be; when called, images of other channels than ``data`` has,
            channels that can't be matched, or, without ``data``, values outside 0 to 1.
    """

    mean: Tensor
    std: Tensor
    given_mean: Tensor
    given_std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        size: int | tuple[int, int] | None,
        mean: Sequence[float],
        std: Sequence[float],
        data: Normalising | None = None,
    ) -> None:
        super().__init__()
        if not 0 < len(mean) == len(std) or min(std) <= 0:
            raise ArgumentError(
                "mean and std need one number per channel each, std above 0; found "
                f"mean={tuple(mean)}, std={tuple(std)}. Take those that the weights were trained with."
            )
        self.size = (size, size) if isinstance(size, int) else size
        if self.size is not None and min(self.size) < 1:
            raise ArgumentError(f"size is a height and a width of at least 1 pixel; found {size}.")
        self.network = network
        self.takes_normalised = data is not None
        given: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,), (1.0,))
        if data is not None:
            given = tuple(data.mean), tuple(data.std)
            if len(given[0]) not in (1, len(mean)):
                raise ArgumentError(
                    f"The network takes images of {len(mean)} channels, or grey ones; the data set's have "
                    f"{len(given[0])}. Choose a network for such images."
                )
        for name, numbers in zip(
            ("mean", "std", "given_mean", "given_std"), (mean, std, *given), strict=True
        ):
            self.register_buffer(name, torch.tensor(numbers).view(1, -1, 1, 1), persistent=False)

    def extra_repr(self) -> str:
        return f"size={self.size}, takes_normalised={self.takes_normalised}"

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's logits for images [B, C, H, W] of the data set's kind."""
        logits: Tensor = self.network(self.preprocess(images))
        return logits

    def preprocess(self, images: Tensor) -> Tensor:
        """Return the images as the network sees them, [B, its channels, height, width], of its own type."""
        channels = self.mean.shape[1]
        expected = self.given_mean.shape[1] if self.takes_normalised else channels
        if images.ndim != 4 or images.shape[1] not in (expected, 1):
            raise ArgumentError(
                f"This network takes images [B, {expected}, H, W], or grey ones; found {list(images.shape)}. "
                "Build it with data=... of the data set that the images come from."
            )
        x = self._zero_to_one(images)
        height, width = x.shape[2:]
        if self.size is not None and (height, width) != self.size:
            share = min(self.size[0] / height, self.size[1] / width)
            fitted = [max(1, round(height * share)), max(1, round(width * share))]
            if fitted != [height, width]:
                x = F.interpolate(x, fitted, mode="bilinear", antialias=True, align_corners=False)
        if x.shape[1] < channels:
            x = x.expand(-1, channels, -1, -1)
        x = (x - self.mean) / self.std
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            down, right = self.size[0] - x.shape[2], self.size[1] - x.shape[3]
            # Zeros are the mean colour now.
            x = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return x.to(images.dtype if images.is_floating_point() else self.mean.dtype)

    def _zero_to_one(self, images: Tensor) -> Tensor:
        """Return the images on a scale from 0 to 1, float32 or float64."""
        x = images.to(torch.promote_types(images.dtype, torch.float32))
        if self.takes_normalised:
            return x * self.given_std + self.given_mean
        if not images.is_floating_point():
            return x / 255
        if not torch.compiler.is_compiling():
            low, high = x.aminmax()
            if low < 0 or high > 1:
                raise ArgumentError(
                    "This network was built without data=..., so it takes images that aren't normalised: uint8, or "
                    f"floating point from 0 to 1; found {float(low):.3g} to {float(high):.3g}. For the normalised "
                    "images of a data set, as training, distillation and evaluation pass them, build it with data=..."
                )
        return x
