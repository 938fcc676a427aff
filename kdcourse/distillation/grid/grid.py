"""`distil_grid`: one call for every combination of settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from kdcourse import models
from kdcourse.data import Dataset
from kdcourse.data.batches import check_seed
from kdcourse.distillation.arguments import check_alpha
from kdcourse.distillation.choice import chosen_methods
from kdcourse.distillation.grid.losses import Axes
from kdcourse.distillation.grid.one_by_one import DistilArguments, train_one_by_one
from kdcourse.distillation.grid.result import GridResult, GridRow, Setting
from kdcourse.distillation.grid.stacked import train_stacked
from kdcourse.distillation.grid.state import GridState
from kdcourse.distillation.methods import Method
from kdcourse.distillation.objective import weights_of
from kdcourse.distillation.softening import check_temperature
from kdcourse.distillation.targets import SoftTargets
from kdcourse.distillation.targets.needed import stored_targets, views_shown
from kdcourse.errors import ArgumentError
from kdcourse.models.stacked import can_stack
from kdcourse.training import History, Settings
from kdcourse.training.guards import check_model

# Trained at once; with gradients and momentum 16 bytes each in float32.
STACK_PARAMETERS = 16_000_000
_DEFAULTS = {"epochs": 5}


def distil_grid(
    temperatures: Sequence[float],
    alphas: Sequence[float],
    seeds: Sequence[int],
    *,
    data: Dataset,
    teacher: nn.Module | SoftTargets,
    student: str | Callable[[], nn.Module] = "mlp_25k",
    method: str | Method | Sequence[str | Method] | None = None,
    weights: Mapping[str, float] | None = None,
    learning_rates: Sequence[float] = (0.1,),
    settings: Settings | None = None,
    cache: Path | str | Literal[False] | None = None,
    progress: bool | str = True,
    after_epoch: Callable[[GridResult], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    **changes: Any,
) -> GridResult:
    """Distil a student for every combination of temperature, alpha, learning rate and seed.

    Each ends as `distil` would leave it with the same arguments: the same first weights
    (``torch.manual_seed(seed)``, then ``student`` built), the same batches in the same order, the same
    schedule. Only the order of additions inside a product differs, so figures agree within
    rounding (1e-9 in ``precision="float64"``).

    Students that are MLPs without dropout are trained as one stack (`kdcourse.models.stacked.StackedMLP`)
    under sgd or adamw, where the method's gradient is written out (``closed_form``, that of ``kd``). All others are
    trained by `distil` itself, on a CPU as many at a time as PyTorch has threads, each on one: small networks use a
    second thread badly. One network of grouped convolutions in place of many CNNs takes longer than that
    (``python -m benchmarks cnn_grid``). The result's ``how`` says which way it was.

    Args:
        temperatures, alphas, seeds, learning_rates: the axes; each value once. For a method without a temperature
            pass one, which isn't used.
        data: images and labels.
        teacher: a trained network or `Ensemble`, evaluated once, or its `SoftTargets`.
        student: a name for `kdcourse.models.build`, or a function that returns a fresh network.
        method, weights: see `distil`; methods by name.
        settings: how to train, see `kdcourse.training.Settings`; its learning rate and seed give way to the axes.
            Without them there are 5 epochs unless told.
        cache: see `distil`.
        progress: show a bar; a string is its label.
        after_epoch: called with the result so far whenever students have ended an epoch or, one by one,
            when one has ended its training.
        should_stop: called at every step; once it returns true, the grid ends with the results so far.
        changes: by name: `kdcourse.training.Settings`, and the method's settings. An augmentation needs ``views``.

    Returns:
        A row per student. An interruption (Ctrl-C, a notebook's stop button) ends the grid as ``should_stop``
        does, with what was found so far and ``cancelled`` set.

    Raises:
        ArgumentError: an axis that is empty or holds a value twice or out of range, an augmentation without
            ``views``, a single ``learning_rate`` or ``seed`` beside the axes, and what `distil` raises. A student that
            diverges is marked in its row instead.
    """
    axes = Axes(tuple(learning_rates), tuple(seeds), tuple(temperatures), tuple(alphas))
    _check(axes)
    training = {name: changes.pop(name) for name in Settings.names() if name in changes}
    for name, axis in (("learning_rate", "learning_rates"), ("seed", "seeds")):
        if name in training:
            raise ArgumentError(
                f"A grid takes its {axis} as an axis; found {name}={training[name]!r} beside them. Pass "
                f"{axis}=[{training[name]!r}] in its place."
            )
    training |= {"learning_rate": axes.learning_rates[0], "seed": axes.seeds[0]}
    settings = Settings.of(settings, training if settings is not None else _DEFAULTS | training)
    settings = replace(settings, view_seed=settings.view_seed or 0)
    if settings.augmentation is not None and settings.views is None:
        raise ArgumentError(
            "A grid learns from stored soft targets, and augmentation without views would show a new view every "
            "epoch. Pass views=K, such as views=4."
        )
    chosen = chosen_methods(method, changes, data)
    for alpha in axes.alphas:
        weights_of(chosen, alpha, weights)
    # A method that is built already has a temperature of its own.
    softened = any("temperature" in one.settings() for one in chosen if not isinstance(method, Method))
    if not softened and len(axes.temperatures) > 1:
        raise ArgumentError(
            f"{', '.join(one.name for one in chosen)} has no temperature; found {len(axes.temperatures)} of them. "
            "Pass one, which isn't used."
        )
    with torch.random.fork_rng(devices=[]):
        rows = [
            GridRow(Setting(temperature, alpha, rate, seed), History({}))
            for temperature, alpha, rate, seed in product(temperatures, alphas, learning_rates, seeds)
        ]
        students = [_fresh(student, data, row.setting.seed) for row in rows]
        check_model(students[0], data, next(students[0].parameters()).device)
        source: nn.Module | SoftTargets = teacher
        if all(one.layers is None for one in chosen):
            shown = views_shown(
                settings.augmentation, settings.views, settings.view_seed or 0, settings.epochs
            )
            source = stored_targets(
                teacher, data, shown, labelled=min(axes.alphas) < 1, cache=cache, progress=bool(progress)
            )
        state = GridState(
            rows,
            students,
            settings.epochs,
            progress=progress,
            after_epoch=after_epoch,
            should_stop=should_stop,
        )
        closed = (
            softened
            and len(chosen) == 1
            and chosen[0].closed_form
            and weights is None
            and not settings.unusual
            and isinstance(source, SoftTargets)
            and source.top_k is None
        )
        with state:
            if not closed or settings.optimizer == "muon" or not can_stack(students[0]):
                arguments = DistilArguments(source, method, weights, changes, softened)
                train_one_by_one(state, data, arguments, settings)
            else:
                assert isinstance(source, SoftTargets)
                place = {row.setting: position for position, row in enumerate(rows)}
                parameters = sum(p.numel() for p in students[0].parameters())
                stacks = axes.parts(max(STACK_PARAMETERS // parameters, 1))
                state.how = f"stacked, {len(rows) // len(stacks)} at a time"
                for stack in stacks:
                    positions = [place[each] for each in _settings(stack)]
                    train_stacked(state, positions, stack, data, source, settings)
    return state.result()


def _settings(axes: Axes) -> list[Setting]:
    """Return the settings of a stack, in the order in which its students lie."""
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
