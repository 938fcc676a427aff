"""Pick a network's logits by the names of its classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdcourse.errors import ArgumentError


class SelectedClasses(nn.Module):
    """Return a network's logits for the classes of a data set, in their order.

    A teacher that was trained elsewhere may know its classes in another order, or know more of them: of the 1000 of
    ImageNet, say, those that a folder of images has. Its logits would then be taken for those of other classes.

    Args:
        network: float [B, C, H, W] -> logits [B, classes], or [B, classes, H, W].
        known: the names of its classes, in the order of its logits; kdcourse stores them in the notes of teachers.
        wanted: the names of the data set's, `kdcourse.data.Dataset.classes`.

    Raises:
        ArgumentError: a wanted class that the network doesn't know, or one that it knows twice; when called, another
            number of logits than known classes.
    """

    places: Tensor

    def __init__(self, network: nn.Module, known: Sequence[str], wanted: Sequence[str]) -> None:
        super().__init__()
        known = list(known)
        unclear = [name for name in wanted if known.count(name) != 1]
        if unclear:
            raise ArgumentError(
                f"Each class must be known to the network once; {', '.join(unclear[:5])} "
                f"{'is' if len(unclear) == 1 else 'are'} not, among the {len(known)} that it knows "
                f"({', '.join(known[:5])}{', ...' * (len(known) > 5)}). Compare the spelling."
            )
        self.network = network
        self.known = len(known)
        self.register_buffer("places", torch.tensor([known.index(name) for name in wanted]), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, wanted classes], or [B, wanted classes, H, W]."""
        logits: Tensor = self.network(images)
        if logits.shape[1] != self.known:
            raise ArgumentError(
                f"The network returns {logits.shape[1]} logits, and {self.known} classes were named. Name all of its "
                "classes, in their order."
            )
        return logits.index_select(1, self.places)
