"""Fourteen things that practitioners' folders really hold, and what becomes of them."""

from __future__ import annotations

import contextlib
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

from kdcourse.data import Dataset, image_folder, segmentation_folder
from kdcourse.errors import DataError, DataWarning


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Four images of each of two classes, all different."""
    for base, name in ((10, "cat"), (100, "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), base + number).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


def read(root: Path, **options: Any) -> Dataset:
    return image_folder(root, **({"size": 8, "progress": False} | options))


def images_of(data: Dataset) -> torch.Tensor:
    return torch.cat([data.train.images, data.validation.images, data.test.images])


def new_one(data: Dataset) -> torch.Tensor:
    """The one image whose level is not one of the fixture's: uint8 [C, H, W]."""
    known = {10, 11, 12, 13, 100, 101, 102, 103}
    [found] = [image for image in images_of(data) if not set(image.unique().tolist()) <= known]
    return found


def test_names_that_are_not_utf_8(pets: Path, tmp_path: Path) -> None:
    """An archive made on an old Windows: names in Latin-1."""
    odd = os.fsencode(pets) + b"/caf\xe9"
    try:
        os.mkdir(odd)
    except OSError:
        pytest.skip("this disk takes names in UTF-8 alone")
    for number in range(4):
        buffer = io.BytesIO()
        Image.new("L", (8, 8), 200 + number).save(buffer, "png")
        Path(os.fsdecode(odd + b"/n\xe9%d.png" % number)).write_bytes(buffer.getvalue())
    Path(os.fsdecode(odd + b"/\xff.heic")).write_bytes(b"x")
    Path(os.fsdecode(odd + b"/\xfe.png")).write_bytes(b"x")
    with pytest.warns(DataWarning) as caught:
        data = read(pets, skip_damaged=True, cache=tmp_path / "cache")
    assert data.classes == ("caf\\xe9", "cat", "dog")
    assert "caf\\xe9/\\xff.heic" in str(caught[0].message) and "caf\\xe9/\\xfe.png" in str(caught[0].message)
    str(caught[0].message).encode()  # can be printed
    assert len(images_of(data)) == 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    ("ending", "exif"), [("jpg", b"Exif\0\0II*\0\xff\xff\xff\xffrubbish"), ("png", b"rubbish")]
)
def test_an_image_whose_exif_is_damaged(pets: Path, ending: str, exif: bytes) -> None:
    Image.new("L", (8, 8), 60).save(pets / "cat" / f"x.{ending}", quality=95, exif=exif)
    assert (new_one(read(pets)).int() - 60).abs().max() <= 2


def test_content_and_ending_that_disagree(pets: Path) -> None:
    with Image.open(pets / "cat" / "0.png") as opened:
        opened.point(lambda level: 70).save(pets / "cat" / "really_png.jpg", "png")
    assert new_one(read(pets)).unique().tolist() == [70]
    (pets / "cat" / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (pets / "dog" / "scraped.jpg").write_bytes(b"\n<!DOCTYPE html><title>404</title>")
    (pets / "dog" / "broken_off.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read(pets)
    said = str(caught.value)
    assert "phone.jpg: UnidentifiedImageError: the file is HEIC" in said
    assert "scraped.jpg: UnidentifiedImageError: the file is a web page" in said
    assert "broken_off.png: UnidentifiedImageError: the file is empty" in said


def test_a_jpeg_for_print(pets: Path) -> None:
    """CMYK, whose numbers Adobe's programs store upside down."""
    Image.new("RGB", (8, 8), (220, 40, 30)).convert("CMYK").save(pets / "cat" / "x.jpg", quality=95)
    red, green, blue = new_one(read(pets))[:, 4, 4].tolist()
    assert red > 180 and green < 80 and blue < 80


@pytest.mark.parametrize("ending", ["webp", "png", "gif"])
def test_animations_give_their_first_frame(pets: Path, ending: str) -> None:
    frames = [Image.new("RGB", (8, 8), (level,) * 3) for level in (60, 160, 240)]
    lossless = {"lossless": True} if ending == "webp" else {}
    frames[0].save(pets / "cat" / f"x.{ending}", save_all=True, append_images=frames[1:], **lossless)
    assert new_one(read(pets)).unique().tolist() == [60]


def test_a_colour_that_stands_for_transparent(pets: Path) -> None:
    """PNGs of old editors: no alpha channel, one RGB colour is clear."""
    values = np.full((8, 8, 3), 90, np.uint8)
    values[:4] = (255, 0, 255)
    Image.fromarray(values).save(pets / "cat" / "x.png", transparency=(255, 0, 255))
    found = new_one(read(pets, background=0))
    assert found[:, :4].unique().tolist() == [0] and found[:, 4:].unique().tolist() == [90]


def test_what_disk_stations_and_systems_leave_behind(pets: Path) -> None:
    """Synology puts thumbnails in @eaDir, beside every image and beside the classes."""
    expected = sorted(images_of(read(pets))[:, 0, 0, 0].tolist())
    for place in ("@eaDir", "cat/@eaDir/0.png", "cat/$RECYCLE.BIN", "dog/.thumbnails", "lost+found"):
        (pets / place).mkdir(parents=True)
        Image.new("L", (8, 8), 222).save(pets / place / "SYNOPHOTO_THUMB_M.png")
    for name in ("desktop.ini", "Thumbs.db", "Icon.txt"):
        (pets / "cat" / name).write_bytes(b"x")
    data = read(pets)
    assert data.classes == ("cat", "dog") and data.left_out == ()
    assert sorted(images_of(data)[:, 0, 0, 0].tolist()) == expected


def test_names_that_differ_in_their_endings_or_case_alone(pets: Path) -> None:
    for name, level in (("0.bmp", 210), ("0.PNG", 211), ("A.png", 212), ("a.png", 213)):
        Image.new("L", (8, 8), level).save(pets / "cat" / name)
    there = len(list((pets / "cat").iterdir()))  # fewer on disks that know no case
    assert len(images_of(read(pets))) == 4 + there


def test_a_train_image_linked_into_test(pets: Path, tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        shutil.copytree(pets, tmp_path / "parted" / part)
        for at, file in enumerate(sorted((tmp_path / "parted" / part).rglob("*.png"))):
            Image.new("L", (8, 8), 80 * ("train", "val", "test").index(part) + at).save(file)
    (tmp_path / "parted" / "test" / "cat" / "x.png").symlink_to(
        tmp_path / "parted" / "train" / "cat" / "2.png"
    )
    with pytest.warns(
        DataWarning, match=r"1 images of test are also in train: test/cat/x.png = train/cat/2.png"
    ):
        read(tmp_path / "parted")


def test_a_scan_too_large_for_pillow(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (64, 64), 60).save(pets / "cat" / "map.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(
        DataError, match=r"map.png: DecompressionBombError: .* set PIL.Image.MAX_IMAGE_PIXELS = None"
    ):
        read(pets)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert new_one(read(pets)).unique().tolist() == [60]


Saved = Callable[[np.ndarray], Image.Image]
STORED: dict[str, Saved] = {
    "three equal channels": lambda mask: Image.fromarray(np.stack([mask] * 3, -1)),
    "three equal channels and alpha": lambda mask: Image.fromarray(
        np.dstack([mask, mask, mask, np.full_like(mask, 9)])
    ),
    "whole floating-point numbers": lambda mask: Image.fromarray(mask.astype(np.float32)),
    "32 bits": lambda mask: Image.fromarray(mask.astype(np.int32)),
}


@pytest.mark.parametrize("how", STORED)
def test_masks_stored_as_something_else(tmp_path: Path, how: str) -> None:
    """OpenCV writes three channels, map programs 32 bits or floats."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 3:] = 1
    mask[:, 6:] = 2
    mask[0] = 255
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (number,) * 3).save(tmp_path / "images" / f"{number}.png")
        STORED[how](mask).save(tmp_path / "masks" / f"{number}.tif")
    data = segmentation_folder(tmp_path / "images", tmp_path / "masks", size=8, progress=False)
    assert np.array_equal(data.test.masks[0], mask) and len(data.classes) == 3


def test_floating_point_masks_that_are_probabilities(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (number,) * 3).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(np.full((8, 8), 0.3, np.float32)).save(tmp_path / "masks" / f"{number}.tif")
    with pytest.raises(DataError, match="mode F holds values that are no whole numbers"):
        segmentation_folder(tmp_path / "images", tmp_path / "masks", size=8, progress=False)


# By orientation, how a camera stores an upright image.
STORED_AS = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("size", [24, (20, 30), (30, 20)])
def test_photographs_of_a_phone_held_in_every_way(
    ending: str, size: int | tuple[int, int], tmp_path: Path
) -> None:
    """Large ones, which are decoded at part of their size, and for targets that aren't square."""
    values = np.zeros((240, 320, 3), np.uint8)
    values[:120, :160], values[120:, 160:] = (250, 0, 0), (0, 0, 250)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        upright = Image.fromarray(values)
        upright.save(tmp_path / "photos" / name / f"1.{ending}", quality=95)
        for orientation, how in STORED_AS.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            file = tmp_path / "photos" / name / f"{orientation}.{ending}"
            upright.transpose(how).save(file, quality=95, exif=exif)
    with (
        pytest.warns(DataWarning, match="Identical") if ending in ("png", "tif") else contextlib.nullcontext()
    ):
        images = images_of(read(tmp_path / "photos", size=size, cache=tmp_path / "cache")).float()
    assert float((images - images[0]).abs().max()) <= 30  # of a lossy format, at the borders
    assert images[0, 0, 2, 2] > 200 and images[0, 2, -2, -2] > 200 and images[0, :, 2, -2].max() < 40


def test_classes_of_one_or_two_images_are_named_all_at_once(pets: Path) -> None:
    for name, count in (("eel", 1), ("fox", 2)):
        (pets / name).mkdir()
        for number in range(count):
            Image.new("L", (8, 8), 200 + number).save(pets / name / f"{number}.png")
    with pytest.raises(
        DataError, match=r"at least 3 images per class.*: 'eel' has 1, 'fox' has 2\. Add images, delete"
    ):
        read(pets)
