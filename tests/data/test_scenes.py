from __future__ import annotations

import hashlib

import pytest
import torch

from kdcourse.data import BACKGROUND, Dataset, MaskedSplit, SegmentationDataset, Split, garment_scenes, scenes
from kdcourse.errors import ArgumentError


@pytest.fixture(scope="module")
def few() -> SegmentationDataset:
    return garment_scenes(scenes=(130, 40, 60))


def test_scenes_hold_pictures_masks_and_all_the_classes(few: SegmentationDataset) -> None:
    assert few.image_shape == (3, 64, 64) and few.classes[0] == BACKGROUND and len(few.classes) == 11
    assert few.classes[1] == "T-shirt/top" and few.classes[10] == "Ankle boot"
    for split, count in ((few.train, 130), (few.validation, 40), (few.test, 60)):
        assert len(split) == count and split.images.dtype == split.masks.dtype == torch.uint8
    share = torch.bincount(few.train.masks.flatten().long(), minlength=11) / few.train.masks.numel()
    assert 0.4 < share[0] < 0.8 and float(share[1:].min()) > 0.01
    assert len(share) == 11


def test_garments_stand_out_and_nothing_is_flat(few: SegmentationDataset) -> None:
    images = few.train.images.float()
    assert float(images.std((1, 2, 3)).min()) > 8  # every ground has texture, noise at least
    normal = few.normalise(few.train.images)
    assert abs(float(normal.mean())) < 0.2 and 0.8 < float(normal.std()) < 1.2


@pytest.mark.slow
def test_the_same_arguments_make_the_same_scenes_and_fewer_are_the_first_of_more(
    few: SegmentationDataset,
) -> None:
    again = garment_scenes(scenes=(20, 120, 5))
    assert torch.equal(again.train.images, few.train.images[:20])
    assert torch.equal(again.train.masks, few.train.masks[:20])
    assert torch.equal(again.validation.images[:40], few.validation.images)
    other = garment_scenes(scenes=(20, 1, 1), seed=1)
    assert not torch.equal(other.train.images, again.train.images)
    torch.rand(1)  # the global generator has no part in it
    assert torch.equal(garment_scenes(scenes=(20, 1, 1), seed=1).train.images, other.train.images)


def test_no_scene_is_in_two_splits(few: SegmentationDataset) -> None:
    seen = [
        hashlib.sha256(image.numpy().tobytes()).digest()
        for split in (few.train, few.validation, few.test)
        for image in split.images
    ]
    assert len(set(seen)) == len(seen) == 230


def test_each_split_draws_from_its_own_garments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three splits of garments that can be told apart: their brightness shows which one a scene is made of."""

    def block(level: int, label: int) -> Split:
        images = torch.zeros(7, 1, 28, 28, dtype=torch.uint8)
        images[:, :, 6:22, 6:22] = level
        return Split(images, torch.full((7,), label))

    source = Dataset("blocks", tuple("abcdefghij"), block(250, 0), block(160, 4), block(70, 9))
    monkeypatch.setattr(scenes, "fashion_mnist", lambda root: source)
    made = garment_scenes(scenes=(30, 30, 30))
    for split, value in ((made.train, 1), (made.validation, 5), (made.test, 10)):
        assert split.masks.unique().tolist() == [0, value]


def test_the_mask_lies_where_the_garment_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On black ground under even light, pixels of a bright garment are in its mask and no others."""
    images = torch.zeros(5, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 4:24, 8:20] = 255
    source = Split(images, torch.arange(5))
    monkeypatch.setattr(scenes, "_ground", lambda size, generator: torch.zeros(100, 3, size, size).double())
    monkeypatch.setattr(scenes, "_photographed", lambda canvas, generator: (canvas * 255).to(torch.uint8))
    pictures, masks = scenes._compose(source, 64, (1, 1), torch.Generator().manual_seed(0))
    lit = pictures.amax(1).float() / pictures.amax((1, 2, 3)).view(-1, 1, 1)
    assert torch.equal(lit > 0.55, (lit > 0.55) & (masks > 0))
    assert torch.equal(lit < 0.45, (lit < 0.45) & (masks == 0))
    areas = (masks > 0).sum((1, 2)).float()
    inside = (masks[:, [0, -1]].sum((1, 2)) + masks[:, :, [0, -1]].sum((1, 2))) == 0  # not cut by the border
    # 20 x 12 pixels, scaled by 0.9 to 1.5.
    assert bool((areas[inside] > 0.85 * 0.81 * 240).all()) and bool((areas[inside] < 1.1 * 2.25 * 240).all())
    assert len(areas[inside].unique()) > 10


def test_later_garments_cover_earlier_ones_and_their_number_varies(few: SegmentationDataset) -> None:
    classes = [len(mask.unique()) - 1 for mask in few.train.masks]
    assert set(classes) >= {2, 3, 4} and max(classes) <= 5
    one = garment_scenes(scenes=(50, 1, 1), garments=(1, 1))
    assert max(len(mask.unique()) for mask in one.train.masks) == 2


def test_dark_gaps_of_a_pixel_belong_to_the_garment() -> None:
    picture = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    picture[..., 5:20, 5:20] = 200
    picture[..., 10, 10] = 0
    picture[..., 14:18, 14:18] = 0  # a hole to look through
    cover = scenes._silhouette(picture)
    assert cover[..., 10, 10] == 1 and cover[..., 15:17, 15:17].sum() == 0 and cover[..., 4, 4] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"scenes": (1, 2)}, "three counts"),
        ({"scenes": (0, 1, 1)}, "at least 1"),
        ({"garments": (3, 2)}, "fewest <= most"),
        ({"garments": (0, 2)}, "1 <= fewest"),
        ({"size": 16}, "at least 32"),
        ({"seed": -1}, "0 to 2"),
        ({"seed": 2**32}, "0 to 2"),
    ],
)
def test_bad_arguments_are_told(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        garment_scenes(**arguments)  # type: ignore[arg-type]


@pytest.mark.slow
def test_other_sizes_work() -> None:
    made = garment_scenes(scenes=(3, 1, 1), size=96)
    assert made.image_shape == (3, 96, 96) and isinstance(made.test, MaskedSplit)
