"""Your own pictures with a mask for each, as a SegmentationDataset in memory."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kdcourse.data.folder import (
    SPLIT_NAMES,
    SUFFIXES,
    Fit,
    _checked_size,
    _each_read,
    _entries,
    _folders,
    _plain,
)
from kdcourse.data.segmentation import IGNORE, MaskedSplit, SegmentationDataset
from kdcourse.errors import ArgumentError, DataError

MASK_SUFFIXES = (*SUFFIXES, ".tif", ".tiff")
LOSSY = ("JPEG", "MPO", "WEBP")  # formats that may change a colour, and with it a class
PARTS = ("train", "validation", "test")

Palette = Mapping[tuple[int, int, int], int] | Literal["voc"]
Pair = tuple[Path, Path]  # a picture and its mask
Read = tuple[NDArray[np.uint8], NDArray[np.uint8], set[int]]  # picture, mask, classes in it before resizing


def segmentation_folder(
    images: str | os.PathLike[str],
    masks: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    palette: Palette | None = None,
    size: int | tuple[int, int] = 64,
    fit: Fit = "crop",
    background: int = 255,
    ignore_index: int | None = 255,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    progress: bool = True,
) -> SegmentationDataset:
    """Read a folder of pictures and a folder of their masks into memory.

    A picture and its mask have one name, up to its ending. Either layout will do::

        images/*.jpg    images/train/*.jpg         masks/train/*.png
        masks/*.png     images/validation/*.jpg    masks/validation/*.png   (or val, valid)
                        images/test/*.jpg          masks/test/*.png

    A split that is not given is drawn from the training pictures (or from all of them): of n pictures,
    ``round(n * share)`` but at least one. Which ones is settled by the SHA-256 of ``seed/NAME`` alone, so that
    the same folder gives the same splits on every machine, and a new picture moves few others.

    **Pictures**: PNG, JPEG, BMP, WebP and the first frame of GIF become RGB: grey fills all three channels,
    16 bits are scaled to 8, transparency is laid on ``background``. They are turned as their EXIF orientation
    says; masks are taken to be drawn on the upright picture.

    **Masks** have the size of their (upright) picture. Without ``palette`` the stored number is the class: the
    index of an indexed PNG, whatever its colours, or the level of a grey one. With ``palette`` the colour is,
    in RGB, grey and indexed masks alike, so that black and white masks need
    ``palette={(0, 0, 0): 0, (255, 255, 255): 1}``. The alpha channel of a mask is left out. JPEG and WebP
    change colours and are refused.

    **Size**: "crop" cuts the largest part of the right proportions out of the middle, "pad" shrinks the whole
    and fills up with ``background``, marked `IGNORE` in the mask, and "stretch" lets go of the proportions.
    Pictures are resampled bilinearly with antialiasing, masks take the nearest pixel: no class is made up.

    Args:
        images: the folder of pictures.
        masks: the folder of masks.
        classes: name of each class, in the order of their numbers. Left out, they are called "class 0",
            "class 1" and so on, if the masks (or ``palette``) hold every number from 0 to the largest.
        palette: (red, green, blue) to class number, or ``ignore_index`` for colours to leave out; "voc" for
            the colours of PASCAL VOC and what imitates it, see `voc_colour`.
        size: height and width in pixels; one number for squares.
        fit: "crop", "pad" or "stretch".
        background: grey level 0 (black) to 255 (white) behind transparent and padded pictures.
        ignore_index: mask value of pixels to leave out, which becomes `IGNORE`; None if there is none.
        validation: part of the pictures that goes to validation, where that is not given.
        test: part of the pictures that goes to test, where that is not given.
        seed: another seed, another draw.
        progress: show a progress bar when reading takes more than a second.

    Returns:
        A SegmentationDataset with images uint8 [N, 3, H, W] and masks uint8 [N, H, W].

    Raises:
        ArgumentError: an argument outside what is accepted.
        DataError: no such folder, a picture without a mask or a mask without a picture, too few to split, files
            that can't be read, a mask of another size than its picture, values or colours that are no class,
            fewer than two classes in all masks together.
    """
    target = _checked_size(size)
    _check_fit(fit, background)
    shares = {"validation": validation, "test": test}
    if not all(0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise ArgumentError(
            f"validation and test must be parts above 0 with a sum below 1; found {validation!r} and {test!r}."
        )
    _check_ignore(ignore_index)
    _check_classes(classes)
    colours = None if palette is None else _Colours.of(palette, classes, ignore_index)
    pairs = _collect(Path(images).expanduser(), Path(masks).expanduser(), shares, seed)

    every = [pair for part in PARTS for pair in pairs[part]]

    def read(at: int) -> Read | str:
        return _read(*every[at], colours, ignore_index, target, fit, background)

    pictures, drawn, found = _read_all(len(every), read, target, progress)
    names = _names(classes, colours, set().union(*found))
    _check_values(names, [mask for _, mask in every], found, ignore_index)
    splits, start = {}, 0
    for part in PARTS:
        here = slice(start, start + len(pairs[part]))
        splits[part] = MaskedSplit(torch.from_numpy(pictures[here]), torch.from_numpy(drawn[here]))
        start = here.stop
    folder = Path(images).expanduser().resolve()
    name = f"{folder.parent.name}/{folder.name}"
    return SegmentationDataset(name, names, splits["train"], splits["validation"], splits["test"])


def voc_colour(index: int) -> tuple[int, int, int]:
    """Colour (red, green, blue) that PASCAL VOC's masks have for a class, 0 to 255.

    The three lowest bits of the number are the highest bits of red, green and blue, the next three the
    second highest, and so on: 0 is black, 1 (128, 0, 0), 255 the cream of VOC's 'leave out'
    (Everingham, Winn 2012, 'The PASCAL VOC 2012 Challenge Development Kit', function VOClabelcolormap).
    """
    red, green, blue = (
        sum((index >> (3 * step + channel) & 1) << (7 - step) for step in range(3)) for channel in range(3)
    )
    return red, green, blue


# What is accepted ------------------------------------------------------------------------------


def _check_fit(fit: str, background: int) -> None:
    if fit not in ("crop", "pad", "stretch"):
        raise ArgumentError(f"fit must be 'crop', 'pad' or 'stretch'; found {fit!r}.")
    if not 0 <= background <= 255:
        raise ArgumentError(f"background must be a grey level from 0 to 255; found {background!r}.")


def _check_ignore(ignore_index: int | None) -> None:
    if ignore_index is not None and not (type(ignore_index) is int and 0 <= ignore_index <= 255):
        raise ArgumentError(f"ignore_index must be a number from 0 to 255 or None; found {ignore_index!r}.")


def _check_classes(classes: Sequence[str] | None) -> None:
    if classes is None:
        return
    if isinstance(classes, str) or not 2 <= len(classes) <= IGNORE or len(set(classes)) < len(classes):
        raise ArgumentError(
            f"classes must be 2 to {IGNORE} different names, such as ('background', 'leaf'); found {classes!r}."
        )


@dataclass(frozen=True)
class _Colours:
    """A palette, ready to be looked up: ``packed`` int32 [K], ascending, and ``numbers`` uint8 [K]."""

    packed: NDArray[np.int32]
    numbers: NDArray[np.uint8]
    named: frozenset[int] | None  # the classes that a palette of the caller's own promises

    @classmethod
    def of(cls, palette: Palette, classes: Sequence[str] | None, ignore_index: int | None) -> _Colours:
        if isinstance(palette, str):
            if palette != "voc":
                raise ArgumentError(
                    f"palette must be a mapping of colours to classes or 'voc'; found {palette!r}."
                )
            table = {voc_colour(index): index for index in range(256)}
        else:
            table = dict(palette)
            _check_palette(table, classes, ignore_index)
        # Sorted by colour, so that a binary search finds each pixel's.
        rows = sorted((red << 16 | green << 8 | blue, number) for (red, green, blue), number in table.items())
        packed, numbers = zip(*rows, strict=True)
        named = None if palette == "voc" else frozenset(table.values()) - {ignore_index}
        return cls(np.array(packed, np.int32), np.array(numbers, np.uint8), named)


def _check_palette(
    table: Mapping[tuple[int, int, int], int], classes: Sequence[str] | None, ignore_index: int | None
) -> None:
    if not table:
        raise ArgumentError("palette must map at least one colour to a class; found none.")
    highest = (IGNORE if classes is None else len(classes)) - 1
    for colour, number in table.items():
        proper = isinstance(colour, tuple) and len(colour) == 3
        if not (proper and all(isinstance(level, int) and 0 <= level <= 255 for level in colour)):
            raise ArgumentError(
                f"A colour of palette must be (red, green, blue), 0 to 255; found {colour!r}."
            )
        if number != ignore_index and not (isinstance(number, int) and 0 <= number <= highest):
            raise ArgumentError(
                f"palette must map colours to classes 0..{highest} or to ignore_index ({ignore_index}); "
                f"found {number!r} for {colour}."
            )


# Which picture goes where ----------------------------------------------------------------------


def _collect(images: Path, masks: Path, shares: Mapping[str, float], seed: int) -> dict[str, list[Pair]]:
    """The pairs of train, validation and test."""
    for folder in (images, masks):
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise DataError(f"{folder} should be a folder of pictures or masks; it {what}. Check the path.")
    if images.resolve() == masks.resolve():
        raise DataError(
            f"Pictures and masks must lie in two folders; found both in {images}. Move the masks."
        )
    given, drawn = _given_splits(images), _given_splits(masks)
    if given.keys() != drawn.keys():
        raise DataError(
            f"Pictures and masks must have the same splits; {images} has {_listed(given) or 'none'} and {masks} "
            f"has {_listed(drawn) or 'none'}. Add or move folders until they agree."
        )
    if given and "train" not in given:
        raise DataError(f"{images} has {_listed(given)} but no train folder. Add one, or rename.")
    if not given:
        given, drawn = {"train": images}, {"train": masks}
    pairs = {part: _matched(given[part], drawn[part]) for part in given}
    missing = {part: shares[part] for part in PARTS if part not in pairs}
    names = [picture.stem for picture, _ in pairs["train"]]
    if len(names) <= len(missing):
        raise DataError(
            f"{given['train']} needs at least {len(missing) + 1} pictures, to have one each in train and "
            f"{' and '.join(missing)}; found {len(names)}. Add pictures, or make the split folders yourself."
        )
    everything = pairs["train"]
    return pairs | {
        part: [everything[at] for at in index] for part, index in _draw(names, missing, seed).items()
    }


def _given_splits(folder: Path) -> dict[str, Path]:
    """The split folders inside ``folder``; none where it holds the files itself."""
    given: dict[str, Path] = {}
    others = []
    for entry in _folders(folder):
        part = SPLIT_NAMES.get(entry.name.casefold())
        if part is None:
            others.append(entry.name)
        elif part in given:
            two = f"{given[part].name} and {entry.name}"
            raise DataError(f"{folder} has two folders for {part}: {two}. Rename or delete one.")
        else:
            given[part] = entry
    loose = [
        entry.name for entry in _entries(folder) if entry.suffix.lower() in MASK_SUFFIXES and entry.is_file()
    ]
    if others or (given and loose):
        raise DataError(
            f"{folder} should hold either files or folders called train, validation and test; found "
            f"{_shortened([*given, *others, *loose])}. Move what doesn't belong there."
        )
    return given


def _matched(images: Path, masks: Path) -> list[Pair]:
    """Pictures and masks of one name, in its order."""
    pictures, drawn = _by_stem(images, SUFFIXES, "pictures"), _by_stem(masks, MASK_SUFFIXES, "masks")
    lacking = [file.name for stem, file in pictures.items() if stem not in drawn]
    extra = [file.name for stem, file in drawn.items() if stem not in pictures]
    if lacking or extra:
        raise DataError(
            "Every picture needs a mask of the same name, up to the ending, and every mask a picture.\n"
            f"  Pictures in {images} without a mask: {_shortened(lacking) or 'none'}.\n"
            f"  Masks in {masks} without a picture: {_shortened(extra) or 'none'}.\n"
            "Rename, add or delete files until they agree."
        )
    return [(file, drawn[stem]) for stem, file in pictures.items()]


def _by_stem(folder: Path, suffixes: Sequence[str], what: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in _entries(folder):
        if file.suffix.lower() not in suffixes or file.is_dir():
            continue
        stem = unicodedata.normalize("NFC", file.stem)  # macOS may hand out é as e + accent
        if stem in found:
            raise DataError(
                f"{folder} has two files called {stem}: {found[stem].name} and {file.name}. Which one belongs to "
                "its partner can't be told: rename or delete one."
            )
        found[stem] = file
    if not found:
        there = [entry.name for entry in _entries(folder)]
        raise DataError(
            f"{folder} should hold {what} ({', '.join(suffixes)}); found {_shortened(there) or 'nothing'}."
        )
    return dict(sorted(found.items()))


def _draw(names: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Positions that go to each part named in ``shares``, and the rest to "train"; ascending, at least one each."""

    def rank(at: int) -> str:
        return hashlib.sha256(f"{seed}/{unicodedata.normalize('NFC', names[at])}".encode()).hexdigest()

    ranked = sorted(range(len(names)), key=rank)
    counts = {part: max(1, round(len(names) * share)) for part, share in shares.items()}
    while sum(counts.values()) >= len(names):  # few pictures with large shares: leave one to train on
        counts[max(counts, key=lambda part: counts[part])] -= 1
    drawn, start = {}, 0
    for part, count in counts.items():
        drawn[part] = sorted(ranked[start : start + count])
        start += count
    drawn["train"] = sorted(ranked[start:])
    return drawn


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names))


def _shortened(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# One picture and its mask ----------------------------------------------------------------------


class _UnfitError(Exception):
    """A file that can be read but not used; the message says why."""


def _read_all(
    count: int, read: Callable[[int], Read | str], size: tuple[int, int], progress: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[set[int]]]:
    """What ``read`` gives for 0..count-1: pictures uint8 [N, 3, H, W], masks uint8 [N, H, W], values of each.

    Raises:
        DataError: with the first of the lines that ``read`` gave instead.
    """
    pictures, masks = np.empty((count, 3, *size), np.uint8), np.empty((count, *size), np.uint8)
    found: list[set[int]] = []
    complaint = "pictures or their masks can't be used. Repair, replace or delete them"
    for at, (picture, mask, values) in enumerate(_each_read(read, range(count), complaint, progress)):
        pictures[at], masks[at] = picture, mask
        found.append(values)
    return pictures, masks, found


def _read(
    image: Path,
    mask: Path,
    colours: _Colours | None,
    ignore_index: int | None,
    size: tuple[int, int],
    fit: Fit,
    background: int,
) -> Read | str:
    """One pair, or what is wrong with it in a line."""
    path = image
    try:
        with Image.open(image) as opened:
            stored = opened.size
            picture = _plain(ImageOps.exif_transpose(opened), background).convert("RGB")
        path = mask
        numbers = _numbers(mask, colours)
        found = set(np.flatnonzero(Image.fromarray(numbers).histogram()).tolist()) - {ignore_index}
        _check_same_size(numbers, picture, stored)
        if ignore_index is not None:
            numbers = np.where(numbers == ignore_index, np.uint8(IGNORE), numbers)
        return *_fitted(picture, numbers, size, fit, background), found
    except _UnfitError as problem:
        return f"{path}: {problem}"
    except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
        return f"{path}: {type(error).__name__}: {error}"


def _check_same_size(mask: NDArray[np.uint8], picture: Image.Image, stored: tuple[int, int]) -> None:
    height, width = mask.shape
    if (width, height) != picture.size:
        turned = ", as its EXIF orientation turns it; the mask was drawn on the unturned one"
        raise _UnfitError(
            f"the mask is {width} wide and {height} high, its picture {picture.width} and {picture.height}"
            + (turned if (width, height) == stored else "")
        )


def _numbers(path: Path, colours: _Colours | None) -> NDArray[np.uint8]:
    """What a mask stores, uint8 [H, W]: class numbers, before anything is ignored."""
    with Image.open(path) as opened:
        if opened.format in LOSSY:
            raise _UnfitError(f"a mask in {opened.format} has lost its exact colours; draw it again as PNG")
        mask = ImageOps.exif_transpose(opened)
        if colours is not None and mask.mode[0] not in "IF":
            return _looked_up(np.asarray(mask.convert("RGB"), np.int32), colours)
        if mask.mode in ("LA", "La"):
            mask = mask.convert("L")
        elif mask.mode == "PA":
            mask = mask.getchannel("P")
        levels = np.asarray(mask)
    if levels.ndim != 2 or levels.dtype.kind == "f" or colours is not None:
        wanted = "has no colours to look up in palette" if colours else "needs a palette to tell its classes"
        raise _UnfitError(f"a mask of mode {mask.mode} {wanted}")
    if levels.min() < 0 or levels.max() > 255:
        raise _UnfitError(f"holds values from {levels.min()} to {levels.max()}, where 0 to 255 is possible")
    return levels.astype(np.uint8)


def _looked_up(rgb: NDArray[np.int32], colours: _Colours) -> NDArray[np.uint8]:
    """int32 [H, W, 3] -> uint8 [H, W], the number that the palette has for each colour."""
    packed = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    at = np.searchsorted(colours.packed, packed).clip(max=len(colours.packed) - 1)
    strange = packed[colours.packed[at] != packed]
    if len(strange):
        kinds, counts = np.unique(strange, return_counts=True)
        common = [int(kinds[place]) for place in np.argsort(-counts)[:3]]
        told = ", ".join(str((code >> 16, code >> 8 & 255, code & 255)) for code in common)
        raise _UnfitError(
            f"{len(kinds)} colours on {len(strange) / packed.size:.1%} of the mask are not in palette, such as {told}"
        )
    return colours.numbers[at]


def _fitted(
    picture: Image.Image, mask: NDArray[np.uint8], size: tuple[int, int], fit: Fit, background: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB picture and uint8 [H, W] mask of its size -> uint8 [3, h, w] and uint8 [h, w], cut out alike."""
    inner_height, inner_width = size
    left, top, right, bottom = 0.0, 0.0, float(picture.width), float(picture.height)
    ratios = picture.width / size[1], picture.height / size[0]  # old pixels for a new one
    if fit == "crop":
        # Rounding must not lead outside the picture.
        spare_x = max(0.0, (picture.width - min(ratios) * size[1]) / 2)
        spare_y = max(0.0, (picture.height - min(ratios) * size[0]) / 2)
        left, top, right, bottom = left + spare_x, top + spare_y, right - spare_x, bottom - spare_y
    elif fit == "pad":
        inner_width = max(1, round(picture.width / max(ratios)))
        inner_height = max(1, round(picture.height / max(ratios)))
    # Pillow's bilinear filter widens as it shrinks, which is what antialiasing means.
    small = picture.resize((inner_width, inner_height), Image.Resampling.BILINEAR, (left, top, right, bottom))
    rows = (top + (np.arange(inner_height) + 0.5) * (bottom - top) / inner_height).astype(np.int64)
    columns = (left + (np.arange(inner_width) + 0.5) * (right - left) / inner_width).astype(np.int64)
    image = np.asarray(small, np.uint8).transpose(2, 0, 1)
    classes = mask[rows[:, None], columns]
    if (inner_height, inner_width) == size:
        return image, classes
    y, x = (size[0] - inner_height) // 2, (size[1] - inner_width) // 2
    middle = (slice(y, y + inner_height), slice(x, x + inner_width))
    padded, marked = np.full((3, *size), background, np.uint8), np.full(size, IGNORE, np.uint8)
    padded[(slice(None), *middle)], marked[middle] = image, classes
    return padded, marked


# Which classes there are -----------------------------------------------------------------------


def _names(classes: Sequence[str] | None, colours: _Colours | None, found: set[int]) -> tuple[str, ...]:
    """The names given, or "class 0" and so on where the numbers found leave no doubt how many there are."""
    if len(found) < 2:
        raise DataError(
            f"All masks together should hold at least two classes; found {sorted(found) or 'none'} and pixels to "
            "leave out. If 255 stands for a class here (black and white masks), pass "
            "palette={(0, 0, 0): 0, (255, 255, 255): 1}."
        )
    if classes is not None:
        return tuple(classes)
    known = found if colours is None or colours.named is None else colours.named
    gaps = sorted(set(range(max(known) + 1)) - known)
    if gaps or max(known) >= IGNORE:
        raise DataError(
            f"Masks with the values {_shortened([str(value) for value in sorted(known)], 10)} don't tell how many "
            "classes there are, since some number below the largest never occurs. Name the classes "
            "(classes=[...]), or map colours to classes (palette={...})."
        )
    return tuple(f"class {index}" for index in range(max(known) + 1))


def _check_values(
    classes: tuple[str, ...], masks: Sequence[Path], found: Sequence[set[int]], ignore_index: int | None
) -> None:
    strange = [
        f"{path}: {_shortened([str(value) for value in sorted(values) if value >= len(classes)])}"
        for path, values in zip(masks, found, strict=True)
        if max(values, default=0) >= len(classes)
    ]
    if strange:
        more = f"\n  and {len(strange) - 5} more" if len(strange) > 5 else ""
        raise DataError(
            f"{len(strange)} of {len(masks)} masks hold values that are neither one of the {len(classes)} classes "
            f"(0..{len(classes) - 1}) nor ignore_index ({ignore_index}):\n  "
            + "\n  ".join(strange[:5])
            + more
            + "\n"
            "Name more classes, set ignore_index, or map colours to classes (palette={...})."
        )
