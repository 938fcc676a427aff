from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kdcourse.data import IGNORE, Augmentation, MaskedSplit, SegmentationDataset, View
from kdcourse.errors import DataError


def split(count: int = 6, height: int = 5, width: int = 7, classes: int = 3) -> MaskedSplit:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(256, (count, 3, height, width), generator=generator).to(torch.uint8)
    masks = torch.randint(classes, (count, height, width), generator=generator).to(torch.uint8)
    return MaskedSplit(images, masks)


def test_a_split_is_cut_and_named_by_its_content() -> None:
    whole = split()
    part = whole.subset(torch.tensor([4, 1]))
    assert len(whole) == 6 and len(part) == 2
    assert torch.equal(part.images[0], whole.images[4]) and torch.equal(part.masks[0], whole.masks[4])
    assert torch.equal(whole.labels, whole.masks)
    assert split().digest == whole.digest != part.digest
    changed = whole.masks.clone()
    changed[0, 0, 0] = IGNORE
    assert MaskedSplit(whole.images, changed).digest != whole.digest


@pytest.mark.parametrize(
    ("images", "masks", "told"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4).byte(), "uint8 tensor \\[N, C, H, W\\]"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2, 4, 4).long(), "uint8 tensor \\[N, H, W\\]"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(3, 4, 4).byte(), "one mask per image"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2, 4, 5).byte(), "height and width"),
        (torch.zeros(0, 3, 4, 4).byte(), torch.zeros(0, 4, 4).byte(), "found none"),
    ],
)
def test_misfits_are_told(images: Tensor, masks: Tensor, told: str) -> None:
    with pytest.raises(DataError, match=told):
        MaskedSplit(images, masks)


def test_a_data_set_checks_its_masks_and_knows_its_pictures() -> None:
    data = SegmentationDataset("toy", ("ground", "a", "b"), split(6), split(2), split(3))
    assert data.image_shape == (3, 5, 7)
    shown = data.normalise(data.train.images)
    assert torch.allclose(shown.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(shown.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    left_out = split(2)
    left_out.masks[0] = IGNORE
    replace(data, test=left_out)
    with pytest.raises(DataError, match=r"0\.\.1 \(2 classes\).*train also holds \[2\]"):
        replace(data, classes=("ground", "a"))
    with pytest.raises(DataError, match="one shape"):
        replace(data, validation=split(2, height=6))
    with pytest.raises(DataError, match="Every pixel of test"):
        replace(data, test=MaskedSplit(split(2).images, torch.full((2, 5, 7), IGNORE, dtype=torch.uint8)))
    with pytest.raises(DataError, match="can hold 2 to 255 classes"):
        replace(data, classes=tuple(map(str, range(256))))


def test_a_view_moves_masks_as_it_moves_pictures() -> None:
    """A mask shown as a picture: where the picture has a zero from outside, the mask has IGNORE."""
    masks = split(40, classes=9).masks + 1
    index = torch.arange(40)
    view = View(Augmentation(shift=2, flip=True, erase=0.0), seed=3, number=1)
    as_pictures = view.apply(masks[:, None], index)[:, 0]
    moved = view.apply_to_masks(masks, index)
    assert torch.equal(torch.where(as_pictures == 0, IGNORE, as_pictures), moved)
    assert int((moved == IGNORE).sum()) > 0 and not torch.equal(moved, masks)
    assert torch.equal(View().apply_to_masks(masks, index), masks)


def test_an_erased_rectangle_keeps_its_classes() -> None:
    masks, index = split(40).masks, torch.arange(40)
    view = View(Augmentation(shift=0, flip=False, erase=1.0, erase_sides=(2, 3)))
    assert torch.equal(view.apply_to_masks(masks, index), masks)
