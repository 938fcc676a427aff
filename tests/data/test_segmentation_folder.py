from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from kdcourse.data import IGNORE, SegmentationDataset, segmentation_folder
from kdcourse.data.segmentation_folder import voc_colour
from kdcourse.errors import ArgumentError, DataError

# Many of these folders repeat one image; tests/data/test_left_out.py is about that.
pytestmark = pytest.mark.filterwarnings("ignore:Identical images")


def halves(height: int = 8, width: int = 8, left: int = 0, right: int = 1) -> np.ndarray:
    """A mask uint8 [H, W] of two classes side by side."""
    mask = np.full((height, width), left, np.uint8)
    mask[:, width // 2 :] = right
    return mask


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def indexed(mask: np.ndarray, colours: list[int] | None = None) -> Image.Image:
    image = Image.fromarray(mask).convert("L")
    paletted = Image.frombytes("P", image.size, mask.tobytes())
    paletted.putpalette(colours or [level for index in range(256) for level in voc_colour(index)])
    return paletted


def fill(root: Path, count: int, base: int = 0) -> None:
    """``count`` grey pictures of levels base, base + 1, ... with masks of two halves."""
    for number in range(count):
        put(root, f"{number:03}", Image.new("RGB", (8, 8), (base + number,) * 3), Image.fromarray(halves()))


def put(
    root: Path, name: str, picture: Image.Image, mask: Image.Image, part: str = "", **saving: Any
) -> None:
    for kind, image, options in (("images", picture, saving), ("masks", mask, {})):
        folder = root / kind / part
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{name}.png", **options)


def levels(data: SegmentationDataset) -> dict[str, list[int]]:
    """The grey level of each picture of each split; every picture is of one level."""
    parts = {part: getattr(data, part).images for part in ("train", "validation", "test")}
    assert all((images == images[:, :1, :1, :1]).all() for images in parts.values())
    return {part: images[:, 0, 0, 0].tolist() for part, images in parts.items()}


def load(root: Path, **options: Any) -> SegmentationDataset:
    return segmentation_folder(root / "images", root / "masks", **({"size": 8} | options))


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    fill(tmp_path / "leaves", 20)
    return tmp_path / "leaves"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    root = tmp_path / "leaves"
    for at, part in enumerate(("train", "val", "Test")):
        for number in range(4 - at):
            level = 10 * at + number
            # One name in several splits is no leak: these are other pictures.
            put(root, f"{number:03}", Image.new("RGB", (8, 8), (level,) * 3), Image.fromarray(halves()), part)
    return root


# Which picture goes where ------------------------------------------------------------------------


def test_drawn_splits(flat: Path) -> None:
    data = load(flat)
    told = levels(data)
    assert {part: len(found) for part, found in told.items()} == {"train": 16, "validation": 2, "test": 2}
    assert sorted(told["train"] + told["validation"] + told["test"]) == list(range(20)), (
        "disjoint and complete"
    )
    assert data.name == "leaves/images" and data.classes == ("class 0", "class 1")
    assert data.image_shape == (3, 8, 8) and data.train.masks.dtype == torch.uint8
    assert (data.test.masks == torch.from_numpy(halves())).all()


def test_the_draw_never_changes(flat: Path, tmp_path: Path) -> None:
    """Known values: whoever changes the rule moves pictures between splits of users' results."""
    told = levels(load(flat))
    assert (told["validation"], told["test"]) == ([14, 17], [3, 12])
    again = load(Path(shutil.copytree(flat, tmp_path / "elsewhere")))
    assert levels(again) == told and again.train.digest == load(flat).train.digest


def test_seeds(flat: Path) -> None:
    drawn = {tuple(levels(load(flat, seed=seed))["test"]) for seed in range(5)}
    assert len(drawn) > 3
    assert levels(load(flat, seed=3)) == levels(load(flat, seed=3))


@pytest.mark.parametrize(
    ("validation", "test", "expected"),
    [(0.25, 0.4, (7, 5, 8)), (0.45, 0.54, (1, 9, 10)), (0.001, 0.001, (18, 1, 1))],
)
def test_shares(flat: Path, validation: float, test: float, expected: tuple[int, int, int]) -> None:
    told = levels(load(flat, validation=validation, test=test))
    assert tuple(map(len, told.values())) == expected


def test_given_splits(given: Path) -> None:
    assert levels(load(given)) == {"train": [0, 1, 2, 3], "validation": [10, 11, 12], "test": [20, 21]}


def test_a_split_that_is_missing_is_drawn_from_train_and_the_others_left_alone(given: Path) -> None:
    shutil.rmtree(given / "images" / "val")
    shutil.rmtree(given / "masks" / "val")
    told = levels(load(given))
    assert told["test"] == [20, 21] and len(told["validation"]) == 1
    assert sorted(told["train"] + told["validation"]) == [0, 1, 2, 3]


def test_hidden_and_other_files_are_ignored(flat: Path) -> None:
    expected = levels(load(flat))
    for name in (".DS_Store", "Thumbs.db", "._000.png", "classes.txt"):
        (flat / "masks" / name).write_bytes(b"x")
        (flat / "images" / name).write_bytes(b"x")
    (flat / "images" / ".ipynb_checkpoints").mkdir()
    assert levels(load(flat)) == expected


def no_folder(root: Path) -> None:
    shutil.rmtree(root / "masks")


def a_file(root: Path) -> None:
    no_folder(root)
    (root / "masks").write_text("x")


def no_pictures(root: Path) -> None:
    shutil.rmtree(root / "images")
    (root / "images").mkdir()
    (root / "images" / "notes.txt").write_text("x")


def no_masks(root: Path) -> None:
    shutil.rmtree(root / "masks")
    (root / "masks").mkdir()


def missing_masks(root: Path) -> None:
    (root / "masks" / "003.png").unlink()
    (root / "masks" / "007.png").unlink()


def extra_mask(root: Path) -> None:
    Image.fromarray(halves()).save(root / "masks" / "099.png")


def many_missing(root: Path) -> None:
    for number in range(7):
        (root / "masks" / f"{number:03}.png").unlink()


def two_of_a_name(root: Path) -> None:
    Image.new("RGB", (8, 8)).save(root / "images" / "003.jpg")


def nested(root: Path) -> None:
    (root / "images" / "berlin").mkdir()
    (root / "images" / "001.png").rename(root / "images" / "berlin" / "001.png")


def loose(root: Path) -> None:
    (root / "images" / "train").mkdir()


def too_few(root: Path) -> None:
    for number in range(2, 20):
        (root / "images" / f"{number:03}.png").unlink()
        (root / "masks" / f"{number:03}.png").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_folder, "masks should be a folder .* it does not exist"),
        (a_file, "masks should be a folder .* it is a file"),
        (no_pictures, r"images should hold images \(.png, .* found notes.txt"),
        (no_masks, r"masks should hold masks .* found nothing"),
        (missing_masks, r"without a mask: 003.png, 007.png.\n.*without an image: none"),
        (extra_mask, r"without a mask: none.\n.*without an image: 099.png"),
        (many_missing, r"without a mask: 000.png, .*, 004.png and 2 more"),
        (two_of_a_name, "two files called 003: 003.jpg and 003.png"),
        (nested, r"without a mask: berlin/001.png.\n.*without an image: 001.png"),
        (loose, "found train, 000.png, 001.png, .* and 16 more"),
        (too_few, "needs at least 3 images, .* train and validation and test; found 2"),
    ],
)
def test_what_is_wrong_with_the_folders_is_said(flat: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(flat)
    with pytest.raises(DataError, match=said):
        load(flat)


def no_train(root: Path) -> None:
    for kind in ("images", "masks"):
        shutil.rmtree(root / kind / "train")


def lacking_in_masks(root: Path) -> None:
    shutil.rmtree(root / "masks" / "Test")


def twice(root: Path) -> None:
    shutil.copytree(root / "images" / "val", root / "images" / "validation")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_train, "has test, validation but no train folder"),
        (lacking_in_masks, "has test, train, validation and .*masks has train, validation"),
        (twice, "two folders for validation: val and validation"),
    ],
)
def test_what_is_wrong_with_the_splits_is_said(given: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(given)
    with pytest.raises(DataError, match=said):
        load(given)


def test_pictures_and_masks_in_one_folder(flat: Path) -> None:
    with pytest.raises(DataError, match="must lie in two folders"):
        segmentation_folder(flat / "images", flat / "masks" / ".." / "images")


def test_accents_match_however_the_disk_spells_them(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (tmp_path / "images" / "000.png").rename(tmp_path / "images" / "\u00e9t\u00e9.png")
    (tmp_path / "masks" / "000.png").rename(tmp_path / "masks" / "e\u0301te\u0301.png")
    assert sum(map(len, levels(load(tmp_path)).values())) == 3


# Reading masks -----------------------------------------------------------------------------------


@pytest.fixture
def one(tmp_path: Path) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """Saves a pair among plain ones and returns what became of it: uint8 [3, H, W] and [H, W]."""

    def through_the_folder(
        picture: Image.Image | None = None,
        mask: Image.Image | None = None,
        saving: Any = None,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        root = tmp_path / "one"
        shutil.rmtree(root, ignore_errors=True)
        mask = Image.fromarray(halves()) if mask is None else mask
        picture = Image.new("RGB", mask.size) if picture is None else picture
        for part in ("train", "val", "test"):
            put(root, "plain", Image.new("RGB", (8, 8)), Image.fromarray(halves()), part)
        put(root, "zzz", picture, mask, "train", **(saving or {}))
        data = load(root, **options)
        return data.train.images[-1], data.train.masks[-1]

    return through_the_folder


One = Callable[..., tuple[torch.Tensor, torch.Tensor]]
MASK = halves(right=2)
MASK[0] = 1
MASK[7, :3] = 255


@pytest.mark.parametrize(
    "stored",
    [
        Image.fromarray(MASK),
        indexed(MASK),
        indexed(MASK, list(range(256)) * 3),  # the colours have no say
        Image.fromarray(MASK.astype(np.uint16)),
        Image.merge("LA", [Image.fromarray(MASK), Image.new("L", (8, 8), 7)]),
    ],
    ids=["grey", "indexed", "indexed oddly", "16 bits", "grey with alpha"],
)
def test_stored_numbers_are_classes(one: One, stored: Image.Image) -> None:
    _, mask = one(mask=stored)
    assert np.array_equal(mask, MASK) and IGNORE == 255


def test_another_ignore_index(one: One) -> None:
    mask = MASK.copy()
    mask[mask == 255] = 9
    assert np.array_equal(one(mask=Image.fromarray(mask), ignore_index=9)[1], MASK)


def test_no_ignore_index(one: One) -> None:
    with pytest.raises(DataError, match=r"zzz.png: 255\n"):
        one(mask=Image.fromarray(MASK), ignore_index=None, classes=["a", "b", "c"])


def test_a_mask_of_one_bit(one: One) -> None:
    assert np.array_equal(one(mask=Image.fromarray(halves() > 0))[1], halves())


COLOURS = {(10, 20, 30): 0, (30, 20, 10): 1, (0, 0, 255): 2, (255, 255, 255): 255}


def painted(mask: np.ndarray, colours: dict[tuple[int, int, int], int] = COLOURS) -> np.ndarray:
    rgb = np.zeros((*mask.shape, 3), np.uint8)
    for colour, number in colours.items():
        rgb[mask == number] = colour
    return rgb


PLAIN = {(0, 0, 0): 0, (1, 1, 1): 1}  # what the masks beside the one that is looked at hold


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P"])
def test_colours_by_palette(one: One, kind: str) -> None:
    if kind == "P":  # indices in an order of their own: the colours count
        order = {0: 3, 1: 2, 2: 1, 255: 0}
        flat = [level for colour in reversed(COLOURS) for level in colour]
        stored = indexed(np.vectorize(order.get)(MASK).astype(np.uint8), flat)
    else:
        stored = Image.fromarray(painted(MASK)).convert(kind)
    assert np.array_equal(one(mask=stored, palette=COLOURS | PLAIN)[1], MASK)


def test_black_and_white_masks(one: One) -> None:
    white = Image.fromarray(halves() * np.uint8(255))
    palette = PLAIN | {(255, 255, 255): 1}
    assert np.array_equal(one(mask=white, palette=palette)[1], halves())


def test_black_and_white_masks_without_a_palette_are_not_taken_for_one_class(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path, str(number), Image.new("RGB", (8, 8)), Image.fromarray(halves() * np.uint8(255)))
    with pytest.raises(
        DataError, match=r"at least two classes; found \[0\].*pass palette=\{\(0, 0, 0\): 0, "
    ):
        load(tmp_path)
    assert load(tmp_path, palette={(0, 0, 0): 0, (255, 255, 255): 1}).train.masks.max() == 1


def test_colours_of_voc(one: One) -> None:
    """The first of the published table, its 20th (television) and the one to leave out."""
    assert [voc_colour(index) for index in (0, 1, 2, 3, 4, 20, 255)] == [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (0, 64, 128),
        (224, 224, 192),
    ]
    assert len({voc_colour(index) for index in range(256)}) == 256
    colours = {voc_colour(index): index for index in (0, 1, 2, 255)}
    stored = Image.fromarray(painted(MASK, colours))
    with pytest.raises(DataError, match=r"1 colours .* not in palette, such as \(1, 1, 1\)"):
        one(mask=stored, palette="voc")  # the plain masks beside it are not in colour


def test_colours_of_voc_end_to_end(tmp_path: Path) -> None:
    colours = {voc_colour(index): index for index in (0, 1, 2, 255)}
    for number in range(3):
        put(tmp_path, str(number), Image.new("RGB", (8, 8)), Image.fromarray(painted(MASK, colours)))
    data = load(tmp_path, palette="voc")
    assert len(data.classes) == 3 and np.array_equal(data.test.masks[0], MASK)


def test_strange_colours_are_named(one: One) -> None:
    rgb = painted(MASK)
    rgb[1, :2] = (11, 20, 30)
    rgb[2, 0] = (0, 0, 254)
    with pytest.raises(DataError) as error:
        one(mask=Image.fromarray(rgb), palette=COLOURS | PLAIN)
    assert "zzz.png: 2 colours on 4.7% of the mask" in str(error.value)
    assert "such as (11, 20, 30), (0, 0, 254)" in str(error.value)


@pytest.mark.parametrize(
    ("stored", "options", "said"),
    [
        (Image.fromarray(painted(MASK)), {}, "mode RGB needs a palette"),
        (Image.fromarray(MASK.astype(np.uint16)), {"palette": COLOURS | PLAIN}, "mode I.* has no colours"),
        (Image.fromarray(MASK.astype(np.uint16) * 300), {}, "values from 0 to 10964, where 0 to 255"),
        (Image.fromarray(halves(right=5)), {"classes": "abc"}, "classes must be"),
        (
            Image.fromarray(halves(right=5)),
            {"classes": list("abc")},
            r"1 of 4 masks .* 3 classes .*\n.*zzz.png: 5\n",
        ),
        (
            Image.fromarray(halves(6, 8)),
            {"picture": Image.new("RGB", (8, 7))},
            "mask is 8 wide and 6 high, .* 8 and 7",
        ),
        (Image.fromarray(halves(right=5)), {}, "values 0, 1, 5 don't tell how many"),
        (Image.fromarray(halves(right=255)), {"ignore_index": None}, "values 0, 1, 255 don't tell"),
    ],
)
def test_masks_that_cannot_be_used(one: One, stored: Image.Image, options: dict[str, Any], said: str) -> None:
    with pytest.raises((DataError, ArgumentError), match=said):
        one(mask=stored, **options)


def test_a_value_that_nearest_resizing_would_have_skipped_is_still_found(one: One) -> None:
    mask = np.zeros((80, 80), np.uint8)
    mask[0, 0] = 7
    with pytest.raises(DataError, match=r"zzz.png: 7\n"):
        one(mask=Image.fromarray(mask), classes=["a", "b"])


def test_names_of_classes(flat: Path) -> None:
    assert load(flat, classes=("ground", "leaf", "stem")).classes == ("ground", "leaf", "stem")
    three = {(0, 0, 0): 0, (1, 1, 1): 1, (2, 2, 2): 2}
    assert load(flat, palette=three).classes == ("class 0", "class 1", "class 2"), (
        "the palette promises three"
    )


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_masks_are_refused(flat: Path, suffix: str) -> None:
    (flat / "masks" / "004.png").unlink()
    Image.fromarray(halves()).save(flat / "masks" / f"004{suffix}")
    with pytest.raises(DataError, match=f"004{suffix}: a mask in .* has lost its exact colours"):
        load(flat)


def test_broken_files_are_named(flat: Path) -> None:
    whole = (flat / "masks" / "003.png").read_bytes()
    Image.fromarray(noise(64, 64, 3)).save(flat / "images" / "005.png")
    (flat / "images" / "005.png").write_bytes((flat / "images" / "005.png").read_bytes()[:5000])
    (flat / "masks" / "003.png").write_bytes(whole[: len(whole) // 2])
    (flat / "images" / "010.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        load(flat)
    told = str(error.value)
    assert "3 of 20 images or their masks can't be read" in told
    for file in ("masks.003.png", "images.005.png", "images.010.png"):
        assert re.search(rf"{file}: \w+Error: ", told), file


def test_many_broken_files_are_counted(flat: Path) -> None:
    for number in range(8):
        (flat / "images" / f"{number:03}.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"8 of 20 (.|\n)*00\d.png.*\n  and 3 more$"):
        load(flat)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 0}, "size must be pixels"),
        ({"fit": "squeeze"}, "fit must be"),
        ({"background": 256}, "background must be a grey level"),
        ({"validation": 0.0}, "parts above 0"),
        ({"validation": 0.5, "test": 0.5}, "sum below 1"),
        ({"ignore_index": 256}, "ignore_index must be"),
        ({"ignore_index": True}, "ignore_index must be"),
        ({"classes": ["a"]}, "2 to 255 different names"),
        ({"classes": ["a", "a"]}, "different names"),
        ({"palette": "ade"}, "palette must be a mapping of colours to classes or 'voc'; found 'ade'"),
        ({"palette": {}}, "at least one colour"),
        ({"palette": {(0, 0): 0}}, r"\(red, green, blue\), 0 to 255; found \(0, 0\)"),
        ({"palette": {(0, 0, 256): 0}}, r"found \(0, 0, 256\)"),
        (
            {"palette": {(0, 0, 0): 2}, "classes": ["a", "b"]},
            r"classes 0..1 or to ignore_index \(255\); found 2",
        ),
        ({"palette": {(0, 0, 0): 255}, "ignore_index": None}, r"classes 0..254 .* found 255"),
    ],
)
def test_arguments(flat: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        load(flat, **options)


# Reading pictures --------------------------------------------------------------------------------


def test_colour_bit_for_bit(one: One) -> None:
    image, _ = one(Image.fromarray(noise(8, 8, 3)))
    assert np.array_equal(image.permute(1, 2, 0), noise(8, 8, 3))


def test_grey_fills_three_channels(one: One) -> None:
    image, _ = one(Image.fromarray(noise(8, 8)))
    assert all(np.array_equal(channel, noise(8, 8)) for channel in image)


def test_transparency_is_laid_on_the_background(one: One) -> None:
    clear = np.dstack([noise(8, 8, 3), np.full((8, 8), 255, np.uint8)])
    clear[:4, :, 3] = 0
    image, _ = one(Image.fromarray(clear), background=7)
    assert (image[:, :4] == 7).all()
    assert np.array_equal(image[:, 4:].permute(1, 2, 0), noise(8, 8, 3)[4:])


ORIENTATION = 0x0112


def turned(upright: Image.Image) -> tuple[Image.Image, dict[str, Any]]:
    """What a camera held sideways stores of ``upright``, and the EXIF to save with it."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # "turn by 90 degrees clockwise to see it upright"
    return upright.transpose(Image.Transpose.ROTATE_90), {"exif": exif}


def test_exif_orientation(one: One) -> None:
    upright = Image.fromarray(noise(4, 6, 3))
    stored, saving = turned(upright)
    assert stored.size == (4, 6)
    image, mask = one(stored, Image.fromarray(halves(4, 6)), saving, size=(4, 6))
    assert np.array_equal(image.permute(1, 2, 0), np.asarray(upright))
    assert np.array_equal(mask, halves(4, 6))


def test_a_mask_drawn_on_the_unturned_picture(one: One) -> None:
    stored, saving = turned(Image.fromarray(noise(4, 6, 3)))
    with pytest.raises(
        DataError, match=r"mask is 4 wide and 6 high, its image 6 and 4, as its EXIF .* unturned"
    ):
        one(stored, Image.fromarray(halves(6, 4)), saving)


# Size --------------------------------------------------------------------------------------------


def torchs(picture: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The same resizing by another hand: torch's, in float64."""
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    small = functional.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)[0]
    nearest = functional.interpolate(torch.from_numpy(mask)[None, None].double(), size, mode="nearest-exact")
    return small, nearest[0, 0]


@pytest.mark.parametrize("shape", [(40, 60), (61, 35), (5, 9)])
def test_stretching_against_torch(one: One, shape: tuple[int, int]) -> None:
    picture, mask = noise(*shape, 3), (noise(*shape) % 3).astype(np.uint8)
    image, classes = one(Image.fromarray(picture), Image.fromarray(mask), size=(16, 12), fit="stretch")
    small, nearest = torchs(picture, mask, (16, 12))
    assert (image - small).abs().max() <= 1
    assert torch.equal(classes, nearest.to(torch.uint8))


def test_cropping_takes_the_middle(one: One) -> None:
    picture, mask = noise(40, 100, 3), (noise(40, 100) % 3).astype(np.uint8)
    image, classes = one(Image.fromarray(picture), Image.fromarray(mask), size=(8, 10))
    small, nearest = torchs(picture[:, 25:75], mask[:, 25:75], (8, 10))
    # At the cut the filter still sees the true neighbours, so the outermost columns differ a little.
    assert (image - small)[:, :, 1:-1].abs().max() <= 1 and (image - small).abs().max() < 10
    assert torch.equal(classes, nearest.to(torch.uint8))


def test_padding_keeps_everything_and_marks_what_it_adds(one: One) -> None:
    picture, mask = noise(40, 100, 3), (noise(40, 100) % 3).astype(np.uint8)
    image, classes = one(Image.fromarray(picture), Image.fromarray(mask), size=20, fit="pad", background=9)
    small, nearest = torchs(picture, mask, (8, 20))
    assert (image[:, 6:14] - small).abs().max() <= 1 and torch.equal(classes[6:14], nearest.to(torch.uint8))
    around = torch.cat([torch.arange(6), torch.arange(14, 20)])
    assert (image[:, around] == 9).all() and (classes[around] == IGNORE).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(47, 31), (31, 47), (33, 33), (3, 90), (7, 5)])
def test_picture_and_mask_stay_in_step(one: One, fit: str, shape: tuple[int, int]) -> None:
    """A picture painted from its own mask: away from edges both must say the same."""
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2, : shape[1] // 3] = 1
    image, classes = one(Image.fromarray(mask * np.uint8(200)), Image.fromarray(mask), size=(24, 18), fit=fit)
    seen = classes != IGNORE
    sure = seen & ((image[0] < 10) | (image[0] > 190))
    assert torch.equal(image[0][sure] > 100, classes[sure] == 1)
    assert sure.sum() >= 0.6 * seen.sum()


def test_masks_hold_no_class_that_was_not_there(one: One) -> None:
    """Blending the numbers 0 and 2 would make 1."""
    _, classes = one(mask=Image.fromarray(halves(90, 91, 0, 2)), size=16, classes=["a", "b", "c"])
    assert set(classes.flatten().tolist()) == {0, 2}


def test_pictures_of_many_sizes(tmp_path: Path) -> None:
    for number, shape in enumerate([(8, 8), (30, 20), (20, 30), (100, 9)]):
        put(tmp_path, str(number), Image.new("RGB", shape[::-1], (50,) * 3), Image.fromarray(halves(*shape)))
    data = load(tmp_path, size=(10, 12))
    assert data.image_shape == (3, 10, 12)
    assert all((getattr(data, part).images == 50).all() for part in ("train", "validation", "test"))
