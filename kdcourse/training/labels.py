"""The labels' cross-entropy with smoothed labels and weighted classes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from kdcourse.data import AnyDataset, Batch
from kdcourse.errors import ArgumentError
from kdcourse.training.objective import LabelsLoss, Objective, cross_entropy
from kdcourse.training.settings import Settings, check_class_weights, check_label_smoothing
from kdcourse.training.task import MASKS, MULTILABEL, TOKENS, task_of

_NAMED = 10  # weights that a record names; of more it holds a digest


class CrossEntropy:
    """`cross_entropy` with smoothed labels and weighted classes.

    The mean over a batch is that of `torch.nn.functional.cross_entropy`: the sum of ``w[y] * loss`` over the labels,
    or over the pixels that aren't `kdcourse.data.IGNORE`, divided by the sum of their weights ``w[y]``, not by their
    number. Several processes divide by the sum over the batch of all of them, and so train as one would.

    Args:
        label_smoothing: epsilon in [0, 1): targets are ``(1 - epsilon) * onehot + epsilon / C``
            (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7). Class weights multiply each class's
            share of these targets, as in PyTorch. With any number of labels per image, 0 and 1 become
            ``epsilon / 2`` and ``1 - epsilon / 2``.
        class_weights: w, one positive number per class; ``None`` for 1 each. With any number of labels per image they
            weigh each class's binary cross-entropy, whether an image has its label or not.

    Raises:
        ArgumentError: label_smoothing outside [0, 1), weights that aren't positive finite numbers; when called, another
            number of them than classes.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> None:
        check_label_smoothing(label_smoothing)
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else check_class_weights(class_weights)
        self._weights: Tensor | None = None

    @property
    def name(self) -> str:
        """Return what this objective is called in records."""
        told = [f"label_smoothing={self.label_smoothing:g}"] if self.label_smoothing else []
        if self.class_weights is not None:
            text = ", ".join(map(repr, self.class_weights))
            many = len(self.class_weights) > _NAMED
            told.append(f"class_weights={_digest(text) if many else f'[{text}]'}")
        return "cross_entropy" + (f"({', '.join(told)})" if told else "")

    def __repr__(self) -> str:
        weights = "" if self.class_weights is None else f", class_weights={list(self.class_weights)}"
        return f"CrossEntropy(label_smoothing={self.label_smoothing}{weights})"

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the loss of the student's logits [B, C] or [B, C, H, W], a scalar."""
        task, labels = task_of(batch), batch.labels
        weights, smoothing = self._weights_for(logits), self.label_smoothing
        loss = task.cross_entropy(logits, labels, label_smoothing=smoothing, weights=weights)
        return loss * share_of_processes(batch, loss.dtype, weights)

    def _weights_for(self, logits: Tensor) -> Tensor | None:
        """Return the weights on the device and in the type of ``logits``, where they stay."""
        if self.class_weights is None:
            return None
        classes = logits.shape[-1 if logits.ndim == 3 else 1]
        if len(self.class_weights) != classes:
            raise ArgumentError(
                f"class_weights must be one number per class; found {len(self.class_weights)} for "
                f"{classes} logits. Give them in the order of the classes."
            )
        held = self._weights
        if held is None or held.device != logits.device or held.dtype != logits.dtype:
            held = self._weights = torch.tensor(self.class_weights, dtype=logits.dtype, device=logits.device)
        return held


def share_of_processes(batch: Batch, dtype: torch.dtype, weights: Tensor | None = None) -> Tensor | float:
    """Return what a mean over this process's labels counts, so that gradients are those of the mean over all labels.

    Gradients are averaged over W processes, whose labels needn't weigh alike: some leave more pixels or tokens out. The
    factor is ``W * weight / (sum of the weights of all processes)``, 1 in a single process. All must call this.

    Args:
        batch: of this process; labels that don't count weigh nothing.
        dtype: of the factor.
        weights: of the classes [C], 1 each by default.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1.0
    weight = task_of(batch).weigh(batch.labels, weights).sum().to(dtype)
    total = weight.clone()
    distributed.all_reduce(total)
    return weight * distributed.get_world_size() / total.clamp(min=torch.finfo(dtype).tiny)


def _digest(text: str) -> str:
    return f"#{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def balanced_weights(data: AnyDataset) -> tuple[float, ...]:
    """Return weights by which every class counts as much as any other in training.

    ``w_c = N / (K * n_c)`` for a class that n_c of the N training labels (or scored pixels, without augmentation)
    name, K being the number of classes that occur (King and Zeng 2001, "Logistic Regression in Rare Events Data",
    section 4.1, as scikit-learn's ``class_weight="balanced"``). Their mean over the labels is 1. A class that doesn't
    occur has the weight 1; no label asks for it.
    """
    task, classes = task_of(data), len(data.classes)
    counts = torch.zeros(classes, dtype=torch.int64)
    for labels in data.train.labels.split(4096):  # masks may be stored on disk
        if task is MULTILABEL:
            counts += labels.sum(0).cpu()
        else:
            counts += torch.bincount(labels[task.scored(labels)].flatten().long(), minlength=classes).cpu()
    mean = int(counts.sum()) / int((counts > 0).sum())
    return tuple(mean / count if count else 1.0 for count in counts.tolist())


def labels_loss(settings: Settings, data: AnyDataset) -> LabelsLoss:
    """Return the labels' loss that ``settings`` ask for; by default the cross-entropy alone.

    Raises:
        ArgumentError: another number of class weights than classes.
    """
    weights = settings.class_weights
    if _usual(settings):
        # Where some labels don't count, their number differs between processes.
        return CrossEntropy() if task_of(data) in (MASKS, TOKENS) else cross_entropy
    if weights == "balanced":
        weights = balanced_weights(data)
    elif weights is not None and len(weights) != len(data.classes):
        raise ArgumentError(
            f"class_weights must be one number per class; found {len(weights)}, and {data.name!r} has "
            f"{len(data.classes)} classes. Give them in the order of {data.name}.classes, or pass 'balanced'."
        )
    assert not isinstance(weights, str)
    return CrossEntropy(settings.label_smoothing, weights)


def chosen_loss(objective: Objective, settings: Settings, data: AnyDataset) -> Objective:
    """Return what `fit` minimises: ``objective``, or the labels' loss of ``settings`` in place of `cross_entropy`.

    An objective that takes care of these settings itself has an attribute ``labels_loss``.

    Raises:
        ArgumentError: settings of the labels' loss beside an objective of one's own, which wouldn't use them.
    """
    if hasattr(objective, "labels_loss"):
        return objective
    if objective is cross_entropy:
        return labels_loss(settings, data)
    if _usual(settings):
        return objective
    raise ArgumentError(
        f"label_smoothing and class_weights are settings of the labels' cross-entropy, and an objective of your own "
        f"is minimised as it is; found {_found(settings)} beside it. Leave them out, and use "
        "kdcourse.training.CrossEntropy(label_smoothing, class_weights) in your objective."
    )


def _usual(settings: Settings) -> bool:
    return not settings.label_smoothing and settings.class_weights is None


def _found(settings: Settings) -> str:
    given = {"label_smoothing": settings.label_smoothing, "class_weights": settings.class_weights}
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value)
