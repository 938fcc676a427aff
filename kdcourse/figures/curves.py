"""Draw training curves, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import (
    GREY,
    count_word,
    freeze,
    listed,
    looks,
    new_figure,
    percent,
    set_alt_text,
    shorten,
    significant,
    styled,
)
from kdcourse.training.history import History

# Lines of the training loss's parts: unlike the solid and dashed ones of whole losses.
_PART_LINES = ((0, (1, 2)), (0, (5, 2, 1, 2)), (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))


def training_curves(curves: Mapping[str, Sequence[History]]) -> Figure:
    """Draw loss and accuracy of several models over their epochs.

    Training is dashed, validation solid. A line is the mean over a model's seeds; the band reaches from the lowest seed
    to the highest. Training losses are those of each model's own objective; their parts (`EpochRecord.parts`: the
    labels' and the method's terms) are drawn as thin lines. Validation losses are all cross-entropy, so only they can
    be compared.

    Args:
        curves: name of a model -> the histories of its seeds, all of equal length.

    Raises:
        ArgumentError: no model, a model without histories or epochs, seeds of different lengths.
    """
    return draw_curves(curves, "accuracy", "Accuracy", "accuracy (%)")


def draw_curves(
    curves: Mapping[str, Sequence[History]],
    quantity: str,
    title: str,
    axis: str,
    kind: str = "Training curves",
) -> Figure:
    """Draw the loss, and beside it a rate 0 to 1 from the columns ``train_QUANTITY`` and ``validation_QUANTITY``."""
    _check(curves)
    most = max(len(_parts(histories)) for histories in curves.values())
    with styled():
        figure = new_figure(9.0, 4.0 + 0.22 * math.ceil((len(curves) + 3 + most) / 3))
        loss, rate = figure.subplots(1, 2)
        parts = list(dict.fromkeys(part for histories in curves.values() for part in _parts(histories)))
        lines = {part: _PART_LINES[n % len(_PART_LINES)] for n, part in enumerate(parts)}
        styles = looks(list(curves))
        for n, (histories, look) in enumerate(zip(curves.values(), styles, strict=True)):
            epochs = histories[0].column("epoch")
            every = max(1, len(epochs) // 10)
            # Markers of lines that coincide would hide each other.
            first = n * every // len(curves)
            for axes, column, scale in ((loss, "loss", 1.0), (rate, quantity, 100.0)):
                for part, line in (("train", (0, (4, 2))), ("validation", "-")):
                    values = scale * _values(histories, f"{part}_{column}")
                    known = np.isfinite(values).all(axis=0)
                    if not known.any():
                        continue
                    x, y = np.asarray(epochs)[known], values[:, known]
                    axes.plot(
                        x,
                        y.mean(axis=0),
                        color=look.colour,
                        linestyle=line,
                        marker=look.marker,
                        markevery=(first, every),
                        markerfacecolor=look.colour if part == "validation" else "white",
                        alpha=1.0 if part == "validation" else 0.85,
                    )
                    if len(values) > 1:
                        axes.fill_between(
                            x, y.min(axis=0), y.max(axis=0), color=look.colour, alpha=0.15, linewidth=0
                        )
            for part in _parts(histories):
                mean = _part(histories, part).mean(axis=0)
                loss.plot(epochs, mean, color=look.colour, linestyle=lines[part], linewidth=1.0)
        _loss_scale(loss, curves)
        loss.set(title="Loss", ylabel="loss (nats)")
        rate.set(title=title, ylabel=axis)
        longest = max(len(histories[0]) for histories in curves.values())
        for axes in (loss, rate):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
            if longest == 1:
                axes.set_xlim(np.subtract(axes.dataLim.intervalx, (0.5, -0.5)))
        handles: list[Line2D | Patch] = [
            Line2D([], [], color=look.colour, marker=look.marker, label=_legend_name(name, histories))
            for (name, histories), look in zip(curves.items(), styles, strict=True)
        ]
        handles += [
            Line2D([], [], color=GREY, linestyle="-", label="validation"),
            Line2D([], [], color=GREY, linestyle=(0, (4, 2)), label="training"),
        ]
        handles += [
            Line2D(
                [],
                [],
                color=GREY,
                linestyle=line,
                linewidth=1.0,
                label=f"training loss, part {shorten(part, 16)}",
            )
            for part, line in lines.items()
        ]
        if any(len(histories) > 1 for histories in curves.values()):
            handles.append(Patch(facecolor=GREY, alpha=0.25, label="range of the seeds around their mean"))
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        set_alt_text(figure, _describe(curves, quantity, title, kind))
        freeze(figure)
    return figure


def _check(curves: Mapping[str, Sequence[History]]) -> None:
    if not curves:
        raise ArgumentError(
            "Training curves need at least one model; found none. Pass {name: [history, ...]}."
        )
    for name, histories in curves.items():
        lengths = [len(history) for history in histories]
        if not lengths or min(lengths) < 1:
            raise ArgumentError(
                f"Every model needs at least one history of at least one epoch; {name!r} has "
                f"{len(lengths)} histories with {lengths} epochs. Leave it out, or train it first."
            )
        if len(set(lengths)) > 1:
            raise ArgumentError(
                f"The seeds of one model must have run equally long; those of {name!r} have {lengths} epochs. "
                "Finish the shorter ones, or show them under a name of their own."
            )


def _parts(histories: Sequence[History]) -> list[str]:
    """Return the names of the parts that every epoch of these histories recorded."""
    return [
        name
        for name in histories[0].last.parts
        if all(name in record.parts for history in histories for record in history.epochs)
    ]


def _part(histories: Sequence[History], name: str) -> np.ndarray:
    """Return one part of the training loss, float64 [seeds, epochs]."""
    return np.array([[record.parts[name] for record in history.epochs] for history in histories])


def _values(histories: Sequence[History], column: str) -> np.ndarray:
    """Return float64 [seeds, epochs]; NaN where an epoch was not validated."""
    return np.array(
        [[np.nan if value is None else value for value in history.column(column)] for history in histories],
        dtype=np.float64,
    )


def _loss_scale(axes: Axes, curves: Mapping[str, Sequence[History]]) -> None:
    """Use a logarithmic axis if objectives of different size would flatten each other."""
    values = np.concatenate(
        [
            _values(histories, column).ravel()
            for histories in curves.values()
            for column in ("train_loss", "validation_loss")
        ]
        + [_part(histories, name).ravel() for histories in curves.values() for name in _parts(histories)]
    )
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 8 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _legend_name(name: str, histories: Sequence[History]) -> str:
    seeds = len(histories)
    return shorten(name, 24) if seeds == 1 else f"{shorten(name, 20)} ({seeds} seeds)"


def _describe(curves: Mapping[str, Sequence[History]], quantity: str, title: str, kind: str) -> str:
    name_of = title[:1].lower() + title[1:]
    parts = [f"{kind}, loss and {name_of} by epoch, of {listed(list(curves))}."]
    for name, histories in curves.items():
        epochs, seeds = len(histories[0]), len(histories)
        text = (
            f"{name}: {count_word(epochs)} epoch{'s' * (epochs != 1)}, {count_word(seeds)} seed{'s' * (seeds != 1)};"
            " at the end"
        )
        found = []
        for part, word in (("train", "training"), ("validation", "validation")):
            rate = _values(histories, f"{part}_{quantity}")[:, -1]
            loss = _values(histories, f"{part}_loss")[:, -1]
            if np.isfinite(rate).all() and np.isfinite(loss).all():
                spread = "" if seeds == 1 else f" (seeds {percent(rate.min())} to {percent(rate.max())})"
                found.append(
                    f"{word} {name_of} {percent(rate.mean())}{spread}, {word} loss {significant(loss.mean())}"
                )
        found += [
            f"part {name} of the training loss {significant(_part(histories, name)[:, -1].mean())}"
            for name in _parts(histories)
        ]
        parts.append(f"{text} {'; '.join(found)}.")
    return " ".join(parts)
