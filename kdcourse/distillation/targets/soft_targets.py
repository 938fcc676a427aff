"""A teacher's logits, computed once: per image kept on disk, per pixel in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kdcourse.data import AnyDataset, EndlessSplit, LabelledSplit, View
from kdcourse.distillation.arguments import check_tensor
from kdcourse.distillation.inference import TeacherInference, evenly_spaced, teacher_inference
from kdcourse.distillation.softening import largest
from kdcourse.distillation.targets.digest import teacher_digest
from kdcourse.distillation.targets.files import (
    NUMPY_TYPES,
    PROBES,
    SHIPPED,
    cache_folder,
    file_name,
    open_table,
    store_table,
)
from kdcourse.distillation.top import TopLogits, TopRows
from kdcourse.errors import ArgumentError
from kdcourse.files import shipped
from kdcourse.training import LABELS, MASKS, TOKENS, Task, autocast, task_of

_DEVICE_COPY_BYTES = 1 << 30


class SoftTargets:
    """Hold a teacher's logits for every image of a split, under one or more views; made by `soft_targets`.

    Attributes:
        views: the views held, in the order given.
        task: `kdcourse.training.LABELS` or ``MULTILABEL``, one row of logits per image, or ``MASKS``, one per pixel.
        classes: C, the number of logits in a row.
        split_digest: digest of the images and labels (or masks) that they belong to.
        teacher: `teacher_digest` of the teacher.
        files: where each view lies on disk; ``None`` where it is held in memory alone.
        top_k: how many logits of each image are held; ``None`` for all. Of the others only their weight is known, see
            `top`.
    """

    def __init__(
        self,
        views: Sequence[View],
        tables: Sequence[Tensor],
        files: Sequence[Path | None],
        split: LabelledSplit,
        teacher: str,
        rows: TopRows | None = None,
    ) -> None:
        self.teacher = teacher
        self.top_k = None if rows is None else rows.k
        self._row_format = rows
        self.views = tuple(views)
        self.files = tuple(files)
        self.task: Task = task_of(split.labels)
        self.classes = tables[0].shape[1] if rows is None else rows.classes
        self.split_digest = split.digest
        self._labels = split.labels
        self._tables = {view.key: table for view, table in zip(views, tables, strict=True)}
        self._on_device: dict[tuple[torch.device, str], Tensor] = {}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._labels)

    def __repr__(self) -> str:
        top = "" if self.top_k is None else f"top {self.top_k} of "
        return f"SoftTargets({len(self.views)} view(s), {len(self)} images, {top}{self.classes} classes)"

    @property
    def nbytes(self) -> int:
        """Return the bytes of logits, all views together."""
        return sum(table.nbytes for table in self._tables.values())

    def logits(self, view: View, index: Tensor) -> Tensor:
        """Return the teacher's logits for the images at ``index`` as ``view`` shows them.

        Args:
            view: one of `views`.
            index: int64 [B], positions in the split (not in the batch).

        Returns:
            float32 [B, C] or [B, C, H, W] on the device of ``index``; a copy.

        Raises:
            ArgumentError: a view that isn't held; only the top k logits are; positions that aren't int64 or, where
                reading them costs no wait for a device, lie outside the split.
        """
        if self.top_k is not None:
            raise ArgumentError(
                f"Only the top {self.top_k} of {self.classes} logits are stored. Look them up with .top(view, index), "
                "or compute soft targets without top_k."
            )
        return self._found(view, index).float()

    def top(self, view: View, index: Tensor) -> TopLogits:
        """Return the teacher's top k logits for the images at ``index``, looked up as by `logits`; a copy.

        Raises:
            ArgumentError: as `logits`, and targets that hold all logits.
        """
        if self._row_format is None:
            raise ArgumentError("All logits are stored. Look them up with .logits(view, index).")
        return self._row_format.unpack(self._found(view, index))

    def _found(self, view: View, index: Tensor) -> Tensor:
        """Return what the table of a view holds for the images at ``index``, on its device; a copy."""
        check_tensor(index, "index")
        table = self._tables.get(view.key)
        if table is None:
            raise ArgumentError(
                f"No soft targets are stored for the view {view.key!r}; found {_some(list(self._tables))}. "
                "Compute them for every view that training shows, or pass the teacher itself in their place."
            )
        if index.dtype != torch.int64 or index.ndim != 1:
            raise ArgumentError(
                f"index must be int64 [B], positions in the split; found {index.dtype} {list(index.shape)}."
            )
        if index.device.type != "cpu":
            if table.ndim > 2 and table.nbytes > _DEVICE_COPY_BYTES:
                return table[index.cpu()].to(index.device)
            return self._copy_on(index.device, view.key)[index]
        try:
            # Unlike table[index], it refuses negative positions too.
            return table.index_select(0, index)
        except IndexError:
            low, high = (int(end) for end in torch.aminmax(index))
            raise ArgumentError(
                f"index must lie in 0..{len(self) - 1}, positions in the split that soft targets were computed for; "
                f"found {low} to {high}. Is the batch from another split?"
            ) from None

    def check_labels(self, view: View, index: Tensor, labels: Tensor) -> None:
        """Make sure that the images at ``index`` are those that the teacher saw, judged by their labels or masks.

        Training on a reordered split, or on another one, would pair images with other images' logits.

        Raises:
            ArgumentError: ``labels`` [B] or [B, H, W] aren't the split's at ``index`` [B], as ``view`` shows them.
        """
        places = index.to(self._labels.device)
        stored = self._labels[places]
        if self.task is MASKS:
            stored = view.apply_to_masks(stored, places)
        stored = stored.to(labels)
        if not torch.equal(stored, labels):
            wrong = int((stored != labels).view(len(labels), -1).any(1).sum())
            what = "mask" if self.task is MASKS else "label"
            raise ArgumentError(
                f"{wrong} of {len(labels)} images have another {what} than at the same position of the split "
                "that the soft targets were computed for: they would be paired with other images' logits. "
                "Compute soft targets for the very split (and order) that training uses."
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
    split: LabelledSplit,
    dataset: AnyDataset,
    *,
    views: Sequence[View] = (View(),),
    dtype: torch.dtype = torch.float16,
    top_k: int | None = None,
    temperatures: Sequence[float] = (1.0, 2.0, 4.0, 8.0),
    cache: Path | str | Literal[False] | None = None,
    batch_size: int | None = None,
    precision: str = "float32",
    progress: bool = True,
    after_batch: Callable[[], object] = lambda: None,
) -> SoftTargets:
    """Compute a teacher's logits for every image of a split, and store them.

    A view found on disk, in the cache or among those that come with the course, is read back (memory-mapped);
    the others are computed, and each is stored as soon as it is complete, so an interrupted call loses one view
    at the most. Several processes may do so at once.
    What is stored depends on the teacher's weights, buffers and plain settings (see `teacher_digest`), the
    images and labels, the view, how images are normalised, ``dtype`` and ``precision``. Code isn't part of
    that, so a few images are computed again before stored views are used; if their logits differ, all are
    computed again.

    A file that is damaged is computed again, and if one can't be written (a full disk), the logits stay in memory,
    each with a warning.

    With ``top_k`` memory and disk grow with k rather than with the number of classes: of each image the k largest
    logits are stored, and how much all other classes weigh together at each of ``temperatures``. Nothing is
    approximated, and in return a method can only use these temperatures; ``kd`` takes the other classes as one
    (`top_k_divergence`). For 1.28 million images, k = 16 and four temperatures take 0.1 GB,
    all of 1,000 logits 2.6 GB.

    Maps of logits, one row per pixel, are too much for a disk: they stay in memory, 2 bytes per pixel, class and view
    in float16, so 180 MB for 2,000 images of 64x64 with 11 classes. Where that is too much, train with an augmentation
    and without ``views``, and `distil` asks the teacher at every step.

    Args:
        teacher: returns logits [B, C], of a `MaskedSplit` [B, C, H, W]; called on its own device, in eval mode and
            without gradient, and left as found. A logit of -inf rules a class out.
        split: N images.
        dataset: says how to normalise.
        views: the views to compute; by default the images as they are.
        top_k: how many logits of an image to keep, fewer than the classes; ``None`` for all.
        temperatures: at which the other classes' weight is kept; used with ``top_k`` alone.
        dtype: float16 or float32 to store. A view with logits beyond float16's 65504 is kept in float32.
        cache: folder for the files; ``None`` for `cache_folder`, ``False`` to keep nothing on disk.
        batch_size: images per forward pass; by default 512, for masks 64.
        precision: ``float32`` or ``bfloat16``, in which the teacher computes.
        progress: show a bar while computing.
        after_batch: called after each batch that is computed, such as `kdcourse.course.progress_bar` returns.

    Returns:
        `SoftTargets` with logits [views, N, C] or [views, N, C, H, W], or with the top k of C.

    Raises:
        ArgumentError: no view, one view twice, another dtype or precision, batch size below 1, ``top_k`` or
            ``temperatures`` out of range or for another task than labels, images with another
            number of channels than the data set's, a teacher whose logits have another shape, are NaN or infinite, an
            `EndlessSplit`.
    """
    if isinstance(split, EndlessSplit):
        raise ArgumentError(
            "This split has fresh images in every epoch, so a teacher's logits for it can't be stored. Pass the "
            "teacher itself to distil, or make the data without endless=True."
        )
    views, task = tuple(views), task_of(split)
    if task is TOKENS:
        raise ArgumentError(
            "A teacher's logits for every token of a text take too much room to be stored. Pass the teacher itself to "
            "distil, which runs it on each batch."
        )
    if batch_size is None:
        batch_size = 64 if task is MASKS else 512
    _check(views, split, dataset, dtype, batch_size)
    folder = None if cache is False or task is MASKS else cache_folder() if cache is None else Path(cache)
    rows = _rows(top_k, temperatures, dataset)
    files: list[Path | None] = [None] * len(views)
    tables: list[Tensor | None] = [None] * len(views)
    with teacher_inference(teacher) as forward:
        teacher_key = teacher_digest(teacher)
        teacher_logits = _TeacherLogits(forward, split, dataset, precision, rows)
        if folder is not None:
            names = [file_name(teacher_key, split, dataset, view, dtype, precision, rows) for view in views]
            kept, came_along = [folder / name for name in names], [shipped(SHIPPED) / name for name in names]
            found = [there if there.exists() else own for own, there in zip(kept, came_along, strict=True)]
            tables = [open_table(file, len(split), rows) for file in found]
            if not _still_true(tables, views, teacher_logits):
                tables = [None] * len(views)
            files = [
                own if table is None else file for own, file, table in zip(kept, found, tables, strict=True)
            ]
        missing = [position for position, table in enumerate(tables) if table is None]
        if missing:
            with _bar(progress, len(missing) * len(split)) as bar:
                for position in missing:
                    table, file = (
                        teacher_logits.table(views[position], dtype, batch_size, bar, after_batch),
                        files[position],
                    )
                    stored = None if file is None else store_table(file, table, rows)
                    if stored is None:
                        files[position] = None
                    tables[position] = table if stored is None else stored
    return SoftTargets(
        views, [table for table in tables if table is not None], files, split, teacher_key, rows
    )


class _TeacherLogits:
    """Compute a teacher's logits for the images of a split, in any view."""

    def __init__(
        self,
        forward: TeacherInference,
        split: LabelledSplit,
        dataset: AnyDataset,
        precision: str,
        rows: TopRows | None,
    ) -> None:
        self._forward, self._split, self._dataset, self.precision = forward, split, dataset, precision
        self._rows = rows

    def at(self, view: View, index: Tensor) -> Tensor:
        """Return the teacher's logits for the images at ``index`` in a view: float32, on the CPU."""
        forward, split = self._forward, self._split
        images = split.images[index.to(split.images.device)].to(forward.device)
        images = self._dataset.normalise(view.apply(images, index.to(forward.device)))
        with autocast(forward.device, self.precision):
            logits = forward(images)
        dense = task_of(split.labels) is MASKS
        if logits.ndim != (4 if dense else 2):
            wanted = "[B, classes, H, W]" if dense else "[B, classes]"
            raise ArgumentError(
                f"{self._dataset.name!r} has {task_of(split.labels).has}, for which soft targets are logits {wanted}; "
                f"the teacher returned {list(logits.shape)}. Take a teacher for this task."
            )
        if self._rows is not None and logits.shape[1] != self._rows.classes:
            raise ArgumentError(
                f"The teacher returned {logits.shape[1]} logits per image, and {self._dataset.name!r} has "
                f"{self._rows.classes} classes. Take a teacher for these classes."
            )
        logits = logits.float().cpu()
        usable = (logits < torch.inf) & (logits.amax(1, keepdim=True) > -torch.inf)  # both False for NaN
        if not bool(usable.all()):
            wrong = int((~usable).view(len(logits), -1).any(1).sum())
            raise ArgumentError(
                f"The teacher's logits hold NaN or infinity for {wrong} of {len(logits)} images (view {view.key!r}). "
                "Check its weights, or run it in precision='float32'."
            )
        return logits

    def probe(self, view: View) -> tuple[Tensor, Tensor]:
        """Return a few positions spread over the split, and the logits there."""
        index = evenly_spaced(len(self._split), PROBES)
        return index, self.at(view, index)

    def compared(self, stored: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
        """Return stored logits and those of an answer, float32; of rows those of the stored classes, and the rest."""
        if self._rows is None:
            return stored.float(), answer
        top = self._rows.unpack(stored)
        now = torch.cat([answer.gather(1, top.classes), self._rows.rest(answer, top.classes)], 1)
        return torch.cat([top.values, top.rest], 1), now

    def table(
        self, view: View, dtype: torch.dtype, batch_size: int, bar: Any, after_batch: Callable[[], object]
    ) -> Tensor:
        """Return the logits (or rows) of all images in a view; float32 where they are too large for float16."""
        table: Tensor | None = None
        for index in torch.arange(len(self._split)).split(batch_size):
            logits = self.at(view, index)
            reach = largest(logits)
            if self._rows is None:
                part = logits if dtype == torch.float32 or reach <= torch.finfo(dtype).max else None
            else:
                part = self._rows.pack(logits, dtype)
            if part is None:
                warnings.warn(
                    f"The teacher's logits reach {reach:g}, beyond float16's 65504; they are kept in float32.",
                    stacklevel=3,
                )
                bar.update(-int(index[0]))
                return self.table(view, torch.float32, batch_size, bar, after_batch)
            if table is None:  # one allocation: gathering parts would take twice the memory for a while
                kept = dtype if self._rows is None else torch.uint8
                table = torch.empty(len(self._split), *part.shape[1:], dtype=kept)
            table[index[0] : index[-1] + 1] = part
            bar.update(len(index))
            after_batch()
        assert table is not None
        return table


def _check(
    views: tuple[View, ...],
    split: LabelledSplit,
    dataset: AnyDataset,
    dtype: torch.dtype,
    batch_size: int,
) -> None:
    keys = [view.key for view in views]
    if not keys or len(set(keys)) < len(keys):
        raise ArgumentError(
            f"views must be at least one view, each once; found {_some(keys) if keys else 'none'}."
        )
    if dtype not in NUMPY_TYPES:
        raise ArgumentError(f"dtype must be torch.float16 or torch.float32; found {dtype}.")
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1; found {batch_size}.")
    if split.images.shape[1] != len(dataset.mean):
        raise ArgumentError(
            f"The images have {split.images.shape[1]} channel(s), while {dataset.name!r} normalises "
            f"{len(dataset.mean)}. Pass a split of that data set."
        )


def _still_true(
    tables: Sequence[Tensor | None], views: Sequence[View], teacher_logits: _TeacherLogits
) -> bool:
    """Return whether today's teacher gives the stored answers, up to rounding; true when nothing is stored."""
    found = [position for position, table in enumerate(tables) if table is not None]
    if not found:
        return True
    table = tables[found[-1]]
    assert table is not None
    index, answer = teacher_logits.probe(views[found[-1]])
    expected, answer = teacher_logits.compared(table[index], answer)
    if answer.shape == expected.shape:
        tolerance = (0.02 if teacher_logits.precision == "float32" else 0.1) * (1e-3 + largest(expected))
        if float((answer - expected).masked_fill(answer == expected, 0).abs().max()) <= tolerance:
            return True
    warnings.warn(
        "The teacher no longer gives the logits stored for the same weights (has its code changed?); computing "
        "its soft targets again.",
        stacklevel=3,
    )
    return False


def _rows(top_k: int | None, temperatures: Sequence[float], dataset: AnyDataset) -> TopRows | None:
    """Return the format of rows that hold the top k logits; ``None`` where all are kept."""
    if top_k is None:
        return None
    task = task_of(dataset)
    if task is not LABELS:
        raise ArgumentError(
            f"top_k keeps the likeliest of classes that exclude each other, and {dataset.name!r} has {task.has}. Leave "
            "it out."
        )
    return TopRows(top_k, len(dataset.classes), temperatures)


def _bar(progress: bool, total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="soft targets", unit=" images", leave=False, disable=not progress)


def _some(keys: Sequence[str]) -> str:
    return ", ".join(repr(key) for key in keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
