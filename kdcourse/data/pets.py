"""Photographs of cats and dogs with a mask for each: Oxford-IIIT Pet, found, checked, split, in memory.

Omkar M. Parkhi, Andrea Vedaldi, Andrew Zisserman, C. V. Jawahar 2012, 'Cats and Dogs', IEEE Conference on
Computer Vision and Pattern Recognition. https://www.robots.ox.ac.uk/~vgg/data/pets/, licence CC BY-SA 4.0.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from kdcourse.data.decoding import Fit, UnfitError, check_fit, checked_size, complaint
from kdcourse.data.download import download as fetch
from kdcourse.data.fashion import cache_folder
from kdcourse.data.listing import PARTS, shortened, warn_of_identical, warn_of_left_out
from kdcourse.data.reading import Item, check_damaged, image_digest, read_all
from kdcourse.data.segmentation import IGNORE, MaskedSplit, SegmentationDataset
from kdcourse.data.segmentation_folder import draw, fitted
from kdcourse.data.splits import LeftOut
from kdcourse.errors import ArgumentError, DataError
from kdcourse.files import write_atomically

CLASSES = ("background", "pet", "border")
FOLDER = "oxford-iiit-pet"  # below its root, as torchvision has it
LISTS = ("trainval", "test")  # the published division, 3,680 and 3,669 images
BACKGROUND = 255  # grey level around padded images
RECIPE = 1  # raised whenever the same files would give other tensors than before


@dataclass(frozen=True)
class Archive:
    """Describe one published archive: the folder it unpacks to, its addresses and its digest."""

    folder: str
    urls: tuple[str, ...]
    md5: str

    @property
    def name(self) -> str:
        """Return the name of the archive as published."""
        return f"{self.folder}.tar.gz"


# Addresses and MD5 sums are those of torchvision.datasets.OxfordIIITPet; a test compares them.
ANNOTATIONS = Archive(
    "annotations",
    ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",),
    "95a8c909bbe2e81eed6a22bccdf3f68f",
)
IMAGES = Archive(
    "images",
    ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",),
    "5c4f3ee8e5d25df40f4fd59a7f44e54c",
)


def oxford_pets(
    root: str | os.PathLike[str] | None = None,
    *,
    size: int | tuple[int, int] = (64, 64),
    fit: Fit = "crop",
    border: Literal["class", "ignore"] = "class",
    validation: float = 0.1,
    seed: int = 0,
    skip_damaged: bool = False,
    download: bool = True,
    progress: bool = True,
) -> SegmentationDataset:
    """Read Oxford-IIIT Pet into memory: 7,349 photographs of cats and dogs, each with a mask of its pet.

    Parkhi, Vedaldi, Zisserman, Jawahar 2012, 'Cats and Dogs', CVPR; licence CC BY-SA 4.0: whoever passes
    the images on names the authors and keeps the licence.

    The published masks, 'trimaps', hold 1 for the pet, 2 for the background and 3 for what their README calls
    'not classified': a border of a few pixels around the pet. With ``border="class"`` it is a third class, as in most
    tutorials, and a hard one, because it is thin. With ``border="ignore"`` there are two classes, and the border counts
    in no loss and no metric.

    The published test images are the test split. Of the 3,680 others, ``round(3680 * validation)`` go to validation;
    the SHA-256 of ``seed/NAME`` decides which.

    The files lie below a root as torchvision lays them out (``oxford-iiit-pet/images``,
    ``oxford-iiit-pet/annotations``), so one copy serves both; they are read through
    `torchvision.datasets.OxfordIIITPet`. Without ``root``, ``$KDCOURSE_DATA`` and the user's cache are searched
    in turn. Where images or masks are missing, the two archives are unpacked if they lie there, else
    downloaded (about 800 MB), from the addresses and against the MD5 sums that torchvision has. Downloading and
    unpacking is not left to torchvision, as it takes a half unpacked folder for a whole one. What was read is
    kept in the user's cache for each ``size`` and ``fit`` (120 MB at 64 x 64), so that the minute of decoding
    is needed once.

    Args:
        root: the folder that torchvision calls root.
        size: height and width in pixels; one number for squares.
        fit: "crop", "pad" or "stretch", as in `segmentation_folder`.
        border: make the border around pets a "class", or "ignore" it.
        validation: part of the published training images that goes to validation.
        seed: another seed, another draw for validation.
        skip_damaged: leave out images whose file or mask can't be read, with a warning, instead of raising an error;
            ``left_out`` of the data set lists them.
        download: fetch what is missing.
        progress: show progress bars.

    Returns:
        A SegmentationDataset with images uint8 [N, 3, H, W], masks uint8 [N, H, W] and the classes
        ("background", "pet", "border") or ("background", "pet").

    Raises:
        ArgumentError: an argument outside what is accepted.
        DataError: files are missing and may not or can't be downloaded, an archive is not the published one, a
            file can't be read.
    """
    target = checked_size(size)
    check_fit(fit, BACKGROUND)
    if border not in ("class", "ignore"):
        raise ArgumentError(f"border must be 'class' or 'ignore'; found {border!r}.")
    if not 0 < validation < 1:
        raise ArgumentError(f"validation must be a part between 0 and 1; found {validation!r}.")
    base = _base(root)
    _provide(base, download, progress)
    names = {part: _listed(base, part) for part in LISTS}
    if len(names["trainval"]) < 2:
        raise DataError(f"{base / 'annotations' / 'trainval.txt'} should name at least two images.")
    images, masks, damaged = _tensors(base, names, target, fit, skip_damaged, progress)
    if border == "ignore":
        masks = masks.masked_fill(masks == CLASSES.index("border"), IGNORE)
    drawn = draw(names["trainval"], {"validation": validation}, seed)
    total = sum(map(len, names.values()))
    drawn["test"] = list(range(len(names["trainval"]), total))
    every = [base / "images" / f"{name}.jpg" for part in LISTS for name in names[part]]
    whole, splits, parts, files = MaskedSplit(images, masks), {}, [], []
    place = {at: row for row, at in enumerate(at for at in range(total) if at not in damaged)}
    for part in PARTS:
        kept = [at for at in drawn[part] if at in place]
        if not kept:
            raise DataError(
                f"Without the damaged files of {base}, {part} is empty. Delete them and call again."
            )
        splits[part] = whole.subset(torch.tensor([place[at] for at in kept]))
        parts += [part] * len(kept)
        files += [every[at] for at in kept]
    left_out = tuple(LeftOut(every[at], f"can't be read: {why}") for at, why in damaged.items())
    warn_of_left_out(base, left_out)
    digests = [image_digest(image) for part in PARTS for image in splits[part].images.numpy()]
    warn_of_identical(
        base,
        np.stack(digests),
        parts,
        None,
        files,
        "They were published so: give the results with that in mind.",
    )
    return SegmentationDataset(
        "Oxford-IIIT Pet",
        CLASSES[: 3 if border == "class" else 2],
        splits["train"],
        splits["validation"],
        splits["test"],
        left_out=left_out,
    )


# The files -------------------------------------------------------------------------------------


def _base(root: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the data set: that of ``root``, or the first known place that has it, or the cache's."""
    if root is not None:
        return Path(root).expanduser() / FOLDER
    places = [cache_folder() / FOLDER]
    if os.environ.get("KDCOURSE_DATA"):
        places.insert(0, Path(os.environ["KDCOURSE_DATA"]).expanduser() / FOLDER)
    whole = [place for place in places if not any(_lacking(place, part) for part in (ANNOTATIONS, IMAGES))]
    return (whole or [place for place in places if place.is_dir()] or places[-1:])[0]


def _listed(base: Path, part: str) -> list[str]:
    """Return the names of the images in ``annotations/PART.txt``: each line is a name and three numbers."""
    path = base / "annotations" / f"{part}.txt"
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}.") from error
    if not lines or any(len(line) != 4 for line in lines):
        raise DataError(f"{path} is empty or damaged: each line should be a name and three numbers.")
    return [line[0] for line in lines]


def _lacking(base: Path, archive: Archive) -> list[str]:
    """Return which files of ``archive`` are missing, by the published lists of names."""
    try:
        names = [name for part in LISTS for name in _listed(base, part)]
    except DataError as error:
        return [str(error)]
    folder, ending = ("images", ".jpg") if archive.folder == "images" else ("annotations/trimaps", ".png")
    try:
        there = {entry.name for entry in os.scandir(base / folder)}
    except OSError as error:
        return [f"{base / folder} ({error.strerror})"]
    return [f"{folder}/{name}{ending}" for name in names if f"{name}{ending}" not in there]


def _provide(base: Path, download: bool, progress: bool) -> None:
    """Make sure that every image and mask that the lists name lies in ``base``."""
    archives = (ANNOTATIONS, IMAGES)  # in this order: the lists of all images come with the first
    if not any(_lacking(base, archive) for archive in archives):
        return  # before anything is written: the folder may be on a read-only disk
    try:
        base.mkdir(parents=True, exist_ok=True)
        # Others that want the same wait here, and find it ready.
        with FileLock(base / "unpack.lock"):
            for archive in archives:
                if lacking := _lacking(base, archive):
                    _unpack(_obtain(base, archive, lacking, download, progress), base)
                if lacking := _lacking(base, archive):
                    raise DataError(
                        f"{archive.name} was unpacked in {base}, but still missing: {shortened(lacking)}."
                    )
    except OSError as error:
        raise DataError(
            f"Could not unpack Oxford-IIIT Pet in {base}: {error}. It takes 1.6 GB: free some disk space, or "
            "choose a folder that you may write to (root, or $KDCOURSE_DATA)."
        ) from error


def _obtain(base: Path, archive: Archive, lacking: list[str], download: bool, progress: bool) -> Path:
    """Return the path of the archive as published, in ``base``; download it if it isn't there and that is allowed."""
    path = base / archive.name
    found = _md5(path)
    if found == archive.md5:
        return path
    damaged = f" The {archive.name} that lies there is not the published one: its MD5 is {found}, not {archive.md5}."
    by_hand = (
        f"Without a network, put {ANNOTATIONS.name} and {IMAGES.name} from a machine that has them (addresses: "
        f"{ANNOTATIONS.urls[0]} and {IMAGES.urls[0]}) into {base} and call again: they are unpacked there."
        + (damaged if found else "")
    )
    if not download:
        raise DataError(
            f"Oxford-IIIT Pet is not complete in {base}; missing: {shortened(lacking)}. Pass download=True to "
            f"fetch it (about 800 MB). {by_hand}"
        )
    return fetch(archive.urls, path, md5=archive.md5, progress=progress, advice=by_hand)


def _md5(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _unpack(archive: Path, base: Path) -> None:
    """Unpack beside the place and then move each file there, so that no half-written one is ever found there."""
    for left in base.glob(
        ".unpacking-*"
    ):  # by a process that was killed: the lock says that none is at work here
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=base, prefix=".unpacking-", ignore_cleanup_errors=True) as temporary:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                # No member may leave the folder; Pythons before 3.11.4 don't know the filter and ignore it.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(temporary)
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise DataError(f"{archive} can't be unpacked: {error}. Delete it and call again.") from error
        for file in sorted(Path(temporary).rglob("*")):
            target = base / file.relative_to(temporary)
            if file.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(file, target)


# Images and masks as tensors -------------------------------------------------------------------


def _tensors(
    base: Path,
    names: dict[str, list[str]],
    size: tuple[int, int],
    fit: Fit,
    skip_damaged: bool,
    progress: bool,
) -> tuple[Tensor, Tensor, dict[int, str]]:
    """Return images uint8 [N, 3, H, W] and masks uint8 [N, H, W], trainval first, and what is wrong with others.

    They come from the user's cache if kept there.
    """
    kept = cache_folder() / "oxford-pets" / f"{_key(base, names, size, fit)}.safetensors"
    if (stored := _stored(kept)) is not None:
        return *stored, {}
    pairs = [(part, at) for part in LISTS for at in range(len(names[part]))]
    published = {part: _published(base, part) for part in LISTS}

    def read(number: int) -> Item | str:
        part, at = pairs[number]
        path = base / "images" / f"{names[part][at]}.jpg"
        try:
            image, trimap = published[part][at]
            path = base / "annotations" / "trimaps" / f"{names[part][at]}.png"
            mask = _classes_of(np.asarray(trimap))
            if trimap.size != image.size:
                raise UnfitError(f"is {trimap.size} pixels large, its image {image.size}")
            small, classes = fitted(image, mask, size, fit, BACKGROUND)
            return Item({"images": small, "masks": classes})
        except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
            return f"{path}: {complaint(path, error)}"

    shapes = {"images": (3, *size), "masks": size}
    arrays, state = read_all(len(pairs), read, shapes, what="images and masks", progress=progress)
    check_damaged(state, "images or their masks", skip_damaged)
    images, masks = arrays["images"], arrays["masks"]
    if not state.damaged:
        with contextlib.suppress(OSError):  # without a copy, all that is lost is time
            write_atomically(
                kept, save({"images": images, "masks": masks}, {"sha256": _digest(images, masks)})
            )
    return images, masks, state.damaged


def _published(base: Path, part: str) -> Any:
    """Return torchvision's data set of one list; each item is an RGB image and its trimap, both Pillow's."""
    from torchvision.datasets import OxfordIIITPet

    return OxfordIIITPet(base.parent, split=part, target_types="segmentation")


def _classes_of(trimap: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Map 1 (pet), 2 (background), 3 (not classified) to the index in ``CLASSES``."""
    strange = sorted(set(np.unique(trimap).tolist()) - {1, 2, 3})
    if strange or trimap.ndim != 2:
        raise UnfitError(f"should hold 1, 2 and 3 only; found {strange[:5]}")
    return np.array([IGNORE, 1, 0, 2], np.uint8)[trimap]


def _key(base: Path, names: dict[str, list[str]], size: tuple[int, int], fit: Fit) -> str:
    """Return a key for what `_tensors` gives; it changes with the lists, and with length or date of any file."""
    sha = hashlib.sha256(repr((RECIPE, size, fit, names)).encode())
    for folder in (base / "images", base / "annotations" / "trimaps"):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            found = entry.stat()
            sha.update(f"{entry.name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return sha.hexdigest()[:32]


def _stored(path: Path) -> tuple[Tensor, Tensor] | None:
    """Return what an earlier call kept, or None if there is none or it isn't right."""
    try:
        with safe_open(path, framework="pt") as file:
            # Copies, because safetensors returns pages of the file itself.
            images, masks = file.get_tensor("images").clone(), file.get_tensor("masks").clone()
            right = (file.metadata() or {}).get("sha256")
    except (SafetensorError, OSError):
        return None
    return (images, masks) if _digest(images, masks) == right else None


def _digest(images: Tensor, masks: Tensor) -> str:
    return MaskedSplit(images, masks).digest
