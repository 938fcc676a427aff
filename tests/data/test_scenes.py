from __future__ import annotations

import hashlib

import pytest
import torch

from kdcourse import models
from kdcourse.data import (
    BACKGROUND,
    Batches,
    Dataset,
    EndlessSplit,
    MaskedSplit,
    SegmentationDataset,
    Split,
    garment_scenes,
    scenes,
)
from kdcourse.distillation import soft_targets
from kdcourse.errors import ArgumentError


@pytest.fixture(scope="module")
def few() -> SegmentationDataset:
    return garment_scenes(scenes=(60, 20, 20))


def test_scenes_hold_pictures_masks_and_all_the_classes(few: SegmentationDataset) -> None:
    assert few.image_shape == (3, 96, 96)
    assert few.classes == (BACKGROUND, "top", "trousers", "dress", "shoe", "bag")
    for split, count in ((few.train, 60), (few.validation, 20), (few.test, 20)):
        assert len(split) == count and split.images.dtype == split.masks.dtype == torch.uint8
    share = torch.bincount(few.train.masks.flatten().long(), minlength=6) / few.train.masks.numel()
    assert 0.5 < share[0] < 0.8 and float(share[1:].min()) > 0.02 and len(share) == 6


def test_all_ten_classes_are_those_of_the_same_scenes(few: SegmentationDataset) -> None:
    fine = garment_scenes(scenes=(60, 1, 1), classes="all")
    assert len(fine.classes) == 11 and fine.classes[1] == "T-shirt/top" and fine.classes[10] == "Ankle boot"
    assert torch.equal(fine.train.images, few.train.images)
    names = {"T-shirt/top": "top", "Pullover": "top", "Coat": "top", "Shirt": "top", "Trouser": "trousers"}
    names |= {"Dress": "dress", "Sandal": "shoe", "Sneaker": "shoe", "Ankle boot": "shoe", "Bag": "bag"}
    names[BACKGROUND] = BACKGROUND
    coarse = torch.tensor([few.classes.index(names[name]) for name in fine.classes])
    assert torch.equal(coarse[fine.train.masks.long()], few.train.masks.long())


def test_nothing_is_flat_and_the_normalisation_fits(few: SegmentationDataset) -> None:
    assert (
        float(few.train.images.float().std((1, 2, 3)).min()) > 8
    )  # every ground has texture, noise at least
    normal = few.normalise(few.train.images)
    assert abs(float(normal.mean())) < 0.2 and 0.8 < float(normal.std()) < 1.2


def test_the_same_arguments_make_the_same_scenes_on_any_number_of_threads(few: SegmentationDataset) -> None:
    torch.rand(1)  # the global generator has no part in it
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    again = garment_scenes(scenes=(20, 20, 1))
    assert torch.get_num_threads() == 3
    torch.set_num_threads(threads)
    assert torch.equal(again.train.images, few.train.images[:20])
    assert torch.equal(again.train.masks, few.train.masks[:20])
    assert torch.equal(again.validation.images, few.validation.images)
    other = garment_scenes(scenes=(1, 1, 1), seed=1)
    assert not torch.equal(other.train.images, few.train.images[:1])


def test_no_scene_is_in_two_splits(few: SegmentationDataset) -> None:
    seen = [
        hashlib.sha256(image.numpy().tobytes()).digest()
        for split in (few.train, few.validation, few.test)
        for image in split.images
    ]
    assert len(set(seen)) == len(seen) == 100


def test_clutter_changes_pictures_and_adds_nothing_to_masks(few: SegmentationDataset) -> None:
    hard = garment_scenes(scenes=(16, 1, 1), clutter=1.0)
    assert not torch.equal(hard.train.images, few.train.images[:16])
    assert hard.train.masks.max() <= 5 and hard.train.masks.any()


def test_endless_scenes_are_fresh_in_every_epoch_and_the_same_at_every_start() -> None:
    data = garment_scenes(scenes=(20, 1, 1), endless=True)
    assert isinstance(data.train, EndlessSplit)
    assert data.train.digest != garment_scenes(scenes=(20, 1, 1)).train.digest
    batches = Batches(data.train, data, batch_size=4, seed=0)
    first, second = (list(batches.epoch(number)) for number in (0, 1))
    assert [len(batch) for batch in second] == [4] * 5
    # Epoch 0 holds scenes 0 to 19, epoch 1 scenes 20 to 39.
    more = garment_scenes(scenes=(40, 1, 1)).train
    for place, batch in enumerate([*first, *second]):
        assert torch.equal(batch.labels, more.masks[4 * place : 4 * place + 4].long())
        assert torch.equal(batch.images, data.normalise(more.images[4 * place : 4 * place + 4]))
        assert torch.equal(batch.index, torch.arange(4 * place, 4 * place + 4) % 20)
    late = list(batches.epoch(1, start=3))
    assert len(late) == 2 and torch.equal(late[0].images, second[3].images)


def test_each_process_gets_its_share_of_endless_scenes() -> None:
    data = garment_scenes(scenes=(8, 1, 1), endless=True)
    whole = next(Batches(data.train, data, batch_size=4, seed=0).epoch(1))
    part = next(Batches(data.train, data, batch_size=4, seed=0, rank=1, world=2).epoch(1))
    assert torch.equal(part.images, whole.images[1::2]) and torch.equal(part.labels, whole.labels[1::2])


def test_answers_to_endless_scenes_cant_be_stored() -> None:
    data = garment_scenes(scenes=(1, 1, 1), endless=True)
    with pytest.raises(ArgumentError, match="fresh images in every epoch"):
        soft_targets(models.build("pocket_unet", data=data).eval(), data.train, data)


def test_each_split_draws_from_its_own_garments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each split has garments of one class alone, so its masks show which garments it is made of."""

    def block(label: int) -> Split:
        images = torch.zeros(7, 1, 28, 28, dtype=torch.uint8)
        images[:, :, 6:22, 6:22] = 200
        return Split(images, torch.full((7,), label))

    source = Dataset("blocks", tuple("abcdefghij"), block(0), block(3), block(9))
    monkeypatch.setattr(scenes, "fashion_mnist", lambda root: source)
    made = garment_scenes(scenes=(16, 16, 16))
    for split, value in ((made.train, 1), (made.validation, 3), (made.test, 4)):
        assert split.masks.unique().tolist() == [0, value]


def test_the_mask_lies_where_the_garment_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On black ground, without shade and noise, pixels of a bright garment are in its mask and no others."""
    images = torch.zeros(5, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 4:24, 8:20] = 255
    source = Split(images, torch.arange(5))
    black = torch.zeros(16, 3, 96, 96).double()
    monkeypatch.setattr(scenes, "_ground", lambda size, clutter, generator: black.clone())
    monkeypatch.setattr(scenes, "_chosen", lambda colours, count, *_: torch.ones(count, 3, 1, 1).double())
    monkeypatch.setattr(scenes, "_photographed", lambda canvas, *_: (canvas * 255).to(torch.uint8))
    composer = scenes._Composer(source, 96, (1, 1), 0.0, "coarse", 0)
    pictures, masks = composer._part(0)
    lit = pictures.amax(1).float() / 255
    assert bool((masks[lit > 0.55] > 0).all()) and bool((masks[lit < 0.2] == 0).all())
    areas = (masks > 0).sum((1, 2)).float()
    inside = (masks[:, [0, -1]].sum((1, 2)) + masks[:, :, [0, -1]].sum((1, 2))) == 0  # not cut by the border
    # 20 x 12 of 28 x 28 pixels, which are 0.46 to 0.60 of the scene's side, times 1.32 for a single garment.
    share = 240 / 784 * 96**2
    assert int(inside.sum()) > 5
    assert bool((areas[inside] > 0.9 * share * (0.46 * 1.32) ** 2).all())
    assert bool((areas[inside] < 1.1 * share * (0.60 * 1.32) ** 2).all())
    assert len(areas[inside].unique()) > 5


def test_a_shadow_falls_away_from_the_light() -> None:
    canvas = torch.ones(1, 3, 96, 96, dtype=torch.float64)
    cover = torch.zeros(1, 1, 96, 96, dtype=torch.float64)
    cover[..., 30:60, 30:60] = 1
    lit = scenes._laid(canvas, torch.zeros_like(canvas), cover, torch.zeros(1, dtype=torch.float64))
    assert bool((lit[..., 30:60, 30:60] == 0).all())
    left, right = lit[0, 0, 45, 27], lit[0, 0, 45, 62]
    assert left < 0.75 < 0.9 < right and lit[0, 0, 45, 5] == 1


def test_later_garments_cover_earlier_ones_and_their_number_varies(few: SegmentationDataset) -> None:
    classes = [len(mask.unique()) - 1 for mask in few.train.masks]
    assert set(classes) >= {1, 2, 3} and max(classes) <= 4
    one = garment_scenes(scenes=(20, 1, 1), garments=(1, 1))
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
        ({"clutter": 1.5}, "between 0 and 1"),
        ({"classes": "few"}, "coarse, all"),
        ({"seed": -1}, "0 to 2"),
        ({"seed": 2**32}, "0 to 2"),
    ],
)
def test_bad_arguments_are_told(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        garment_scenes(**arguments)  # type: ignore[arg-type]


@pytest.mark.slow
def test_other_sizes_work() -> None:
    made = garment_scenes(scenes=(3, 1, 1), size=64)
    assert made.image_shape == (3, 64, 64) and isinstance(made.test, MaskedSplit)
