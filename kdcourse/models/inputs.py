"""Prepare batches for networks: of a size that fits into memory, on their device, in a suitable layout, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from kdcourse.errors import ArgumentError
from kdcourse.models.layout import arranged

_changes: WeakKeyDictionary[nn.Module, dict[bool, bool]] = WeakKeyDictionary()


def call_keeping_input(network: nn.Module, images: Tensor, called: nn.Module | None = None) -> Any:
    """Return what a network returns for ``images``, which stay as they are even if it changes its input in place.

    It is given them in the memory layout that suits it (`kdcourse.models.layout`).

    (A ReLU in place as the first layer and ``x.mul_`` do.) The first call in each mode, on a copy, tells whether it
    does; a network that doesn't is handed the images themselves from then on.

    Args:
        network: whose habits count.
        images: of any type.
        called: a wrapper to call in the network's place, such as that which averages gradients.
    """
    call = network if called is None else called
    images = arranged(network, images)
    if torch.compiler.is_compiling():
        return call(images)
    known = _changes.setdefault(network, {})
    if known.get(network.training) is False:
        return call(images)
    with torch.inference_mode(False):  # whose tensors keep no count of changes
        own = images.clone(memory_format=torch.preserve_format)
    before = own._version
    answer = call(own)
    known[network.training] = known.get(network.training, False) or own._version != before
    return answer


@contextmanager
def explaining_misfits(who: str, images: Tensor) -> Iterator[None]:
    """Turn the error of a network that can't take ``images`` [B, C, H, W] into an `ArgumentError` with a cure."""
    try:
        yield
    except (ArgumentError, torch.OutOfMemoryError):
        raise
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"{who} can't take images {list(images.shape)}: {error}. Take one that was built for this size and number "
            "of channels, read the images so (size=, channels= of kdcourse.data.image_folder), or wrap it in "
            "kdcourse.models.Preprocessed, which resizes images and repeats a grey channel."
        ) from error


def as_input(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return images in a network's floating type; tokens, which are whole numbers, as they are."""
    return images.to(dtype) if images.is_floating_point() else images


def images_at_once(batch_size: int, images: Tensor, side: int = 28) -> int:
    """Return how many images to take at a time: ``batch_size`` of ``side`` x ``side`` pixels, fewer of larger ones.

    Rows of tokens are taken 16 * ``batch_size`` tokens at a time.
    """
    if images.ndim == 2:
        return max(1, 16 * batch_size // images.shape[1])
    height, width = images.shape[2:]
    return max(1, min(batch_size, batch_size * side**2 // (height * width)))


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return device and floating type of the model's weights; (cpu, float32) where it has none."""
    for weight in (*model.parameters(), *model.buffers()):
        if weight.is_floating_point():
            return weight.device, weight.dtype
    return torch.device("cpu"), torch.float32
