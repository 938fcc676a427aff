"""A teacher's logits for every pixel, asked once and kept in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdcourse.data import MaskedSplit, SegmentationDataset, View
from kdcourse.distillation.ensemble import asking
from kdcourse.distillation.soft_targets import teacher_digest
from kdcourse.errors import ArgumentError
from kdcourse.training.precision import autocast


class DenseTargets:
    """A teacher's logits for every pixel of a split, under one or more views; made by `dense_targets`.

    Attributes:
        views: the views held, in the order asked for.
        split_digest: `MaskedSplit.digest` of the pictures and masks they belong to.
        teacher: `teacher_digest` of whom they come from.
    """

    def __init__(
        self, views: Sequence[View], tables: Sequence[Tensor], split: MaskedSplit, teacher: str
    ) -> None:
        self.views, self.teacher, self.split_digest = tuple(views), teacher, split.digest
        self._masks = split.masks
        self._tables = {view.key: table for view, table in zip(views, tables, strict=True)}

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._masks)

    def __repr__(self) -> str:
        classes = next(iter(self._tables.values())).shape[1]
        return f"DenseTargets({len(self.views)} view(s), {len(self)} pictures, {classes} classes)"

    @property
    def nbytes(self) -> int:
        """Bytes of logits, all views together."""
        return sum(table.nbytes for table in self._tables.values())

    def logits(self, view: View, index: Tensor) -> Tensor:
        """The teacher's logits, float32 [B, C, H, W], for the pictures at ``index`` int64 [B] as ``view`` shows them.

        Raises:
            ArgumentError: a view that isn't held, positions outside the split.
        """
        table = self._tables.get(view.key)
        if table is None:
            raise ArgumentError(
                f"No teacher's logits are held for the view {view.key!r}; found {', '.join(self._tables)}. Ask for "
                "every view that training shows, or pass the teacher itself to be asked every time."
            )
        places = index.to(table.device)
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < len(self):
            raise ArgumentError(
                f"index must lie in 0..{len(self) - 1}, positions in the split that the teacher was asked about; "
                f"found {int(places.min())} to {int(places.max())}. Is the batch from another split?"
            )
        return table[places].to(index.device).float()

    def check_labels(self, view: View, index: Tensor, labels: Tensor) -> None:
        """Make sure that the pictures at ``index`` are those that the teacher saw, judged by their masks.

        Raises:
            ArgumentError: ``labels`` int64 [B, H, W] aren't the split's masks at ``index`` [B], as ``view`` shows them.
        """
        places = index.to(self._masks.device)
        stored = view.apply_to_masks(self._masks[places], places).to(labels)
        if not torch.equal(stored, labels):
            wrong = int((stored != labels).flatten(1).any(1).sum())
            raise ArgumentError(
                f"{wrong} of {len(labels)} pictures have another mask than at the same position of the split that "
                "the teacher was asked about: they would be paired with other pictures' logits. Ask it about the "
                "very split (and order) that training uses."
            )


def dense_targets(
    teacher: nn.Module,
    split: MaskedSplit,
    dataset: SegmentationDataset,
    *,
    views: Sequence[View] = (View(),),
    batch_size: int = 64,
    precision: str = "float32",
    progress: bool = True,
) -> DenseTargets:
    """Ask a teacher once about every pixel of a split, and keep its logits.

    In memory, in float16: 2 bytes a pixel, class and view, so 180 MB for 2,000 pictures of 64x64 with 11 classes.
    Where that is too much, pass the teacher itself to `distil`, to be asked at every step.

    Args:
        teacher: returns logits [B, C, H, W]; asked where it is, in eval mode and without gradient, and left as found.
        split: N pictures.
        dataset: says how to normalise.
        views: editions of the pictures to ask about; plain ones if left out.
        batch_size: pictures asked about at once.
        precision: ``float32`` or ``bfloat16``, in which the teacher computes.
        progress: show a bar.

    Returns:
        `DenseTargets` with logits [views, N, C, H, W].

    Raises:
        ArgumentError: no view, or one twice; a teacher that doesn't return finite logits [B, C, H, W] of at most
            float16's 65504.
    """
    from tqdm.auto import tqdm

    views = tuple(views)
    if not views or len({view.key for view in views}) < len(views) or batch_size < 1:
        raise ArgumentError(
            "dense_targets needs at least one view, none of them twice, and a batch_size of at least 1; found "
            f"{[view.key for view in views]} and {batch_size}."
        )
    tables: list[Tensor] = []
    bar = tqdm(
        total=len(views) * len(split),
        desc="asking the teacher",
        unit=" pictures",
        leave=False,
        disable=not progress,
    )
    with asking(teacher) as ask, bar:
        for view in views:
            table: Tensor | None = None
            for index in torch.arange(len(split)).split(batch_size):
                images = view.apply(split.images[index], index).to(ask.device)
                with autocast(ask.device, precision):
                    logits = ask(dataset.normalise(images)).float().cpu()
                _check(logits, view)
                if table is None:  # one allocation: gathering parts would take twice the memory for a while
                    table = torch.empty(len(split), *logits.shape[1:], dtype=torch.float16)
                table[index] = logits.half()
                bar.update(len(index))
            assert table is not None
            tables.append(table)
    return DenseTargets(views, tables, split, teacher_digest(teacher))


def _check(logits: Tensor, view: View) -> None:
    if logits.ndim != 4:
        raise ArgumentError(
            f"A teacher of pixels must return logits [B, classes, H, W]; found {list(logits.shape)}. For one that "
            "answers once a picture, take soft_targets."
        )
    largest = float(logits.abs().max())  # NaN and infinity come through the maximum
    if not largest <= torch.finfo(torch.float16).max:
        raise ArgumentError(
            f"The teacher's logits reach {largest} (view {view.key!r}), more than float16 can hold. Check its weights, "
            "or pass the teacher itself to be asked at every step."
        )
