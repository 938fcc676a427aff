"""`distil_grid`: one call for every combination of settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from kdcourse import models
from kdcourse.data import Augmentation, Dataset
from kdcourse.data.batches import check_seed
from kdcourse.distillation.arguments import check_alpha
from kdcourse.distillation.distil import stored_targets, views_shown
from kdcourse.distillation.grid.board import Board
from kdcourse.distillation.grid.losses import Axes
from kdcourse.distillation.grid.one_by_one import train_one_by_one
from kdcourse.distillation.grid.result import GridResult, GridRow, Setting
from kdcourse.distillation.grid.stacked import train_stacked
from kdcourse.distillation.soft_targets import SoftTargets
from kdcourse.distillation.softening import check_temperature
from kdcourse.errors import ArgumentError
from kdcourse.models.stacked import can_stack
from kdcourse.training import History
from kdcourse.training.guards import check_model

# Trained at once; with gradients and momentum 16 bytes each in float32.
STACK_PARAMETERS = 16_000_000


def distil_grid(
    temperatures: Sequence[float],
    alphas: Sequence[float],
    seeds: Sequence[int],
    *,
    data: Dataset,
    teacher: nn.Module | SoftTargets,
    student: str | Callable[[], nn.Module] = "mlp_25k",
    learning_rates: Sequence[float] = (0.1,),
    epochs: int = 5,
    batch_size: int = 256,
    optimizer: str = "sgd",
    weight_decay: float = 5e-4,
    warm_up: float = 0.2,
    augmentation: Augmentation | None = None,
    views: int | None = None,
    view_seed: int = 0,
    precision: str = "auto",
    device: str = "auto",
    cache: Path | str | Literal[False] | None = None,
    validate: bool = True,
    progress: bool | str = True,
    after_epoch: Callable[[GridResult], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> GridResult:
    """Distil a student for every combination of temperature, alpha, learning rate and seed.

    Each ends as `distil` would leave it with the same arguments: the same first weights
    (``torch.manual_seed(seed)``, then ``student`` built), the same batches in the same order, the same
    schedule. Only the order of additions inside a product differs, so figures agree within
    rounding (1e-9 in ``precision="float64"``).

    Students that are MLPs without dropout are trained as one stack (`kdcourse.models.stacked.StackedMLP`)
    under sgd or adamw. All others are trained by `distil` itself, on a CPU as many at a time as PyTorch
    has threads, each on one: small networks use a second thread badly. One network of grouped
    convolutions in place of many CNNs takes longer than that (``kdcourse bench cnn_grid``).

    Args:
        temperatures, alphas, seeds, learning_rates: the axes; each value once.
        data: pictures and labels.
        teacher: a trained network or `Ensemble`, asked once, or its `SoftTargets`.
        student: a name for `kdcourse.models.build`, or a function that returns a fresh network.
        epochs, batch_size, optimizer, weight_decay, warm_up, precision, device, validate: see `kdcourse.training.fit`.
        augmentation, views, view_seed, cache: see `distil`; an augmentation needs ``views``.
        progress: show a bar; a string is its label.
        after_epoch: called with the result so far whenever students have ended an epoch or, one by one,
            when one has ended its training.
        should_stop: asked at every step; once true, the grid ends with what there is.

    Returns:
        A row a student. An interruption (Ctrl-C, a notebook's stop button) ends the grid as ``should_stop``
        does, with what was found so far and ``cancelled`` set.

    Raises:
        ArgumentError: an axis that is empty or holds a value twice or out of range, an augmentation without
            ``views``, and what `distil` raises. A student that diverges is marked in its row instead.
    """
    axes = Axes(tuple(learning_rates), tuple(seeds), tuple(temperatures), tuple(alphas))
    _check(axes)
    if augmentation is not None and views is None:
        raise ArgumentError(
            "A grid learns from stored soft targets, and augmentation without views would show a new view every "
            "epoch. Pass views=K, such as views=4."
        )
    shown = views_shown(augmentation, views, view_seed, epochs)
    with torch.random.fork_rng(devices=[]):
        rows = [
            GridRow(Setting(temperature, alpha, rate, seed), History({}))
            for temperature, alpha, rate, seed in product(temperatures, alphas, learning_rates, seeds)
        ]
        students = [_fresh(student, data, row.setting.seed) for row in rows]
        check_model(students[0], data, next(students[0].parameters()).device)
        targets = stored_targets(teacher, data, shown, cache=cache, progress=bool(progress))
        assert isinstance(targets, SoftTargets)  # what labels have
        settings: dict[str, Any] = {
            "epochs": epochs, "batch_size": batch_size, "optimizer": optimizer, "weight_decay": weight_decay,
            "warm_up": warm_up, "augmentation": augmentation, "views": views, "view_seed": view_seed,
            "precision": precision, "device": device, "validate": validate,
        }  # fmt: skip
        board = Board(
            rows, students, epochs, progress=progress, after_epoch=after_epoch, should_stop=should_stop
        )
        with board:
            if optimizer == "muon" or not can_stack(students[0]):
                train_one_by_one(board, data, targets, **settings)
            else:
                place = {row.setting: position for position, row in enumerate(rows)}
                parameters = sum(p.numel() for p in students[0].parameters())
                stacks = axes.parts(max(STACK_PARAMETERS // parameters, 1))
                board.how = f"stacked, {len(rows) // len(stacks)} at a time"
                for stack in stacks:
                    train_stacked(
                        board, [place[each] for each in _settings(stack)], stack, data, targets, **settings
                    )
    return board.result()


def _settings(axes: Axes) -> list[Setting]:
    """The settings of a stack, in the order in which its students lie."""
    return [
        Setting(temperature, alpha, rate, seed)
        for rate, seed, temperature, alpha in product(
            axes.learning_rates, axes.seeds, axes.temperatures, axes.alphas
        )
    ]


def _fresh(student: str | Callable[[], nn.Module], data: Dataset, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    if not isinstance(student, str):
        return student()
    shape = data.image_shape
    return models.build(student, num_classes=len(data.classes), in_channels=shape[0], size=shape[1:])


def _check(axes: Axes) -> None:
    for name, values in vars(axes).items():
        if not values or len(set(values)) < len(values):
            raise ArgumentError(f"{name} must be one value or more, each once; found {list(values)}.")
    for temperature in axes.temperatures:
        check_temperature(temperature)
    for alpha in axes.alphas:
        check_alpha(alpha)
    for seed in axes.seeds:
        check_seed(seed)  # torch.manual_seed comes before Batches has a chance to complain
    for rate in axes.learning_rates:
        if not 0 < rate < float("inf"):
            raise ArgumentError(f"learning_rates must be positive numbers; found {rate}.")
