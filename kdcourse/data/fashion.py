"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747): found, checked, split, in memory.

70,000 grey images of garments, 28x28, ten classes, published as 60,000 for training and 10,000
for testing. Here 5,000 of the former, 500 per class, always the same, are used for validation.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import tempfile
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from kdcourse.data.download import download
from kdcourse.data.splits import Dataset, Split
from kdcourse.errors import DataError
from kdcourse.files import write_atomically

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Of the 55,000 training images on a scale from 0 to 1; a test recomputes them.
MEAN = (0.28621693331878206,)
STD = (0.35320123055483954,)

# Whatever arrives must have the digest below, so plain http is safe.
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # torchvision's
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",  # the authors'
)

LAYOUT = Path("FashionMNIST", "raw")  # below its root, as torchvision has it
VALIDATION_PER_CLASS = 500


@dataclass(frozen=True)
class PublishedFile:
    """Describe one file of the data set: its name when unpacked, and its size and digest, unpacked and packed."""

    name: str
    size: int
    sha256: str
    packed_size: int
    packed_sha256: str

    @property
    def packed_name(self) -> str:
        """Return the name of the file as published."""
        return f"{self.name}.gz"


TRAIN_IMAGES = PublishedFile(
    "train-images-idx3-ubyte",
    47_040_016,
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    26_421_880,
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
)
TRAIN_LABELS = PublishedFile(
    "train-labels-idx1-ubyte",
    60_008,
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    29_515,
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
)
TEST_IMAGES = PublishedFile(
    "t10k-images-idx3-ubyte",
    7_840_016,
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    4_422_102,
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
)
TEST_LABELS = PublishedFile(
    "t10k-labels-idx1-ubyte",
    10_008,
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    5_148,
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)


class FileCheck(NamedTuple):
    """Hold the result of `verify` for one file; ``expected`` and ``found`` are SHA-256 digests or words."""

    file: Path
    ok: bool
    expected: str
    found: str


class _DamagedError(Exception):
    def __init__(self, file: Path, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file, self.expected, self.found = file, expected, found


def fashion_mnist(root: str | os.PathLike[str] | None = None) -> Dataset:
    """Read Fashion-MNIST into memory: 55,000 / 5,000 / 10,000 images, uint8 [N, 1, 28, 28].

    With ``root`` the files must be there. Without, these places are searched in turn: the
    ``data`` folder of the checkout that this package is installed from, ``$KDCOURSE_DATA``, the
    user's cache; if none has them, they are downloaded into the cache (31 MB). In each place
    torchvision's layout ``FashionMNIST/raw/`` comes first, then the place itself, and
    there the ``.gz`` file first, then an unpacked one. Whatever is read is checked against the
    SHA-256 of the published data.

    Args:
        root: the folder that torchvision calls root.

    Returns:
        A Dataset whose labels index ``CLASSES``. `validation_index` says which images are used for
        validation.

    Raises:
        DataError: a file is missing from ``root``, damaged, unreadable or can't be downloaded.
    """
    places = _places(root)
    folder, missing = _fullest(places)
    if not missing:
        return _assemble(folder)
    if root is not None:
        what = "" if Path(root).is_dir() else ", which is no folder"
        raise DataError(
            f"Fashion-MNIST is not complete in {root}{what}: looked in {' and '.join(map(str, places))}, "
            f"missing {', '.join(missing)}. Pass the folder above 'FashionMNIST', or no root at all, and the "
            "files are found or downloaded for you."
        )
    folder = places[-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        warnings.warn(
            f"The cache {folder} can't be written ({error}), so Fashion-MNIST will be downloaded again "
            "next time. Set $KDCOURSE_DATA to a folder that holds it to avoid that.",
            stacklevel=2,
        )
        with tempfile.TemporaryDirectory(prefix="kdcourse-") as temporary:
            return _assemble(_download_all(Path(temporary)))
    return _assemble(_download_all(folder))


def verify(root: str | os.PathLike[str] | None = None) -> list[FileCheck]:
    """Check the four files that ``fashion_mnist(root)`` would read; download nothing, raise nothing.

    Args:
        root: as in `fashion_mnist`.

    Returns:
        One FileCheck per file: path, whether it is sound, expected and found digest. A file that
        isn't there has ``found`` = "missing".
    """
    folder, _ = _fullest(_places(root))
    checks = []
    for file in FILES:
        path = _present(folder, file)
        if path is None:
            checks.append(FileCheck(folder / file.packed_name, False, file.packed_sha256, "missing"))
            continue
        try:
            _read_checked(path, file, cached=False)
            checks.append(FileCheck(path, True, file.sha256, file.sha256))
        except _DamagedError as damage:
            checks.append(FileCheck(path, False, damage.expected, damage.found))
    return checks


def validation_index(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the positions of the validation images among the 60,000 published for training, ascending.

    Each position, counted from 0, gets a rank: output number ``position`` of the SplitMix64
    generator seeded with 0 (Steele, Lea, Flood 2014, 'Fast splittable pseudorandom number
    generators', figure 17), which is a bijection, so no two ranks are equal. The 500 lowest
    ranks of each class form the validation split. This is integer arithmetic alone, independent of
    any library's generator and its version.

    Args:
        labels: uint8 [60000], the published training labels.

    Returns:
        int64 [5000].
    """
    state = np.arange(1, len(labels) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    rank = state ^ (state >> np.uint64(31))
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.argsort(rank[members])[:VALIDATION_PER_CLASS]])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def parse_idx(content: bytes | bytearray, name: str = "IDX data") -> NDArray[np.uint8]:
    """Read the IDX format of MNIST, bytes only.

    Two zero bytes, type 8, number of axes, one big-endian 32-bit length per axis, then the values
    row by row (format: http://yann.lecun.com/exdb/mnist/).

    Args:
        content: the whole file, unpacked.
        name: what to call it in an error.

    Returns:
        uint8, as many axes as the header says; a view of ``content``.

    Raises:
        DataError: another kind of file, another value type, or a length that does not fit.
    """
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(
            f"{name} is not in IDX format: it should start with two zero bytes, found "
            f"{bytes(content[:4])!r}. Replace it with the published file."
        )
    if content[2] != 8:
        raise DataError(f"{name} should hold unsigned bytes (IDX type 8); found type {content[2]}.")
    header = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, header, 4))
    expected = header + int(np.prod(shape, dtype=np.int64))
    if not shape or len(content) != expected:
        raise DataError(
            f"{name} should be {expected:,} bytes long for shape {shape}; found {len(content):,}. "
            "It is cut short or damaged: replace it with the published file."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def cache_folder() -> Path:
    """Return the folder for this user's downloads and unpacked copies; this call doesn't make it."""
    return Path(user_cache_dir("kdcourse"))


def _assemble(folder: Path) -> Dataset:
    arrays = {}
    for file in FILES:
        path = _present(folder, file)
        if path is None:
            raise DataError(f"{folder / file.packed_name} vanished while it was about to be read. Try again.")
        try:
            arrays[file.name] = parse_idx(_read_checked(path, file), str(path))
        except _DamagedError as damage:
            raise DataError(
                f"{damage.file} is damaged or is not the published file: expected SHA-256 "
                f"{damage.expected}, found {damage.found}. Delete it and put the published file in its "
                f"place: with `git checkout -- {damage.file.name}` in its folder if it came with a checkout, "
                f"or from {MIRRORS[0]}{file.packed_name}. What lay in the user's cache is downloaded again "
                "once it is deleted."
            ) from damage
    published = arrays[TRAIN_IMAGES.name][:, None]
    labels = arrays[TRAIN_LABELS.name]
    validation = validation_index(labels)
    rest = np.ones(len(labels), dtype=bool)
    rest[validation] = False
    return Dataset(
        name="Fashion-MNIST",
        classes=CLASSES,
        train=_split(published[rest], labels[rest]),
        validation=_split(published[validation], labels[validation]),
        test=_split(arrays[TEST_IMAGES.name][:, None].copy(), arrays[TEST_LABELS.name]),
        mean=MEAN,
        std=STD,
    )


def _split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    return Split(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))


def _places(root: str | os.PathLike[str] | None) -> list[Path]:
    """Return the folders to look in, in order; the last is the one to download to if ``root`` is None."""
    if root is not None:
        return [Path(root).expanduser() / LAYOUT, Path(root).expanduser()]
    places = [Path(__file__).resolve().parents[2] / "data" / LAYOUT]
    if os.environ.get("KDCOURSE_DATA"):
        named = Path(os.environ["KDCOURSE_DATA"]).expanduser()
        places += [named / LAYOUT, named]
    return [*places, cache_folder() / LAYOUT]


def _fullest(places: list[Path]) -> tuple[Path, list[str]]:
    """Return the first of the folders that lack the fewest files, and the names of those."""
    lacks = [[file.packed_name for file in FILES if not _present(place, file)] for place in places]
    best = min(range(len(places)), key=lambda at: len(lacks[at]))
    return places[best], lacks[best]


def _present(folder: Path, file: PublishedFile) -> Path | None:
    for name in (file.packed_name, file.name):
        with contextlib.suppress(OSError):  # a folder above may be forbidden: then it isn't there for us
            if (folder / name).is_file():
                return folder / name
    return None


def _download_all(folder: Path) -> Path:
    for file in FILES:
        download(
            [mirror + file.packed_name for mirror in MIRRORS],
            folder / file.packed_name,
            sha256=file.packed_sha256,
            size=file.packed_size,
            advice=(
                f"Without a network, copy the four files ({', '.join(each.packed_name for each in FILES)}) "
                "from a machine that has them into FOLDER/FashionMNIST/raw and set $KDCOURSE_DATA to FOLDER."
            ),
        )
    return folder


def _read_checked(path: Path, file: PublishedFile, *, cached: bool = True) -> bytearray | bytes:
    """Return the unpacked content of ``path``; raise _DamagedError unless it is the published one."""
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise _DamagedError(path, file.sha256, f"unreadable ({error})") from error
    if path.suffix != ".gz":
        content = stored
    else:
        # Files packed anew have another digest and are fine if what is inside is right. Only the
        # published ones may come from the cache, so a damaged file is noticed every time.
        packed_digest = hashlib.sha256(stored).hexdigest()
        as_published = packed_digest == file.packed_sha256
        if cached and as_published and (kept := _unpacked_copy(file)) is not None:
            return kept
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(stored)) as stream:
                content = stream.read(file.size + 1)  # one more than right: reaches the end, and no further
        except (OSError, EOFError, zlib.error) as error:
            found = f"{packed_digest} ({len(stored):,} bytes, cannot be unpacked: {error})"
            raise _DamagedError(path, file.packed_sha256, found) from error
        if cached and as_published:
            _keep_unpacked(file, content)
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise _DamagedError(path, file.sha256, f"{found} ({len(content):,} bytes unpacked)")
    return content


def _unpacked_copy(file: PublishedFile) -> bytes | None:
    """Return the unpacked content from the user's cache, or None if there is none or it isn't right."""
    path = cache_folder() / "unpacked" / file.name
    try:
        if path.stat().st_size != file.size:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == file.sha256 else None


def _keep_unpacked(file: PublishedFile, content: bytes) -> None:
    """Put a copy in the user's cache, whole or not at all; without one, only time is lost."""
    with contextlib.suppress(OSError):
        write_atomically(cache_folder() / "unpacked" / file.name, content)
