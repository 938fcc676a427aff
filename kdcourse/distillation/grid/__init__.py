"""Many small students over a grid of settings, each trained as if it were alone."""

from kdcourse.distillation.grid.grid import distil_grid
from kdcourse.distillation.grid.result import GridResult, GridRow, Setting

__all__ = ["GridResult", "GridRow", "Setting", "distil_grid"]
