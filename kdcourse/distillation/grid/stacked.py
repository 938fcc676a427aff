"""Train many MLPs as one stack."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import Batches, Dataset
from kdcourse.distillation.grid.losses import Axes, Losses, right
from kdcourse.distillation.grid.state import GridState
from kdcourse.distillation.targets import SoftTargets
from kdcourse.models.stacked import StackedMLP
from kdcourse.training import EpochRecord, Settings, autocast, one_cycle, usual_precision
from kdcourse.training.optimizers import optimizer_over
from kdcourse.training.placement import Placement

_VALIDATED_AT_ONCE = 500  # images; bounds activation memory


def train_stacked(
    state: GridState,
    positions: Sequence[int],
    axes: Axes,
    data: Dataset,
    targets: SoftTargets,
    settings: Settings,
) -> None:
    """Train the grid's students at ``positions``, which follow the order of ``axes``.

    A step gathers one batch per seed, takes the gradients of all losses at once, and moves every student
    at its own learning rate. Whatever ends it, the networks get the weights reached so far.
    """
    place, precision, epochs = Placement(settings.device), settings.precision, settings.epochs
    dtype = torch.float64 if precision == "float64" else torch.float32
    students = [state.students[position].to(place.device, dtype) for position in positions]
    rates = axes.learning_rates
    stack = StackedMLP(students, groups=len(rates) * len(axes.seeds))
    seeds = [
        Batches(
            data.train,
            data,
            batch_size=settings.batch_size,
            seed=seed,
            augmentation=settings.augmentation,
            views=settings.views,
            view_seed=settings.view_seed,
            device=place.device,
        )
        for seed in axes.seeds
    ]
    if precision == "auto":
        precision = usual_precision(place.device)
    steppers = _Steppers(stack, settings.optimizer, rates, settings.weight_decay)
    steps = seeds[0].steps
    state.begin(positions, precision=precision, device=place.device.type)
    try:
        for epoch in range(epochs):
            began = time.perf_counter()
            losses = Losses(axes, dtype, place.device)
            for step, batches in enumerate(zip(*(seed.epoch(epoch) for seed in seeds), strict=True)):
                state.stop_if_requested()
                share = one_cycle((epoch * steps + step + 1) / (epochs * steps + 1), settings.warm_up)
                pixels = torch.stack([batch.images.flatten(1) for batch in batches] * len(rates)).to(dtype)
                answers = torch.stack([targets.logits(batch.view, batch.index) for batch in batches])

                with autocast(place.device, precision):
                    logits = stack(pixels)
                gradient = losses.add(logits.detach(), batches, answers)
                steppers.step(torch.autograd.grad(logits, steppers.parameters, gradient), share)
                state.advance(len(students) / steps)

            held_out: Sequence[tuple[float | None, float | None]] = [(None, None)] * len(students)
            if settings.validate or epoch == epochs - 1:
                held_out = evaluate_stack(stack, data, precision)
            seconds = (time.perf_counter() - began) / len(students)
            state.record(
                positions,
                [
                    EpochRecord(epoch + 1, *training, *validation, share * rate, seconds)
                    for training, validation, rate in zip(
                        losses.means(), held_out, steppers.rate_of_each, strict=True
                    )
                ],
            )
    finally:
        for k, student in enumerate(students):
            stack.unload(k, student)


class _Steppers:
    """Hold one optimizer per learning rate, over its slice of the stack's parameters."""

    def __init__(self, stack: StackedMLP, name: str, rates: Sequence[float], weight_decay: float) -> None:
        self.parameters = [*stack.weights, *stack.biases]
        self.rate_of_each = [rate for rate in rates for _ in range(len(stack) // len(rates))]
        self._rates = rates
        self._slices = [[p.detach().chunk(len(rates))[k] for p in self.parameters] for k in range(len(rates))]
        matrices = len(stack.weights)
        self._steppers = [
            optimizer_over(
                name, part[:matrices], part[matrices:], learning_rate=rate, weight_decay=weight_decay
            )
            for part, rate in zip(self._slices, rates, strict=True)
        ]

    def step(self, gradients: Sequence[Tensor], share: float) -> None:
        """Update everything; ``share`` is the schedule's, of every peak rate."""
        parts = [gradient.chunk(len(self._rates)) for gradient in gradients]
        for k, (rate, stepper) in enumerate(zip(self._rates, self._steppers, strict=True)):
            for parameter, part in zip(self._slices[k], parts, strict=True):
                parameter.grad = part[k]
            for group in stepper.param_groups:
                group["lr"] = rate * share
            stepper.step()


@torch.no_grad()
def evaluate_stack(stack: StackedMLP, data: Dataset, precision: str) -> list[tuple[float, float]]:
    """Compute cross-entropy (nats, mean) and accuracy (0 to 1) of every student on the validation split."""
    weight = stack.weights[0]
    loss = torch.zeros(len(stack), dtype=torch.float64, device=weight.device)
    hits = torch.zeros(len(stack), dtype=torch.int64, device=weight.device)
    split = data.validation
    for images, labels in zip(
        split.images.split(_VALIDATED_AT_ONCE), split.labels.split(_VALIDATED_AT_ONCE), strict=True
    ):
        pixels = data.normalise(images.to(weight.device)).flatten(1)[None].to(weight.dtype)
        with autocast(weight.device, precision):
            logits = stack(pixels)
        logits = logits.to(weight.dtype)
        targets = labels.to(weight.device)[None].expand(len(stack), -1)
        loss += F.cross_entropy(logits, targets, reduction="none").sum(-1)
        hits += right(logits, targets[:, None])
    return list(zip((loss / len(split)).tolist(), (hits.double() / len(split)).tolist(), strict=True))
