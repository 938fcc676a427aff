"""Stored logits on disk: one file per split and view, whole or not at all.

A file's name is a digest of everything that the logits depend on, so a changed teacher, other images or another
augmentation never meet a stale file. A file is NumPy's .npy format followed by the SHA-256 of all bytes before;
``numpy.load`` reads it as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdcourse.data import AnyDataset, LabelledSplit, View
from kdcourse.distillation.inference import evenly_spaced
from kdcourse.distillation.top import TopRows
from kdcourse.files import write_atomically

SHIPPED = "soft-targets"  # the folder of those that come with the course, see kdcourse.files.shipped
NUMPY_TYPES = {torch.float16: np.dtype(np.float16), torch.float32: np.dtype(np.float32)}
PROBES = 16  # images that stand for all of a split
_FORMAT = 1
_CHECKSUM_BYTES = 32

_Table = npt.NDArray[np.floating | np.uint8]


def cache_folder() -> Path:
    """Return where soft targets are kept: ``soft-targets`` in ``$KDCOURSE_CACHE`` or in the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("KDCOURSE_CACHE") or user_cache_dir("kdcourse")) / "soft-targets"


def file_name(
    teacher_key: str,
    split: LabelledSplit,
    dataset: AnyDataset,
    view: View,
    dtype: torch.dtype,
    precision: str,
    rows: TopRows | None = None,
) -> str:
    """Return the name of a view's file: a digest of all that its logits, or its rows, depend on."""
    # The view's images themselves stand beside its name: augmentation code may change, its name not.
    probe = evenly_spaced(len(split), PROBES)
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
    if rows is not None:
        parts["top"] = [rows.k, rows.classes, list(rows.temperatures)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest() + ".npy"


def open_table(file: Path, images: int, rows: TopRows | None = None) -> Tensor | None:
    """Return the table in ``file``, memory-mapped; ``None`` where there is none, or (with a warning) a damaged one."""
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
        fits = (
            table.dtype in NUMPY_TYPES.values()
            if rows is None
            else table.dtype == np.uint8 and table.shape[-1] in map(rows.size, NUMPY_TYPES)
        )
        if table.ndim != 2 or len(table) != images or not fits:
            raise ValueError(f"it holds {table.dtype} {list(table.shape)}")
        return torch.from_numpy(table)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        warnings.warn(
            f"Stored soft targets {file} can't be used ({error}); computing them again.", stacklevel=3
        )
        return None


def store_table(file: Path, table: Tensor, rows: TopRows | None = None) -> Tensor | None:
    """Put ``table`` on disk, whole or not at all, and map it; ``None`` (with a warning) where that can't be done."""
    array = table.numpy()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    values = array.reshape(-1).view(np.uint8).data  # not a copy, which would take as much memory again
    sha = hashlib.sha256(header.getvalue())
    sha.update(values)
    try:
        write_atomically(file, [header.getvalue(), values, sha.digest()])
    except OSError as error:
        warnings.warn(
            f"Soft targets can't be kept in {file.parent} ({error.strerror or error}); going on with them in memory. "
            "Free some space, or set KDCOURSE_CACHE to another folder.",
            stacklevel=3,
        )
        return None
    return open_table(file, len(table), rows)
