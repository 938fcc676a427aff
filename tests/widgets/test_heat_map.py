"""The live heat map hands its settings to the grid, shows what it is told, and stops when asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from matplotlib.figure import Figure

from kdcourse import figures, widgets
from kdcourse.distillation import soft_targets
from kdcourse.distillation.grid import GridResult, GridRow, Setting
from kdcourse.errors import ArgumentError
from kdcourse.training import EpochRecord, History
from tests.distillation.tiny import dataset, quarter_reader
from tests.widgets.tiny import LONG, bundle_of, until

EPOCHS = 3


def result(
    done: int, axes: Sequence[Sequence[float]], epochs: int = EPOCHS, cancelled: bool = False
) -> GridResult:
    """A grid of which every student has trained ``done`` epochs."""
    records = [EpochRecord(n + 1, 1.0, 0.5, 1.0, 0.5 + 0.01 * n, 0.1, 0.0) for n in range(done)]
    rows = tuple(
        GridRow(Setting(temperature, alpha, 0.1, int(seed)), History({}, records))
        for temperature in axes[0]
        for alpha in axes[1]
        for seed in axes[2]
    )
    return GridResult(rows, epochs, cancelled, 0.0, "by hand")


class Grid:
    """Stands in for distil_grid: same signature, tells of every epoch, waits for ``pace`` between them."""

    def __init__(self, pace: Callable[[], None] = lambda: None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.pace = pace

    def __call__(
        self,
        temperatures: Any,
        alphas: Any,
        seeds: Any,
        *,
        after_epoch: Any,
        should_stop: Any,
        epochs: int,
        **rest: Any,
    ) -> GridResult:
        axes = (temperatures, alphas, seeds)
        self.calls.append({"axes": axes, "epochs": epochs, **rest})
        for epoch in range(1, epochs + 1):
            self.pace()
            if should_stop():
                return result(epoch - 1, axes, epochs, cancelled=True)
            after_epoch(result(epoch, axes, epochs))
        return result(epochs, axes, epochs)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[GridResult]:
    """The results that the figure was asked to draw."""
    shown: list[GridResult] = []

    def draw(result: GridResult) -> Figure:
        shown.append(result)
        return figures.card(
            "A map of what the students reached", [f"after {len(result.rows[0].history)} epochs"]
        )

    monkeypatch.setattr(figures, "grid_heat_map", draw, raising=False)
    return shown


def heat_map(grid: Any = None, epochs: int = EPOCHS, **options: Any) -> Any:
    data = dataset()
    soft = soft_targets(quarter_reader(), data.train, data, cache=False, progress=False)
    return widgets.live_heat_map(
        (1, 4), (0.5, 1.0), (0,), data=data, teacher=soft, epochs=epochs, grid=grid, **options
    )


def test_the_map_fills_in_and_ends_complete(drawn: list[GridResult]) -> None:
    grid = Grid()
    widget = heat_map(grid, optimizer="muon", batch_size=16)
    assert (
        "Not trained yet" in bundle_of(widget)[1]["image/png"]["alt"]
        and "4 students" in widget.children[1].value
    )
    widget.train.click()
    assert widget.wait(LONG)
    assert widget.progress.value == 1.0 and "Finished" in widget.status.value and widget.stop.disabled
    assert drawn[-1] is widget.result and len(widget.result.rows[0].history) == EPOCHS
    assert "after 3 epochs" in bundle_of(widget)[1]["image/png"]["alt"]
    (call,) = grid.calls
    assert (
        call["axes"] == ((1, 4), (0.5, 1.0), (0,)) and call["epochs"] == EPOCHS and call["progress"] is False
    )
    assert call["optimizer"] == "muon" and call["batch_size"] == 16 and call["student"] == "mlp_25k"


def test_what_is_found_shows_while_the_rest_still_trains(drawn: list[GridResult]) -> None:
    turn = threading.Semaphore(2)
    widget = heat_map(Grid(turn.acquire))
    widget.train.click()
    until(lambda: bool(drawn))
    assert 0 < widget.progress.value < 1 and not widget.stop.disabled
    turn.release(EPOCHS)
    assert widget.wait(LONG) and widget.progress.value == 1.0


def test_stop_keeps_what_was_found(drawn: list[GridResult]) -> None:
    widget = heat_map(Grid(lambda: time.sleep(0.01)), epochs=100_000)
    widget.train.click()
    until(lambda: bool(drawn))
    widget.stop.click()
    assert widget.wait(LONG)
    assert widget.result.cancelled and drawn[-1] is widget.result
    assert "Stopped" in widget.status.value and widget.stop.disabled and widget.progress.value < 1
    assert "training" not in " ".join(thread.name for thread in threading.enumerate())


def test_a_stop_before_the_first_epoch_keeps_the_map_that_was_there(drawn: list[GridResult]) -> None:
    turn = threading.Semaphore(0)
    earlier = result(2, ((1, 4), (0.5, 1.0), (0,)))
    widget = heat_map(Grid(turn.acquire), result=earlier)
    widget.train.click()
    assert widget.result is earlier
    widget.stop.click()
    turn.release()
    assert widget.wait(LONG)
    assert widget.result is earlier and "nothing has changed" in widget.status.value
    assert widget.progress.description == "Progress"


def test_training_again_begins_anew_and_closing_ends_it(drawn: list[GridResult]) -> None:
    grid = Grid(lambda: time.sleep(0.01))
    widget = heat_map(grid, epochs=100_000)
    widget.train.click()
    until(lambda: bool(drawn))
    widget.train.click()
    until(lambda: len(grid.calls) == 2)
    widget.close()
    assert not [thread.name for thread in threading.enumerate() if "kdcourse" in thread.name]


def test_what_goes_wrong_is_told_in_the_widget(drawn: list[GridResult]) -> None:
    def fail(*axes: Any, **options: Any) -> GridResult:
        raise ArgumentError("No <such> student.")

    widget = heat_map(fail)
    widget.train.click()
    assert widget.wait(LONG)
    assert "The grid ended early. No &lt;such&gt; student." in widget.status.value and widget.stop.disabled


def test_a_recorded_result_is_shown_first(drawn: list[GridResult]) -> None:
    widget = heat_map(Grid(), result=result(2, ((1, 4), (0.5, 1.0), (0,))))
    assert "after 2 epochs" in bundle_of(widget)[1]["image/png"]["alt"]


def test_the_real_grid_trains_in_the_widget() -> None:
    widget = heat_map(epochs=2, batch_size=16, precision="float32")
    widget.train.click()
    assert widget.wait(LONG)
    assert "Finished" in widget.status.value, widget.status.value
    assert [row["epochs"] for row in widget.result.table] == [2] * 4
    assert len(bundle_of(widget)[1]["image/png"]["alt"]) > 50


def test_heat_map_refuses_what_does_not_fit() -> None:
    data, teacher = dataset(), quarter_reader()
    for axes, options, message in (
        (((), (1,), (0,)), {}, "temperatures must hold at least one value"),
        (((1, 1), (1,), (0,)), {}, "each once"),
        (((0,), (1,), (0,)), {}, "above 0"),
        (((1,), (1.5,), (0,)), {}, "alphas in"),
        (((1,), (1,), (0,)), {"epochs": 0}, "epochs at least 1"),
        (((1,), (1,), (0,)), {"teacher": None}, "needs a Dataset and a teacher"),
    ):
        with pytest.raises(ArgumentError, match=message):
            widgets.live_heat_map(*axes, **{"data": data, "teacher": teacher, **options})  # type: ignore[arg-type]
