"""Which files of a folder are images, and a summary of what is left out and why."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdcourse.data.decoding import image_endings
from kdcourse.data.splits import LeftOut
from kdcourse.errors import DataError, DataWarning

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
ENDINGS = ".png, .jpg, .tif or another ending that Pillow reads"
PARTS = ("train", "validation", "test")

_HIDDEN = (
    ".",
    "__MACOSX",
    "__pycache__",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
)
# What lies beside images and is none: nobody misses these in a data set.
_NO_IMAGES = {
    *(
        ".txt",
        ".md",
        ".rst",
        ".pdf",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
    ),
    *(".html", ".htm", ".log", ".py", ".ipynb", ".sh", ".db", ".lock"),
}


def folders(folder: Path) -> list[Path]:
    """Return the folders inside a folder, sorted."""
    return [entry for entry in entries(folder) if entry.is_dir()]


def entries(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted, without hidden files and what operating systems and disk stations add.

    Raises:
        DataError: a folder that can't be read.
    """
    try:
        found = [entry for entry in folder.iterdir() if not entry.name.startswith(_HIDDEN)]
    except OSError as error:
        raise DataError(f"The folder {folder} can't be read: {error}. Check its permissions.") from error
    return sorted(found, key=lambda entry: entry.name)  # paths themselves compare otherwise on Windows


def holds_images(folder: Path) -> bool:
    """Return whether an image lies right inside the folder."""
    return any(is_image(entry) for entry in entries(folder) if not entry.is_dir())


def is_image(file: Path) -> bool:
    """Return whether a file's ending is one of an image that Pillow decodes."""
    return file.suffix.lower() in image_endings()


def images_below(folder: Path, left_out: list[LeftOut]) -> list[Path]:
    """Return the images in a folder and in all folders inside it, each folder's in the order of names.

    Files that might be wanted but aren't images are added to ``left_out``.
    """
    found = []
    for file in _files_below(folder, (), left_out):
        if is_image(file):
            found.append(file)
        else:
            note_left_out(file, left_out)
    return found


def note_left_out(file: Path, left_out: list[LeftOut]) -> None:
    """Add a file that is no image to ``left_out``, unless it is one that nobody expects to be read."""
    ending = file.suffix.lower()
    if ending not in _NO_IMAGES:
        what = f"files that end in {ending}" if ending else "files without an ending"
        left_out.append(LeftOut(file, f"{what} can't be read by Pillow here"))


def _files_below(folder: Path, above: tuple[tuple[int, int], ...], left_out: list[LeftOut]) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        left_out.append(LeftOut(folder, "a link to a folder that holds it"))
        return
    inner = []
    for entry in entries(folder):
        if entry.is_dir():
            inner.append(entry)
        else:
            yield entry
    for entry in inner:
        yield from _files_below(entry, (*above, here), left_out)


def printable(name: str | os.PathLike[str]) -> str:
    """Return a name that can be printed and stored: accents composed, bytes that aren't UTF-8 escaped."""
    # macOS may hand out é as e + accent.
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def shortened(names: Sequence[str], most: int = 5) -> str:
    """Join the first few names, and say how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _below(root: Path, path: Path) -> str:
    return printable(path.relative_to(root) if path.is_relative_to(root) else path)


def warn_of_left_out(root: Path, left_out: Sequence[LeftOut]) -> None:
    """Warn once of all that was left out, grouped by reason, on behalf of whoever called the caller."""
    if not left_out:
        return
    groups: dict[str, list[str]] = {}
    for each in left_out:
        groups.setdefault(each.reason.split(":")[0], []).append(_below(root, each.path))
    lines = [f"  {len(names)}, {reason}: {shortened(names)}" for reason, names in groups.items()]
    warnings.warn(
        f"{len(left_out)} files or folders of {printable(root)} were left out, in whole or in part (`left_out` of "
        "the data set lists all of them):\n" + "\n".join(lines),
        DataWarning,
        stacklevel=3,
    )


def warn_of_identical(
    root: Path,
    digests: NDArray[np.uint8],
    parts: Sequence[str],
    labels: Sequence[int] | None,
    files: Sequence[Path],
    advice: str = "Delete all but one of each.",
) -> None:
    """Warn once of identical images in two splits, and in two classes.

    Args:
        root: folder that all files are below.
        digests: uint8 [N, 16], equal where images are.
        parts: split of each image.
        labels: class of each image; None where images have no class.
        files: file of each image.
        advice: what to do about them.
    """
    first: dict[bytes, list[int]] = {}
    for at, digest in enumerate(digests):
        first.setdefault(digest.tobytes(), []).append(at)
    shared: dict[tuple[str, str], list[str]] = {}
    contradictory = []
    for same in first.values():
        if len(same) < 2:
            continue
        for a, b in (("train", "test"), ("train", "validation"), ("validation", "test")):
            one = next((at for at in same if parts[at] == a), None)
            others = [at for at in same if parts[at] == b]
            if one is not None:
                shared.setdefault((a, b), []).extend(
                    f"{_below(root, files[at])} = {_below(root, files[one])}" for at in others
                )
        if labels is not None:
            other = next((at for at in same if labels[at] != labels[same[0]]), None)
            if other is not None:
                contradictory.append(f"{_below(root, files[other])} = {_below(root, files[same[0]])}")
    lines = [
        f"  {len(pairs)} images of {b} are also in {a}: {shortened(pairs, 3)}"
        for (a, b), pairs in shared.items()
        if pairs
    ]
    if contradictory:
        lines.append(f"  {len(contradictory)} images are in two classes: {shortened(contradictory, 3)}")
    if lines:
        warnings.warn(
            "Identical images (equal pixels at the size that was read) make results look better than they are, or "
            "contradict each other:\n" + "\n".join(lines) + f"\n{advice}",
            DataWarning,
            stacklevel=3,
        )
