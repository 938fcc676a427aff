"""Distil a teacher into a student: soft targets, objective and training loop put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from kdcourse.data import Augmentation, Dataset, SegmentationDataset, View
from kdcourse.distillation.dense import DenseObjective
from kdcourse.distillation.dense_targets import DenseTargets, dense_targets
from kdcourse.distillation.ensemble import assert_trained
from kdcourse.distillation.objectives import HintonObjective, check_alpha
from kdcourse.distillation.soft_targets import SoftTargets, soft_targets
from kdcourse.distillation.softening import check_temperature
from kdcourse.errors import ArgumentError
from kdcourse.training import History, Objective, fastest, fit


def distil(
    student: nn.Module,
    teacher: nn.Module | SoftTargets | DenseTargets,
    data: Dataset | SegmentationDataset,
    *,
    temperature: float,
    alpha: float,
    epochs: int,
    seed: int,
    pairwise: float = 0.0,
    channelwise: float = 0.0,
    learning_rate: float = 0.1,
    augmentation: Augmentation | None = None,
    views: int | None = None,
    view_seed: int = 0,
    precision: str = "auto",
    teacher_precision: str = "float32",
    cache: Path | str | Literal[False] | None = None,
    **options: Any,
) -> History:
    """Train ``student`` in place to imitate ``teacher`` on ``data.train``.

    Which pictures the teacher is asked about:

    - no ``augmentation``: the pictures as they are, once;
    - ``augmentation`` and ``views=K``: K fixed editions of the training set, each once; the student
      meets them in turn, epoch after epoch;
    - ``augmentation`` alone: every batch anew, on the very view that the student sees
      (function matching, Beyer et al. 2022, https://arxiv.org/abs/2106.05237). The dearest.

    What was asked once stays on disk (`soft_targets`), so other temperatures, alphas, students and
    seeds learn from it at no cost. They share ``view_seed`` for that reason. For segmentation it is a map of logits
    for every picture, too much for a disk: it stays in memory for this call, and to share it among students,
    make `dense_targets` once and pass them as the teacher. The objective is then `DenseObjective`.

    Args:
        student: a fresh network, float32 [B, C, H, W] -> logits [B, classes], or [B, classes, H, W].
        teacher: a trained network or `Ensemble`, or the `SoftTargets` or `DenseTargets` already computed.
        data: pictures and labels, or masks.
        temperature: T > 0, see `hinton_loss`.
        alpha: weight of the distillation term, 0 (labels alone) to 1 (teacher alone).
        pairwise, channelwise: weights of the further terms of `DenseObjective`, for segmentation alone.
        epochs, seed, learning_rate, augmentation, views, view_seed, precision: see `kdcourse.training.fit`.
        teacher_precision: in which a teacher is asked whose answers are stored: ``float32``, ``bfloat16``, which
            rounds them to three digits, or ``auto`` for the faster of the two here.
        cache: folder of the stored soft targets, by default the user's cache; ``False`` stores none.
        options: further arguments of `fit`, such as ``batch_size`` or ``checkpoint``.

    Returns:
        The history of the student's training.

    Raises:
        ArgumentError: a setting out of range, a teacher that was never trained, the student as its
            own teacher, soft targets of other pictures or that lack a view that training will show.
        CheckpointError, DivergedError: see `fit`.
    """
    check_temperature(temperature)
    check_alpha(alpha)
    if teacher is student:
        raise ArgumentError(
            "student and teacher are one and the same object, so there is nothing to learn. Build a fresh "
            "student with kdcourse.models.build, or copy.deepcopy the network to distil it into its own twin."
        )
    shown = views_shown(augmentation, views, view_seed, epochs)
    if (pairwise or channelwise) and not isinstance(data, SegmentationDataset):
        raise ArgumentError(
            f"pairwise and channelwise compare maps, and {data.name!r} has one label a picture; found weights of "
            f"{pairwise} and {channelwise}. Leave them at 0."
        )
    # Asked on the fly, the teacher sees every view anew; a student of the labels alone asks nobody.
    alone = alpha == pairwise == channelwise == 0
    source = teacher
    if isinstance(teacher, nn.Module) and (alone or (augmentation is not None and views is None)):
        assert_trained(teacher, data.train, data)
    else:
        progress = bool(options.get("progress", True))
        source = stored_targets(
            teacher, data, shown, precision=teacher_precision, cache=cache, progress=progress
        )
    return fit(
        student,
        data,
        epochs=epochs,
        seed=seed,
        learning_rate=learning_rate,
        objective=_objective(source, data, temperature, alpha, pairwise, channelwise),
        augmentation=augmentation,
        views=views,
        view_seed=view_seed,
        precision=precision,
        **options,
    )


def _objective(
    source: nn.Module | SoftTargets | DenseTargets,
    data: Dataset | SegmentationDataset,
    temperature: float,
    alpha: float,
    pairwise: float,
    channelwise: float,
) -> Objective:
    """What the student is trained to do, with ``source`` asked for the teacher's logits."""
    if isinstance(data, SegmentationDataset):
        assert not isinstance(source, SoftTargets)
        return DenseObjective(
            source, temperature=temperature, alpha=alpha, pairwise=pairwise, channelwise=channelwise
        )
    assert not isinstance(source, DenseTargets)
    return HintonObjective(source, temperature=temperature, alpha=alpha)


def stored_targets(
    teacher: nn.Module | SoftTargets | DenseTargets,
    data: Dataset | SegmentationDataset,
    shown: tuple[View, ...],
    *,
    precision: str = "float32",
    cache: Path | str | Literal[False] | None = None,
    progress: bool = True,
) -> SoftTargets | DenseTargets:
    """The teacher's answers that training on ``data.train`` under the views ``shown`` needs: made, or checked.

    Returns:
        `SoftTargets` for labels, `DenseTargets` for masks, which are not stored on disk.

    Raises:
        ArgumentError: a teacher that was never trained, targets of other pictures, of the other kind, or that
            lack a view.
    """
    if isinstance(teacher, SoftTargets | DenseTargets):
        _check_targets(teacher, data, shown)
        return teacher
    assert_trained(teacher, data.train, data)
    precision = _precision_of(teacher, precision)
    if isinstance(data, SegmentationDataset):
        return dense_targets(teacher, data.train, data, views=shown, precision=precision, progress=progress)
    return soft_targets(
        teacher, data.train, data, views=shown, cache=cache, precision=precision, progress=progress
    )


def _precision_of(teacher: nn.Module, precision: str) -> str:
    if precision != "auto":
        return precision
    weight = next(teacher.parameters(), None)
    return fastest(torch.device("cpu") if weight is None else weight.device)


def _check_targets(
    teacher: SoftTargets | DenseTargets, data: Dataset | SegmentationDataset, shown: tuple[View, ...]
) -> None:
    """Raise ArgumentError unless these targets are for ``data``, belong to ``data.train`` and hold all views."""
    wanted = DenseTargets if isinstance(data, SegmentationDataset) else SoftTargets
    if not isinstance(teacher, wanted):
        has = "a class for every pixel" if wanted is DenseTargets else "one label a picture"
        raise ArgumentError(
            f"{data.name!r} has {has}, for which a teacher's answers are {wanted.__name__}; found "
            f"{type(teacher).__name__}. Ask the teacher about data.train, or pass it itself."
        )
    if teacher.split_digest != data.train.digest:
        raise ArgumentError(
            f"The soft targets ({len(teacher)} pictures) were computed for another split than the training "
            f"split of {data.name!r} ({len(data.train)} pictures), or for another order of it. Compute them for "
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
    """The different views that ``epochs`` epochs of training show, in their order.

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
