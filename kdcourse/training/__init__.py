"""The training loop, its settings, history and checkpoints."""

from kdcourse.training.evaluate import evaluate_split
from kdcourse.training.history import EpochRecord, History, MultiLabelRecord
from kdcourse.training.labels import CrossEntropy, balanced_weights
from kdcourse.training.loop import fit
from kdcourse.training.objective import Objective, cross_entropy
from kdcourse.training.optimizers import OPTIMIZERS, Muon, make_optimizer, one_cycle
from kdcourse.training.precision import autocast, measure, usual_precision
from kdcourse.training.settings import Settings
from kdcourse.training.task import LABELS, MASKS, MULTILABEL, TOKENS, Task, task_of
from kdcourse.training.weights import load_weights, save_weights

__all__ = [
    "LABELS",
    "MASKS",
    "MULTILABEL",
    "OPTIMIZERS",
    "TOKENS",
    "CrossEntropy",
    "EpochRecord",
    "History",
    "MultiLabelRecord",
    "Muon",
    "Objective",
    "Settings",
    "Task",
    "autocast",
    "balanced_weights",
    "cross_entropy",
    "evaluate_split",
    "fit",
    "load_weights",
    "make_optimizer",
    "measure",
    "one_cycle",
    "save_weights",
    "task_of",
    "usual_precision",
]
