"""Your own images, one folder per class, as a Dataset in memory or in a memory-mapped cache."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from kdcourse.data.decoding import (
    Depth,
    Fit,
    Levels,
    check_fit,
    checked_size,
    complaint,
    decode,
    resized,
)
from kdcourse.data.listing import (
    ENDINGS,
    PARTS,
    SPLIT_NAMES,
    entries,
    folders,
    holds_images,
    images_below,
    is_image,
    note_left_out,
    printable,
    shortened,
    warn_of_identical,
    warn_of_left_out,
)
from kdcourse.data.reading import Cache, Item, check_damaged, each, image_digest, read_all
from kdcourse.data.splits import Dataset, LeftOut, Split
from kdcourse.errors import ArgumentError, DataError

Members = dict[str, list[list[Path]]]  # of each split, the files of each class


def image_folder(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] = 28,
    channels: int | None = None,
    *,
    fit: Fit = "crop",
    background: int = 255,
    levels: Levels | None = None,
    fractions: tuple[float, float] = (0.1, 0.1),
    skip_damaged: bool = False,
    cache: bool | str | os.PathLike[str] = False,
    progress: bool = True,
) -> Dataset:
    """Read a folder of images, one subfolder per class; classes are named and sorted by their folders.

    Two layouts are understood::

        path/train/CLASS/*.png        path/CLASS/*.png
        path/validation/CLASS/*.png   (or val, valid)
        path/test/CLASS/*.png

    A split that the folder lacks is drawn from its training images (or from all of them), class by class: of n
    images, ``round(n * fraction)`` but at least one for each missing split. Only the SHA-256 of ``CLASS/file name``
    decides which, so the same folder gives the same splits on every machine, and a new image moves few others.

    **Files.** Every format that the installed Pillow decodes is read: PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, AVIF and
    more; of an animation or a file with several pages, the first frame. Folders inside a class folder are read too.
    A warning lists what was left out, and so does ``left_out`` of the data set; hidden files and side files such as
    README.txt or Thumbs.db are ignored. Another warning lists identical images in two splits or in two classes.

    **Pixels.** Images are turned as their EXIF orientation says, and transparency is replaced by ``background``.
    Of more than 8 bits per value, the largest value in all files decides whether 8, 10, 12, 14 or 16 bits are
    scaled to 0..255, the same for every file.

    **Cache.** With ``cache``, each file is decoded once and stored on disk in its final size, and the splits hold
    memory-mapped tensors, so that the folder may be larger than memory. An interrupted call is resumed by the
    next one, several processes may ask for the same cache, and it is made anew where a file or a setting changes.
    It takes N * channels * H * W bytes; delete its folder when you no longer need it.

    Args:
        path: the folder.
        size: height and width in pixels; one number for squares.
        channels: 1 for grey, 3 for colour, None for grey if every pixel of every image is grey.
        fit: how an image of other proportions gets to ``size``: "crop" its middle, "pad" it with ``background``,
            or "stretch" it.
        background: grey level 0 (black) to 255 (white) behind transparent and padded images.
        levels: stored values that become 0 and 255, in files with more than 8 bits per value; needed for
            floating-point and negative values.
        fractions: part of a class that goes to validation and to test, where those are not given.
        skip_damaged: leave out files that can't be read, with a warning, instead of raising an error.
        cache: True to keep decoded images in ``$KDCOURSE_CACHE`` or the user's cache folder, or another folder for
            them.
        progress: show a progress bar when reading takes more than a second.

    Returns:
        A Dataset with images uint8 [N, channels, H, W].

    Raises:
        ArgumentError: an argument outside what is accepted.
        DataError: no such folder, fewer than two classes, an empty class, two classes of one name, a class with
            too few images to split, splits whose classes differ, an image that can't be read, or too little memory
            or disk space.
    """
    height, width = checked_size(size)
    if channels not in (None, 1, 3):
        raise ArgumentError(
            f"channels must be 1 (grey), 3 (colour) or None (what they are); found {channels!r}."
        )
    check_fit(fit, background, levels)
    if len(fractions) != 2 or min(fractions) <= 0 or sum(fractions) >= 1:
        raise ArgumentError(
            "fractions must be two numbers above 0, for validation and for test, with a sum below 1; "
            f"found {fractions!r}."
        )
    root = Path(path).expanduser()
    left_out: list[LeftOut] = []
    classes, members = _collect(root, fractions, left_out)
    listed = [
        (file, part, label) for part in PARTS for label, files in enumerate(members[part]) for file in files
    ]
    paths = [file for file, _, _ in listed]
    depth = Depth(paths, each)

    def read(at: int) -> Item | str:
        try:
            # Decoded at twice the needed size, a JPEG shows no trace of that.
            image, _, note = decode(paths[at], background, depth, levels, least=2 * max(height, width))
            array = resized(image, (height, width), channels, fit, background)
            return Item({"images": array, "digests": image_digest(array)}, note)
        except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
            return f"{printable(paths[at])}: {complaint(paths[at], error)}"

    settings = (
        "images",
        height,
        width,
        channels,
        fit,
        background,
        levels,
        [at[1:] for at in listed],
        classes,
    )
    arrays, state = read_all(
        len(paths),
        read,
        {"images": (channels or 1, height, width), "digests": (16,)},
        cache=Cache.of(cache, [root], paths, settings),
        what="images",
        progress=progress,
    )
    check_damaged(state, "images", skip_damaged)
    kept = [at for at in range(len(paths)) if at not in state.damaged]
    labels = torch.tensor([listed[at][2] for at in kept])
    parts = [listed[at][1] for at in kept]
    splits = {}
    for part in PARTS:
        here = slice(parts.index(part), parts.index(part) + parts.count(part)) if part in parts else slice(0)
        _check_left(root, part, classes, labels[here], bool(state.damaged))
        splits[part] = Split(arrays["images"][here], labels[here])
    left_out += state.left_out(paths)
    warn_of_left_out(root, left_out)
    warn_of_identical(root, np.asarray(arrays["digests"]), parts, labels.tolist(), [paths[at] for at in kept])
    return Dataset(
        printable(root.resolve().name),
        classes,
        splits["train"],
        splits["validation"],
        splits["test"],
        left_out=tuple(left_out),
    )


def _check_left(
    root: Path, part: str, classes: Sequence[str], labels: torch.Tensor, some_damaged: bool
) -> None:
    """Raise DataError where damaged files left a split without images, or training without a class."""
    if not some_damaged:
        return
    lacking = [name for at, name in enumerate(classes) if at not in labels] if part == "train" else []
    if lacking or not len(labels):
        what = f"no image of {shortened(lacking)} is left in train" if lacking else f"{part} is empty"
        raise DataError(
            f"Without the damaged files of {printable(root)}, {what}. Replace files, or delete the class folder."
        )


# Which image goes where --------------------------------------------------------------------


def _collect(
    root: Path, fractions: tuple[float, float], left_out: list[LeftOut]
) -> tuple[tuple[str, ...], Members]:
    """Return class names, and for train, validation and test the files of each class."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} should be a folder with one subfolder per class; it {what}. Check the path.")
    given = _given_splits(root)
    for loose in [root, *given.values()] if given else [root]:
        for file in entries(loose):
            if not file.is_dir() and is_image(file):
                left_out.append(LeftOut(file, "in no class folder"))
            elif not file.is_dir():
                note_left_out(file, left_out)
    found = {part: _classes(folder, left_out) for part, folder in (given or {"train": root}).items()}
    classes = tuple(found["train"])
    for part, by_class in found.items():
        if tuple(by_class) != classes:
            lacking = sorted(set(classes) - set(by_class))
            extra = sorted(set(by_class) - set(classes))
            raise DataError(
                f"Every split of {root} must have the same classes; {part} lacks {lacking or 'none'} of "
                f"those of train and has {extra or 'none'} besides. Rename, add or delete class folders "
                "until they agree."
            )
    if len(classes) < 2:
        raise DataError(
            f"{root} should hold at least two classes, one subfolder each; found {list(classes) or 'none'}. "
            "Put the images of each class in a folder that bears its name."
        )
    members: Members = {
        part: [[file for _, file in by_class[name]] for name in classes] for part, by_class in found.items()
    }
    missing = [part for part in ("validation", "test") if part not in members]
    if missing:
        share = dict(zip(("validation", "test"), fractions, strict=True))
        members = _draw(root, found["train"], members, {part: share[part] for part in missing})
    return classes, {part: members[part] for part in PARTS}


def _given_splits(root: Path) -> dict[str, Path]:
    """Return the folders of the splits; none where the subfolders of ``root`` are classes.

    A folder named like a split holds folders if it is one, and images if it is a class that
    happens to have that name (trains among cars and ships).
    """
    inside = folders(root)
    all_named = all(folder.name.casefold() in SPLIT_NAMES for folder in inside)
    given: dict[str, Path] = {}
    others = []
    for folder in inside:
        part = SPLIT_NAMES.get(folder.name.casefold())
        if part is None or not folders(folder) or (holds_images(folder) and not all_named):
            others.append(folder.name)
        elif part in given:
            two = f"{given[part].name} and {folder.name}"
            raise DataError(f"{root} has two folders for {part}: {two}. Rename or delete one.")
        else:
            given[part] = folder
    if not given:
        return {}
    if "train" not in given:
        raise DataError(f"{root} has {', '.join(sorted(given))} but no train folder. Add one, or rename.")
    if others:
        raise DataError(
            f"{root} should hold either splits or classes; found the splits {', '.join(given)} beside "
            f"{others}. Move those elsewhere, or delete them."
        )
    return given


def _classes(folder: Path, left_out: list[LeftOut]) -> dict[str, list[tuple[str, Path]]]:
    """Return name and file of each image of each class, both sorted; the name is the path inside the class folder."""
    found: dict[str, list[tuple[str, Path]]] = {}
    sources: dict[str, Path] = {}
    inside = folders(folder)
    if inside and not any(holds_images(entry) for entry in inside):
        deeper = [entry for entry in inside if any(holds_images(below) for below in folders(entry))]
        if deeper:
            raise DataError(
                f"No class folder of {folder} holds images itself, but folders inside {deeper[0]} do. If those are "
                "the classes, pass that folder, or call the folders of splits train, validation and test; if not, "
                "put images right inside the class folders."
            )
    for entry in inside:
        name = printable(entry.name)
        if name in found:
            raise DataError(
                f"{folder} has two folders for the class {name}: {sources[name].name!a} and "
                f"{entry.name!a}, the same letters in two Unicode spellings. Merge or rename one."
            )
        sources[name] = entry
        found[name] = [(file.relative_to(entry).as_posix(), file) for file in images_below(entry, left_out)]
        if not found[name]:
            others = [file.name for file in entries(entry)[:5]]
            raise DataError(
                f"The class folder {printable(entry)} should hold images ({ENDINGS}); found "
                f"{others or 'nothing'}. Put images right inside it, or delete it."
            )
    return dict(sorted(found.items()))


def _draw(
    root: Path, found: dict[str, list[tuple[str, Path]]], members: Members, shares: dict[str, float]
) -> Members:
    """Draw the splits named in ``shares`` from the training images of each class."""
    small = [f"{name!r} has {len(files)}" for name, files in found.items() if len(files) <= len(shares)]
    if small:
        raise DataError(
            f"{root} needs at least {len(shares) + 1} images per class, to have one each in train and "
            f"{' and '.join(shares)}; found too few: {', '.join(small[:5])}. Add images, delete the class, "
            "or make train, validation and test folders yourself."
        )
    drawn: Members = {**members, "train": [], **{part: [] for part in shares}}
    for name, files in found.items():
        place = {file: at for at, (_, file) in enumerate(files)}
        ranked = [file for _, file in sorted(files, key=lambda each: _rank(name, each[0]))]
        counts = {part: max(1, round(len(files) * share)) for part, share in shares.items()}
        while sum(counts.values()) >= len(files):  # tiny classes with large shares: leave one to train on
            counts[max(counts, key=lambda part: counts[part])] -= 1
        start = 0
        for part, count in counts.items():
            drawn[part].append(sorted(ranked[start : start + count], key=place.__getitem__))
            start += count
        drawn["train"].append(sorted(ranked[start:], key=place.__getitem__))
    return drawn


def _rank(class_name: str, file_name: str) -> str:
    name = unicodedata.normalize("NFC", f"{class_name}/{file_name}")
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
