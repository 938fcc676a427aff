from __future__ import annotations

import hashlib
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from kdcourse.data import Augmentation, View
from kdcourse.data.views import _uniforms
from kdcourse.errors import ArgumentError

COUNT = 4000
USUAL = Augmentation(shift=1, flip=True, erase=0.5, erase_sides=(2, 3))


def pictures(count: int = 40, channels: int = 1, height: int = 7, width: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, height, width), generator=generator).to(torch.uint8)


def only(**chosen: Any) -> Augmentation:
    return Augmentation(**({"shift": 0, "flip": False, "erase": 0.0} | chosen))


def shown(augmentation: Augmentation, picture: Tensor, count: int = COUNT, seed: int = 0) -> Tensor:
    """One picture [H, W] at ``count`` positions of a split, as a view shows them: [count, H, W]."""
    copies = picture.to(torch.uint8).expand(count, 1, *picture.shape)
    return View(augmentation, seed=seed).apply(copies, torch.arange(count))[:, 0]


def moved(picture: Tensor, down: int, right: int) -> Tensor:
    """``picture`` [H, W] moved, zeros coming in; pixel by pixel."""
    out = torch.zeros_like(picture)
    height, width = picture.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                out[row, column] = picture[row - down, column - right]
    return out


def share(flags: Tensor) -> float:
    return float(flags.double().mean())


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 6, 9), (2, 1, 1), (1, 2, 3)])
def test_a_view_depends_on_seed_number_and_position_alone(shape: tuple[int, int, int]) -> None:
    images, view = pictures(40, *shape), View(USUAL, seed=5, number=2)
    index = torch.arange(40)
    whole = view.apply(images, index)
    assert whole.dtype == torch.uint8 and whole.shape == images.shape
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    assert torch.equal(view.apply(images[order], order), whole[order])
    in_parts = [View(USUAL, seed=5, number=2).apply(images[p], p) for p in index.split(7)]
    assert torch.equal(torch.cat(in_parts), whole)
    torch.rand(3)  # the global generator has no part in it
    assert torch.equal(view.apply(images, index), whole)


def test_the_same_picture_at_another_position_view_or_seed_looks_different() -> None:
    images = pictures(1).expand(200, 1, 7, 5)
    first = View(USUAL, 0, 0).apply(images, torch.arange(200))
    others = {
        "positions": View(USUAL, 0, 0).apply(images, torch.arange(200) + 200),
        "number": View(USUAL, 0, 1).apply(images, torch.arange(200)),
        "seed": View(USUAL, 1, 0).apply(images, torch.arange(200)),
        "seed and number swapped": View(USUAL, 1, 1).apply(images, torch.arange(200)),
    }
    for what, other in others.items():
        same = share((first == other).flatten(1).all(1))
        assert same < 0.2, what  # 18 shifts and flips, half of them erased: few pairs agree by chance


def test_no_augmentation_leaves_pictures_as_they_are() -> None:
    images = pictures()
    assert View().key == "plain"
    assert torch.equal(View(seed=3, number=4).apply(images, torch.arange(40)), images)
    assert torch.equal(View(only()).apply(images, torch.arange(40)), images)


def test_shift_moves_by_whole_pixels_and_zeros_come_in() -> None:
    picture = torch.arange(1, 13).view(3, 4).to(torch.uint8)
    out = shown(only(shift=1), picture)
    found = torch.zeros(COUNT, dtype=torch.bool)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            this = (out == moved(picture, down, right)).flatten(1).all(1)
            assert abs(share(this) - 1 / 9) < 0.02, (down, right)
            found |= this
    assert bool(found.all())
    # By hand: one down and one right.
    assert moved(picture, 1, 1).tolist() == [[0, 0, 0, 0], [0, 1, 2, 3], [0, 5, 6, 7]]


def test_flip_mirrors_left_and_right_half_of_the_time() -> None:
    picture = torch.tensor([[1, 2, 3], [4, 5, 6]])
    out = shown(only(flip=True), picture)
    mirrored = (out == torch.tensor([[3, 2, 1], [6, 5, 4]])).flatten(1).all(1)
    straight = (out == picture).flatten(1).all(1)
    assert bool((mirrored ^ straight).all())
    assert abs(share(mirrored) - 0.5) < 0.03


def test_shift_and_flip_together_are_a_shift_of_the_picture_or_of_its_mirror_image() -> None:
    picture = torch.arange(1, 10).view(3, 3).to(torch.uint8)
    out = shown(only(shift=1, flip=True), picture)
    possible = torch.stack(
        [moved(p, d, r) for p in (picture, picture.flip(1)) for d in (-1, 0, 1) for r in (-1, 0, 1)]
    )
    hits = (out[:, None] == possible).flatten(2).all(2).double()  # [COUNT, 18]
    assert bool((hits.sum(1) == 1).all())
    assert float((hits.mean(0) - 1 / 18).abs().max()) < 0.015


@pytest.mark.parametrize("erase", [0.3, 1.0])
def test_erasing_paints_one_rectangle_of_one_grey_level(erase: float) -> None:
    height, width, augmentation = 9, 8, only(erase=erase, erase_sides=(2, 4))
    black = shown(augmentation, torch.zeros(height, width))
    white = shown(augmentation, torch.full((height, width), 255))
    painted = black == white  # whatever was beneath
    assert bool((black[~painted] == 0).all()) and bool((white[~painted] == 255).all())
    erased = painted.flatten(1).any(1)
    assert abs(share(erased) - erase) < 0.03
    levels, rows, columns = [], [], []
    for image, patch in zip(black[erased], painted[erased], strict=True):
        height_there, width_there = int(patch.any(1).sum()), int(patch.any(0).sum())
        assert int(patch.sum()) == height_there * width_there  # a full rectangle
        level = image[patch]
        assert bool((level == level[0]).all())
        levels.append(int(level[0]))
        rows.append(height_there)
        columns.append(width_there)
    # Cut at the border where its centre lies near, never larger than asked for.
    assert {2, 3, 4} <= set(rows) <= {1, 2, 3, 4} and {2, 3, 4} <= set(columns) <= {1, 2, 3, 4}
    assert min(levels) < 10 and max(levels) > 245
    assert abs(sum(levels) / len(levels) - 127.5) < 10


def test_channels_and_long_pictures_are_changed_alike() -> None:
    images = pictures(30, channels=3, height=4, width=11)
    out = View(USUAL, 1, 1).apply(images, torch.arange(30))
    for channel in range(3):
        alone = View(USUAL, 1, 1).apply(images[:, channel : channel + 1], torch.arange(30))
        assert torch.equal(out[:, channel : channel + 1], alone)


def test_changes_are_independent_of_one_another_and_from_view_to_view() -> None:
    index = torch.arange(20_000)
    draws = [_uniforms(seed, number, index) for seed, number in ((0, 0), (0, 1), (1, 0), (7, 30))]
    for draw in draws:
        assert float(draw.min()) >= 0 and float(draw.max()) < 1
        assert float((draw.mean(0) - 0.5).abs().max()) < 0.01
    columns = torch.cat([*draws, draws[0].roll(1, 0)], dim=1)  # the last: each picture's neighbour
    correlation = torch.corrcoef(columns.T) - torch.eye(columns.shape[1])
    assert float(correlation.abs().max()) < 0.035  # five standard errors of 1 / sqrt(20 000)


def test_random_numbers_are_murmurs_finaliser() -> None:
    def finalise(word: int) -> int:  # Appleby, MurmurHash3, fmix32
        word ^= word >> 16
        word = word * 0x85EBCA6B % 2**32
        word ^= word >> 13
        word = word * 0xC2B2AE35 % 2**32
        return word ^ word >> 16

    seed, number, positions = 11, 3, [0, 1, 54_999, 2**28]
    ours = _uniforms(seed, number, torch.tensor(positions))
    for row, position in zip(ours, positions, strict=True):
        for column, value in enumerate(row.tolist()):
            word = finalise((position * 8 + column) % 2**32 ^ finalise(seed))
            word = finalise((word + finalise((number + 0x9E3779B9) % 2**32)) % 2**32)
            assert value == (word >> 8) / 2**24


def test_views_stay_what_they_were() -> None:
    """Stored soft targets and recorded results rest on these very pictures."""
    images = (torch.arange(50 * 28 * 28) * 37 % 251).to(torch.uint8).view(50, 1, 28, 28)
    out = View(Augmentation(), seed=1, number=17).apply(images, torch.arange(50) * 1000)
    assert hashlib.sha256(out.numpy().data).hexdigest() == GOLDEN


GOLDEN = "e86101268e17c186f1182da4a618c28cbb36bf6600eebc2d6750f1598af976a5"


def test_keys_differ_where_pictures_may() -> None:
    settings = [
        Augmentation(),
        Augmentation(shift=1),
        Augmentation(flip=False),
        Augmentation(erase=0.25),
        Augmentation(erase=0.2500001),
        Augmentation(erase=0),
        Augmentation(erase=1),
        Augmentation(erase_sides=(4, 13)),
        Augmentation(erase_sides=(3, 12)),
    ]
    views = [View(), *(View(a, s, n) for a in settings for s in (0, 1, 11) for n in (0, 1, 11))]
    assert len({view.key for view in views}) == len(views)
    assert View(Augmentation(erase=1.0)).key == View(Augmentation(erase=1)).key
    assert View(Augmentation(erase=0.5), 3, 4).key == "shift2-flip1-erase0.5x4to12-seed3-view4"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift": -1}, "shift.*found -1"),
        ({"shift": 1.5}, "shift.*found 1.5"),
        ({"erase": 1.2}, "erase.*found 1.2"),
        ({"erase": float("nan")}, "erase.*found nan"),
        ({"erase_sides": (0, 3)}, r"erase_sides.*found \(0, 3\)"),
        ({"erase_sides": (5, 3)}, r"erase_sides.*found \(5, 3\)"),
        ({"erase_sides": (2.5, 3)}, r"erase_sides.*found \(2.5, 3\)"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Augmentation(**settings)


@pytest.mark.parametrize(
    ("images", "index", "message"),
    [
        (pictures(3), torch.arange(4), "3 images and 4 positions"),
        (pictures(3).float(), torch.arange(3), "float32"),
        (pictures(3)[0], torch.arange(1), r"\[1, 7, 5\]"),
        (pictures(3), torch.arange(3.0), "float32"),
    ],
)
@pytest.mark.parametrize("view", [View(), View(USUAL)])
def test_pictures_that_a_view_does_not_take(view: View, images: Tensor, index: Tensor, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        view.apply(images, index)


def drawn_pixel_by_pixel(view: View, images: Tensor, index: Tensor) -> Tensor:
    """What `View.apply` gives, written down picture by picture."""
    augmentation, (height, width) = view.augmentation, images.shape[-2:]
    assert augmentation is not None
    low, high = augmentation.erase_sides
    out = []
    for image, draw in zip(images, _uniforms(view.seed, view.number, index), strict=True):
        down, right = (augmentation.shift - int(u * (2 * augmentation.shift + 1)) for u in draw[:2])
        if augmentation.flip and draw[2] < 0.5:
            image = image.flip(-1)
        picture = torch.stack([moved(channel, down, right) for channel in image])
        if draw[7] < augmentation.erase:
            tall, broad = (int(u * (high - low + 1)) + low for u in draw[3:5])
            top, left = int(draw[5] * height) - tall // 2, int(draw[6] * width) - broad // 2
            level = min(255, int(draw[7] / augmentation.erase * 256))
            picture[:, max(0, top) : max(0, top + tall), max(0, left) : max(0, left + broad)] = level
        out.append(picture)
    return torch.stack(out)


@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 4, 6), (2, 1, 1)])
@pytest.mark.parametrize(
    "augmentation",
    [
        USUAL,
        only(shift=9, flip=True),
        only(erase=1.0, erase_sides=(1, 9)),
        Augmentation(2, True, 0.7, (2, 4)),
    ],
)
def test_whole_batches_are_what_single_pixels_say(
    shape: tuple[int, int, int], augmentation: Augmentation
) -> None:
    images, view = pictures(30, *shape), View(augmentation, 3, 1)
    index = 1000 - torch.arange(30)
    expected = drawn_pixel_by_pixel(view, images, index)
    assert torch.equal(view.apply(images, index), expected)
    in_another_layout = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(view.apply(in_another_layout, index), expected)
    assert view.apply(images[:0], index[:0]).shape == (0, *shape)


def test_a_view_is_kept_as_its_parameters_not_as_pictures() -> None:
    view = View(USUAL, 3, 1)
    before = pickle.dumps(view)
    images = pictures(2000)
    shown_first = view.apply(images, torch.arange(2000))
    assert pickle.dumps(view) == before and len(before) < 500
    assert torch.equal(pickle.loads(before).apply(images, torch.arange(2000)), shown_first)


def test_the_same_changes_without_flips() -> None:
    mirrored = Augmentation(shift=3, flip=True, erase=0.25)
    plain = mirrored.without_flips()
    assert plain == Augmentation(shift=3, flip=False, erase=0.25) and plain.key != mirrored.key
    assert plain.without_flips() == plain
    with pytest.raises(ArgumentError, match="flip must be True or False; found 'no'"):
        Augmentation(flip="no")
