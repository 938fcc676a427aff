"""Your own pictures, one folder a class, as a Dataset in memory."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from kdcourse.data.splits import Dataset, Split
from kdcourse.errors import ArgumentError, DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}

Fit = Literal["crop", "pad", "stretch"]

Asked = TypeVar("Asked")
Result = TypeVar("Result")


def image_folder(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] = 28,
    channels: int | None = None,
    *,
    fit: Fit = "crop",
    background: int = 255,
    fractions: tuple[float, float] = (0.1, 0.1),
    progress: bool = True,
) -> Dataset:
    """Read a folder of pictures into memory, one class a subfolder, named and ordered by those.

    Either layout will do::

        path/train/CLASS/*.png        path/CLASS/*.png
        path/validation/CLASS/*.png   (or val, valid)
        path/test/CLASS/*.png

    A split that the folder lacks is drawn from its training pictures (or from all of them),
    class by class: of n pictures, ``round(n * fraction)`` but at least one for each missing
    split. Which ones is settled by the SHA-256 of ``CLASS/file name`` alone, so that the same
    folder gives the same splits on every machine, and a new picture moves few others.

    PNG, JPEG, BMP, WebP and the first frame of GIF are read; hidden files and files of other
    kinds are ignored. Pictures are turned as their EXIF orientation says, 16-bit grey is scaled
    to 8 bits and transparency is laid on ``background``.

    Args:
        path: the folder.
        size: height and width in pixels; one number for squares.
        channels: 1 for grey, 3 for colour, None for grey if every pixel of every picture is grey.
        fit: how a picture of other proportions gets to ``size``: "crop" its middle, "pad" it with
            ``background``, or "stretch" it.
        background: grey level 0 (black) to 255 (white) behind transparent and padded pictures.
        fractions: part of a class that goes to validation and to test, where those are not given.
        progress: show a progress bar when reading takes more than a second.

    Returns:
        A Dataset with images uint8 [N, channels, H, W].

    Raises:
        ArgumentError: an argument outside what is accepted.
        DataError: no such folder, fewer than two classes, an empty class, a class with too few
            pictures to split, splits whose classes differ, or a picture that can't be read.
    """
    height, width = _checked_size(size)
    if channels not in (None, 1, 3):
        raise ArgumentError(
            f"channels must be 1 (grey), 3 (colour) or None (what they are); found {channels!r}."
        )
    if fit not in ("crop", "pad", "stretch"):
        raise ArgumentError(f"fit must be 'crop', 'pad' or 'stretch'; found {fit!r}.")
    if not 0 <= background <= 255:
        raise ArgumentError(f"background must be a grey level from 0 to 255; found {background!r}.")
    if len(fractions) != 2 or min(fractions) <= 0 or sum(fractions) >= 1:
        raise ArgumentError(
            "fractions must be two numbers above 0, for validation and for test, with a sum below 1; "
            f"found {fractions!r}."
        )
    root = Path(path).expanduser()
    classes, members = _collect(root, fractions)
    paths = [file for split in members.values() for files in split for file in files]
    pictures = _read_all(paths, (height, width), channels, fit, background, progress)
    splits, start = {}, 0
    for part, split in members.items():
        counts = [len(files) for files in split]
        images = torch.from_numpy(pictures[start : start + sum(counts)])
        splits[part] = Split(images, torch.repeat_interleave(torch.tensor(counts)))
        start += sum(counts)
    return Dataset(root.resolve().name, classes, splits["train"], splits["validation"], splits["test"])


def _checked_size(size: int | tuple[int, int]) -> tuple[int, int]:
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):  # True is no size
        raise ArgumentError(
            f"size must be pixels, a whole number above 0, or (height, width); found {size!r}."
        )
    return pair[0], pair[1]


# Which picture goes where --------------------------------------------------------------------


def _collect(
    root: Path, fractions: tuple[float, float]
) -> tuple[tuple[str, ...], dict[str, list[list[Path]]]]:
    """Class names, and for train, validation and test the files of each class."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} should be a folder with one subfolder a class; it {what}. Check the path.")
    given = _given_splits(root)
    found = {part: _classes(folder) for part, folder in (given or {"train": root}).items()}
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
            "Put the pictures of each class in a folder that bears its name."
        )
    members = {part: [by_class[name] for name in classes] for part, by_class in found.items()}
    missing = [part for part in ("validation", "test") if part not in members]
    if missing:
        share = dict(zip(("validation", "test"), fractions, strict=True))
        members = _draw(root, classes, members, {part: share[part] for part in missing})
    return classes, {part: members[part] for part in ("train", "validation", "test")}


def _given_splits(root: Path) -> dict[str, Path] | None:
    """The folders of the splits, or None where the subfolders of ``root`` are classes.

    A folder named like a split holds folders if it is one, and pictures if it is a class that
    happens to have that name (trains among cars and ships).
    """
    given: dict[str, Path] = {}
    others = []
    for folder in _folders(root):
        part = SPLIT_NAMES.get(folder.name.casefold())
        if part is None or not _folders(folder):
            others.append(folder.name)
        elif part in given:
            two = f"{given[part].name} and {folder.name}"
            raise DataError(f"{root} has two folders for {part}: {two}. Rename or delete one.")
        else:
            given[part] = folder
    if not given:
        return None
    if "train" not in given:
        raise DataError(f"{root} has {', '.join(sorted(given))} but no train folder. Add one, or rename.")
    if others:
        raise DataError(
            f"{root} should hold either splits or classes; found the splits {', '.join(given)} beside "
            f"{others}. Move those elsewhere, or delete them."
        )
    return given


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Files of each class folder, both in the order of their names."""
    found = {}
    for entry in _folders(folder):
        name = unicodedata.normalize("NFC", entry.name)  # macOS may hand out é as e + accent
        files = _entries(entry)
        found[name] = [file for file in files if file.suffix.lower() in SUFFIXES and not file.is_dir()]
        if not found[name]:
            others = [file.name for file in files[:5]]
            raise DataError(
                f"The class folder {entry} should hold pictures ({', '.join(SUFFIXES)}); found "
                f"{others or 'nothing'}. Put pictures right inside it, or delete it."
            )
    return dict(sorted(found.items()))


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted, but for hidden files and what unzipping on macOS adds."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    except OSError as error:
        raise DataError(f"The folder {folder} can't be read: {error}. Check its permissions.") from error
    return sorted(entries, key=lambda entry: entry.name)  # paths themselves compare otherwise on Windows


def _draw(
    root: Path, classes: tuple[str, ...], members: dict[str, list[list[Path]]], shares: dict[str, float]
) -> dict[str, list[list[Path]]]:
    """Draw the splits named in ``shares`` from the training pictures of each class."""
    counted = zip(classes, map(len, members["train"]), strict=True)
    small = [f"{name!r} has {count}" for name, count in counted if count <= len(shares)]
    if small:
        raise DataError(
            f"{root} needs at least {len(shares) + 1} pictures a class, to have one each in train and "
            f"{' and '.join(shares)}; found too few: {', '.join(small[:5])}. Add pictures, delete the class, "
            "or make train, validation and test folders yourself."
        )
    drawn: dict[str, list[list[Path]]] = {**members, "train": [], **{part: [] for part in shares}}
    for name, files in zip(classes, members["train"], strict=True):
        ranked = sorted(files, key=lambda file: _rank(name, file.name))
        counts = {part: max(1, round(len(files) * share)) for part, share in shares.items()}
        while sum(counts.values()) >= len(files):  # tiny classes with large shares: leave one to train on
            counts[max(counts, key=lambda part: counts[part])] -= 1
        start = 0
        for part, count in counts.items():
            drawn[part].append(sorted(ranked[start : start + count]))
            start += count
        drawn["train"].append(sorted(ranked[start:]))
    return drawn


def _rank(class_name: str, file_name: str) -> str:
    return hashlib.sha256(unicodedata.normalize("NFC", f"{class_name}/{file_name}").encode()).hexdigest()


# One picture ---------------------------------------------------------------------------------


def _read_all(
    paths: Sequence[Path],
    size: tuple[int, int],
    channels: int | None,
    fit: Fit,
    background: int,
    progress: bool,
) -> NDArray[np.uint8]:
    """All pictures as uint8 [N, C, H, W]."""

    def read(path: Path) -> NDArray[np.uint8] | str:
        try:
            return _read(path, size, channels, fit, background)
        except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
            return f"{path}: {type(error).__name__}: {error}"

    pictures = list(_each_read(read, paths, "pictures can't be read. Replace or delete them", progress))
    depth = max(len(picture) for picture in pictures)
    stacked = np.empty((len(pictures), depth, *size), np.uint8)
    for at, picture in enumerate(pictures):
        stacked[at] = picture  # a grey one fills all three channels of a set that has colour
    return stacked


def _each_read(
    read: Callable[[Asked], Result | str], files: Sequence[Asked], complaint: str, progress: bool
) -> Iterator[Result]:
    """What ``read`` makes of each file, in order and several at a time; a line of text from it says what is wrong.

    Raises:
        DataError: after the last one, with how many were wrong, the complaint and the first of the lines.
    """
    broken = []
    # Pillow lets other threads run while it decodes and resizes.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        bar = tqdm(total=len(files), desc="Reading pictures", unit="picture", delay=1, disable=not progress)
        with bar:
            for result in pool.map(read, files):
                if isinstance(result, str):
                    broken.append(result)
                else:
                    yield result
                bar.update()
    if broken:
        more = f"\n  and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise DataError(f"{len(broken)} of {len(files)} {complaint}:\n  " + "\n  ".join(broken[:5]) + more)


def _read(
    path: Path, size: tuple[int, int], channels: int | None, fit: Fit, background: int
) -> NDArray[np.uint8]:
    """One picture as uint8 [1 or 3, H, W]; 1 where ``channels`` says so or leaves it open and all is grey."""
    height, width = size
    with Image.open(path) as opened:
        # JPEG can decode at 1/2, 1/4 or 1/8 for free; twice what is needed leaves no trace of that.
        opened.draft(None, (2 * max(size), 2 * max(size)))
        picture = _plain(ImageOps.exif_transpose(opened), background)
    if channels == 1:
        picture = picture.convert("L")
    elif channels == 3:
        picture = picture.convert("RGB")
    resample = Image.Resampling.BICUBIC
    if fit == "crop":
        picture = ImageOps.fit(picture, (width, height), resample)
    elif fit == "pad":
        colour = background if picture.mode == "L" else (background,) * 3
        picture = ImageOps.pad(picture, (width, height), resample, color=colour)
    else:
        picture = picture.resize((width, height), resample)
    values = np.asarray(picture, np.uint8)
    if values.ndim == 2:
        return values[None]
    if channels is None and (values == values[..., :1]).all():
        return values[None, ..., 0]
    return values.transpose(2, 0, 1)


def _plain(picture: Image.Image, background: int) -> Image.Image:
    """Any mode of Pillow's to "L" or "RGB"."""
    if picture.mode.startswith("I"):  # 16-bit grey, in one of the modes that Pillow's versions give it
        values = np.asarray(picture).astype(np.float64)
        return Image.fromarray(np.clip(np.rint(values / 257), 0, 255).astype(np.uint8))
    if "transparency" in picture.info or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        picture = picture.convert("RGBA")
        backdrop = Image.new("RGBA", picture.size, (background, background, background, 255))
        return Image.alpha_composite(backdrop, picture).convert("RGB")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
