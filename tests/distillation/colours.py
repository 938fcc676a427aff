"""A task for masks small enough for every test: which pixels are red, which green."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdcourse.data import IGNORE, Augmentation, MaskedSplit, SegmentationDataset

AUGMENTATION = Augmentation(shift=2, flip=True, erase=0)


def scenes(pictures: int, seed: int = 0) -> MaskedSplit:
    """What is red is class 1, what is green class 2, a frame is left out."""
    generator = torch.Generator().manual_seed(seed)
    masks = (
        torch.randint(3, (pictures, 4, 4), generator=generator)
        .repeat_interleave(2, 1)
        .repeat_interleave(2, 2)
    )
    images = torch.randint(90, (pictures, 3, 8, 8), generator=generator)
    images[:, 0] += 150 * (masks == 1)
    images[:, 1] += 150 * (masks == 2)
    masks[:, 0] = IGNORE
    return MaskedSplit(images.to(torch.uint8), masks.to(torch.uint8))


def dataset() -> SegmentationDataset:
    return SegmentationDataset("colours", ("neither", "red", "green"), scenes(24), scenes(8, 1), scenes(8, 2))


class Pixels(nn.Module):
    """A network for masks with the parts that training could change: weights, BatchNorm statistics, dropout."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.features = nn.Conv2d(3, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.drop = nn.Dropout(0.5)
            self.head = nn.Conv2d(6, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(self.norm(self.features(images)).relu()))
