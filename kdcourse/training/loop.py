"""The one training loop of the course."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import (
    IGNORE,
    Augmentation,
    Batch,
    Batches,
    Dataset,
    MaskedSplit,
    SegmentationDataset,
    Split,
)
from kdcourse.errors import ArgumentError
from kdcourse.models.mode import evaluating
from kdcourse.training.checkpoint import Position, load_checkpoint, save_checkpoint
from kdcourse.training.guards import check_loss, check_model, finite, own_random_numbers
from kdcourse.training.history import EpochRecord, History
from kdcourse.training.optimizers import make_optimizer, one_cycle
from kdcourse.training.placement import Placement
from kdcourse.training.precision import autocast, fastest
from kdcourse.training.tally import Rates, Tally, tally_for

Objective = Callable[[Tensor, Batch], Tensor]


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """The plain objective: cross-entropy in nats of ``logits`` [B, C] with the labels, mean over the batch.

    For segmentation of ``logits`` [B, C, H, W] with the masks, mean over the pixels that aren't `IGNORE`; 0 where
    there is none.
    """
    if batch.labels.ndim == 1:
        return _cross_entropy(logits, batch.labels, "mean")
    return _cross_entropy(logits, batch.labels, "sum") / (batch.labels != IGNORE).sum().clamp(min=1)


@own_random_numbers
def fit(
    model: nn.Module,
    data: Dataset | SegmentationDataset,
    *,
    epochs: int,
    batch_size: int = 256,
    learning_rate: float,
    seed: int,
    objective: Objective = cross_entropy,
    optimizer: str = "sgd",
    weight_decay: float = 5e-4,
    warm_up: float = 0.2,
    augmentation: Augmentation | None = None,
    views: int | None = None,
    view_seed: int | None = None,
    precision: str = "auto",
    device: str = "auto",
    checkpoint: Path | str | None = None,
    checkpoint_every: int | None = None,
    validate: bool = True,
    progress: bool | str = True,
    after_step: Callable[[int, int], None] | None = None,
) -> History:
    """Train ``model`` in place on ``data.train`` and leave it in eval mode, on its device.

    Everything random follows from ``seed`` (order, views, dropout) and from the model's initial weights.

    Args:
        model: float32 [B, C, H, W] -> logits [B, num_classes], for segmentation [B, num_classes, H, W].
        data: pictures and labels, or masks; validated on ``data.validation`` after every epoch.
        epochs, batch_size: how long, in passes over the data, and pictures a step.
        learning_rate: the peak of a one-cycle schedule (`one_cycle`).
        seed: of the order of the pictures, of their views and of dropout.
        objective: ``(logits float32, batch) -> scalar`` to minimise.
        optimizer, weight_decay: see `make_optimizer`.
        warm_up: share of all steps over which the learning rate rises.
        augmentation, views, view_seed: see `Batches`.
        precision: ``float32``, ``bfloat16``, or ``auto`` for whichever is faster for this model here; a run
            that goes on from a checkpoint keeps the one that it began with. ``float64``, for exact
            comparisons, leaves the model in float64.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``. Under ``accelerate launch`` every process takes
            its share of each batch and gradients are averaged.
        checkpoint: file to go on from, if there, and to write to; weights end bit for bit as if the
            run had never stopped. The file stays when the run is complete.
        checkpoint_every: steps between checkpoints; by default one an epoch.
        validate: ``False`` skips the pass over the validation split, all but after the last epoch.
        progress: show a bar; a string is its label.
        after_step: called with epoch and step after each step, the checkpoint written.

    Returns:
        One record an epoch, and the settings.

    Raises:
        ArgumentError: a setting that makes no sense, pictures that the model can't take, fewer logits than
            classes, an objective that isn't one number with a gradient.
        CheckpointError: the checkpoint is damaged or of another run.
        DivergedError: the loss stopped being a finite number.
    """
    if epochs < 1:
        raise ArgumentError(f"epochs must be at least 1; found {epochs}.")
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ArgumentError(f"checkpoint_every is a number of steps, 1 or more; found {checkpoint_every}.")
    place = Placement(device)
    batches = Batches(
        data.train, data, batch_size=batch_size, seed=seed, augmentation=augmentation, views=views,
        view_seed=view_seed, device=place.device, rank=place.rank, world=place.world,
    )  # fmt: skip
    model.to(place.device).to(memory_format=torch.channels_last)
    if precision == "float64":
        model.double()
    check_model(model, data, place.device)
    stepper = make_optimizer(optimizer, model, learning_rate=learning_rate, weight_decay=weight_decay)
    settings: dict[str, Any] = {
        "model": type(model).__name__, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate,
        "seed": seed, "objective": describe(objective), "optimizer": optimizer, "weight_decay": weight_decay,
        "warm_up": warm_up, "augmentation": augmentation.key if augmentation else None, "views": views,
        "view_seed": view_seed, "data": data.train.digest[:16],
    }  # fmt: skip
    tally = tally_for(data)
    history, at = History(dict(settings)), Position(counts=[0] * tally.size)
    if checkpoint is not None and Path(checkpoint).exists():
        history, at = load_checkpoint(Path(checkpoint), model, stepper, settings, place)
        precision = history.settings["precision"]  # the same arithmetic after the break as before it
    elif precision == "auto":
        precision = place.agree(fastest(place.device, model, data.normalise(data.train.images[:batch_size])))
    history.settings |= {"precision": precision, "device": place.device.type}
    parallel = place.wrap(model)
    dtype = torch.float64 if precision == "float64" else torch.float32
    total = epochs * batches.steps

    def learning_rate_at(epoch: int, step: int) -> float:
        return learning_rate * one_cycle((epoch * batches.steps + step + 1) / (total + 1), warm_up)

    bar = place.progress_bar(total, at.epoch * batches.steps + at.step, progress)
    with bar:
        while at.epoch < epochs:
            model.train()
            began = time.perf_counter() - at.seconds
            for batch in batches.epoch(at.epoch, start=at.step):
                rate = learning_rate_at(at.epoch, at.step)
                for group in stepper.param_groups:
                    group["lr"] = rate

                with autocast(place.device, precision):
                    logits = parallel(batch.images.to(dtype))
                loss = check_loss(objective(logits.to(dtype), batch))
                stepper.zero_grad(set_to_none=True)
                place.backward(loss)
                stepper.step()

                at.step += 1
                at.loss_sum += finite(loss.item(), "loss", at, rate) * len(batch)
                at.seen += len(batch)
                at.add(tally.count(logits.detach(), batch.labels))
                bar.update()
                if checkpoint is not None and checkpoint_every and at.step % checkpoint_every == 0:
                    at.seconds = time.perf_counter() - began
                    save_checkpoint(Path(checkpoint), model, stepper, history, at, place)
                if after_step is not None:
                    after_step(at.epoch, at.step)

            rate = learning_rate_at(at.epoch, batches.steps - 1)
            held_out: tuple[float | None, Rates | None] = (None, None)
            if validate or at.epoch == epochs - 1:
                held_out = _evaluate(model, data.validation, data, precision, tally)
                finite(held_out[0], "validation loss", at, rate)
            loss_sum, seen, *counts = place.total([at.loss_sum, at.seen, *at.counts])
            seconds = time.perf_counter() - began
            history.epochs.append(
                _record(
                    at.epoch, loss_sum / seen, tally.rates(torch.tensor(counts)), *held_out, rate, seconds
                )
            )
            bar.set_postfix_str(_summary(history.last))
            at = Position(epoch=at.epoch + 1, counts=[0] * tally.size)
            if checkpoint is not None:
                save_checkpoint(Path(checkpoint), model, stepper, history, at, place)
    model.eval()
    return history


def evaluate_split(
    model: nn.Module,
    split: Split | MaskedSplit,
    data: Dataset | SegmentationDataset,
    precision: str = "float32",
    batch_size: int = 1000,
) -> tuple[float, float]:
    """Cross-entropy (nats, mean) and accuracy (0 to 1, for masks mean IoU) of ``model`` on ``split``.

    The model's mode is kept. ``batch_size`` is meant for 28x28 pictures; of larger ones fewer are taken at a time.
    """
    loss, rates = _evaluate(model, split, data, precision, tally_for(data), batch_size)
    return loss, rates.accuracy if rates.iou is None else rates.iou


@torch.no_grad()
def _evaluate(
    model: nn.Module,
    split: Split | MaskedSplit,
    data: Dataset | SegmentationDataset,
    precision: str,
    tally: Tally,
    batch_size: int = 1000,
) -> tuple[float, Rates]:
    """Cross-entropy (nats, mean over labels or scored pixels) and rates of ``model`` on ``split``."""
    weight = next(model.parameters())
    device, loss, scored = weight.device, 0.0, 0
    counts = torch.zeros(tally.size, dtype=torch.int64)
    height, width = split.images.shape[2:]
    batch_size = max(1, min(batch_size, batch_size * 28 * 28 // (height * width)))
    with evaluating(model):
        for images, labels in zip(
            split.images.split(batch_size), split.labels.split(batch_size), strict=True
        ):
            images, labels = images.to(device), labels.to(device).long()
            with autocast(device, precision):
                logits = model(data.normalise(images).to(weight.dtype))
            loss += _cross_entropy(logits.to(weight.dtype), labels, "sum").item()
            scored += labels.numel() if labels.ndim == 1 else int((labels != IGNORE).sum())
            counts += tally.count(logits, labels)
    return loss / scored, tally.rates(counts)


def _cross_entropy(logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
    # Labels hold neither value: a `Dataset` has classes from 0 on.
    ignored = IGNORE if labels.ndim > 1 else -100
    return F.cross_entropy(logits, labels, ignore_index=ignored, reduction=reduction)


def _record(
    epoch: int,
    loss: float,
    rates: Rates,
    held_out_loss: float | None,
    held_out: Rates | None,
    rate: float,
    seconds: float,
) -> EpochRecord:
    return EpochRecord(
        epoch + 1,
        loss,
        rates.accuracy,
        held_out_loss,
        None if held_out is None else held_out.accuracy,
        rate,
        seconds,
        rates.iou,
        None if held_out is None else held_out.iou,
    )


def describe(objective: Objective) -> str:
    """A name for records: the objective's ``name``, a function's own, else what the object says of itself."""
    name = getattr(objective, "name", None) or getattr(objective, "__name__", None)
    if name is None:
        text = repr(objective)
        name = type(objective).__name__ if " at 0x" in text else text
    return str(name)


def _summary(record: EpochRecord) -> str:
    text = f"loss {record.train_loss:.3f}"
    if record.validation_iou is not None:
        text += f", validation IoU {record.validation_iou:.3f}"
    elif record.validation_accuracy is not None:
        text += f", validation {record.validation_accuracy:.2%}"
    return text
