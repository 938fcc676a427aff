"""A teacher's logits, computed once and kept on disk.

One file holds the logits of one split under one view. Its name is a digest of everything they
depend on, so a changed teacher, other pictures or another augmentation never meet a stale file, and
files are only ever put in place whole. A file is NumPy's .npy format followed by the SHA-256 of
all bytes before; ``numpy.load`` reads it as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kdcourse.data.splits import Dataset, Split
from kdcourse.data.views import View
from kdcourse.distillation.ensemble import Asker, Frozen, asking, spread
from kdcourse.errors import ArgumentError
from kdcourse.files import shipped, write_atomically
from kdcourse.training.precision import autocast

SHIPPED = "soft-targets"  # the folder of those that come with the course, see kdcourse.files.shipped
_FORMAT = 1
_CHECKSUM_BYTES = 32
_NUMPY_TYPES = {torch.float16: np.dtype(np.float16), torch.float32: np.dtype(np.float32)}
_PROBES = 16  # pictures that stand for all where a stored view is compared with today's teacher
_DEVICE_COPY_BYTES = 1 << 30

_Table = npt.NDArray[np.floating]


class SoftTargets:
    """A teacher's logits for every picture of a split, under one or more views; made by `soft_targets`.

    Attributes:
        views: the views held, in the order asked for.
        classes: C, logits a picture.
        split_digest: `Split.digest` of the pictures and labels they belong to.
        teacher: `teacher_digest` of whom they come from.
        files: where each view lies on disk; ``None`` where it is held in memory alone.
        label_range: smallest and largest label of those pictures.
    """

    def __init__(
        self,
        views: Sequence[View],
        tables: Sequence[Tensor],
        files: Sequence[Path | None],
        split: Split,
        teacher: str,
    ) -> None:
        self.teacher = teacher
        self.views = tuple(views)
        self.files = tuple(files)
        self.classes = tables[0].shape[1]
        self.split_digest = split.digest
        self._labels = split.labels
        self.label_range = (int(split.labels.min()), int(split.labels.max()))
        self._tables = {view.key: table for view, table in zip(views, tables, strict=True)}
        self._on_device: dict[tuple[torch.device, str], Tensor] = {}

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._labels)

    def __repr__(self) -> str:
        return f"SoftTargets({len(self.views)} view(s), {len(self)} pictures, {self.classes} classes)"

    @property
    def nbytes(self) -> int:
        """Bytes of logits, all views together."""
        return sum(table.nbytes for table in self._tables.values())

    def logits(self, view: View, index: Tensor) -> Tensor:
        """The teacher's logits for the pictures at ``index`` as ``view`` shows them.

        Args:
            view: one of `views`.
            index: int64 [B], positions in the split (not in the batch).

        Returns:
            float32 [B, C] on the device of ``index``; a copy.

        Raises:
            ArgumentError: a view that isn't held; positions that aren't int64 or, where reading them costs no
                wait for a device, lie outside the split.
        """
        table = self._tables.get(view.key)
        if table is None:
            raise ArgumentError(
                f"No soft targets are stored for the view {view.key!r}; found {_some(list(self._tables))}. "
                "Compute them for every view that training shows, or pass the teacher itself to be asked every time."
            )
        if index.dtype != torch.int64 or index.ndim != 1:
            raise ArgumentError(
                f"index must be int64 [B], positions in the split; found {index.dtype} {list(index.shape)}."
            )
        if index.device.type != "cpu":
            return self._copy_on(index.device, view.key)[index].float()
        low, high = (int(end) for end in torch.aminmax(index)) if len(index) else (0, 0)
        if low < 0 or high >= len(self):
            raise ArgumentError(
                f"index must lie in 0..{len(self) - 1}, positions in the split that soft targets were computed for; "
                f"found {low} to {high}. Is the batch from another split?"
            )
        return table[index].float()

    def check_labels(self, view: View, index: Tensor, labels: Tensor) -> None:
        """Make sure that the pictures at ``index`` are those that the teacher saw, judged by their labels.

        Training on a reordered split, or on another one, would pair pictures with other pictures' logits.

        Raises:
            ArgumentError: ``labels`` [B] aren't the split's at ``index`` [B].
        """
        stored = self._labels[index.to(self._labels.device)].to(labels.device)
        if not torch.equal(stored, labels):
            raise ArgumentError(
                f"{int((stored != labels).sum())} of {len(labels)} pictures have another label than at the same "
                "position of the split that the soft targets were computed for: they would be paired with other "
                "pictures' logits. Compute soft targets for the very split (and order) that training uses."
            )

    def _copy_on(self, device: torch.device, key: str) -> Tensor:
        # A look-up on the device itself spares every step the way to the host and back.
        copy = self._on_device.get((device, key))
        if copy is None:
            table = self._tables[key]
            if sum(held.nbytes for held in self._on_device.values()) + table.nbytes > _DEVICE_COPY_BYTES:
                self._on_device.clear()
            copy = self._on_device[device, key] = table.to(device)
        return copy


def soft_targets(
    teacher: nn.Module,
    split: Split,
    dataset: Dataset,
    *,
    views: Sequence[View] = (View(),),
    dtype: torch.dtype = torch.float16,
    cache: Path | str | Literal[False] | None = None,
    batch_size: int = 512,
    precision: str = "float32",
    progress: bool = True,
) -> SoftTargets:
    """Ask a teacher once about every picture of a split, and keep its logits.

    A view found on disk, in the cache or among those that come with the course, is read back (memory-mapped);
    the others are computed, and each is stored as soon as it is complete, so an interrupted call loses one view
    at the most. Several processes may do so at once.
    What is stored depends on the teacher's weights, buffers and plain settings (see `teacher_digest`), the
    pictures and labels, the view, how pictures are normalised, ``dtype`` and ``precision``. Code isn't part of
    that, so a few pictures are asked again before stored views are taken; when the answers differ, all is
    computed anew.

    A file that is damaged is computed again, and one that can't be written (a full disk) is done without, each
    with a warning.

    Args:
        teacher: returns logits [B, C]; asked where it is, in eval mode and without gradient, and left as found.
        split: N pictures.
        dataset: says how to normalise.
        views: editions of the pictures to ask about; plain ones if left out.
        dtype: float16 or float32 on disk. A view with logits beyond float16's 65504 is kept in float32.
        cache: folder for the files; ``None`` for `cache_folder`, ``False`` to keep nothing on disk.
        batch_size: pictures asked about at once.
        precision: ``float32`` or ``bfloat16``, in which the teacher computes.
        progress: show a bar while computing.

    Returns:
        `SoftTargets` with logits [views, N, C].

    Raises:
        ArgumentError: no view, one view twice, another dtype or precision, batch size below 1, pictures with another
            number of channels than the data set's, a teacher that doesn't return finite logits [B, C].
    """
    views = tuple(views)
    _check(views, split, dataset, dtype, batch_size)
    folder = None if cache is False else cache_folder() if cache is None else Path(cache)
    files: list[Path | None] = [None] * len(views)
    tables: list[Tensor | None] = [None] * len(views)
    with asking(teacher) as ask:
        teacher_key = teacher_digest(teacher)
        if folder is not None:
            names = [f"{_key(teacher_key, split, dataset, view, dtype, precision)}.npy" for view in views]
            kept, came_along = [folder / name for name in names], [shipped(SHIPPED) / name for name in names]
            found = [there if there.exists() else own for own, there in zip(kept, came_along, strict=True)]
            tables = [_open(file, len(split)) for file in found]
            if not _still_true(tables, views, ask, split, dataset, precision):
                tables = [None] * len(views)
            files = [
                own if table is None else file for own, file, table in zip(kept, found, tables, strict=True)
            ]
        missing = [position for position, table in enumerate(tables) if table is None]
        if missing:
            with _bar(progress, len(missing) * len(split)) as bar:
                for position in missing:
                    parts = []
                    for index in torch.arange(len(split)).split(batch_size):
                        parts.append(_answer(ask, split, dataset, views[position], index, precision))
                        bar.update(len(index))
                    table, file = _narrowed(torch.cat(parts), dtype), files[position]
                    stored = None if file is None else _store(file, table)
                    if stored is None:
                        files[position] = None
                    tables[position] = table if stored is None else stored
    return SoftTargets(views, [table for table in tables if table is not None], files, split, teacher_key)


def cache_folder() -> Path:
    """Where soft targets are kept: ``$KDCOURSE_CACHE`` or the user's cache folder, and ``soft-targets`` in it."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("KDCOURSE_CACHE") or user_cache_dir("kdcourse")) / "soft-targets"


def teacher_digest(model: nn.Module) -> str:
    """SHA-256 that names a network: the class, settings, weights and buffers of all its modules.

    Settings are the modules' public attributes that are plain values or functions (stride, negative slope, an
    ensemble's ``average``, an activation). The mode (train or eval), gradients and the code of the forward pass
    aren't part of it.
    """
    if isinstance(model, Frozen):
        return teacher_digest(model.network)  # a frozen copy gives its original's answers
    sha = hashlib.sha256()
    for name, module in model.named_modules():
        settings = {
            key: described
            for key, value in vars(module).items()
            if not key.startswith("_") and key != "training" and (described := _described(value)) is not None
        }
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        sha.update(json.dumps([name, kind, settings], sort_keys=True).encode())
    tensors = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        sha.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _described(value: object) -> object:
    """A value as it goes into a digest; ``None`` for what has no lasting description."""
    if isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        parts = [_described(part) for part in value]
        return None if None in parts else parts
    name = getattr(value, "__qualname__", None)
    return name if callable(value) and isinstance(name, str) else None


def _check(
    views: tuple[View, ...],
    split: Split,
    dataset: Dataset,
    dtype: torch.dtype,
    batch_size: int,
) -> None:
    keys = [view.key for view in views]
    if not keys or len(set(keys)) < len(keys):
        raise ArgumentError(
            f"views must be at least one view, each once; found {_some(keys) if keys else 'none'}."
        )
    if dtype not in _NUMPY_TYPES:
        raise ArgumentError(f"dtype must be torch.float16 or torch.float32; found {dtype}.")
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1; found {batch_size}.")
    if split.images.shape[1] != len(dataset.mean):
        raise ArgumentError(
            f"The pictures have {split.images.shape[1]} channel(s), while {dataset.name!r} normalises "
            f"{len(dataset.mean)}. Pass a split of that data set."
        )


def _key(
    teacher_key: str, split: Split, dataset: Dataset, view: View, dtype: torch.dtype, precision: str
) -> str:
    # The view's pictures themselves stand beside its name: augmentation code may change, its name not.
    probe = spread(len(split), _PROBES)
    shown = view.apply(split.images[probe], probe).cpu().contiguous().numpy()
    parts = {
        "format": _FORMAT,
        "teacher": teacher_key,
        "split": split.digest,
        "view": view.key,
        "pictures": hashlib.sha256(shown.data).hexdigest(),
        "normalisation": [list(dataset.mean), list(dataset.std)],
        "dtype": str(dtype),
        "precision": precision,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _answer(ask: Asker, split: Split, dataset: Dataset, view: View, index: Tensor, precision: str) -> Tensor:
    """float32 [B, C] on the CPU: what the teacher says of the pictures at ``index`` in a view."""
    images = split.images[index.to(split.images.device)].to(ask.device)
    images = dataset.normalise(view.apply(images, index.to(ask.device)))
    with autocast(ask.device, precision):
        logits = ask(images)
    if logits.ndim != 2:
        raise ArgumentError(
            f"Soft targets are logits [B, classes], one row a picture; the teacher returned {list(logits.shape)}. "
            "For a teacher that answers for every pixel, take dense_targets."
        )
    logits = logits.float().cpu()
    if not bool(torch.isfinite(logits).all()):
        raise ArgumentError(
            f"The teacher's logits hold NaN or infinity for {int((~torch.isfinite(logits)).any(1).sum())} of "
            f"{len(logits)} pictures (view {view.key!r}). Check its weights, or ask it in precision='float32'."
        )
    return logits


def _still_true(
    tables: Sequence[Tensor | None],
    views: Sequence[View],
    ask: Asker,
    split: Split,
    dataset: Dataset,
    precision: str,
) -> bool:
    """Whether today's teacher gives the stored answers, up to rounding; true when nothing is stored."""
    found = [position for position, table in enumerate(tables) if table is not None]
    if not found:
        return True
    table = tables[found[-1]]
    assert table is not None
    probe = spread(len(split), _PROBES)
    expected = table[probe].float()
    answer = _answer(ask, split, dataset, views[found[-1]], probe, precision)
    tolerance = (0.02 if precision == "float32" else 0.1) * (1e-3 + float(expected.abs().max()))
    if answer.shape == expected.shape and float((answer - expected).abs().max()) <= tolerance:
        return True
    warnings.warn(
        "The teacher no longer gives the logits stored for the same weights (has its code changed?); computing "
        "its soft targets again.",
        stacklevel=3,
    )
    return False


def _narrowed(logits: Tensor, dtype: torch.dtype) -> Tensor:
    largest = float(logits.abs().max())
    if dtype == torch.float16 and largest > torch.finfo(torch.float16).max:
        warnings.warn(
            f"The teacher's logits reach {largest:g}, beyond float16's 65504; they are kept in float32.",
            stacklevel=3,
        )
        return logits
    return logits.to(dtype)


def _open(file: Path, pictures: int) -> Tensor | None:
    """The logits in ``file``, memory-mapped; ``None`` when there is none, or (with a warning) a damaged one."""
    try:
        with file.open("rb") as stream:
            sha, left = hashlib.sha256(), os.fstat(stream.fileno()).st_size - _CHECKSUM_BYTES
            while left > 0 and (chunk := stream.read(min(left, 1 << 20))):
                sha.update(chunk)
                left -= len(chunk)
            if left or stream.read() != sha.digest():
                raise ValueError("its checksum doesn't fit")
        # Mode "c" maps private pages: nothing that happens to the tensor can reach the file.
        table: _Table = np.load(file, mmap_mode="c", allow_pickle=False)
        if table.ndim != 2 or len(table) != pictures or table.dtype not in _NUMPY_TYPES.values():
            raise ValueError(f"it holds {table.dtype} {list(table.shape)}")
        return torch.from_numpy(table)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        warnings.warn(
            f"Stored soft targets {file} can't be used ({error}); computing them again.", stacklevel=3
        )
        return None


def _store(file: Path, table: Tensor) -> Tensor | None:
    """Put ``table`` on disk, whole or not at all, and map it; ``None`` (with a warning) where that can't be done."""
    array = table.numpy()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    content = header.getvalue() + array.tobytes()
    try:
        write_atomically(file, content + hashlib.sha256(content).digest())
    except OSError as error:
        warnings.warn(
            f"Soft targets can't be kept in {file.parent} ({error.strerror or error}); going on with them in memory. "
            "Free some space, or set KDCOURSE_CACHE to another folder.",
            stacklevel=3,
        )
        return None
    return _open(file, len(table))


def _bar(progress: bool, total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="soft targets", unit=" pictures", leave=False, disable=not progress)


def _some(keys: Sequence[str]) -> str:
    return ", ".join(repr(key) for key in keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
