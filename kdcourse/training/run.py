"""One training run's objects, set up before its first step, and its books: what the loop doesn't show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from kdcourse.data import AnyDataset, Batch, Batches
from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.models.inputs import as_input, call_keeping_input
from kdcourse.models.layout import arrange_kernels
from kdcourse.training.checkpoint import Position, State, load_checkpoint, save_checkpoint
from kdcourse.training.evaluate import evaluate
from kdcourse.training.guards import check_model, finite
from kdcourse.training.history import EpochRecord, History, MultiLabelRecord
from kdcourse.training.objective import Objective, describe, fingerprint, own_parameters
from kdcourse.training.optimizers import make_optimizer, one_cycle
from kdcourse.training.placement import Placement
from kdcourse.training.precision import autocast, usual_precision
from kdcourse.training.settings import Settings
from kdcourse.training.task import MASKS, MULTILABEL, TOKENS, Rates, task_of


@dataclass(frozen=True)
class Options:
    """Hold what is done beside the training itself; see `kdcourse.training.fit`."""

    checkpoint: Path | str | None = None
    checkpoint_every: int | None = None
    prolong: bool = False
    progress: bool | str = True
    after_step: Callable[[int, int, float], None] | None = None
    after_epoch: Callable[[History], None] | None = None

    def __post_init__(self) -> None:
        if self.checkpoint_every is not None and self.checkpoint_every < 1:
            raise ArgumentError(
                f"checkpoint_every is a number of steps, 1 or more; found {self.checkpoint_every}."
            )
        if self.prolong and self.checkpoint is None:
            raise ArgumentError(
                "prolong=True goes on from the checkpoint of a finished run, and none is named. Pass checkpoint=..., "
                "the file that the run was stored in."
            )


class Run:
    """Set up a run: everything on its device, the model tried once, the checkpoint read if there is one.

    Args and errors: see `kdcourse.training.fit`.

    Attributes:
        optimizer: over the model's parameters and the objective's own.
        batches, place, dtype: where batches come from, where they go, and their type.
    """

    def __init__(
        self,
        model: nn.Module,
        data: AnyDataset,
        settings: Settings,
        objective: Objective,
        options: Options,
    ) -> None:
        self.settings, self._data, self._options, self._task = settings, data, options, task_of(data)
        self.place = place = Placement(settings.device)
        self.batches = Batches(
            data.train, data, batch_size=settings.batch_size, seed=settings.seed, augmentation=settings.augmentation,
            views=settings.views, view_seed=settings.view_seed, device=place.device, rank=place.rank,
            world=place.world,
        )  # fmt: skip
        model.to(place.device)
        if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
            check_model(model, data, place.device)  # which gives lazy layers their weights
        own = objective if isinstance(objective, nn.Module) else None
        double = settings.precision == "float64"
        self.dtype = torch.float64 if double else torch.float32
        if own is not None:
            own.to(place.device)
        if double:
            model.double()
            if own is not None:
                own.double()
        check_model(model, data, place.device)
        if not model.training:
            model.train()  # a network left in eval mode; parts in eval mode of one that trains are frozen on purpose
        arrange_kernels(model, as_input(data.normalise(data.train.images[:2].to(place.device)), self.dtype))
        self._modes = [(module, module.training) for module in model.modules()]
        self._own = own_parameters(objective, model)
        self.optimizer: Optimizer = make_optimizer(
            settings.optimizer, model, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay,
            further=self._own,
        )  # fmt: skip
        recorded = {"model": type(model).__name__, "objective": describe(objective)} | settings.recorded
        self._state = State(
            model, own, fingerprint(objective, model), self.optimizer,
            History(recorded | {"data": data.train.digest[:16]}), self._start(0),
        )  # fmt: skip
        self._path = None if options.checkpoint is None else Path(options.checkpoint)
        precision = settings.precision
        if self._path is not None and self._path.exists():
            load_checkpoint(self._path, self._state, place, prolong=options.prolong)
            precision = self.history.settings["precision"]  # the same arithmetic after the break as before it
        elif options.prolong:
            raise CheckpointError(
                f"There is no checkpoint {self._path} of a run to prolong. Check the path, or leave out prolong=True."
            )
        elif precision == "auto":
            precision = place.agree(usual_precision(place.device))
        self.precision: str = precision
        self.history.settings |= {"precision": precision, "device": place.device.type}
        if own is not None:
            place.share([*own.parameters(), *own.buffers()])
        self._wrapped = place.wrap(model)
        self._total = settings.epochs * self.batches.steps
        self.bar = place.progress_bar(self._total, self._steps_done, options.progress)

    @property
    def model(self) -> nn.Module:
        return self._state.model

    @property
    def history(self) -> History:
        return self._state.history

    @property
    def at(self) -> Position:
        return self._state.at

    def _start(self, epoch: int) -> Position:
        """Return the position before the first step of an epoch."""
        return Position(epoch=epoch, counts=[0] * self._task.size(len(self._data.classes)))

    @property
    def _steps_done(self) -> int:
        return self.at.epoch * self.batches.steps + self.at.step

    def epochs(self) -> Iterator[Iterator[Batch]]:
        """Yield the batches of each epoch that is left to do, the model in training mode; book each epoch."""
        while self.at.epoch < self.settings.epochs:
            for module, mode in self._modes:
                module.training = mode
            self._began = time.perf_counter() - self.at.seconds
            yield map(self._rewritten, self.batches.epoch(self.at.epoch, start=self.at.step))
            self._end_epoch()

    def _rewritten(self, batch: Batch) -> Batch:
        """Return the batch, or what an objective with ``rewrite(model, batch)`` puts in its place."""
        rewrite = getattr(self._state.objective, "rewrite", None)
        if rewrite is None:
            return batch
        with autocast(self.place.device, self.precision):
            found: Batch = rewrite(self.model, batch)
        return found

    def forward(self, batch: Batch) -> Tensor:
        """Return the model's logits for a batch, whose images stay as they are.

        Raises:
            ArgumentError: no logits in training mode; too small a batch for BatchNorm; on several processes, parameters
                that get no gradient.
        """
        try:
            with autocast(self.place.device, self.precision):
                logits = call_keeping_input(self.model, as_input(batch.images, self.dtype), self._wrapped)
        except (RuntimeError, ValueError) as error:
            if "more than 1 value per channel" in str(error):
                raise ArgumentError(
                    f"BatchNorm can't be trained on a batch of {len(batch)} image(s) here: it is left one value per "
                    "channel, of which there is no spread. Take a larger batch_size."
                ) from error
            if "find_unused_parameters" in str(error):
                raise ArgumentError(
                    f"Some parameters of {type(self.model).__name__} got no gradient, and {self.place.world} processes "
                    "wait for each other's. Leave unused layers out, or freeze them with requires_grad_(False)."
                ) from error
            raise
        if not isinstance(logits, Tensor):
            raise ArgumentError(
                f"{type(self.model).__name__} returns logits in eval mode and a {type(logits).__name__} in training "
                "mode, as networks with auxiliary outputs do. Build it without them (aux_logits=False), or wrap it in "
                "a module that returns its logits alone."
            )
        return logits.to(self.dtype)

    def set_learning_rate(self) -> None:
        """Give the optimizer the learning rate of the step ahead."""
        self._rate = self._rate_of(self._steps_done)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate

    def backward(self, loss: Tensor) -> None:
        """Compute gradients, averaged over all processes."""
        self.place.backward(loss, self._own)

    def book(self, batch: Batch, logits: Tensor, loss: Tensor, parts: Mapping[str, Tensor]) -> None:
        """Count a step: sums of the epoch, progress bar, checkpoint, and the caller's ``after_step``.

        Raises:
            DivergedError: the loss is NaN or infinite.
        """
        at, options = self.at, self._options
        at.step += 1
        value = finite(loss.item(), "loss", at.epoch, at.step, self._rate)
        counts = self._task.count(logits.detach(), batch.labels, len(self._data.classes)).tolist()
        # Means over pixels or tokens are weighed by how many count, so that an epoch's is the mean over all of them.
        weight = len(batch)
        if self._task in (MASKS, TOKENS):
            weight = int(self.place.total([int(self._task.scored(batch.labels).sum())])[0])
        at.add(weight, value, {name: part.item() for name, part in parts.items()}, counts)
        self.bar.update()
        if options.checkpoint_every and at.step % options.checkpoint_every == 0:
            at.seconds = time.perf_counter() - self._began
            self._save()
        if options.after_step is not None:
            options.after_step(at.epoch, at.step, value)

    def finish(self) -> None:
        """Put the weights to keep into the model, which goes into eval mode."""
        if self.settings.keep == "best":
            self._state.load(self._state.best)
        self.model.eval()

    def _end_epoch(self) -> None:
        """Validate, record the epoch, write the checkpoint, and tell the caller."""
        at, settings = self.at, self.settings
        rate = self._rate_of((at.epoch + 1) * self.batches.steps - 1)
        held_out: tuple[float, Rates] | None = None
        if settings.validate or at.epoch == settings.epochs - 1:
            held_out = self._measure()
            finite(held_out[0], "validation loss", at.epoch, at.step, rate)
        sums = at.over(self.place)
        training = self._task.rates(torch.tensor(sums.counts))
        f1 = {"train_f1": training.f1, "validation_f1": held_out[1].f1 if held_out else None}
        several = self._task is MULTILABEL
        self.history.epochs.append(
            (MultiLabelRecord if several else EpochRecord)(
                epoch=at.epoch + 1,
                train_loss=sums.loss_sum / max(1, sums.seen),
                train_accuracy=training.accuracy,
                validation_loss=held_out[0] if held_out else None,
                validation_accuracy=held_out[1].accuracy if held_out else None,
                learning_rate=rate,
                seconds=time.perf_counter() - self._began,
                train_iou=training.iou,
                validation_iou=held_out[1].iou if held_out else None,
                parts={name: part / max(1, sums.seen) for name, part in sums.parts.items()},
                **(f1 if several else {}),
            )
        )
        if settings.keep == "best" and self.history.kept is self.history.last:
            self._state.best = {name: tensor.clone() for name, tensor in self._state.tensors().items()}
        text = f"loss {self.history.last.train_loss:.3f}"
        if held_out is not None:
            figure = held_out[1]
            named = {"IoU": figure.iou, "F1": figure.f1}
            told = [f"{name} {rate:.3f}" for name, rate in named.items() if rate is not None]
            text += f", validation {told[0] if told else f'{figure.accuracy:.2%}'}"
        self.bar.set_postfix_str(text)
        self._state.at = self._start(at.epoch + 1)
        self._save()
        if self._options.after_epoch is not None:
            self._options.after_epoch(self.history)

    def _measure(self) -> tuple[float, Rates]:
        """Return cross-entropy and rates of the validation split."""
        # The main process's figures in every one: BatchNorm's statistics differ, and all must keep one epoch.
        return self.place.agree(evaluate(self.model, self._data.validation, self._data, self.precision))

    def _save(self) -> None:
        if self._path is not None:
            save_checkpoint(self._path, self._state, self.place)

    def _rate_of(self, step: int) -> float:
        """Return the learning rate of a step, counted over all epochs from 0."""
        share = one_cycle((step + 1) / (self._total + 1), self.settings.warm_up)
        return self.settings.learning_rate * share
