"""Draw training runs, running or finished, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import (
    count_word,
    looks,
    new_figure,
    percent,
    set_alt_text,
    shorten,
    significant,
    styled,
)

MOST_RUNS = 6


@dataclass(frozen=True)
class RunCurve:
    """Hold what is known of a run so far.

    ``losses`` are (epochs since the start, loss of its own objective), in order; ``accuracies`` are (epoch,
    validation accuracy 0 to 1). ``note`` is "stopped", "training", "diverged" or empty.
    """

    losses: Sequence[tuple[float, float]]
    accuracies: Sequence[tuple[int, float]]
    note: str = ""


def run_curves(runs: Mapping[str, RunCurve]) -> Figure:
    """Draw training loss and validation accuracy of up to six runs, finished, stopped or running.

    Losses are those of each run's own objective, so only accuracies can be compared. A diverged run ends in a cross
    at the top of the figure, so that it doesn't flatten the others.

    Raises:
        ArgumentError: no run, or more than six.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise ArgumentError(f"The curves of one to {MOST_RUNS} runs fit in a figure; found {len(runs)}.")
    with styled():
        height = 3.5 + 0.24 * len(runs)
        figure = new_figure(9.0, height)
        figure.set_layout_engine("none")  # drawn while training goes on: every millisecond is taken from it
        edges = {
            "left": 0.075,
            "right": 0.985,
            "top": 1 - 0.32 / height,
            "bottom": (0.68 + 0.24 * len(runs)) / height,
        }
        loss, accuracy = figure.subplots(1, 2, gridspec_kw={**edges, "wspace": 0.2})
        styles = looks([f"run {n}" for n in range(len(runs))])
        handles = []
        for (name, run), look in zip(runs.items(), styles, strict=True):
            losses, accuracies = run.losses, run.accuracies
            (line,) = loss.plot(
                [x for x, _ in losses],
                [y for _, y in losses],
                color=look.colour,
                marker=look.marker,
                markevery=max(1, len(losses) // 6),
                linewidth=1.4,
                label=shorten(f"{name} ({run.note})" if run.note else name, 100),
            )
            accuracy.plot(
                [x for x, _ in accuracies],
                [100 * y for _, y in accuracies],
                color=look.colour,
                marker=look.marker,
                linestyle="--" if run.note else "-",
            )
            handles.append(line)
        top = _top(runs.values())
        for run, look in zip(runs.values(), styles, strict=True):
            if top is not None and run.note == "diverged" and run.losses:
                x, y = run.losses[-1]
                loss.plot(
                    [x], [min(y, top)], color=look.colour, marker="X", markersize=9, clip_on=False, zorder=5
                )
        loss.set(title="Training loss, each of its own objective", xlabel="epoch", ylabel="loss (nats)")
        loss.set_xlim(left=0)
        loss.set_ylim(0, top)
        accuracy.set(title="Accuracy on the validation images", xlabel="epoch", ylabel="accuracy (%)")
        low, high = accuracy.get_ylim()
        if not any(run.accuracies for run in runs.values()):
            accuracy.set(xlim=(0, 1), ylim=(0, 100))  # matplotlib's own would be -0.04 to 0.04
        elif high > 100:
            accuracy.set_ylim(min(low, 99), 100.3)
        accuracy.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        figure.legend(handles=handles, loc="lower left", ncols=1, fontsize=9)
        set_alt_text(figure, _describe(runs))
    return figure


def _top(runs: Iterable[RunCurve]) -> float | None:
    """Return the end of the loss axis if a run diverged: above the others' losses, else above its own smallest."""
    runs = [run for run in runs if run.losses]
    wild = [min(y for _, y in run.losses) for run in runs if run.note == "diverged"]
    calm = [y for run in runs if run.note != "diverged" for _, y in run.losses]
    return 1.3 * max(calm or wild) or None if wild else None


def _describe(runs: Mapping[str, RunCurve]) -> str:
    parts = [f"Training loss and validation accuracy of {count_word(len(runs))} run{'s' * (len(runs) != 1)}."]
    for name, run in runs.items():
        told = [f"{run.note}"] if run.note else []
        if run.losses:
            loss = run.losses[-1][1]
            told.append(
                f"training loss at last {loss:.3g}"
                if run.note == "diverged"
                else f"training loss now {significant(loss)}"
            )
        if run.accuracies:
            epoch, share = run.accuracies[-1]
            told.append(
                f"validation accuracy {percent(share)} after {count_word(epoch)} epoch{'s' * (epoch != 1)}"
            )
        parts.append(f"{name}: {', '.join(told) or 'nothing yet'}.")
    return " ".join(parts)
