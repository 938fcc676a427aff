"""Files that vanish: each is read, or a warning and `left_out` say that it isn't and why."""

from __future__ import annotations

import shutil
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features

from kdcourse.data import Dataset, SegmentationDataset, image_folder, segmentation_folder
from kdcourse.errors import ArgumentError, DataError, DataWarning

Built = Callable[..., Path]


def image(level: int, side: int = 8) -> Image.Image:
    return Image.new("L", (side, side), level)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Four images of each of two classes, all different."""
    for base, name in ((0, "cat"), (100, "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(4):
            image(base + number).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """Six images with masks of two halves."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 1
    for kind in ("images", "masks"):
        (tmp_path / "leaves" / kind).mkdir(parents=True)
    for number in range(6):
        image(number).save(tmp_path / "leaves" / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "leaves" / "masks" / f"{number}.png")
    return tmp_path / "leaves"


def read(root: Path, **options: Any) -> Dataset:
    return image_folder(root, **({"size": 8, "progress": False} | options))


def load(root: Path, **options: Any) -> SegmentationDataset:
    return segmentation_folder(root / "images", root / "masks", **({"size": 8, "progress": False} | options))


def images_of(data: Dataset | SegmentationDataset) -> torch.Tensor:
    return torch.cat([data.train.images, data.validation.images, data.test.images])


def levels(data: Dataset | SegmentationDataset) -> list[int]:
    return sorted(images_of(data)[:, 0, 0, 0].tolist())


def silent(function: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function()


# What is read ------------------------------------------------------------------------------------


def test_folders_inside_a_class_are_read(pets: Path) -> None:
    for base, name in ((10, "cat"), (110, "dog")):
        (pets / name / "more" / "still").mkdir(parents=True)
        image(base).save(pets / name / "more" / "0.png")  # a name that the class has already
        image(base + 1).save(pets / name / "more" / "still" / "x.png")
    data = silent(lambda: read(pets))
    assert levels(data) == [0, 1, 2, 3, 10, 11, 100, 101, 102, 103, 110, 111]
    assert data.left_out == ()
    assert all(
        (split.images[:, 0, 0, 0] >= 100).tolist() == split.labels.bool().tolist()
        for split in (data.train, data.validation, data.test)
    )


def test_a_class_whose_images_all_lie_deeper_is_read_beside_others(pets: Path) -> None:
    (pets / "emu" / "2020").mkdir(parents=True)
    for number in range(3):
        image(200 + number).save(pets / "emu" / "2020" / f"{number}.png")
    assert silent(lambda: read(pets)).classes == ("cat", "dog", "emu")


def test_a_folder_above_the_classes_is_not_taken_for_one(pets: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(pets, both / "train_images")
    shutil.copytree(pets, both / "test_images")
    with pytest.raises(
        DataError, match=r"No class folder of .*both holds images itself, but folders inside .*images"
    ):
        read(both)


def test_a_folder_linked_to_itself_is_read_once(pets: Path) -> None:
    (pets / "cat" / "again").symlink_to(pets / "cat")
    with pytest.warns(DataWarning, match="a link to a folder that holds it: cat/again"):
        data = read(pets)
    assert len(levels(data)) == 8 and data.left_out[0].path == pets / "cat" / "again"


ENDINGS = ["tif", "tiff", "ppm", "pgm", "jp2", "tga", "jfif", "ico", "PNG", "qoi"]
if features.check("avif"):
    ENDINGS.append("avif")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_pillow_reads_is_read(pets: Path, ending: str) -> None:
    kind = {"jfif": {"format": "jpeg"}, "qoi": {"format": "bmp"}}.get(ending, {})
    for at, name in enumerate(("cat", "dog")):
        Image.new("RGB", (16, 16), (60 + 100 * at,) * 3).save(pets / name / f"x.{ending}", **kind)
    data = silent(lambda: read(pets))
    assert len(levels(data)) == 10 and data.left_out == ()


def test_a_long_thin_image_is_there_after_padding(pets: Path) -> None:
    Image.new("L", (1000, 10), 7).save(pets / "cat" / "wide.png")
    Image.new("L", (10, 1000), 8).save(pets / "cat" / "high.png")
    found = images_of(read(pets, size=16, fit="pad"))
    wide, high = (found[(found == level).any(-1).any(-1).any(-1)][0, 0] for level in (7, 8))
    assert (wide == 7).sum() == (high == 8).sum() == 16
    assert (wide == 7).all(1).sum() == (high == 8).all(0).sum() == 1


def deep_png(values: np.ndarray) -> bytes:
    """A PNG with 16 bits per value: uint16 [H, W], [H, W, 2] with alpha, or [H, W, 3]."""
    kind = {1: 0, 2: 4, 3: 2}[1 if values.ndim == 2 else values.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("reader", ["classes", "masks"])
def test_values_of_more_than_8_bits_keep_their_levels(
    tmp_path: Path, bits: int, colour: bool, reader: str
) -> None:
    top = 2**bits - 1
    ramp = np.linspace(0, top, 256).round().astype(np.uint16).reshape(16, 16)
    bright = np.stack([ramp, ramp[::-1], ramp.T], -1) if colour else ramp
    # The dark ones come first and must be scaled as the bright ones are.
    files = [bright // 2, bright // 4, bright // 8, bright, bright // 3, bright // 5]
    mask = np.zeros((16, 16), np.uint8)
    mask[8:] = 1
    for number, values in enumerate(files):
        for place in (f"{'ab'[number > 2]}", "images", "masks"):
            (tmp_path / reader / place).mkdir(parents=True, exist_ok=True)
        if reader == "classes":
            (tmp_path / reader / "ab"[number > 2] / f"{number}.png").write_bytes(deep_png(values))
        else:
            (tmp_path / reader / "images" / f"{number}.png").write_bytes(deep_png(values))
            Image.fromarray(mask).save(tmp_path / reader / "masks" / f"{number}.png")
    if reader == "classes":
        for place in ("images", "masks"):
            (tmp_path / reader / place).rmdir()
        found = images_of(read(tmp_path / reader, size=16))
    else:
        shutil.rmtree(tmp_path / reader / "a")
        shutil.rmtree(tmp_path / reader / "b")
        found = images_of(load(tmp_path / reader, size=16))
    brightest = found[found.sum((1, 2, 3)).argmax()].numpy()
    expected = np.rint(bright * (255 / top)).astype(int)
    expected = expected.transpose(2, 0, 1) if colour else np.broadcast_to(expected, brightest.shape)
    # Pillow keeps the upper 8 of 16 bits of colour: rounded down, one level less at most.
    assert np.abs(brightest.astype(int) - expected).max() <= (1 if colour and bits == 16 else 0)
    assert len(np.unique(brightest)) == 256
    dark = found[found.sum((1, 2, 3)).argmin()].int().max()
    assert abs(int(dark) - 255 / 8) <= 1


def test_floats_and_negative_values_need_levels(pets: Path) -> None:
    values = np.linspace(-1, 1, 64).reshape(8, 8).astype(np.float32)
    Image.fromarray(values).save(pets / "cat" / "x.tif")
    Image.fromarray((values * 1000).astype(np.int32)).save(pets / "dog" / "x.tif")
    with pytest.raises(DataError) as caught:
        read(pets)
    assert "x.tif: holds floating-point values from -1 to 1; say which become black and white" in str(
        caught.value
    )
    assert "x.tif: holds values from -1000 to 1000" in str(caught.value)
    (pets / "dog" / "x.tif").unlink()
    found = images_of(read(pets, levels=(-1.0, 1.0)))
    assert (found == torch.from_numpy(np.rint((values + 1) * 127.5).astype(np.uint8))).all(-1).all(-1).any()
    with pytest.raises(ArgumentError, match="levels must be two stored values"):
        read(pets, levels=(1.0, 1.0))
    values[0, 0] = np.nan
    Image.fromarray(values).save(pets / "cat" / "x.tif")
    with pytest.raises(DataError, match="no finite numbers; replace NaN"):
        read(pets, levels=(-1.0, 1.0))


# What is left out, and said ----------------------------------------------------------------------


def test_one_summary_of_all_that_is_left_out(pets: Path) -> None:
    (pets / "cat" / "phone.heic").write_bytes(b"x")
    (pets / "cat" / "scan.dcm").write_bytes(b"x")
    (pets / "dog" / "scan.dcm").write_bytes(b"x")
    (pets / "dog" / "noending").write_bytes(b"x")
    image(77).save(pets / "loose.png")
    image(78).save(pets / "dog" / "pages.tif", save_all=True, append_images=[image(79), image(80)])
    for name in ("README.txt", "Thumbs.db", "labels.csv", ".hidden.png"):
        (pets / "cat" / name).write_bytes(b"x")
    with pytest.warns(DataWarning) as caught:
        data = read(pets)
    assert len(caught) == 1 and caught[0].filename == __file__
    said = str(caught[0].message)
    assert said.splitlines() == [
        "6 files or folders of "
        + str(pets)
        + " were left out, in whole or in part (`left_out` of the data set "
        "lists all of them):",
        "  1, in no class folder: loose.png",
        "  1, files that end in .heic can't be read by Pillow here: cat/phone.heic",
        "  2, files that end in .dcm can't be read by Pillow here: cat/scan.dcm, dog/scan.dcm",
        "  1, files without an ending can't be read by Pillow here: dog/noending",
        "  1, only the first page of several is read: dog/pages.tif",
    ]
    assert len(data.left_out) == 6 and data.left_out[-1].reason.endswith("several is read: 3 pages")
    assert len(levels(data)) == 9 and 78 in levels(data)


def test_lower_bits_that_cannot_be_read_are_said(pets: Path) -> None:
    (pets / "cat" / "x.png").write_bytes(deep_png(np.full((8, 8, 2), 65535, np.uint16)))
    with pytest.warns(
        DataWarning, match="1, only the upper 8 of 16 bits are read of grey with alpha: cat/x.png"
    ):
        assert 255 in levels(read(pets))


def test_two_spellings_of_one_class_are_refused(tmp_path: Path) -> None:
    for at, name in enumerate(("e\u0301te\u0301", "\u00e9t\u00e9", "zoo")):
        (tmp_path / name).mkdir()
        for number in range(3):
            image(10 * at + number).save(tmp_path / name / f"{number}.png")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this disk takes both spellings for one name")
    with pytest.raises(
        DataError, match=r"two folders for the class \u00e9t\u00e9: 'e\\u0301te\\u0301' and '\\xe9t"
    ):
        read(tmp_path)


def spoil(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).write_bytes(b"no image")


def test_damaged_files_can_be_skipped_and_all_are_listed(pets: Path) -> None:
    names = [f"cat/bad{number}.png" for number in range(7)] + ["dog/bad.jpg"]
    for number in range(30):
        image(10 + number).save(pets / "cat" / f"more{number}.png")
    spoil(pets, names)
    with pytest.raises(
        DataError, match=r"8 of 46 images can't be read. .* or pass skip_damaged=True"
    ) as error:
        read(pets)
    assert str(error.value).endswith("and 3 more")
    with pytest.warns(DataWarning, match="8, can't be read: .*bad.* and 3 more"):
        data = read(pets, skip_damaged=True)
    assert {str(each.path.relative_to(pets)) for each in data.left_out} == set(names)
    assert all("UnidentifiedImageError" in each.reason for each in data.left_out)
    whole = levels(data)
    assert whole == [0, 1, 2, 3, *range(10, 40), 100, 101, 102, 103]
    assert all(
        (split.images[:, 0, 0, 0] >= 100).tolist() == split.labels.bool().tolist()
        for split in (data.train, data.validation, data.test)
    )


def test_damage_that_leaves_a_class_or_a_split_empty(pets: Path, tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        shutil.copytree(pets, tmp_path / "parted" / part)
    spoil(tmp_path / "parted", [f"train/dog/{number}.png" for number in range(4)])
    with pytest.raises(DataError, match="no image of dog is left in train"):
        read(tmp_path / "parted", skip_damaged=True)
    shutil.rmtree(tmp_path / "parted" / "train")
    shutil.copytree(pets, tmp_path / "parted" / "train")
    spoil(tmp_path / "parted", [f"val/{name}/{number}.png" for name in ("cat", "dog") for number in range(4)])
    with pytest.raises(DataError, match="validation is empty"):
        read(tmp_path / "parted", skip_damaged=True)
    spoil(pets, [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(4)])
    with pytest.raises(DataError, match="8 of 8 images can't be read"):
        read(pets, skip_damaged=True)


# Identical images --------------------------------------------------------------------------------


def test_identical_images_in_two_splits_are_said(pets: Path, tmp_path: Path) -> None:
    parted = tmp_path / "parted"
    for at, part in enumerate(("train", "val", "test")):
        for base, name in ((0, "cat"), (100, "dog")):
            (parted / part / name).mkdir(parents=True)
            for number in range(3):
                image(base + 10 * at + number).save(parted / part / name / f"{number}.png")
    silent(lambda: read(parted))
    image(1).convert("RGB").save(parted / "test" / "cat" / "copy.bmp")  # another file, the same pixels
    image(112).save(parted / "test" / "dog" / "copy.png")
    with pytest.warns(DataWarning) as caught:
        read(parted)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert str(caught[0].message).splitlines()[1:] == [
        "  1 images of test are also in train: test/cat/copy.bmp = train/cat/1.png",
        "  1 images of test are also in validation: test/dog/copy.png = val/dog/2.png",
        "Delete all but one of each.",
    ]


def test_one_image_in_two_classes_is_said(pets: Path) -> None:
    shutil.copy(pets / "cat" / "0.png", pets / "dog" / "x.png")
    with pytest.warns(DataWarning, match="1 images are in two classes: "):
        read(pets)


# The same with masks -----------------------------------------------------------------------------


def test_masked_images_in_folders_of_one_name_are_read(leaves: Path) -> None:
    expected = levels(silent(lambda: load(leaves)))
    for kind in ("images", "masks"):
        for number, town in enumerate(("berlin", "bonn", "berlin")):
            (leaves / kind / town).mkdir(exist_ok=True)
            (leaves / kind / f"{number}.png").rename(leaves / kind / town / f"{number // 2}.png")
    assert levels(silent(lambda: load(leaves))) == expected


def test_masked_images_of_other_endings_and_what_is_left_out(leaves: Path) -> None:
    with Image.open(leaves / "images" / "0.png") as opened:
        opened.save(leaves / "images" / "0.tif")
    with Image.open(leaves / "masks" / "0.png") as opened:
        opened.save(leaves / "masks" / "0.pgm")
    for kind in ("images", "masks"):
        (leaves / kind / "0.png").unlink()
        (leaves / kind / "1.npy").write_bytes(b"x")
    with pytest.warns(DataWarning, match=r"2, files that end in .npy can't be read") as caught:
        data = load(leaves)
    assert len(levels(data)) == 6 and len(data.left_out) == 2
    assert len(caught) == 1 and caught[0].filename == __file__


def test_damaged_pairs_can_be_skipped(leaves: Path) -> None:
    spoil(leaves, ["images/2.png", "masks/4.png"])
    for number in range(6, 20):
        image(number).save(leaves / "images" / f"{number}.png")
        shutil.copy(leaves / "masks" / "0.png", leaves / "masks" / f"{number}.png")
    with pytest.raises(DataError, match=r"2 of 20 images or their masks can't be read.*skip_damaged=True"):
        load(leaves)
    with pytest.warns(DataWarning, match=r"2, can't be read: 2.png, 4.png"):
        data = load(leaves, skip_damaged=True)
    assert levels(data) == [0, 1, 3, *range(5, 20)]
    assert sorted(each.path.name for each in data.left_out) == ["2.png", "4.png"]


def test_identical_masked_images_are_said(leaves: Path) -> None:
    for number in range(6):
        image(9).save(leaves / "images" / f"{number}.png")
    with pytest.warns(DataWarning, match=r"1 images of test are also in train: \d.png = \d.png"):
        load(leaves)


def test_masks_inside_the_images_folder_are_refused(leaves: Path) -> None:
    shutil.move(leaves / "masks", leaves / "images" / "masks")
    with pytest.raises(DataError, match=r"may lie inside the other; found .*images/masks inside"):
        segmentation_folder(leaves / "images", leaves / "images" / "masks")
