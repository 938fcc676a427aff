"""The one training loop, its history, its checkpoints."""

from kdcourse.training.history import EpochRecord, History
from kdcourse.training.loop import Objective, cross_entropy, evaluate_split, fit
from kdcourse.training.optimizers import OPTIMIZERS, Muon, make_optimizer, one_cycle
from kdcourse.training.precision import autocast, fastest, measure
from kdcourse.training.weights import load_weights, save_weights

__all__ = [
    "OPTIMIZERS",
    "EpochRecord",
    "History",
    "Muon",
    "Objective",
    "autocast",
    "cross_entropy",
    "evaluate_split",
    "fastest",
    "fit",
    "load_weights",
    "make_optimizer",
    "measure",
    "one_cycle",
    "save_weights",
]
