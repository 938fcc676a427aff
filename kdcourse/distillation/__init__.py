"""Ensembles, soft targets and what a student is trained to do with them."""

from kdcourse.distillation.distil import distil, views_shown
from kdcourse.distillation.ensemble import (
    Ensemble,
    assert_trained,
    freeze,
    mean_softened,
    softened_mean,
)
from kdcourse.distillation.objectives import (
    CrossEntropyObjective,
    HintonObjective,
    hinton_loss,
    kd_divergence,
)
from kdcourse.distillation.soft_targets import SoftTargets, cache_folder, soft_targets, teacher_digest
from kdcourse.distillation.softening import entropy, softened

__all__ = [
    "CrossEntropyObjective",
    "Ensemble",
    "HintonObjective",
    "SoftTargets",
    "assert_trained",
    "cache_folder",
    "distil",
    "entropy",
    "freeze",
    "hinton_loss",
    "kd_divergence",
    "mean_softened",
    "soft_targets",
    "softened",
    "softened_mean",
    "teacher_digest",
    "views_shown",
]
