"""Draw results: one function per figure, each returning a matplotlib figure with alt text.

The figures don't use pyplot's state or windows; `save` writes them as PNG and SVG.
"""

from kdcourse.figures.calibration import reliability_diagram
from kdcourse.figures.card import card
from kdcourse.figures.class_gains import class_gains
from kdcourse.figures.curves import training_curves
from kdcourse.figures.ensemble_sizes import ensemble_sizes
from kdcourse.figures.galleries import disagreements, soft_target_gallery
from kdcourse.figures.heat_map import grid_heat_map, heat_map
from kdcourse.figures.hidden import attention_maps, distance_tables
from kdcourse.figures.hundred import right_of_hundred
from kdcourse.figures.iou_bars import iou_bars
from kdcourse.figures.leaderboard import Ranked, leaderboard
from kdcourse.figures.members import ensemble_members
from kdcourse.figures.next_tokens import next_tokens
from kdcourse.figures.output import png, save
from kdcourse.figures.pairs import paired_differences
from kdcourse.figures.precision_recall import precision_recall_curves
from kdcourse.figures.predicted_masks import predicted_masks
from kdcourse.figures.runs import MOST_RUNS, RunCurve, run_curves
from kdcourse.figures.scenes import scene_examples
from kdcourse.figures.segmentation_curves import segmentation_curves
from kdcourse.figures.softening import softened_bars
from kdcourse.figures.steps import step_curves
from kdcourse.figures.study import StudyPoint, study_curves, study_points
from kdcourse.figures.style import alt_text, set_alt_text
from kdcourse.figures.temperature import against_temperature
from kdcourse.figures.threshold import threshold_view
from kdcourse.figures.trade_off import CostPoint, accuracy_against_cost
from kdcourse.figures.two_bumps import two_bumps

__all__ = [
    "MOST_RUNS",
    "CostPoint",
    "Ranked",
    "RunCurve",
    "StudyPoint",
    "accuracy_against_cost",
    "against_temperature",
    "alt_text",
    "attention_maps",
    "card",
    "class_gains",
    "disagreements",
    "distance_tables",
    "ensemble_members",
    "ensemble_sizes",
    "grid_heat_map",
    "heat_map",
    "iou_bars",
    "leaderboard",
    "next_tokens",
    "paired_differences",
    "png",
    "precision_recall_curves",
    "predicted_masks",
    "reliability_diagram",
    "right_of_hundred",
    "run_curves",
    "save",
    "scene_examples",
    "segmentation_curves",
    "set_alt_text",
    "soft_target_gallery",
    "softened_bars",
    "step_curves",
    "study_curves",
    "study_points",
    "threshold_view",
    "training_curves",
    "two_bumps",
]
