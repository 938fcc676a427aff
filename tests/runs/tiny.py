"""Small picture sets that train in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kdcourse.data import Dataset, MaskedSplit, SegmentationDataset, Split

CLASSES = ("a <b>dot</b>", "noise & co", "stripes")


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [count, 28, 28] of three kinds that a small network tells apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 90, (count, 28, 28))
    for image, label in zip(images, labels, strict=True):
        if label == 0:
            row, column = rng.integers(4, 16, 2)
            image[row : row + 8, column : column + 8] += 150
        elif label == 2:
            image[:: rng.integers(2, 4)] += 150
    return images.astype(np.uint8), labels


def dataset(train: int = 96, held_out: int = 30) -> Dataset:
    def split(count: int, seed: int) -> Split:
        images, labels = pictures(count, seed)
        return Split(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long())

    return Dataset("tiny", CLASSES, split(train, 0), split(held_out, 1), split(held_out, 2))


def scenes(train: int = 64, held_out: int = 24) -> SegmentationDataset:
    """16x16 pictures in which quarters are red, green or neither, and their masks."""

    def split(count: int, seed: int) -> MaskedSplit:
        generator = torch.Generator().manual_seed(seed)
        masks = torch.randint(3, (count, 2, 2), generator=generator).to(torch.uint8)
        masks = masks.repeat_interleave(8, 1).repeat_interleave(8, 2)
        noise = torch.randint(60, (count, 3, 16, 16), generator=generator)
        colour = torch.stack([masks == 1, masks == 2, masks == 3], 1) * 150
        return MaskedSplit((noise + colour).to(torch.uint8), masks)

    return SegmentationDataset(
        "tiny scenes", ("ground", "red", "green"), split(train, 0), split(held_out, 1), split(held_out, 2)
    )


def folder(root: Path, count: int = 150) -> Path:
    """The same kinds as PNG files, one folder a class."""
    images, labels = pictures(count, 3)
    names = ("a dot", "noise & co", "stripes")
    for name in names:
        (root / name).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(root / names[label] / f"{number}.png")
    return root


def sides(root: Path, count: int = 120) -> Path:
    """Pictures whose class is the side that is bright, which a mirror changes, as PNG files."""
    rng = np.random.default_rng(4)
    for number in range(count):
        side = ("left", "right")[number % 2]
        image = rng.integers(0, 90, (28, 28))
        image[:, :14] += 120 * (side == "left")
        image[:, 14:] += 120 * (side == "right")
        (root / side).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(root / side / f"{number}.png")
    return root
