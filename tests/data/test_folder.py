from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdcourse.data import Dataset, image_folder
from kdcourse.errors import ArgumentError, DataError

# Many of these folders repeat one image; tests/data/test_left_out.py is about that.
pytestmark = pytest.mark.filterwarnings("ignore:Identical images")


def grey(level: int, side: int = 8) -> Image.Image:
    return Image.new("L", (side, side), level)


def fill(folder: Path, count: int, base: int = 0, suffix: str = ".png") -> None:
    """``count`` pictures of grey levels base, base + 1, ..., so that each can be told from all others."""
    folder.mkdir(parents=True)
    for number in range(count):
        grey(base + number).save(folder / f"{number:03}{suffix}")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Classes only: 20 ants, 10 bees and 3 cats."""
    fill(tmp_path / "pets" / "cat", 3, 200)
    fill(tmp_path / "pets" / "ant", 20, 0)
    fill(tmp_path / "pets" / "bee", 10, 100)
    return tmp_path / "pets"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """All three splits."""
    for at, part in enumerate(("train", "val", "test")):
        for number, name in enumerate(("ant", "bee")):
            fill(tmp_path / "pets" / part / name, 3 - at, 100 * number + 10 * at)
    return tmp_path / "pets"


def levels(data: Dataset) -> dict[str, dict[str, list[int]]]:
    """The grey levels of each class in each split; every picture is of one level."""
    told: dict[str, dict[str, list[int]]] = {}
    for part in ("train", "validation", "test"):
        split = getattr(data, part)
        assert (split.images == split.images[:, :1, :1, :1]).all()
        told[part] = {
            name: split.images[split.labels == at, 0, 0, 0].tolist() for at, name in enumerate(data.classes)
        }
    return told


# Which picture goes where ------------------------------------------------------------------------


def test_splits_that_are_given(given: Path) -> None:
    data = image_folder(given)
    assert data.name == "pets" and data.classes == ("ant", "bee")
    assert data.image_shape == (1, 28, 28)
    assert data.train.labels.dtype == torch.int64
    assert levels(data) == {
        "train": {"ant": [0, 1, 2], "bee": [100, 101, 102]},
        "validation": {"ant": [10, 11], "bee": [110, 111]},
        "test": {"ant": [20], "bee": [120]},
    }


@pytest.mark.parametrize("names", [("Train", "VALID", "Test"), ("training", "validation", "testing")])
def test_other_names_of_the_splits(given: Path, names: tuple[str, ...]) -> None:
    expected = levels(image_folder(given))
    for old, new in zip(("train", "val", "test"), names, strict=True):
        if old != new:
            (given / old).rename(given / new)
    assert levels(image_folder(given)) == expected


def test_drawn_class_by_class(plain: Path) -> None:
    told = levels(image_folder(plain))
    counts = {part: {name: len(found) for name, found in split.items()} for part, split in told.items()}
    assert counts == {
        "train": {"ant": 16, "bee": 8, "cat": 1},
        "validation": {"ant": 2, "bee": 1, "cat": 1},
        "test": {"ant": 2, "bee": 1, "cat": 1},
    }
    for name, everything in (("ant", range(20)), ("bee", range(100, 110)), ("cat", range(200, 203))):
        assert sorted(level for part in told for level in told[part][name]) == list(everything)
    assert told["validation"]["ant"] != [0, 1], "the first pictures of a folder often belong together"


def test_the_draw_never_changes(plain: Path, tmp_path: Path) -> None:
    """Known values: whoever changes the rule moves pictures between splits of users' results."""
    told = levels(image_folder(plain))
    assert (told["validation"]["ant"], told["test"]["ant"]) == ([13, 18], [6, 17])
    # Neither the place, nor the order in which the disk lists files, nor a new class has a say.
    moved = tmp_path / "elsewhere"
    for file in sorted(plain.rglob("*.png"), reverse=True):
        (moved / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, moved / file.parent.name)
    fill(moved / "aardvark", 5, 240)
    again = levels(image_folder(moved))
    for part in told:
        del again[part]["aardvark"]
    assert again == told


@pytest.mark.parametrize(
    ("fractions", "expected"),
    [((0.25, 0.4), (7, 5, 8)), ((0.45, 0.54), (1, 9, 10)), ((0.001, 0.001), (18, 1, 1))],
)
def test_fractions(tmp_path: Path, fractions: tuple[float, float], expected: tuple[int, int, int]) -> None:
    fill(tmp_path / "a", 20)
    fill(tmp_path / "b", 20)
    data = image_folder(tmp_path, fractions=fractions)
    assert tuple(len(split) // 2 for split in (data.train, data.validation, data.test)) == expected


@pytest.mark.parametrize("fraction", [0.1, 0.49])
def test_three_pictures_are_enough(tmp_path: Path, fraction: float) -> None:
    fill(tmp_path / "a", 3)
    fill(tmp_path / "b", 3)
    data = image_folder(tmp_path, fractions=(fraction, fraction))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [2, 2, 2]


def test_a_missing_validation_is_drawn_from_train_and_test_left_alone(given: Path) -> None:
    shutil.rmtree(given / "val")
    told = levels(image_folder(given))
    assert told["test"] == {"ant": [20], "bee": [120]}
    assert sorted(told["train"]["ant"] + told["validation"]["ant"]) == [0, 1, 2]
    assert len(told["validation"]["ant"]) == len(told["validation"]["bee"]) == 1


def test_only_train_is_given(given: Path) -> None:
    shutil.rmtree(given / "val")
    shutil.rmtree(given / "test")
    told = levels(image_folder(given))
    assert [len(told[part]["bee"]) for part in ("train", "validation", "test")] == [1, 1, 1]


def test_classes_that_are_called_like_splits(tmp_path: Path) -> None:
    """Trains among the vehicles."""
    fill(tmp_path / "train", 4)
    fill(tmp_path / "car", 4, 100)
    assert image_folder(tmp_path).classes == ("car", "train")


def test_hidden_and_other_files_are_ignored(plain: Path) -> None:
    expected = levels(image_folder(plain))
    (plain / ".DS_Store").write_bytes(b"x")
    (plain / "README.txt").write_text("x")
    (plain / ".ipynb_checkpoints").mkdir()
    fill(plain / "__MACOSX" / "ant", 2)
    (plain / "ant" / "._000.png").write_bytes(b"x")
    (plain / "ant" / "Thumbs.db").write_bytes(b"x")
    (plain / "ant" / "more.png").mkdir()
    assert levels(image_folder(plain)) == expected


def test_links_are_followed(plain: Path, tmp_path: Path) -> None:
    expected = levels(image_folder(plain))
    link = tmp_path / "linked"
    link.mkdir()
    (link / "ant").symlink_to(plain / "ant")
    (link / "bee").symlink_to(plain / "bee")
    (link / "cat").mkdir()
    for file in (plain / "cat").iterdir():
        (link / "cat" / file.name).symlink_to(file)
    assert levels(image_folder(str(link))) == expected


def test_names_are_the_same_however_the_disk_spells_them(tmp_path: Path) -> None:
    """An accent of its own, as macOS may hand it out, or part of its letter, as others do."""
    drawn = []
    for name in ("e\u0301te\u0301", "\u00e9t\u00e9"):
        root = tmp_path / str(len(drawn))
        fill(root / name, 9)
        fill(root / "zoo", 9, 100)
        data = image_folder(root)
        assert data.classes == ("zoo", "\u00e9t\u00e9")
        drawn.append(levels(data))
    assert drawn[0] == drawn[1]


def no_folder(root: Path) -> None:
    shutil.rmtree(root)


def a_file(root: Path) -> None:
    shutil.rmtree(root)
    root.write_text("x")


def empty(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def one_class(root: Path) -> None:
    shutil.rmtree(root / "ant")
    shutil.rmtree(root / "bee")


def flat(root: Path) -> None:
    shutil.rmtree(root)
    fill(root, 5)


def empty_class(root: Path) -> None:
    (root / "dog").mkdir()


def class_without_pictures(root: Path) -> None:
    (root / "dog").mkdir()
    (root / "dog" / "notes.txt").write_text("x")


def one_picture(root: Path) -> None:
    fill(root / "dog", 1)


def two_pictures(root: Path) -> None:
    fill(root / "dog", 2)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_folder, "does not exist. Check the path"),
        (a_file, "it is a file"),
        (empty, "at least two classes, one subfolder each; found none"),
        (one_class, r"found \['cat'\]"),
        (flat, "found none. Put the images of each class in a folder"),
        (empty_class, "dog should hold images .* found nothing"),
        (class_without_pictures, r"dog should hold images .* found \['notes.txt'\]"),
        (one_picture, "at least 3 images per class.*'dog' has 1. Add images, delete the class, or make"),
        (two_pictures, "'dog' has 2"),
    ],
)
def test_what_is_wrong_with_the_folder_is_said(plain: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(plain)
    with pytest.raises(DataError, match=said):
        image_folder(plain)


def class_lacking_in_test(root: Path) -> None:
    shutil.rmtree(root / "test" / "bee")


def class_only_in_val(root: Path) -> None:
    fill(root / "val" / "wasp", 1)


def no_train(root: Path) -> None:
    shutil.rmtree(root / "train")


def twice(root: Path) -> None:
    shutil.copytree(root / "val", root / "validation")


def something_else(root: Path) -> None:
    fill(root / "spare", 1)


def too_few_to_draw(root: Path) -> None:
    shutil.rmtree(root / "val")
    shutil.rmtree(root / "train" / "bee")
    fill(root / "train" / "bee", 1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (class_lacking_in_test, r"test lacks \['bee'\] of those of train and has none besides"),
        (class_only_in_val, r"validation lacks none of those of train and has \['wasp'\] besides"),
        (no_train, "has test, validation but no train folder"),
        (twice, "two folders for validation: val and validation"),
        (something_else, r"splits test, train, validation beside \['spare'\]"),
        (too_few_to_draw, "at least 2 images per class, .* train and validation; found too few: 'bee' has 1"),
    ],
)
def test_what_is_wrong_with_the_splits_is_said(given: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(given)
    with pytest.raises(DataError, match=said):
        image_folder(given)


# Reading pictures --------------------------------------------------------------------------------


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., torch.Tensor]:
    """Saves a picture among others that are mid grey and returns what became of it, uint8 [C, H, W]."""

    def through_the_folder(
        picture: Image.Image, suffix: str = ".png", saving: dict[str, Any] | None = None, **options: Any
    ) -> torch.Tensor:
        root = tmp_path / "read"
        shutil.rmtree(root, ignore_errors=True)
        for part in ("train", "validation", "test"):
            fill(root / part / "a", 1, 128)
            fill(root / part / "b", 1, 128)
        picture.save(root / "train" / "b" / f"zzz{suffix}", **(saving or {}))
        return image_folder(root, **({"size": picture.height} | options)).train.images[-1]

    return through_the_folder


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".webp"])
def test_lossless_formats_bit_for_bit(read: Callable[..., torch.Tensor], suffix: str) -> None:
    colour = noise(8, 8, 3)
    saving = {"lossless": True} if suffix == ".webp" else {}
    got = read(Image.fromarray(colour), suffix, saving)
    assert np.array_equal(got.permute(1, 2, 0).numpy(), colour)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_jpeg_is_close(read: Callable[..., torch.Tensor], suffix: str) -> None:
    smooth = np.linspace(0, 255, 64).reshape(8, 8).astype(np.uint8)
    got = read(Image.fromarray(smooth), suffix, {"quality": 95})
    assert got.shape == (1, 8, 8)
    assert (got[0].int() - torch.from_numpy(smooth).int()).abs().max() <= 4


def test_the_first_frame_of_a_gif(read: Callable[..., torch.Tensor]) -> None:
    frames = [grey(40), grey(200)]
    got = read(frames[0], ".gif", {"save_all": True, "append_images": frames[1:]})
    assert got.unique().tolist() == [40]


def test_grey_or_colour_by_what_the_pictures_are(read: Callable[..., torch.Tensor]) -> None:
    assert read(grey(7).convert("RGB")).shape == (1, 8, 8)  # stored as colour, yet grey
    red = Image.new("RGB", (8, 8), (200, 0, 0))
    assert read(red)[:, 0, 0].tolist() == [200, 0, 0]
    assert read(red, channels=1).unique().tolist() == [60]  # 0.299 * 200, ITU-R BT.601
    assert read(grey(7), channels=3).shape == (3, 8, 8)


def test_one_coloured_picture_makes_all_three_channels_deep(tmp_path: Path, given: Path) -> None:
    Image.new("RGB", (8, 8), (1, 2, 3)).save(given / "test" / "bee" / "zzz.png")
    data = image_folder(given)
    assert data.image_shape == (3, 28, 28)
    assert data.train.images[0].unique().tolist() == [0] and data.train.images[1].unique().tolist() == [1]
    assert data.test.images[-1, :, 0, 0].tolist() == [1, 2, 3]


def test_exif_orientation(read: Callable[..., torch.Tensor]) -> None:
    upright = np.zeros((8, 8), np.uint8)
    upright[:4] = 255  # bright above
    for orientation, turned in (
        (3, np.rot90(upright, 2)),
        (6, np.rot90(upright)),
        (8, np.rot90(upright, -1)),
    ):
        exif = Image.Exif()
        exif[0x0112] = orientation
        got = read(Image.fromarray(turned.copy()), saving={"exif": exif})
        assert np.array_equal(got[0].numpy(), upright), orientation


def test_transparency_lies_on_the_background(read: Callable[..., torch.Tensor]) -> None:
    values = np.zeros((8, 8, 4), np.uint8)
    values[..., 3] = 255
    values[:4, :, 3] = 0
    rgba = Image.fromarray(values.copy())
    assert read(rgba)[0, :, 0].tolist() == [255] * 4 + [0] * 4
    values[4:] = 255
    assert read(Image.fromarray(values), background=0)[0, :, 0].tolist() == [0] * 4 + [255] * 4
    half = Image.new("LA", (8, 8), (0, 51))
    assert read(half).unique().tolist() == [204]
    palette = rgba.quantize(4)
    assert palette.mode == "P"
    assert read(palette)[0, :, 0].tolist() == [255] * 4 + [0] * 4
    keyed = grey(90)
    keyed.putpixel((0, 0), 10)
    got = read(keyed, saving={"transparency": 90})
    assert got[0, 0, 0] == 10 and got[0, 1:].unique().tolist() == [255]


def test_palette_and_two_levels(read: Callable[..., torch.Tensor]) -> None:
    colour = Image.new("RGB", (8, 8), (250, 10, 20))
    assert read(colour.quantize(2))[:, 0, 0].tolist() == [250, 10, 20]
    assert read(Image.new("1", (8, 8), 1)).unique().tolist() == [255]
    assert read(colour.convert("CMYK"), ".jpg", {"quality": 95}).shape == (3, 8, 8)


def test_sixteen_bit_grey_keeps_its_range(read: Callable[..., torch.Tensor]) -> None:
    deep = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    got = read(Image.fromarray(deep))
    assert np.array_equal(got[0].numpy(), np.rint(deep / 257).astype(np.uint8))
    assert got.min() == 0 and got.max() == 255


def test_crop_pad_and_stretch(read: Callable[..., torch.Tensor]) -> None:
    wide = np.zeros((8, 16), np.uint8)
    wide[:, :4], wide[:, 12:] = 200, 200  # bright at either end
    picture = Image.fromarray(wide)
    assert read(picture, size=8, fit="crop").unique().tolist() == [0]
    padded = read(picture, size=16, fit="pad", background=77)
    assert padded[0, :4].unique().tolist() == padded[0, 12:].unique().tolist() == [77]
    assert np.array_equal(padded[0, 4:12].numpy(), wide)
    stretched = read(picture, size=(8, 8), fit="stretch")
    assert stretched[0, :, 0].min() > 150 and stretched[0, :, 4].max() < 50
    assert read(picture, size=(4, 6)).shape == (1, 4, 6)


def test_large_photographs_are_shrunk_without_aliasing(read: Callable[..., torch.Tensor]) -> None:
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    for suffix in (".png", ".jpg"):
        got = read(Image.fromarray(stripes), suffix, size=16)
        assert (got.int() - 128).abs().max() < 10, suffix


def test_every_broken_picture_is_named(plain: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(whole, "png")
    (plain / "ant" / "000.png").write_bytes(whole.getvalue()[:-2000])
    (plain / "bee" / "empty.jpg").write_bytes(b"")
    (plain / "bee" / "text.gif").write_text("no picture")
    os.symlink(plain / "nowhere", plain / "cat" / "dangling.png")
    with pytest.raises(DataError, match="4 of 36 images can't be read") as caught:
        image_folder(plain)
    for name in ("000.png", "empty.jpg", "text.gif", "dangling.png"):
        assert name in str(caught.value)
    for number in range(20):
        (plain / "ant" / f"{number:03}.png").write_bytes(b"")
    with pytest.raises(DataError, match="and 18 more"):
        image_folder(plain)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 0}, "size must be pixels"),
        ({"size": 2.5}, "found 2.5"),
        ({"size": True}, "found True"),
        ({"size": (28,)}, r"found \(28,\)"),
        ({"size": (28, -1)}, "found"),
        ({"channels": 2}, "channels must be 1"),
        ({"fit": "squeeze"}, "found 'squeeze'"),
        ({"background": 256}, "from 0 to 255"),
        ({"fractions": (0.5, 0.5)}, "sum below 1"),
        ({"fractions": (0.1, 0)}, "above 0"),
        ({"fractions": (0.1,)}, "two numbers"),
    ],
)
def test_bad_arguments(plain: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        image_folder(plain, **options)
