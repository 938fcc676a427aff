from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from kdcourse.distillation import GridResult, GridRow, Setting
from kdcourse.errors import ArgumentError
from kdcourse.figures import alt_text, grid_heat_map, heat_map, save
from kdcourse.training import EpochRecord, History

CELLS = {(1.0, 0.0): 0.85, (1.0, 0.9): 0.8612, (4.0, 0.0): 0.85, (4.0, 0.9): 0.87654}


def test_every_cell_holds_its_number_and_the_best_is_framed_and_named() -> None:
    figure = heat_map(CELLS)
    axes = figure.axes[0]
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): "85.00 %", (0, 1): "86.12 %", (1, 0): "85.00 %", (1, 1): "87.65 %"}
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    assert {(round(frame.get_x()), round(frame.get_y())) for frame in frames} == {(1, 1)}
    assert "best 87.65 % at T = 4, alpha = 0.9" in axes.get_title()
    words = alt_text(figure)
    assert "best 87.65 % at T = 4, alpha = 0.9" in words and "alpha 0.9: 86.12 %, 87.65 %" in words


def test_lower_may_be_better_and_numbers_take_any_form() -> None:
    figure = heat_map(CELLS, title="Loss", form=lambda value: f"{value:.1f}", higher_is_better=False)
    assert "best 0.8 at T = 1, alpha = 0" in alt_text(figure) or "best 0.9" in alt_text(figure)
    assert "T = 1, alpha = 0" in figure.axes[0].get_title()


def test_cells_without_a_number_are_hatched() -> None:
    figure = heat_map(CELLS | {(1.0, 0.9): math.nan})
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert [(patch.get_x(), patch.get_y()) for patch in hatched] == [(-0.5, 0.5)]
    assert len(figure.axes[0].texts) == 3
    assert "alpha 0.9: none, 87.65 %" in alt_text(figure)


def test_numbers_stand_out_from_their_cells() -> None:
    """At WCAG's 4.5 to 1, wherever in the colour map a cell lies."""
    many = {(float(t), float(a)): t + a / 10 for t in range(1, 9) for a in range(9)}
    for cells in (CELLS, many, dict.fromkeys(CELLS, 0.5)):
        axes = heat_map(cells).axes[0]
        [picture] = axes.images
        for text in axes.texts:
            x, y = (round(place) for place in text.get_position())
            cell = luminance(picture.to_rgba(picture.get_array()[y, x])[:3])
            ink = luminance(to_rgb(text.get_color()))
            assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) >= 4.5


def luminance(rgb: Sequence[float]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_an_empty_table_and_one_value_are_drawn_and_the_file_repeats(tmp_path: Path) -> None:
    figure = heat_map(dict.fromkeys(CELLS, math.nan))
    assert "no student has ended an epoch yet" in figure.axes[0].get_title()
    alone = {(1.0, 0.9): 0.5}
    for name in ("first", "second"):
        save(heat_map(alone), tmp_path, name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_a_grid_is_drawn_by_its_means() -> None:
    record = EpochRecord(1, 0.5, 0.7, 0.4, 0.8, 0.1, 1.0)
    better = EpochRecord(1, 0.5, 0.7, 0.2, 0.9, 0.1, 1.0)
    rows = tuple(
        GridRow(Setting(4, 0.9, 0.1, seed), History({}, [each])) for seed, each in enumerate((record, better))
    )
    result = GridResult(rows, 1, False, 1.0, "")
    assert "best 85.00 % at T = 4" in alt_text(grid_heat_map(result))
    assert "Validation loss" in alt_text(grid_heat_map(result, "validation_loss"))
    assert "best 0.300 at" in alt_text(grid_heat_map(result, "validation_loss"))
    with pytest.raises(ArgumentError, match="column must be"):
        grid_heat_map(result, "seconds")


@pytest.mark.parametrize("cells", [{}, {(1.0, 0.0): 0.5, (2.0, 1.0): 0.6}])
def test_a_table_with_holes_is_refused(cells: dict[tuple[float, float], float]) -> None:
    with pytest.raises(ArgumentError, match="needs a value for each"):
        heat_map(cells)
