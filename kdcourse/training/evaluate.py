"""Cross-entropy and rates of a model on a split."""

from __future__ import annotations

import torch
from torch import nn

from kdcourse.data import AnyDataset, LabelledSplit
from kdcourse.models.inputs import as_input, call_keeping_input, images_at_once, placement
from kdcourse.models.mode import evaluating
from kdcourse.training.precision import autocast
from kdcourse.training.task import Rates, task_of


def evaluate_split(
    model: nn.Module,
    split: LabelledSplit,
    data: AnyDataset,
    precision: str = "float32",
    batch_size: int = 1000,
) -> tuple[float, float]:
    """Compute cross-entropy (nats, mean) and accuracy of ``model`` on ``split``.

    Accuracy is from 0 to 1; for masks it is the mean IoU, for several labels per image the mean F1, for a text the
    share of tokens that the model finds likeliest.

    The model's mode is kept. ``batch_size`` is meant for 28x28 images; of larger ones fewer are taken at a time.
    """
    loss, rates = evaluate(model, split, data, precision, batch_size)
    return loss, rates.metric


@torch.no_grad()
def evaluate(
    model: nn.Module,
    split: LabelledSplit,
    data: AnyDataset,
    precision: str,
    batch_size: int = 1000,
) -> tuple[float, Rates]:
    """Compute cross-entropy (nats, mean over all labels that count) and rates of ``model`` on ``split``."""
    (device, dtype), task, classes = placement(model), task_of(data), len(data.classes)
    loss, scored = 0.0, 0
    counts = torch.zeros(task.size(classes), dtype=torch.int64)
    batch_size = images_at_once(batch_size, split.images)
    with evaluating(model):
        for images, labels in zip(
            split.images.split(batch_size), split.labels.split(batch_size), strict=True
        ):
            images, labels = images.to(device), labels.to(device).long()
            with autocast(device, precision):
                logits = call_keeping_input(model, as_input(data.normalise(images), dtype))
            loss += task.cross_entropy(
                logits.to(torch.promote_types(dtype, torch.float32)), labels, "sum"
            ).item()
            scored += int(task.scored(labels).sum())
            counts += task.count(logits, labels, classes)
    return loss / scored, task.rates(counts)
