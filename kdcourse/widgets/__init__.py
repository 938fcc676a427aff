"""Provide the interactive widgets of the lessons: ipywidgets over plain functions, each with a static figure.

Runs of the tuner and predictions are kept in ``$KDCOURSE_RUNS`` or the user's data folder.
"""

try:
    import ipywidgets as _ipywidgets  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "kdcourse.widgets needs ipywidgets, which is not installed here. Install it with\n"
        '    pip install "kdcourse[notebooks]"\n'
        "and restart the kernel."
    ) from error

from kdcourse.widgets.ensemble import ensemble_explorer
from kdcourse.widgets.heat_map import live_heat_map
from kdcourse.widgets.mistakes import mistake_browser
from kdcourse.widgets.predictions import predict, reveal
from kdcourse.widgets.quiz import Option, Question, quiz
from kdcourse.widgets.storage import RunSettings
from kdcourse.widgets.temperature import temperature_explorer
from kdcourse.widgets.threshold import threshold_explorer
from kdcourse.widgets.tuner import distillation_tuner
from kdcourse.widgets.writers import writers

__all__ = [
    "Option",
    "Question",
    "RunSettings",
    "distillation_tuner",
    "ensemble_explorer",
    "live_heat_map",
    "mistake_browser",
    "predict",
    "quiz",
    "reveal",
    "temperature_explorer",
    "threshold_explorer",
    "writers",
]
