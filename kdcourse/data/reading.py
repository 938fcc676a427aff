"""Many files to arrays: several at a time, in memory or in a memory-mapped cache that can be resumed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import mmap
import os
import re
import shutil
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from kdcourse.data.fashion import cache_folder
from kdcourse.data.splits import LeftOut
from kdcourse.errors import ArgumentError, DataError
from kdcourse.files import write_atomically

RECIPE = 1  # raised whenever the same files and settings give other arrays than before
_SAVED_EVERY = 5.0  # seconds between two notes of how far a cache has got
_COPIED_AT_ONCE = 1 << 24  # bytes

Asked = TypeVar("Asked")
Result = TypeVar("Result")
Arrays = dict[str, NDArray[np.uint8]]
Shapes = dict[str, tuple[int, ...]]


class Item(NamedTuple):
    """Hold what one file gives: arrays of bytes by name, and what was left out of it ("" where nothing was).

    "images" is [C, H, W] with 1 or 3 channels; among images of colour, grey ones fill all three channels.
    """

    arrays: Arrays
    note: str = ""


Reader = Callable[[int], Item | str]  # position -> what the file gives, or in one line what is wrong with it


@dataclass
class Progress:
    """Record how many files were read, what was wrong with some and what was left out of others, by position."""

    read: int = 0
    shapes: Shapes = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Return how many files gave arrays."""
        return self.read - len(self.damaged)

    def left_out(self, files: Sequence[Path]) -> list[LeftOut]:
        """Return which of ``files`` were left out, in whole or in part, and why."""
        damaged = [LeftOut(files[at], f"can't be read: {why}") for at, why in self.damaged.items()]
        return damaged + [LeftOut(files[at], why) for at, why in sorted(self.notes.items())]

    def to_json(self) -> str:
        return json.dumps(self.__dict__)

    @classmethod
    def from_json(cls, text: str) -> Progress:
        stored = json.loads(text)
        read = int(stored["read"])
        # An interrupt may come between the note about a file and the count of it.
        damaged, notes = (
            {int(at): str(why) for at, why in stored[key].items() if int(at) < read}
            for key in ("damaged", "notes")
        )
        return cls(read, {name: tuple(shape) for name, shape in stored["shapes"].items()}, damaged, notes)


@dataclass(frozen=True)
class Cache:
    """Name the place on disk of the arrays of one folder, with one list of files and settings."""

    folder: Path
    name: str

    @classmethod
    def of(
        cls,
        cache: bool | str | os.PathLike[str],
        folders: Sequence[Path],
        files: Sequence[Path],
        settings: object,
    ) -> Cache | None:
        """Return the cache for ``files`` read with ``settings``; None for ``cache`` False.

        The key changes with the list of files, with the length or date of any of them, and with the settings.

        Raises:
            ArgumentError: a cache inside a folder that it is made from, where it would be taken for a class.
        """
        if cache is False or cache is None:
            return None
        usual = Path(os.environ.get("KDCOURSE_CACHE") or cache_folder()) / "folders"
        place = usual if cache is True else Path(cache).expanduser()
        for folder in folders:
            if place.resolve().is_relative_to(folder.resolve()):
                raise ArgumentError(
                    f"cache must not lie inside the folder of images; found {place} inside {folder}. Choose a folder "
                    "beside it, or cache=True for the user's cache."
                )
        sha = hashlib.sha256(repr((RECIPE, settings)).encode(errors="surrogateescape"))
        for file in files:
            with contextlib.suppress(OSError):  # a dangling link: reading it will say so
                found = file.stat()
                line = f"{file.absolute()} {found.st_size} {found.st_mtime_ns}\n"
                sha.update(line.encode(errors="surrogateescape"))
        name = re.sub(r"[^\w.-]", "_", folders[0].resolve().name, flags=re.ASCII)
        return cls(place, f"{name}-{sha.hexdigest()[:24]}")


def read_all(
    count: int, read: Reader, shapes: Shapes, *, cache: Cache | None = None, what: str, progress: bool = True
) -> tuple[dict[str, Tensor], Progress]:
    """Read files 0 to ``count`` - 1 and stack what they give, in order, without the damaged ones.

    Args:
        count: how many files.
        read: reads one; called from several threads.
        shapes: shape of each array of an `Item`, of "images" with as many channels as are certain.
        cache: keep the arrays on disk and hand out memory-mapped tensors; None for memory.
        what: what the files are called in messages.
        progress: show a progress bar when reading takes more than a second.

    Returns:
        uint8 tensors [N, ...] by name, and what there is to say about the files.

    Raises:
        DataError: too little memory or disk space, or a cache folder that can't be written.
    """
    needed = count * sum(math.prod(shape) for shape in shapes.values())
    if cache is not None:
        return _cached(count, read, shapes, cache, needed, what, progress)
    import psutil

    available = psutil.virtual_memory().available
    if needed > available:
        raise DataError(
            f"{count:,} {what} would take at least {needed / 1e9:.1f} GB in memory; {available / 1e9:.1f} GB are "
            "available. Pass cache=True to keep them in a memory-mapped file, or a smaller size."
        )
    state, memory = Progress(shapes=dict(shapes)), _Memory(count, shapes)
    _fill(count, read, memory, state, lambda: None, what, progress)
    return memory.tensors(state), state


def image_digest(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 16 bytes, uint8 [16], that are equal for images with equal pixels."""
    return np.frombuffer(hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest(), np.uint8)


def check_damaged(state: Progress, what: str, skip_damaged: bool) -> None:
    """Raise DataError for damaged files unless they are to be skipped, or if no other ones are left."""
    if not state.damaged or (skip_damaged and state.kept):
        return
    lines = list(state.damaged.values())
    more = f"\n  and {len(lines) - 5} more" if len(lines) > 5 else ""
    cure = "" if skip_damaged else ", or pass skip_damaged=True to leave them out"
    raise DataError(
        f"{len(lines)} of {state.read} {what} can't be read. Repair, replace or delete them{cure}:\n  "
        + "\n  ".join(lines[:5])
        + more
    )


def each(function: Callable[[Asked], Result], items: Iterable[Asked]) -> Iterator[Result]:
    """Apply ``function`` to every item, several at a time, and yield the results in order.

    No more than a few results wait to be taken, however slow whoever takes them.
    """
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    # Pillow lets other threads run while it decodes and resizes.
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 16 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _fill(
    count: int,
    read: Reader,
    store: _Memory | _Disk,
    state: Progress,
    save: Callable[[], None],
    what: str,
    progress: bool,
) -> None:
    """Read what is still missing in ``state`` and append it to ``store``."""
    with tqdm(
        total=count, initial=state.read, desc=f"Reading {what}", unit="file", delay=1, disable=not progress
    ) as bar:
        saved = time.monotonic()
        for result in each(read, range(state.read, count)):
            if isinstance(result, str):
                state.damaged[state.read] = result
            else:
                deep = len(result.arrays["images"])
                if deep > state.shapes["images"][0]:
                    store.widen(state, deep)  # the first colour after grey images
                store.append(result.arrays, state)
                if result.note:
                    state.notes[state.read] = result.note
            state.read += 1
            bar.update()
            if time.monotonic() - saved > _SAVED_EVERY:
                save()
                saved = time.monotonic()


class _Memory:
    """Fill arrays in memory, one item after another."""

    def __init__(self, count: int, shapes: Shapes) -> None:
        # Room that is never written to takes no memory.
        self._arrays = {name: np.empty((count, *shape), np.uint8) for name, shape in shapes.items()}

    def append(self, arrays: Arrays, state: Progress) -> None:
        for name, array in arrays.items():
            self._arrays[name][state.kept] = array  # a grey image fills all three channels

    def widen(self, state: Progress, channels: int) -> None:
        grey = self._arrays["images"]
        self._arrays["images"] = np.empty((len(grey), channels, *grey.shape[2:]), np.uint8)
        self._arrays["images"][: state.kept] = grey[: state.kept]
        state.shapes["images"] = (channels, *grey.shape[2:])

    def tensors(self, state: Progress) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array)[: state.kept] for name, array in self._arrays.items()}


# The cache -------------------------------------------------------------------------------------


def _cached(
    count: int, read: Reader, shapes: Shapes, cache: Cache, needed: int, what: str, progress: bool
) -> tuple[dict[str, Tensor], Progress]:
    final, partial = cache.folder / cache.name, cache.folder / f"{cache.name}.part"
    try:
        state = _complete(final, count)
        if state is None:
            cache.folder.mkdir(parents=True, exist_ok=True)
            # Processes that want the same wait here, and find it ready. The lock ends with its holder.
            with FileLock(cache.folder / f"{cache.name}.lock"):
                state = _complete(final, count)
                if state is None:
                    shutil.rmtree(final, ignore_errors=True)  # cut short or changed by hand
                    state = _build(count, read, shapes, partial, needed, what, progress)
                    os.replace(partial, final)
        if not state.kept:
            return {
                name: torch.empty((0, *shape), dtype=torch.uint8) for name, shape in shapes.items()
            }, state
        return {name: _mapped(path, state) for name, path in _files(final, state).items()}, state
    except OSError as error:
        raise DataError(
            f"The cache {final} can't be written or read: {error}. It takes {needed / 1e9:.1f} GB or more: free some "
            "disk space, or choose a folder that you may write to (cache=FOLDER). What was read so far is kept."
        ) from error


def _build(
    count: int, read: Reader, shapes: Shapes, partial: Path, needed: int, what: str, progress: bool
) -> Progress:
    """Fill the folder ``partial``, going on from where an interrupted process left it."""
    partial.mkdir(exist_ok=True)
    state = _resumable(partial) or Progress(shapes=dict(shapes))
    left = needed - sum(path.stat().st_size for path in partial.iterdir())
    free = shutil.disk_usage(partial).free
    if left > free:
        raise OSError(f"{left / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free")
    with _Disk(partial, state) as store:

        def save() -> None:
            store.flush()  # first the arrays, then the note that they are there
            write_atomically(partial / "progress.json", state.to_json())

        store.saved = save
        try:
            _fill(count, read, store, state, save, what, progress)
        finally:
            save()
    return state


def _files(folder: Path, state: Progress) -> dict[str, Path]:
    # Named by shape, so that a file of grey images is never taken for one of colour.
    return {name: folder / f"{name}-{'x'.join(map(str, shape))}.u8" for name, shape in state.shapes.items()}


def _noted(folder: Path) -> Progress | None:
    try:
        return Progress.from_json((folder / "progress.json").read_text())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _complete(folder: Path, count: int) -> Progress | None:
    """Return what a finished cache notes, or None where there is none or a file hasn't its right length."""
    state = _noted(folder)
    if state is None or state.read != count:
        return None
    for name, path in _files(folder, state).items():
        if not path.is_file() or path.stat().st_size != state.kept * math.prod(state.shapes[name]):
            return None
    return state


def _resumable(folder: Path) -> Progress | None:
    """Return how far an interrupted process got, its files cut to that, or None after removing what isn't sound."""
    state = _noted(folder)
    if state is not None:
        files = _files(folder, state)
        lengths = {name: state.kept * math.prod(shape) for name, shape in state.shapes.items()}
        if all(path.is_file() and path.stat().st_size >= lengths[name] for name, path in files.items()):
            for name, path in files.items():
                os.truncate(path, lengths[name])
            return state
    for path in folder.iterdir():
        path.unlink()
    return None


class _Disk:
    """Write files that grow, one item after another."""

    def __init__(self, folder: Path, state: Progress) -> None:
        self._folder = folder
        self._open: dict[str, IO[bytes]] = {
            name: path.open("ab") for name, path in _files(folder, state).items()
        }
        self.saved: Callable[[], None] = lambda: None

    def __enter__(self) -> _Disk:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def append(self, arrays: Arrays, state: Progress) -> None:
        for name, array in arrays.items():
            # A grey image fills all three channels.
            self._open[name].write(np.ascontiguousarray(np.broadcast_to(array, state.shapes[name])).data)

    def widen(self, state: Progress, channels: int) -> None:
        """Copy grey images to a file of colour; until that is noted, the old one is the right one."""
        self.flush()
        grey, side = _files(self._folder, state)["images"], state.shapes["images"][1:]
        state.shapes["images"] = (channels, *side)
        wide = _files(self._folder, state)["images"]
        together = max(1, _COPIED_AT_ONCE // math.prod(side))
        self._open.pop("images").close()
        with grey.open("rb") as source, wide.open("wb") as target:
            while chunk := source.read(together * math.prod(side)):
                images = np.frombuffer(chunk, np.uint8).reshape(-1, 1, *side)
                target.write(images.repeat(channels, 1).data)
        self._open["images"] = wide.open("ab")
        self.saved()
        grey.unlink()

    def flush(self) -> None:
        for file in self._open.values():
            file.flush()
            os.fsync(file.fileno())


def _mapped(path: Path, state: Progress) -> Tensor:
    """Return the content of a file as a tensor of which only what is looked at is read.

    What is written to the tensor stays in this process and never reaches the file.
    """
    name = path.name.rsplit("-", 1)[0]
    with path.open("rb") as file:
        try:
            pages = _copied_on_write(file.fileno())
        except OSError:  # no promise of that much memory to be had: then nothing may be written
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        flat = torch.frombuffer(pages, dtype=torch.uint8)
    return flat.view(state.kept, *state.shapes[name])


def _copied_on_write(handle: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(handle, 0, access=mmap.ACCESS_COPY)
    # Without NORESERVE, Linux refuses a private mapping that is larger than its memory.
    reserve = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
    return mmap.mmap(handle, 0, flags=mmap.MAP_PRIVATE | reserve, prot=mmap.PROT_READ | mmap.PROT_WRITE)
