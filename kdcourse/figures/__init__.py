"""One function a figure: results in, a matplotlib figure with its own alt text out.

The figures belong to no window and to no pyplot state; `save` writes them as PNG and SVG.
"""

from kdcourse.figures.calibration import reliability_diagram
from kdcourse.figures.curves import training_curves
from kdcourse.figures.output import save
from kdcourse.figures.pictures import disagreements, soft_target_gallery
from kdcourse.figures.style import alt_text, set_alt_text
from kdcourse.figures.trade_off import CostPoint, accuracy_against_cost

__all__ = [
    "CostPoint",
    "accuracy_against_cost",
    "alt_text",
    "disagreements",
    "reliability_diagram",
    "save",
    "set_alt_text",
    "soft_target_gallery",
    "training_curves",
]
