"""Train students one by one, on a CPU as many at a time as PyTorch has threads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from kdcourse.data import Dataset
from kdcourse.distillation.distil import distil
from kdcourse.distillation.grid.state import GridState
from kdcourse.distillation.methods import Method
from kdcourse.distillation.targets import SoftTargets
from kdcourse.errors import DivergedError
from kdcourse.training import History, Settings
from kdcourse.training.placement import Placement
from kdcourse.training.side_by_side import AfterStep, draws_random_numbers, in_threads


@dataclass(frozen=True)
class DistilArguments:
    """Hold what `distil` is called with for every student; ``softened``: the method has a temperature."""

    teacher: nn.Module | SoftTargets
    method: str | Method | Sequence[str | Method] | None
    weights: Mapping[str, float] | None
    settings: Mapping[str, Any]
    softened: bool


def train_one_by_one(state: GridState, data: Dataset, arguments: DistilArguments, settings: Settings) -> None:
    """Train every student of the grid by `distil`; a row is written when its student has finished.

    Several at a time, each on one thread, beat one at a time on all threads where networks are small.
    They are threads of one process, so images and soft targets are there once.
    """
    place = Placement(settings.device)
    threads = torch.get_num_threads()
    probe = data.normalise(data.train.images[: settings.batch_size])
    side_by_side = place.device.type == "cpu" and not draws_random_numbers(state.students[0], probe)
    at_a_time = min(threads, len(state.rows)) if side_by_side else 1
    state.how = f"one by one, {at_a_time} at a time, a thread each" if at_a_time > 1 else "one by one"
    done = [0.0] * len(state.rows)  # epochs, by student
    steps = max(len(data.train) // settings.batch_size, 1)
    shown = 0.0

    def training_of(position: int) -> Callable[[AfterStep], History]:
        def counting(after_step: AfterStep, epoch: int, step: int, loss: float) -> None:
            done[position] = epoch + step / steps
            after_step(epoch, step, loss)

        return lambda after_step: train(position, partial(counting, after_step))

    def train(position: int, after_step: AfterStep) -> History:
        setting = state.rows[position].setting
        softening: dict[str, Any] = {"temperature": setting.temperature} if arguments.softened else {}
        own = (
            arguments.method if not isinstance(arguments.method, Method) else copy.deepcopy(arguments.method)
        )
        return distil(
            state.students[position], arguments.teacher, data, settings, method=own, alpha=setting.alpha,
            weights=arguments.weights, learning_rate=setting.learning_rate, seed=setting.seed, progress=False,
            after_step=after_step, **softening, **arguments.settings,
        )  # fmt: skip

    def finish(position: int, work: Future[History]) -> None:
        row = state.rows[position]
        try:
            state.rows[position] = replace(row, history=work.result())
        except DivergedError:
            state.rows[position] = replace(row, diverged=True)
        state.notify()

    def look() -> None:
        nonlocal shown
        state.advance(sum(done) - shown)
        shown = sum(done)
        state.stop_if_requested()

    in_threads([training_of(position) for position in range(len(state.rows))], at_a_time, finish, look)
