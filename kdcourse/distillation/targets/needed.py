"""Get the stored logits that a training needs: computed from a teacher, or checked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from kdcourse.data import AnyDataset, Augmentation, View
from kdcourse.distillation.gate import check_teacher
from kdcourse.distillation.targets.soft_targets import SoftTargets, soft_targets
from kdcourse.errors import ArgumentError
from kdcourse.training import task_of, usual_precision


def stored_targets(
    teacher: nn.Module | SoftTargets,
    data: AnyDataset,
    shown: tuple[View, ...],
    *,
    labelled: bool = True,
    precision: str = "float32",
    cache: Path | str | Literal[False] | None = None,
    progress: bool = True,
) -> SoftTargets:
    """Return the teacher's logits that training on ``data.train`` under the views ``shown`` needs: made, or checked.

    Without ``labelled``, labels aren't read to judge the teacher.

    Raises:
        ArgumentError: a teacher whose answers are broken, targets of other images, of the other task, or that lack a
            view.
    """
    if isinstance(teacher, SoftTargets):
        _check_targets(teacher, data, shown)
        return teacher
    precision = _precision_of(teacher, precision)
    check_teacher(teacher, data.train, data, labels=labelled, precision=precision)
    return soft_targets(
        teacher, data.train, data, views=shown, cache=cache, precision=precision, progress=progress
    )


def _precision_of(teacher: nn.Module, precision: str) -> str:
    if precision != "auto":
        return precision
    weight = next(teacher.parameters(), None)
    return usual_precision(torch.device("cpu") if weight is None else weight.device)


def _check_targets(teacher: SoftTargets, data: AnyDataset, shown: tuple[View, ...]) -> None:
    """Raise ArgumentError unless these targets are for ``data``, belong to ``data.train`` and hold all views."""
    task = task_of(data)
    if teacher.task is not task:
        raise ArgumentError(
            f"{data.name!r} has {task.has}, and these soft targets are for data with {teacher.task.has}. Ask the "
            "teacher about data.train, or pass it itself."
        )
    if teacher.split_digest != data.train.digest:
        raise ArgumentError(
            f"The soft targets ({len(teacher)} images) were computed for another split than the training "
            f"split of {data.name!r} ({len(data.train)} images), or for another order of it. Compute them for "
            "data.train."
        )
    lacking = sorted({view.key for view in shown} - {view.key for view in teacher.views})
    if lacking:
        raise ArgumentError(
            f"The soft targets lack {len(lacking)} of the {len(shown)} views that training will show, such as "
            f"{lacking[0]!r}. Compute them with the same augmentation, view_seed and number of views."
        )


def views_shown(
    augmentation: Augmentation | None, views: int | None, view_seed: int, epochs: int
) -> tuple[View, ...]:
    """Return the different views that ``epochs`` epochs of training show, in their order.

    Raises:
        ArgumentError: fewer than one epoch or view.
    """
    if epochs < 1 or (views is not None and views < 1):
        raise ArgumentError(
            "epochs must be at least 1, and views at least 1 or None for a new view every epoch; found "
            f"epochs={epochs}, views={views}."
        )
    if augmentation is None:
        return (View(),)
    count = epochs if views is None else min(views, epochs)
    return tuple(View(augmentation, view_seed, number) for number in range(count))
