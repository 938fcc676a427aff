"""The one training loop of the course."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import Augmentation, Batch, Batches, Dataset, Split
from kdcourse.errors import ArgumentError, DivergedError
from kdcourse.training.checkpoint import Position, load_checkpoint, save_checkpoint
from kdcourse.training.history import EpochRecord, History
from kdcourse.training.optimizers import make_optimizer, one_cycle
from kdcourse.training.placement import Placement
from kdcourse.training.precision import autocast, fastest

Objective = Callable[[Tensor, Batch], Tensor]


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """The plain objective: cross-entropy of ``logits`` [B, C] with the labels, nats, batch mean."""
    return F.cross_entropy(logits, batch.labels)


def fit(
    model: nn.Module,
    data: Dataset,
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

    Everything random follows from ``seed`` (order, views) and from the model's initial weights.

    Args:
        model: float32 [B, C, H, W] -> logits [B, num_classes].
        data: pictures and labels; validated on ``data.validation`` after every epoch.
        epochs, batch_size: how long, in passes over the data, and pictures a step.
        learning_rate: the peak of a one-cycle schedule (`one_cycle`).
        seed: of the order of the pictures and of their views.
        objective: ``(logits [B, C] float32, batch) -> scalar`` to minimise.
        optimizer, weight_decay: see `make_optimizer`.
        warm_up: share of all steps over which the learning rate rises.
        augmentation, views, view_seed: see `Batches`.
        precision: ``float32``, ``bfloat16``, or ``auto`` for whichever is faster for this model here.
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
        ArgumentError: a setting that makes no sense.
        CheckpointError: the checkpoint is damaged or of another run.
        DivergedError: the loss stopped being a finite number.
    """
    if epochs < 1:
        raise ArgumentError(f"epochs must be at least 1; found {epochs}.")
    place = Placement(device)
    batches = Batches(
        data.train, data, batch_size=batch_size, seed=seed, augmentation=augmentation, views=views,
        view_seed=view_seed, device=place.device, rank=place.rank, world=place.world,
    )  # fmt: skip
    model.to(place.device, memory_format=torch.channels_last)
    stepper = make_optimizer(optimizer, model, learning_rate=learning_rate, weight_decay=weight_decay)
    settings: dict[str, Any] = {
        "model": type(model).__name__, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate,
        "seed": seed, "objective": describe(objective), "optimizer": optimizer, "weight_decay": weight_decay,
        "warm_up": warm_up, "augmentation": augmentation.key if augmentation else None, "views": views,
        "view_seed": view_seed, "data": data.train.digest[:16],
    }  # fmt: skip
    history, at = History(dict(settings)), Position()
    if checkpoint is not None and Path(checkpoint).exists():
        history, at = load_checkpoint(Path(checkpoint), model, stepper, settings)
        precision = history.settings["precision"]  # the same arithmetic after the break as before it
    elif precision == "auto":
        precision = place.agree(fastest(place.device, model, data.normalise(data.train.images[:batch_size])))
    history.settings |= {"precision": precision, "device": place.device.type}
    parallel = place.wrap(model)
    total = epochs * batches.steps

    bar = place.progress_bar(total, at.epoch * batches.steps + at.step, progress)
    with bar:
        while at.epoch < epochs:
            model.train()
            began = time.perf_counter() - at.seconds
            for batch in batches.epoch(at.epoch, start=at.step):
                done = at.epoch * batches.steps + at.step
                rate = learning_rate * one_cycle((done + 1) / (total + 1), warm_up)
                for group in stepper.param_groups:
                    group["lr"] = rate

                with autocast(place.device, precision):
                    logits = parallel(batch.images)
                loss = objective(logits.float(), batch)
                stepper.zero_grad(set_to_none=True)
                place.backward(loss)
                stepper.step()

                value = loss.item()
                if not abs(value) < float("inf"):
                    raise DivergedError(_diverged(value, at, rate))
                at.loss_sum += value * len(batch)
                at.correct += int((logits.argmax(1) == batch.labels).sum())
                at.seen += len(batch)
                at.step += 1
                bar.update()
                if checkpoint is not None and checkpoint_every and at.step % checkpoint_every == 0:
                    at.seconds = time.perf_counter() - began
                    if place.is_main:
                        save_checkpoint(Path(checkpoint), model, stepper, history, at)
                if after_step is not None:
                    after_step(at.epoch, at.step)

            held_out: tuple[float, float] | tuple[None, None] = (None, None)
            if validate or at.epoch == epochs - 1:
                held_out = evaluate_split(model, data.validation, data, precision)
            loss_sum, correct, seen = place.total(at.loss_sum, at.correct, at.seen)
            history.epochs.append(
                EpochRecord(
                    at.epoch + 1, loss_sum / seen, correct / seen, *held_out, rate, time.perf_counter() - began
                )
            )
            bar.set_postfix_str(_summary(history.last))
            at = Position(epoch=at.epoch + 1)
            if checkpoint is not None and place.is_main:
                save_checkpoint(Path(checkpoint), model, stepper, history, at)
    model.eval()
    return history


@torch.no_grad()
def evaluate_split(
    model: nn.Module, split: Split, data: Dataset, precision: str = "float32", batch_size: int = 1000
) -> tuple[float, float]:
    """Cross-entropy (nats, mean) and accuracy (0 to 1) of ``model`` on ``split``; the model's mode is kept."""
    device = next(model.parameters()).device
    mode = model.training
    model.eval()
    loss, correct = 0.0, 0
    for images, labels in zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True):
        images, labels = images.to(device), labels.to(device)
        with autocast(device, precision):
            logits = model(data.normalise(images).contiguous(memory_format=torch.channels_last))
        loss += F.cross_entropy(logits.float(), labels, reduction="sum").item()
        correct += int((logits.argmax(1) == labels).sum())
    model.train(mode)
    return loss / len(split), correct / len(split)


def describe(objective: Objective) -> str:
    """A name for records: what the objective says of itself in ``.name``, else what it is called."""
    name = getattr(objective, "name", None) or getattr(objective, "__name__", None)
    return str(name or type(objective).__name__)


def _summary(record: EpochRecord) -> str:
    text = f"loss {record.train_loss:.3f}"
    if record.validation_accuracy is not None:
        text += f", validation {record.validation_accuracy:.2%}"
    return text


def _diverged(value: float, at: Position, rate: float) -> str:
    return (
        f"The loss became {value} in epoch {at.epoch + 1}, step {at.step + 1}, at a learning rate of {rate:.4g}: "
        "the run has diverged. Try a third of the learning rate, a longer warm_up, or, where bfloat16 is in use, "
        'precision="float32"; and check that the pictures and soft targets hold no NaN.'
    )
