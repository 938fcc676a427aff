"""Check a teacher before a student learns from it: refuse a broken one, warn of one that seems not to know its task."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from kdcourse.data import Dataset, MaskedSplit, SegmentationDataset, Split
from kdcourse.distillation.asking import asking, spread
from kdcourse.errors import ArgumentError, TeacherWarning
from kdcourse.models.inputs import explaining_misfits
from kdcourse.training import LABELS, task_of

_MARGIN = 0.1  # of the way from chance to perfect
_LEAST = 5  # images or pixels of a class from which its prediction is judged


def check_teacher(
    teacher: nn.Module,
    split: Split | MaskedSplit,
    dataset: Dataset | SegmentationDataset,
    *,
    labels: bool = True,
    images: int | None = None,
    batch_size: int = 256,
) -> float | None:
    """Make sure that a teacher can teach: return its mean recall over the classes, 0 to 1.

    What is certainly broken is refused. The rest is judged by the mean recall (the share of each class's images or
    pixels that are named correctly, averaged over the classes that occur), in which rare classes count as much as
    common ones. A network that always predicts one class has the mean recall 1 / classes. A mean recall of less than
    a tenth of the way from there to 1 gives a warning: the last layer may be untrained. So do classes whose names
    seem to be exchanged: of each the teacher predicts another one for most images, and together they are the same
    classes. Its classes are then in another order, as those of a checkpoint trained elsewhere may be. No loss curve
    would show either.

    Args:
        teacher: returns logits [B, C], for segmentation [B, C, H, W].
        split: images with labels, or with masks, of which every pixel counts on its own.
        dataset: says how to normalise, and which classes there are.
        labels: False reads no labels, for data that have none: nothing is judged then but the logits themselves.
        images: how many, evenly spread, are used: by default 1000, 100 with masks.
        batch_size: images per forward pass.

    Returns:
        The mean recall; ``None`` without labels, or where fewer than two classes occur.

    Warns:
        TeacherWarning: classes in another order, or a mean recall that is hardly above chance.

    Raises:
        ArgumentError: no weights yet (lazy layers), images that it can't take, NaN or infinite logits, another number
            of outputs than classes, a single one (a sigmoid's), probabilities in place of logits, the same answer to
            different images; ``images`` or ``batch_size`` below 1.
    """
    task = task_of(dataset)
    if images is None:
        images = 1000 if task is LABELS else 100
    if images < 1 or batch_size < 1:
        raise ArgumentError(
            f"images and batch_size must be at least 1; found images={images}, batch_size={batch_size}."
        )
    index, classes = spread(len(split), images).to(split.images.device), len(dataset.classes)
    counts = torch.zeros(classes, classes, dtype=torch.int64)  # by true and by predicted class
    first: Tensor | None = None
    varies = others = False
    with asking(teacher) as ask:
        for part in index.split(batch_size):
            seen = split.images[part]
            images_seen = dataset.normalise(seen)
            with explaining_misfits(f"The teacher ({type(teacher).__name__})", images_seen):
                logits = ask(images_seen).float().cpu()
            _check_logits(logits, classes, type(teacher).__name__)
            if first is None:
                first, shown = logits[:1], seen[:1]
            others |= bool((seen != shown).any())
            varies |= bool((logits - first).nan_to_num().abs().max() > 1e-6 * (1 + _size(first)))
            if labels:
                truth = split.labels[part.to(split.labels.device)].long().cpu()
                kept = task.scored(truth)
                pairs = truth[kept] * classes + logits.argmax(1)[kept]
                counts += pairs.bincount(minlength=classes**2).view(classes, classes)
    if others and not varies:
        raise ArgumentError(
            f"The teacher ({type(teacher).__name__}) returns the same logits for all of {len(index)} different images "
            f"of {dataset.name!r}: its last layer is untrained, or its weights weren't loaded. Load trained weights, "
            "or train it first."
        )
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
        warnings.warn(
            f"The teacher ({type(teacher).__name__}) finds {recall:.1%} of each class's {task.unit} on average, of "
            f"{len(index)} images of {dataset.name!r}; always naming one of the {int(occurs.sum())} classes gives "
            f"{chance:.1%}. Its last layer may be untrained, or its classes in another order. Load trained weights, or "
            "train it first; if it is as it should be, silence this with warnings.filterwarnings('ignore', "
            "category=kdcourse.errors.TeacherWarning).",
            TeacherWarning,
            stacklevel=3,
        )
    return recall


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


def _check_logits(logits: Tensor, classes: int, name: str) -> None:
    """Raise ArgumentError unless ``logits`` [B, C] or [B, C, H, W] can be those of so many classes."""
    outputs = logits.shape[1]
    if outputs == 1 and classes == 2:
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
            "weights, and that it is trained in the precision it is asked in."
        )
    total = logits.sum(1)
    if bool(((logits >= 0) & (logits <= 1)).all()) and float((total - 1).abs().max()) < 1e-3:
        raise ArgumentError(
            f"The teacher ({name}) returns probabilities (from 0 to 1, and each row sums to 1), where logits are "
            "needed. Leave out its softmax, or wrap it in a module that returns their logarithm."
        )


def _size(logits: Tensor) -> float:
    return float(logits.masked_fill(logits == -torch.inf, 0).abs().max())
