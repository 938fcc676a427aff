"""Draw how a score depends on temperature and alpha."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdcourse.distillation.grid import GridResult
from kdcourse.errors import ArgumentError
from kdcourse.figures.style import GREY, freeze, new_figure, percent, set_alt_text, styled

_COLOURS = "cividis"  # even in lightness, and readable with the common colour-vision deficiencies


def grid_heat_map(result: GridResult, column: str = "validation_accuracy") -> Figure:
    """Draw a grid's results, complete or so far, by temperature and alpha: means over seeds and learning rates.

    Args:
        result: result of `kdcourse.distillation.distil_grid`.
        column: ``validation_accuracy``, ``train_accuracy``, ``validation_loss`` or ``train_loss``.

    Raises:
        ArgumentError: an unknown column.
    """
    cells = result.mean(column)
    title = f"{column.replace('_', ' ').capitalize()}, mean over seeds"
    if column.endswith("loss"):
        return heat_map(cells, title=title, form=lambda value: f"{value:.3f}", higher_is_better=False)
    return heat_map(cells, title=title)


def heat_map(
    cells: Mapping[tuple[float, float], float],
    *,
    title: str = "Validation accuracy, mean over seeds",
    form: Callable[[float], str] = percent,
    higher_is_better: bool = True,
) -> Figure:
    """Draw a coloured table of temperature by alpha.

    Every cell shows its number, so that nothing depends on colour alone. The best cell is framed and named in the
    title. A cell without a number yet, or whose student diverged, is hatched.

    Args:
        cells: values by (temperature, alpha), a full table; NaN for a missing value.
        title: the quantity.
        form: formats a value.
        higher_is_better: whether to frame the highest value or the lowest.

    Raises:
        ArgumentError: no cell, or a table with holes.
    """
    temperatures = sorted({temperature for temperature, _ in cells})
    alphas = sorted({alpha for _, alpha in cells})
    if not cells or len(cells) != len(temperatures) * len(alphas):
        raise ArgumentError(
            f"A heat map needs a value for each of {len(temperatures)} temperatures with each of {len(alphas)} "
            f"alphas; found {len(cells)}. Put NaN where there is none."
        )
    known = {cell: value for cell, value in cells.items() if math.isfinite(value)}
    best = None
    if known:
        best = (max if higher_is_better else min)(known, key=lambda cell: known[cell])
    low, high = (min(known.values()), max(known.values())) if known else (0.0, 1.0)
    with styled():
        figure = new_figure(1.9 + 0.95 * len(temperatures), 1.5 + 0.5 * len(alphas))
        axes = figure.subplots()
        table = [[cells[temperature, alpha] for temperature in temperatures] for alpha in alphas]
        colours = axes.imshow(
            table,
            cmap=_COLOURS,
            vmin=low,
            vmax=high if high > low else low + 1,
            aspect="auto",
            origin="lower",
        )
        for x, temperature in enumerate(temperatures):
            for y, alpha in enumerate(alphas):
                value = cells[temperature, alpha]
                if not math.isfinite(value):
                    corner = (x - 0.5, y - 0.5)
                    axes.add_patch(
                        Rectangle(corner, 1, 1, facecolor="white", edgecolor=GREY, hatch="///", linewidth=0)
                    )
                    continue
                dark = (
                    _luminance(*colours.to_rgba(np.array([value]))[0, :3]) < 0.179
                )  # where white and black have equal contrast
                axes.text(
                    x, y, form(value), ha="center", va="center", color="white" if dark else "black", fontsize=9,
                    fontweight="bold" if (temperature, alpha) == best else "normal",
                )  # fmt: skip
        if best is not None:
            corner = (temperatures.index(best[0]) - 0.47, alphas.index(best[1]) - 0.47)
            axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor="white", linewidth=4))
            axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor="black", linewidth=2))
        axes.set_xticks(range(len(temperatures)), [f"{value:g}" for value in temperatures])
        axes.set_yticks(range(len(alphas)), [f"{value:g}" for value in alphas])
        axes.grid(visible=False)
        axes.set_xlabel("temperature T")
        axes.set_ylabel("alpha, weight of the teacher")
        axes.set_title(f"{title}\n{_best(best, known, form)}")
        freeze(figure)
    set_alt_text(figure, _words(title, cells, known, best, temperatures, alphas, form))
    return figure


def _luminance(*rgb: float) -> float:
    """Compute the relative luminance, 0 to 1, of sRGB components 0 to 1 (as defined in WCAG 2.2)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _best(
    best: tuple[float, float] | None, known: Mapping[tuple[float, float], float], form: Callable[[float], str]
) -> str:
    if best is None:
        return "no student has ended an epoch yet"
    return f"best {form(known[best])} at T = {best[0]:g}, alpha = {best[1]:g}"


def _words(
    title: str,
    cells: Mapping[tuple[float, float], float],
    known: Mapping[tuple[float, float], float],
    best: tuple[float, float] | None,
    temperatures: list[float],
    alphas: list[float],
    form: Callable[[float], str],
) -> str:
    rows = "; ".join(
        f"alpha {alpha:g}: "
        + ", ".join(form(cells[t, alpha]) if (t, alpha) in known else "none" for t in temperatures)
        for alpha in alphas
    )
    return (
        f"Heat map. {title}, for temperatures {', '.join(f'{t:g}' for t in temperatures)} (columns) and alphas "
        f"(rows): {_best(best, known, form)}. {rows}."
    )
