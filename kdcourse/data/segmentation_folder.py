"""Your own images with a mask for each, as a SegmentationDataset in memory or in a memory-mapped cache."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kdcourse.data.decoding import (
    Depth,
    Fit,
    Levels,
    UnfitError,
    check_fit,
    checked_size,
    complaint,
    decode,
)
from kdcourse.data.listing import (
    ENDINGS,
    PARTS,
    SPLIT_NAMES,
    entries,
    folders,
    images_below,
    is_image,
    printable,
    shortened,
    warn_of_identical,
    warn_of_left_out,
)
from kdcourse.data.reading import Cache, Item, check_damaged, each, image_digest, read_all
from kdcourse.data.segmentation import IGNORE, MaskedSplit, SegmentationDataset
from kdcourse.data.splits import LeftOut
from kdcourse.errors import ArgumentError, DataError

LOSSY = ("AVIF", "JPEG", "JPEG2000", "MPO", "WEBP")  # formats that may change a colour, and with it a class

Palette = Mapping[tuple[int, int, int], int] | Literal["voc"]
Pair = tuple[Path, Path]  # an image and its mask


def segmentation_folder(
    images: str | os.PathLike[str],
    masks: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    palette: Palette | None = None,
    size: int | tuple[int, int] = 64,
    fit: Fit = "crop",
    background: int = 255,
    levels: Levels | None = None,
    ignore_index: int | None = 255,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    skip_damaged: bool = False,
    cache: bool | str | os.PathLike[str] = False,
    progress: bool = True,
) -> SegmentationDataset:
    """Read a folder of images and a folder of their masks.

    An image and its mask have one name, up to the ending, in folders of one name. Two layouts are understood::

        images/*.jpg    images/train/*.jpg         masks/train/*.png
        masks/*.png     images/validation/*.jpg    masks/validation/*.png   (or val, valid)
                        images/test/*.jpg          masks/test/*.png

    A split that is not given is drawn from the training images (or from all of them): of n images,
    ``round(n * share)`` but at least one. Only the SHA-256 of ``seed/NAME`` decides which, so the same folder
    gives the same splits on every machine, and a new image moves few others.

    **Files** are read, left out and reported as in `kdcourse.data.image_folder`, folders inside these included; so
    is ``cache``.

    **Images** become RGB: grey fills all three channels, more than 8 bits are scaled to 8, transparency is replaced
    by ``background``. They are turned as their EXIF orientation says; masks are taken to be drawn on the upright
    image.

    **Masks** have the size of their (upright) image. Without ``palette`` the stored number is the class: the
    index of an indexed PNG, whatever its colours, or the level of a grey one, also where it is stored as three equal
    channels. With ``palette`` the colour decides, in RGB, grey and indexed masks alike, so that black and white masks
    need ``palette={(0, 0, 0): 0, (255, 255, 255): 1}``. The alpha channel of a mask is ignored. Formats that change
    colours, such as JPEG and WebP, are refused.

    **Size**: "crop" cuts the largest part of the right proportions out of the middle, "pad" shrinks the whole
    and fills up with ``background``, marked `IGNORE` in the mask, and "stretch" ignores the proportions.
    Images are resampled bilinearly with antialiasing, masks take the nearest pixel, so no new class appears.

    Args:
        images: the folder of images.
        masks: the folder of masks.
        classes: name of each class, in the order of their numbers. Without it, they are called "class 0",
            "class 1" and so on, if the masks (or ``palette``) hold every number from 0 to the largest.
        palette: (red, green, blue) to class number, or ``ignore_index`` for colours to leave out; "voc" for
            the colours of PASCAL VOC and what imitates it, see `voc_colour`.
        size: height and width in pixels; one number for squares.
        fit: "crop", "pad" or "stretch".
        background: grey level 0 (black) to 255 (white) behind transparent and padded images.
        levels: stored values that become 0 and 255, in images with more than 8 bits per value; needed for
            floating-point and negative values.
        ignore_index: mask value of pixels to leave out, which becomes `IGNORE`; None if there is none.
        validation: part of the images that goes to validation, where that is not given.
        test: part of the images that goes to test, where that is not given.
        seed: another seed, another draw.
        skip_damaged: leave out pairs that can't be read or used, with a warning, instead of raising an error.
        cache: True to keep decoded images and masks in ``$KDCOURSE_CACHE`` or the user's cache folder, or another
            folder for them.
        progress: show a progress bar when reading takes more than a second.

    Returns:
        A SegmentationDataset with images uint8 [N, 3, H, W] and masks uint8 [N, H, W].

    Raises:
        ArgumentError: an argument outside what is accepted.
        DataError: no such folder, an image without a mask or a mask without an image, too few to split, files
            that can't be read, a mask of another size than its image, values or colours that are no class,
            fewer than two classes in all masks together, or too little memory or disk space.
    """
    target = checked_size(size)
    check_fit(fit, background, levels)
    shares = {"validation": validation, "test": test}
    if not all(0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise ArgumentError(
            f"validation and test must be parts above 0 with a sum below 1; found {validation!r} and {test!r}."
        )
    _check_ignore(ignore_index)
    _check_classes(classes)
    colours = None if palette is None else _Colours.of(palette, classes, ignore_index)
    left_out: list[LeftOut] = []
    roots = Path(images).expanduser(), Path(masks).expanduser()
    pairs = _collect(*roots, shares, seed, left_out)
    every = [pair for part in PARTS for pair in pairs[part]]
    depth = Depth([image for image, _ in every], each)

    def read(at: int) -> Item | str:
        return _read(*every[at], colours, ignore_index, target, fit, background, depth, levels)

    counts = [len(pairs[part]) for part in PARTS]
    settings = ("masks", target, fit, background, levels, ignore_index, counts, colours and colours.told())
    arrays, state = read_all(
        len(every),
        read,
        {"images": (3, *target), "masks": target, "values": (32,), "digests": (16,)},
        cache=Cache.of(cache, roots, [file for pair in every for file in pair], settings),
        what="images and masks",
        progress=progress,
    )
    check_damaged(state, "images or their masks", skip_damaged)
    kept = [at for at in range(len(every)) if at not in state.damaged]
    found = [_values(bits) for bits in np.asarray(arrays["values"])]
    names = _names(classes, colours, set().union(*found))
    _check_values(names, [every[at][1] for at in kept], found, ignore_index)
    parts = [part for part in PARTS for _ in pairs[part]]
    parts = [parts[at] for at in kept]
    splits = {}
    for part in PARTS:
        if part not in parts:
            raise DataError(
                f"Without the damaged files of {roots[0]} and {roots[1]}, {part} is empty. Replace some of them."
            )
        here = slice(parts.index(part), parts.index(part) + parts.count(part))
        splits[part] = MaskedSplit(arrays["images"][here], arrays["masks"][here])
    left_out += state.left_out([image for image, _ in every])
    warn_of_left_out(roots[0], left_out)
    warn_of_identical(roots[0], np.asarray(arrays["digests"]), parts, None, [every[at][0] for at in kept])
    folder = roots[0].resolve()
    return SegmentationDataset(
        printable(f"{folder.parent.name}/{folder.name}"),
        names,
        splits["train"],
        splits["validation"],
        splits["test"],
        left_out=tuple(left_out),
    )


def voc_colour(index: int) -> tuple[int, int, int]:
    """Return the colour (red, green, blue) that PASCAL VOC's masks have for a class, 0 to 255.

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
    """Hold a palette for look-ups: ``packed`` int32 [K], ascending, and ``numbers`` uint8 [K]."""

    packed: NDArray[np.int32]
    numbers: NDArray[np.uint8]
    named: frozenset[int] | None  # the classes that a palette of the caller's own promises

    def told(self) -> list[tuple[int, int]]:
        """Return every colour with its number."""
        return list(zip(self.packed.tolist(), self.numbers.tolist(), strict=True))

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


# Which image goes where ------------------------------------------------------------------------


def _collect(
    images: Path, masks: Path, shares: Mapping[str, float], seed: int, left_out: list[LeftOut]
) -> dict[str, list[Pair]]:
    """Return the pairs of train, validation and test."""
    for folder in (images, masks):
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise DataError(f"{folder} should be a folder of images or masks; it {what}. Check the path.")
    if images.resolve() == masks.resolve():
        raise DataError(f"Images and masks must lie in two folders; found both in {images}. Move the masks.")
    for outer, inner in ((images, masks), (masks, images)):
        if inner.resolve().is_relative_to(outer.resolve()):
            raise DataError(
                f"Neither images nor masks may lie inside the other; found {inner} inside {outer}. Move one beside it."
            )
    given, drawn = _given_splits(images), _given_splits(masks)
    if given.keys() != drawn.keys():
        raise DataError(
            f"Images and masks must have the same splits; {images} has {_listed(given) or 'none'} and {masks} "
            f"has {_listed(drawn) or 'none'}. Add or move folders until they agree."
        )
    if given and "train" not in given:
        raise DataError(f"{images} has {_listed(given)} but no train folder. Add one, or rename.")
    if not given:
        given, drawn = {"train": images}, {"train": masks}
    matched = {part: _matched(given[part], drawn[part], left_out) for part in given}
    missing = {part: shares[part] for part in PARTS if part not in matched}
    names, everything = list(matched["train"]), list(matched["train"].values())
    if len(names) <= len(missing):
        raise DataError(
            f"{given['train']} needs at least {len(missing) + 1} images, to have one each in train and "
            f"{' and '.join(missing)}; found {len(names)}. Add images, or make the split folders yourself."
        )
    return {part: list(pairs.values()) for part, pairs in matched.items()} | {
        part: [everything[at] for at in index] for part, index in draw(names, missing, seed).items()
    }


def _given_splits(folder: Path) -> dict[str, Path]:
    """Return the split folders inside ``folder``; none where it holds the files itself."""
    given: dict[str, Path] = {}
    others = []
    for entry in folders(folder):
        part = SPLIT_NAMES.get(entry.name.casefold())
        if part is None:
            others.append(entry.name)
        elif part in given:
            two = f"{given[part].name} and {entry.name}"
            raise DataError(f"{folder} has two folders for {part}: {two}. Rename or delete one.")
        else:
            given[part] = entry
    loose = [entry.name for entry in entries(folder) if is_image(entry) and entry.is_file()]
    if given and (others or loose):
        raise DataError(
            f"{folder} should hold either files or folders called train, validation and test; found "
            f"{shortened([*given, *others, *loose])}. Move what doesn't belong there."
        )
    return given


def _matched(images: Path, masks: Path, left_out: list[LeftOut]) -> dict[str, Pair]:
    """Return images and masks of one name, in its order."""
    found, drawn = _by_name(images, "images", left_out), _by_name(masks, "masks", left_out)
    lacking = [file.relative_to(images).as_posix() for name, file in found.items() if name not in drawn]
    extra = [file.relative_to(masks).as_posix() for name, file in drawn.items() if name not in found]
    if lacking or extra:
        raise DataError(
            "Every image needs a mask of the same name, up to the ending, and every mask an image.\n"
            f"  Images in {images} without a mask: {shortened(lacking) or 'none'}.\n"
            f"  Masks in {masks} without an image: {shortened(extra) or 'none'}.\n"
            "Rename, add or delete files until they agree."
        )
    return {name: (file, drawn[name]) for name, file in found.items()}


def _by_name(folder: Path, what: str, left_out: list[LeftOut]) -> dict[str, Path]:
    """Return the images below a folder by their path in it, without the ending."""
    found: dict[str, Path] = {}
    for file in images_below(folder, left_out):
        # macOS may hand out é as e + accent.
        name = unicodedata.normalize("NFC", file.relative_to(folder).with_suffix("").as_posix())
        if name in found:
            raise DataError(
                f"{folder} has two files called {printable(name)}: {printable(found[name].name)} and "
                f"{printable(file.name)}. Which one belongs to its partner can't be told: rename or delete one."
            )
        found[name] = file
    if not found:
        there = [entry.name for entry in entries(folder)]
        raise DataError(
            f"{folder} should hold {what} ({ENDINGS}); found "
            f"{shortened(there) or 'nothing'}. Put {what} right inside it."
        )
    return dict(sorted(found.items()))


def draw(names: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Return positions for each part named in ``shares``, and the rest as "train"; ascending, at least one each."""

    def rank(at: int) -> str:
        name = unicodedata.normalize("NFC", names[at])
        return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).hexdigest()

    ranked = sorted(range(len(names)), key=rank)
    counts = {part: max(1, round(len(names) * share)) for part, share in shares.items()}
    while sum(counts.values()) >= len(names):  # few images with large shares: leave one to train on
        counts[max(counts, key=lambda part: counts[part])] -= 1
    drawn, start = {}, 0
    for part, count in counts.items():
        drawn[part] = sorted(ranked[start : start + count])
        start += count
    drawn["train"] = sorted(ranked[start:])
    return drawn


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names))


# One image and its mask ------------------------------------------------------------------------


def _read(
    image: Path,
    mask: Path,
    colours: _Colours | None,
    ignore_index: int | None,
    size: tuple[int, int],
    fit: Fit,
    background: int,
    depth: Depth,
    levels: Levels | None,
) -> Item | str:
    """Return one pair, or in one line what is wrong with it."""
    path = image
    try:
        upright, stored, note = decode(image, background, depth, levels)
        path = mask
        numbers = _numbers(mask, colours)
        values = np.bincount(numbers.ravel(), minlength=256) > 0
        if ignore_index is not None:
            values[ignore_index] = False
        _check_same_size(numbers, upright, stored)
        if ignore_index is not None:
            numbers = np.where(numbers == ignore_index, np.uint8(IGNORE), numbers)
        small, classes = fitted(upright.convert("RGB"), numbers, size, fit, background)
        return Item(
            {
                "images": small,
                "masks": classes,
                "values": np.packbits(values),
                "digests": image_digest(small),
            },
            note,
        )
    except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
        return f"{printable(path)}: {complaint(path, error)}"


def _values(bits: NDArray[np.uint8]) -> set[int]:
    """Return the numbers whose bit is set, uint8 [32]: the classes in a mask before it was resized."""
    return set(np.flatnonzero(np.unpackbits(bits)).tolist())


def _check_same_size(mask: NDArray[np.uint8], image: Image.Image, stored: tuple[int, int]) -> None:
    height, width = mask.shape
    if (width, height) != image.size:
        turned = ", as its EXIF orientation turns it; the mask was drawn on the unturned one"
        raise UnfitError(
            f"the mask is {width} wide and {height} high, its image {image.width} and {image.height}"
            + (turned if (width, height) == stored else "")
        )


def _numbers(path: Path, colours: _Colours | None) -> NDArray[np.uint8]:
    """Return what a mask stores, uint8 [H, W]: class numbers, before anything is ignored."""
    with Image.open(path) as opened:
        if opened.format in LOSSY:
            raise UnfitError(f"a mask in {opened.format} has lost its exact colours; draw it again as PNG")
        mask = ImageOps.exif_transpose(opened)
        if colours is not None and mask.mode[0] not in "IF":
            return _looked_up(np.asarray(mask.convert("RGB"), np.int32), colours)
        if mask.mode in ("LA", "La"):
            mask = mask.convert("L")
        elif mask.mode == "PA":
            mask = mask.getchannel("P")
        levels = np.asarray(mask)
        if mask.mode in ("RGB", "RGBA") and (levels[..., :3] == levels[..., :1]).all():
            levels = levels[..., 0]  # numbers that were stored as three equal channels
        if mask.mode == "F" and colours is None and np.isin(levels, np.arange(256)).all():
            levels = levels.astype(np.int64)  # whole numbers that were stored as floating-point ones
    if levels.ndim != 2 or levels.dtype.kind == "f" or colours is not None:
        wanted = "has no colours to look up in palette" if colours else "needs a palette to tell its classes"
        if levels.dtype.kind == "f" and not colours:
            wanted = "holds values that are no whole numbers from 0 to 255; store one class number per pixel"
        raise UnfitError(f"a mask of mode {mask.mode} {wanted}")
    if levels.min() < 0 or levels.max() > 255:
        raise UnfitError(f"holds values from {levels.min()} to {levels.max()}, where 0 to 255 is possible")
    return levels.astype(np.uint8)


def _looked_up(rgb: NDArray[np.int32], colours: _Colours) -> NDArray[np.uint8]:
    """Look up the number of each colour in the palette: int32 [H, W, 3] -> uint8 [H, W]."""
    packed = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    at = np.searchsorted(colours.packed, packed).clip(max=len(colours.packed) - 1)
    strange = packed[colours.packed[at] != packed]
    if len(strange):
        kinds, counts = np.unique(strange, return_counts=True)
        common = [int(kinds[place]) for place in np.argsort(-counts)[:3]]
        told = ", ".join(str((code >> 16, code >> 8 & 255, code & 255)) for code in common)
        raise UnfitError(
            f"{len(kinds)} colours on {len(strange) / packed.size:.1%} of the mask are not in palette, such as {told}"
        )
    return colours.numbers[at]


def fitted(
    image: Image.Image, mask: NDArray[np.uint8], size: tuple[int, int], fit: Fit, background: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Resize an RGB image and its mask uint8 [H, W] alike: -> uint8 [3, h, w] and uint8 [h, w]."""
    inner_height, inner_width = size
    left, top, right, bottom = 0.0, 0.0, float(image.width), float(image.height)
    ratios = image.width / size[1], image.height / size[0]  # old pixels for a new one
    if fit == "crop":
        # Rounding must not lead outside the image.
        spare_x = max(0.0, (image.width - min(ratios) * size[1]) / 2)
        spare_y = max(0.0, (image.height - min(ratios) * size[0]) / 2)
        left, top, right, bottom = left + spare_x, top + spare_y, right - spare_x, bottom - spare_y
    elif fit == "pad":
        inner_width = max(1, round(image.width / max(ratios)))
        inner_height = max(1, round(image.height / max(ratios)))
    # Pillow's bilinear filter widens as it shrinks, which is what antialiasing means.
    small = image.resize((inner_width, inner_height), Image.Resampling.BILINEAR, (left, top, right, bottom))
    rows = (top + (np.arange(inner_height) + 0.5) * (bottom - top) / inner_height).astype(np.int64)
    columns = (left + (np.arange(inner_width) + 0.5) * (right - left) / inner_width).astype(np.int64)
    resized = np.asarray(small, np.uint8).transpose(2, 0, 1)
    classes = mask[rows[:, None], columns]
    if (inner_height, inner_width) == size:
        return resized, classes
    y, x = (size[0] - inner_height) // 2, (size[1] - inner_width) // 2
    middle = (slice(y, y + inner_height), slice(x, x + inner_width))
    padded, marked = np.full((3, *size), background, np.uint8), np.full(size, IGNORE, np.uint8)
    padded[(slice(None), *middle)], marked[middle] = resized, classes
    return padded, marked


# Which classes there are -----------------------------------------------------------------------


def _names(classes: Sequence[str] | None, colours: _Colours | None, found: set[int]) -> tuple[str, ...]:
    """Return the names given, or "class 0" and so on where the numbers found say how many there are."""
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
            f"Masks with the values {shortened([str(value) for value in sorted(known)], 10)} don't tell how many "
            "classes there are, since some number below the largest never occurs. Name the classes "
            "(classes=[...]), or map colours to classes (palette={...})."
        )
    return tuple(f"class {index}" for index in range(max(known) + 1))


def _check_values(
    classes: tuple[str, ...], masks: Sequence[Path], found: Sequence[set[int]], ignore_index: int | None
) -> None:
    strange = [
        f"{path}: {shortened([str(value) for value in sorted(values) if value >= len(classes)])}"
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
