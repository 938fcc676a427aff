"""Show a heat map over temperature and alpha that is updated while the grid trains."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
from torch import nn

from kdcourse.data import Dataset
from kdcourse.distillation import SoftTargets
from kdcourse.errors import ArgumentError
from kdcourse.widgets.base import TrainingWidget, row
from kdcourse.widgets.jobs import Job

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kdcourse.distillation.grid import GridResult

_DRAWN_EVERY = 0.5  # seconds between two drawings of the map
_COUNTED_EVERY = 0.2  # seconds between two numbers of steps


class LiveHeatMap(TrainingWidget):
    """Train a grid and draw its heat map; see `live_heat_map`.

    Controls: ``train``, ``stop``, ``progress``. ``result`` is the grid's latest result.
    """

    _counted_at = 0.0

    def __init__(
        self,
        temperatures: Sequence[float],
        alphas: Sequence[float],
        seeds: Sequence[int],
        *,
        data: Dataset,
        teacher: nn.Module | SoftTargets,
        student: str = "mlp_25k",
        learning_rates: Sequence[float] = (0.1,),
        epochs: int = 5,
        result: GridResult | None = None,
        grid: Callable[..., GridResult] | None = None,
        **options: Any,
    ) -> None:
        axes = {
            "temperatures": temperatures,
            "alphas": alphas,
            "seeds": seeds,
            "learning_rates": learning_rates,
        }
        for name, values in axes.items():
            if not values or len({*values}) < len(values):
                raise ArgumentError(f"{name} must hold at least one value, each once; found {list(values)}.")
        if min(temperatures) <= 0 or not all(0 <= alpha <= 1 for alpha in alphas) or epochs < 1:
            raise ArgumentError(
                "temperatures must be above 0, alphas in [0, 1] and epochs at least 1; found "
                f"{list(temperatures)}, {list(alphas)}, {epochs}."
            )
        if not isinstance(data, Dataset) or not isinstance(teacher, nn.Module | SoftTargets):
            raise ArgumentError(
                "The heat map needs a Dataset and a teacher (torch.nn.Module or SoftTargets); found "
                f"{type(data).__name__} and {type(teacher).__name__}."
            )
        self._axes = (tuple(temperatures), tuple(alphas), tuple(seeds))
        self._asked: dict[str, Any] = {
            **options,
            "data": data,
            "teacher": teacher,
            "student": student,
            "learning_rates": tuple(learning_rates),
            "epochs": epochs,
            "progress": False,
        }
        self._grid = grid
        self.result = result
        students = len(temperatures) * len(alphas) * len(seeds) * len(learning_rates)
        self._about = (
            f"{students} students ({student}), {len(temperatures)} temperatures by {len(alphas)} alphas by "
            f"{len(seeds)} seed{'s' * (len(seeds) != 1)}, {epochs} epoch{'s' * (epochs != 1)} each"
        )
        self.make_buttons("the whole grid")
        super().__init__(
            "Heat map over temperature and alpha",
            "Live heat map: an interactive widget that trains students over temperatures and alphas as you watch.",
            [ipywidgets.HTML(f"{self._about}."), row(self.train, self.stop, self.progress)],
            pause=_DRAWN_EVERY,
        )
        self.train.on_click(lambda _: self.start())

    def start(self) -> Job:
        """Train the whole grid from the start, in the background; the map of before stays until an epoch is over."""
        self.say(f"Training {self._about}.")
        before = self.result
        return self.begin(self._train, lambda job: self._ended(job, before))

    def figure(self) -> Figure:
        """Return the heat map of the latest result, or a card that describes the grid."""
        from kdcourse import figures

        result = self.result
        if result is None or not result.rows:
            temperatures, alphas, _ = self._axes
            return figures.card(
                "Not trained yet",
                [
                    f"{self._about}.",
                    f"Temperatures {', '.join(f'{t:g}' for t in temperatures)}; "
                    f"alphas {', '.join(f'{a:g}' for a in alphas)}.",
                    "Press Train: the map is updated after every epoch.",
                ],
            )
        return figures.grid_heat_map(result)

    def _train(self, job: Job) -> None:
        grid = self._grid
        if grid is None:
            from kdcourse.distillation.grid import distil_grid

            grid = distil_grid

        steps = itertools.count(1)

        def should_stop() -> bool:
            """Count the steps, so that something moves before the first epoch is over."""
            step, now = next(steps), time.monotonic()
            if now - self._counted_at >= _COUNTED_EVERY:
                self._counted_at = now
                self.progress.description = f"Step {step:,}"
            return job.stopping

        def after_epoch(result: GridResult) -> None:
            if job.stopping:  # the grid calls should_stop itself and returns its result so far
                return
            self.result = result
            done = sum(min(row["epochs"], result.epochs) for row in result.table)
            self.advance(job, done / max(1, len(result.rows) * result.epochs))

        result = grid(*self._axes, **self._asked, after_epoch=after_epoch, should_stop=should_stop)
        if any(len(row.history) for row in result.rows):
            self.result = result
        if result.cancelled:
            job.check()

    def _ended(self, job: Job, before: GridResult | None) -> None:
        self.progress.description = "Progress"
        if job.error is not None:
            self.say_error(job.error, "The grid ended early.")
        elif job.outcome == "stopped":
            unchanged = "No epoch was complete, so nothing has changed."
            self.say(
                f"Stopped. {unchanged if self.result is before else 'The map shows the results so far.'}"
            )
        else:
            self.progress.value = 1.0
            self.say("Finished: every cell is the mean over its seeds.")


def live_heat_map(
    temperatures: Sequence[float],
    alphas: Sequence[float],
    seeds: Sequence[int],
    *,
    data: Dataset,
    teacher: nn.Module | SoftTargets,
    student: str = "mlp_25k",
    learning_rates: Sequence[float] = (0.1,),
    epochs: int = 5,
    result: GridResult | None = None,
    grid: Callable[..., GridResult] | None = None,
    **options: Any,
) -> LiveHeatMap:
    """Return a widget that trains a grid of students and maps validation accuracy over temperature and alpha.

    Args:
        temperatures, alphas, seeds, learning_rates: of the students; each value once.
        data, teacher, student, epochs, options: see `kdcourse.distillation.distil_grid`.
        result: a grid trained earlier, shown until the learner trains another.
        grid: a function to call in place of `kdcourse.distillation.distil_grid`, with its signature.

    Raises:
        ArgumentError: an empty axis, a value given twice or out of range, data or teacher of another type.
    """
    return LiveHeatMap(
        temperatures, alphas, seeds, data=data, teacher=teacher, student=student, learning_rates=learning_rates,
        epochs=epochs, result=result, grid=grid, **options,
    )  # fmt: skip
