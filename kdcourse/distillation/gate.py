"""Check a teacher before a student learns from it: refuse a broken one, warn of one that seems not to know its task."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

from kdcourse.data import AnyDataset, LabelledSplit
from kdcourse.distillation.inference import evenly_spaced, teacher_inference
from kdcourse.distillation.softening import largest
from kdcourse.errors import ArgumentError, TeacherWarning
from kdcourse.models.inputs import explaining_misfits
from kdcourse.training import MASKS, MULTILABEL, TOKENS, autocast, task_of

_MARGIN = 0.1  # of the way from chance to perfect
_LEAST = 5  # images or pixels of a class from which its prediction is judged


def check_teacher(
    teacher: nn.Module,
    split: LabelledSplit,
    dataset: AnyDataset,
    *,
    labels: bool = True,
    images: int | None = None,
    batch_size: int = 256,
    precision: str = "float32",
) -> float | None:
    """Make sure that a teacher can teach: return its mean recall over the classes, or its mean AUC, 0 to 1.

    What is certainly broken is refused. The rest is judged by the mean recall (the share of each class's images or
    pixels that are named correctly, averaged over the classes that occur), in which rare classes count as much as
    common ones. A network that always predicts one class has the mean recall 1 / classes. A mean recall of less than
    a tenth of the way from there to 1 gives a warning: the last layer may be untrained. So do classes whose names
    seem to be exchanged: of each the teacher predicts another one for most images, and together they are the same
    classes. Its classes are then in another order, as those of a checkpoint trained elsewhere may be. No loss curve
    would show either.

    With any number of labels per image, it is judged by the area under the ROC curve (AUC): how often an image with
    the label gets a higher logit than one without, whatever the threshold; mean over the classes that some of the
    images have and some lack. Chance is 0.5, and a mean AUC below 0.55 gives the warning.

    A language model is judged by its cross-entropy in nats per token; one that doesn't beat a uniform guess over the
    vocabulary by a tenth gives the warning.

    Args:
        teacher: returns logits [B, C], for segmentation [B, C, H, W], for a text [B, T, V].
        split: images with labels, or with masks, of which every pixel counts on its own.
        dataset: says how to normalise, and which classes there are.
        labels: False reads no labels, for data that have none: nothing is judged then but the logits themselves.
        images: how many, evenly spread, are used: by default 1000, 100 with masks, 32 rows of tokens.
        batch_size: images per forward pass.
        precision: ``float32`` or ``bfloat16``, in which the teacher computes.

    Returns:
        The mean recall or AUC, of a language model the share of tokens that it finds likeliest; ``None`` without
        labels, where fewer than two classes occur, or where no class is both there and missing.

    Warns:
        TeacherWarning: classes in another order, or a mean recall or AUC that is hardly above chance.

    Raises:
        ArgumentError: no weights yet (lazy layers), images that it can't take, NaN or infinite logits, another number
            of outputs than classes, a single one (a sigmoid's), probabilities in place of logits, the same answer to
            different images; ``images`` or ``batch_size`` below 1.
    """
    task = task_of(dataset)
    if task is TOKENS:
        return _check_language_model(teacher, split, dataset, rows=min(images or 32, batch_size))
    if images is None:
        images = 100 if task is MASKS else 1000
    if images < 1 or batch_size < 1:
        raise ArgumentError(
            f"images and batch_size must be at least 1; found images={images}, batch_size={batch_size}."
        )
    index, classes = evenly_spaced(len(split), images).to(split.images.device), len(dataset.classes)
    counts = torch.zeros(classes, classes, dtype=torch.int64)  # by true and by predicted class
    answers: list[tuple[Tensor, Tensor]] = []  # logits and labels, where there are several per image
    first: Tensor | None = None
    varies = others = False
    with teacher_inference(teacher) as forward, autocast(forward.device, precision):
        for part in index.split(batch_size):
            seen = split.images[part]
            images_seen = dataset.normalise(seen)
            with explaining_misfits(f"The teacher ({type(teacher).__name__})", images_seen):
                logits = forward(images_seen).float().cpu()
            _check_logits(logits, classes, type(teacher).__name__, several=task is MULTILABEL)
            if first is None:
                first, shown = logits[:1], seen[:1]
            others |= bool((seen != shown).any())
            varies |= bool((logits - first).nan_to_num().abs().max() > 1e-6 * (1 + largest(first)))
            if labels:
                truth = split.labels[part.to(split.labels.device)].long().cpu()
                if task is MULTILABEL:
                    answers.append((logits, truth))
                    continue
                kept = task.scored(truth)
                pairs = truth[kept] * classes + logits.argmax(1)[kept]
                counts += pairs.bincount(minlength=classes**2).view(classes, classes)
    if others and not varies:
        raise ArgumentError(
            f"The teacher ({type(teacher).__name__}) returns the same logits for all of {len(index)} different images "
            f"of {dataset.name!r}: its last layer is untrained, or its weights weren't loaded. Load trained weights, "
            "or train it first."
        )
    if answers:
        area = _mean_area(*(torch.cat(parts) for parts in zip(*answers, strict=True)))
        if area is not None and area < 0.5 + _MARGIN * 0.5:
            _warn(
                f"The teacher ({type(teacher).__name__}) ranks an image with a label above one without in {area:.1%} "
                f"of cases on average, of {len(index)} images of {dataset.name!r}; chance is 50 %."
            )
        return area
    occurs = counts.sum(1) > 0
    if int(occurs.sum()) < 2:
        return None
    recall = float((counts.diag()[occurs] / counts.sum(1)[occurs]).double().mean())
    chance = 1 / int(occurs.sum())
    if exchanged := _exchanged(counts):
        said = ", ".join(
            f"{dataset.classes[named]} for most {task.unit} of {dataset.classes[true]}"
            for true, named in list(exchanged.items())[:3]
        )
        warnings.warn(
            f"The teacher ({type(teacher).__name__}) predicts {said}: its classes seem to be in another order than "
            f"those of {dataset.name!r} ({', '.join(dataset.classes[:10])}{', ...' * (classes > 10)}). Bring its "
            "logits into this order: kdcourse.models.SelectedClasses(teacher, [its classes in its order], "
            "data.classes).",
            TeacherWarning,
            stacklevel=3,
        )
    elif recall < chance + _MARGIN * (1 - chance):
        _warn(
            f"The teacher ({type(teacher).__name__}) finds {recall:.1%} of each class's {task.unit} on average, of "
            f"{len(index)} images of {dataset.name!r}; always predicting one of the {int(occurs.sum())} classes gives "
            f"{chance:.1%}."
        )
    return recall


def _check_language_model(teacher: nn.Module, split: LabelledSplit, dataset: AnyDataset, rows: int) -> float:
    """Do what `check_teacher` does, for a text."""
    index, name = evenly_spaced(len(split), rows), type(teacher).__name__
    tokens, labels = split.images[index], split.labels[index]
    with teacher_inference(teacher) as forward, explaining_misfits(f"The teacher ({name})", tokens):
        logits = forward(tokens).float().cpu()
    kept = logits[TOKENS.scored(labels)]
    _check_logits(kept, len(dataset.classes), name, several=False)
    loss, uniform = float(TOKENS.cross_entropy(logits, labels)), math.log(len(dataset.classes))
    if loss > (1 - _MARGIN) * uniform:
        _warn(
            f"The teacher ({name}) has a cross-entropy of {loss:.2f} nats per token on {len(index)} rows of "
            f"{dataset.name!r}; a uniform guess over its {len(dataset.classes)} tokens has {uniform:.2f}."
        )
    return TOKENS.rates(TOKENS.count(logits, labels, len(dataset.classes))).accuracy


def _warn(found: str) -> None:
    warnings.warn(
        f"{found} Its last layer may be untrained, or its classes in another order. Load trained weights, or train it "
        "first; if it is as it should be, silence this with warnings.filterwarnings('ignore', "
        "category=kdcourse.errors.TeacherWarning).",
        TeacherWarning,
        stacklevel=4,
    )


def _mean_area(logits: Tensor, labels: Tensor) -> float | None:
    """Return the area under the ROC curve of logits [N, C], mean over classes with both answers; ``None`` without any.

    It is the share of pairs in which the image with the label has the higher logit, ties counted half (Hanley and
    McNeil 1982, "The Meaning and Use of the Area under a ROC Curve").
    """
    areas = []
    for scores, true in zip(logits.T, labels.T.bool(), strict=True):
        if bool(true.any()) and not bool(true.all()):
            with_it, without = scores[true][:, None], scores[~true]
            higher, same = (with_it > without).double().mean(), (with_it == without).double().mean()
            areas.append(float(higher + same / 2))
    return sum(areas) / len(areas) if areas else None


def _exchanged(counts: Tensor) -> dict[int, int]:
    """Return, by true class, the other class that is predicted for most of its images; empty unless they change places.

    Args:
        counts: int64 [C, C], by true and by predicted class.
    """
    most, named = counts.max(1)
    total = counts.sum(1)
    clear = (total >= _LEAST) & (2 * most > total) & (named != torch.arange(len(counts)))
    moved = {int(true): int(named[true]) for true in clear.nonzero().flatten()}
    return moved if moved.keys() == set(moved.values()) else {}


def _check_logits(logits: Tensor, classes: int, name: str, *, several: bool) -> None:
    """Raise ArgumentError unless ``logits`` [B, C] or [B, C, H, W] can be those of so many classes."""
    outputs = logits.shape[1]
    if outputs == 1 and classes == 2 and not several:
        raise ArgumentError(
            f"The teacher ({name}) returns one logit per image, as networks that end in a sigmoid do, and there are 2 "
            "classes. Wrap it in a module that returns both: torch.cat([torch.zeros_like(z), z], dim=1)."
        )
    if outputs != classes:
        raise ArgumentError(
            f"The teacher ({name}) returns {outputs} logits, and there are {classes} classes. Take one that was "
            "trained for these classes, or wrap it in a module that returns their logits alone, in their order."
        )
    usable = (logits < torch.inf) & (logits.amax(1, keepdim=True) > -torch.inf)  # both False for NaN
    if not bool(usable.all()):
        wrong = int((~usable).flatten(1).any(1).sum())
        raise ArgumentError(
            f"The teacher ({name}) returns logits with NaN or infinity for {wrong} of {len(logits)} images. Check its "
            "weights, and that it is trained in the precision it runs in."
        )
    if several:
        if (
            len(logits) > 1
            and bool(((logits >= 0) & (logits <= 1)).all())
            and bool((logits != logits[:1]).any())
        ):
            raise ArgumentError(
                f"The teacher ({name}) returns numbers from 0 to 1 alone, as a sigmoid does, where logits are needed. "
                "Leave out its sigmoid, or wrap it in a module that returns torch.logit(p)."
            )
        return
    total = logits.sum(1)
    if bool(((logits >= 0) & (logits <= 1)).all()) and float((total - 1).abs().max()) < 1e-3:
        raise ArgumentError(
            f"The teacher ({name}) returns probabilities (from 0 to 1, and each row sums to 1), where logits are "
            "needed. Leave out its softmax, or wrap it in a module that returns their logarithm."
        )
