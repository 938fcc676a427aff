"""Networks that change their input, kept from spoiling it for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class KeepInput:
    """Call a network so that the caller's images stay as they are, even if it changes its input in place.

    (A ReLU in place as the first layer and ``x.mul_`` do.) The first call tells whether it does, on a copy; a network
    that doesn't is handed the images themselves from then on.
    """

    def __init__(self, network: Callable[[Tensor], Any]) -> None:
        self._network = network
        self._changes: bool | None = None

    def __call__(self, images: Tensor) -> Any:
        """Return what the network returns for ``images``."""
        if self._changes is False:
            return self._network(images)
        with torch.inference_mode(False):  # whose tensors keep no count of changes
            own = images.clone(memory_format=torch.preserve_format)
        before = own._version
        answer = self._network(own)
        self._changes = own._version != before
        return answer
