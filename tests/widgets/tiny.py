"""Quarters of 8x8 pictures, teachers that know them more or less, and what tests ask of every widget."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import torch
from torch import Tensor

from kdcourse.widgets.base import CourseWidget
from tests.distillation.tiny import CLASSES, split

LONG = 300.0  # seconds that no test comes near, however busy the machine
NAMES = ("one", "two", "three")
CLASS_NAMES = ("upper left", "upper right", "<lower> left", "lower right")


def task(pictures: int = 40, members: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, labels and member logits [M, N, 4], each member wrong on a part of its own."""
    part = split(pictures)
    generator = torch.Generator().manual_seed(1)
    noise = 1.3 * torch.randn(members, pictures, CLASSES, generator=generator)
    return part.images, part.labels, noise + 2.5 * torch.eye(CLASSES)[part.labels]


def scenes(pictures: int = 6) -> tuple[Tensor, Tensor, dict[str, Tensor], tuple[str, ...]]:
    """Pictures, masks, logits of two models [K, 4, 12, 10] and class names.

    The first picture has nothing but background and ignored pixels, the second most of class 2, the third no 2. No
    picture has a class 3, but both models find it here and there.
    """
    generator = torch.Generator().manual_seed(3)
    masks = torch.zeros(pictures, 12, 10, dtype=torch.uint8)
    masks[1:, 2:5, 1:6] = 1
    masks[1:, 5:11, 2:9] = 2
    masks[2:3][masks[2:3] == 2] = 0
    masks[:, :, 0] = 255
    images = torch.randint(0, 256, (pictures, 3, 12, 10), generator=generator, dtype=torch.uint8)
    truth = torch.eye(5)[masks.long().clamp(max=4)][..., :4].permute(0, 3, 1, 2)
    noise = torch.randn(2, pictures, 4, 12, 10, generator=generator)
    logits = {"teachers": 4 * truth + noise[0], "student": 2 * truth + noise[1]}
    return images, masks, logits, ("background", "shirt", "<dress>", "boot")


def bundle_of(widget: CourseWidget) -> tuple[dict[str, object], dict[str, dict[str, str]]]:
    bundle, metadata = widget._repr_mimebundle_()
    assert base64.b64decode(str(bundle["image/png"])).startswith(b"\x89PNG")
    assert set(bundle) == {"text/plain", "image/png", "application/vnd.jupyter.widget-view+json"}
    assert "\n" not in str(bundle["text/plain"]) and len(metadata["image/png"]["alt"]) > 30
    return bundle, metadata


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.002)
