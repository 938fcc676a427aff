"""One function a figure: results in, a matplotlib figure with its own alt text out.

The figures belong to no window and to no pyplot state; `save` writes them as PNG and SVG.
"""

from kdcourse.figures.benchmarks import GrowthPoint, SideTimes, growth, side_by_side
from kdcourse.figures.calibration import reliability_diagram
from kdcourse.figures.card import card
from kdcourse.figures.curves import training_curves
from kdcourse.figures.ensemble_sizes import ensemble_sizes
from kdcourse.figures.heat_map import grid_heat_map, heat_map
from kdcourse.figures.members import ensemble_members
from kdcourse.figures.output import png, save
from kdcourse.figures.pairs import paired_differences
from kdcourse.figures.pictures import disagreements, soft_target_gallery
from kdcourse.figures.runs import MOST_RUNS, RunCurve, run_curves
from kdcourse.figures.softening import softened_bars
from kdcourse.figures.style import alt_text, set_alt_text
from kdcourse.figures.temperature import against_temperature
from kdcourse.figures.trade_off import CostPoint, accuracy_against_cost
from kdcourse.figures.views_trade_off import ViewsPoint, views_trade_off

__all__ = [
    "MOST_RUNS",
    "CostPoint",
    "GrowthPoint",
    "RunCurve",
    "SideTimes",
    "ViewsPoint",
    "accuracy_against_cost",
    "against_temperature",
    "alt_text",
    "card",
    "disagreements",
    "ensemble_members",
    "ensemble_sizes",
    "grid_heat_map",
    "growth",
    "heat_map",
    "paired_differences",
    "png",
    "reliability_diagram",
    "run_curves",
    "save",
    "set_alt_text",
    "side_by_side",
    "soft_target_gallery",
    "softened_bars",
    "training_curves",
    "views_trade_off",
]
