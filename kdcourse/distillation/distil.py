"""Distil a teacher into a student: targets, method and training loop put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from torch import nn

from kdcourse.data import AnyDataset, EndlessSplit
from kdcourse.distillation.choice import FIT_ARGUMENTS, check_own, check_top_k, chosen_methods
from kdcourse.distillation.features import Names, Pair, Tap, Trial, pair_layers
from kdcourse.distillation.gate import check_teacher
from kdcourse.distillation.methods import Method, Outputs
from kdcourse.distillation.objective import Distillation, Layers, OwnObjective, weights_of
from kdcourse.distillation.targets import SoftTargets
from kdcourse.distillation.targets.needed import stored_targets, views_shown
from kdcourse.distillation.targets.source import OnTheFly, Source, WithLayers, source_of, tapped
from kdcourse.errors import ArgumentError
from kdcourse.training import TOKENS, History, Objective, Settings, fit, task_of
from kdcourse.training.guards import own_random_numbers
from kdcourse.training.labels import chosen_loss, labels_loss

_DEFAULTS = {"learning_rate": 0.1}


def distil(
    student: nn.Module,
    teacher: nn.Module | SoftTargets,
    data: AnyDataset,
    settings: Settings | None = None,
    *,
    method: str | Method | Sequence[str | Method] | None = None,
    objective: Objective | None = None,
    alpha: float | None = None,
    weights: Mapping[str, float] | None = None,
    layers: Mapping[str, Names] | None = None,
    layers_of: nn.Module | None = None,
    teacher_precision: str = "float32",
    cache: Path | str | Literal[False] | None = None,
    **changes: Any,
) -> History:
    """Train ``student`` in place to imitate ``teacher`` on ``data.train``.

    What is minimised is ``(1 - alpha) * cross_entropy + alpha * term``, the term being the method's; with
    ``method="kd"``, which is usual for labels, that is `hinton_loss`. ``label_smoothing`` and ``class_weights``
    change the cross-entropy alone.

    Which images the teacher sees:

    - no ``augmentation``: the images as they are, once;
    - ``augmentation`` and ``views=K``: K fixed editions of the training set, each once; the student
      meets them in turn, epoch after epoch;
    - ``augmentation`` alone: every batch anew, on the very view that the student sees
      (function matching, Beyer et al. 2022, https://arxiv.org/abs/2106.05237). The most expensive.

    Stored outputs stay on disk (`soft_targets`), so other settings, students and
    seeds learn from it at no cost. They share ``view_seed``, 0 unless told, for that reason. For segmentation it is a
    map of logits for every image, too much for a disk: it stays in memory for this call, and to share it among
    students, make `soft_targets` once and pass them as the teacher.

    Args:
        student: a fresh network, float32 [B, C, H, W] -> logits [B, classes], or [B, classes, H, W]; for a text tokens
            int64 [B, T] -> logits [B, T, V].
        teacher: a trained network or `Ensemble`, or the targets already computed; of those with ``top_k``, only
            methods such as ``kd`` can learn.
        data: images and labels, masks, or any number of labels per image, or a text, of which the teacher is asked
            about every batch.
        settings: how to train, see `kdcourse.training.Settings`; or pass each by name. Without them
            ``learning_rate`` is 0.1 unless given.
        method: one of `kdcourse.distillation.methods.names`, a list of them, or built ones; ``kd`` for labels,
            ``pixelwise`` for masks, ``mld`` for several labels per image and ``token_kl`` for a text unless told.
        objective: minimised in place of a method: ``(logits, batch) -> scalar``, with the teacher's logits in
            ``batch.teacher_logits``.
        alpha: weight of the method's term, 0 (labels alone) to 1 (teacher alone).
        weights: of each method's term by name, where it isn't ``alpha``.
        layers: what a method compares that needs more than logits, such as ``{"student": "stages", "teacher":
            "layer4"}``, a name or a list on each side; found by itself where it is left out. The teacher is then asked
            on the fly, and its layers aren't stored.
        layers_of: the network whose layers are compared, where it isn't ``teacher``, such as one member of an ensemble
            whose logits are stored. It runs on the fly.
        teacher_precision: of a teacher whose outputs are stored: ``float32``, ``bfloat16``, which
            rounds them to three digits, or ``auto``, see `kdcourse.training.precision.usual_precision`.
        cache: folder of the stored soft targets, by default the user's cache; ``False`` stores none.
        changes: by name: the method's settings, such as ``temperature``; `kdcourse.training.Settings`, such as
            ``epochs``; further arguments of `fit`, such as ``checkpoint``.

    Returns:
        The history of the student's training; ``parts`` of its epochs are the labels' and the method's terms.

    Warns:
        TeacherWarning: a teacher that seems not to know the task; see `check_teacher`.

    Raises:
        ArgumentError: an unknown method or setting (the right ones are listed), one that is out of range or missing, a
            teacher whose answers are broken, the student as its own teacher, targets of other images or that lack a
            view that training will show.
        CheckpointError, DivergedError: see `fit`.
    """
    if teacher is student:
        raise ArgumentError(
            "student and teacher are one and the same object, so there is nothing to learn. Build a fresh "
            "student with kdcourse.models.build, or copy.deepcopy the network to distil it into its own twin."
        )
    run = {name: changes.pop(name) for name in FIT_ARGUMENTS if name in changes}
    training = {name: changes.pop(name) for name in Settings.names() if name in changes}
    settings = Settings.of(settings, training if settings is not None else _DEFAULTS | training)
    view_seed = settings.view_seed or 0
    used: list[Method] = []  # those of weight 0 ask nothing of the teacher
    if objective is None:
        if alpha is None:
            raise ArgumentError(
                "alpha, the weight of the distillation term, is missing; 0.5 to 0.9 is usual."
            )
        chosen = chosen_methods(method, changes, data)
        of_labels, weighed = labels_loss(settings, data), weights_of(chosen, alpha, weights)
        used = [one for one in chosen if weighed[one.name]]
    else:
        check_own(changes | {"method": method, "alpha": alpha, "weights": weights})
        chosen_loss(objective, settings, data)
    needed = objective is not None or bool(used)
    unstorable = isinstance(data.train, EndlessSplit) or task_of(data) is TOKENS
    live = needed and (unstorable or (settings.augmentation is not None and settings.views is None))
    compared = [one for one in used if one.layers is not None]
    if layers is not None and not compared:
        raise ArgumentError("layers are named, and no method here compares any. Leave them out.")
    if layers_of is not None and (not compared or layers_of is student):
        raise ArgumentError(
            "layers_of is the student itself; pass a trained network, or leave it out."
            if compared
            else "layers_of is given, and no method here compares layers. Leave it out."
        )
    deep = teacher if layers_of is None else layers_of
    if compared and not isinstance(deep, nn.Module):
        raise ArgumentError(
            f"{compared[0].name} compares layers, which soft targets don't hold. Pass the teacher itself, or beside "
            "them a network under layers_of."
        )
    if isinstance(teacher, SoftTargets) and teacher.top_k is not None and needed:
        check_top_k(used, objective)
    labelled = alpha != 1  # with alpha = 1 the labels don't count, and may mean nothing
    with ExitStack() as hooks:
        pairs: dict[str, Pair] = {}
        source: Source | None = None
        asked = live or not needed or (bool(compared) and deep is teacher)
        if isinstance(teacher, nn.Module) and asked:
            check_teacher(teacher, data.train, data, labels=labelled)
            source = None if not needed or (compared and deep is teacher) else OnTheFly(teacher)
        else:
            shown = views_shown(settings.augmentation, settings.views, view_seed, settings.epochs)
            progress = bool(run.get("progress", True))
            source = source_of(
                stored_targets(
                    teacher,
                    data,
                    shown,
                    labelled=labelled,
                    precision=teacher_precision,
                    cache=cache,
                    progress=progress,
                )
            )
        if compared:
            assert isinstance(deep, nn.Module)
            pairs = _prepared(compared, student, deep, data, layers, settings.seed)
            running = OnTheFly(deep, [name for _, theirs in pairs.values() for name in theirs])
            source = running if source is None else WithLayers(source, running)
        tap = hooks.enter_context(Tap(student, [name for own, _ in pairs.values() for name in own]))
        minimised: Objective
        if objective is None:
            assert alpha is not None
            minimised = Distillation(
                chosen,
                source,
                alpha=alpha,
                weights=weights,
                layers=Layers(pairs, tap),
                labels_loss=of_labels,
            )
        else:
            assert source is not None
            minimised = OwnObjective(objective, source)
        return fit(student, data, settings, objective=minimised, view_seed=view_seed, **run)


def _prepared(
    compared: Sequence[Method],
    student: nn.Module,
    teacher: nn.Module,
    data: AnyDataset,
    layers: Mapping[str, Names] | None,
    seed: int,
) -> dict[str, Pair]:
    """Find the layers that methods compare, and let each method make its parameters for them, drawn from the seed."""
    images = data.normalise(data.train.images[:2])
    tried = Trial(student, images), Trial(tapped(teacher), images)
    pairs: dict[str, Pair] = {}
    with own_random_numbers(seed):
        for method in compared:
            assert method.layers is not None
            pairs[method.name] = pair = pair_layers(method.layers, *tried, layers)
            own, theirs = (
                Outputs(
                    trial.logits.float(),
                    {name: trial.found[name].float() for name in names},
                    modules=trial.behind(names),
                )
                for trial, names in zip(tried, pair, strict=True)
            )
            method.prepare(own, theirs)
    return pairs
