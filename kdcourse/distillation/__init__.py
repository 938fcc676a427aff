"""Ensembles, soft targets, and the methods by which a student learns from them."""

from kdcourse.distillation.chain import distil_chain
from kdcourse.distillation.data_free import generated
from kdcourse.distillation.distil import distil
from kdcourse.distillation.ensemble import (
    Ensemble,
    freeze,
    mean_softened,
    softened_mean,
)
from kdcourse.distillation.gate import check_teacher
from kdcourse.distillation.grid import GridResult, GridRow, Setting, distil_grid
from kdcourse.distillation.methods import Method, Outputs
from kdcourse.distillation.methods.borders import border_loss
from kdcourse.distillation.methods.channelwise import channelwise_loss
from kdcourse.distillation.methods.cross_image import cross_image_loss
from kdcourse.distillation.methods.dkd import dkd_loss
from kdcourse.distillation.methods.fitnet import hint_loss
from kdcourse.distillation.methods.kd import hinton_loss, kd_divergence, top_k_divergence
from kdcourse.distillation.methods.mld import mld_loss
from kdcourse.distillation.methods.pairwise import pairwise_loss
from kdcourse.distillation.methods.pixelwise import pixelwise_loss
from kdcourse.distillation.methods.token_kl import forward_kl
from kdcourse.distillation.methods.token_reverse_kl import reverse_kl
from kdcourse.distillation.methods.token_top_k import token_top_k_loss
from kdcourse.distillation.mutual import mutual_learning, mutual_loss
from kdcourse.distillation.remembered import Remembered
from kdcourse.distillation.sampling import continued, teacher_text
from kdcourse.distillation.simkd import simkd, simkd_loss
from kdcourse.distillation.softening import entropy, softened
from kdcourse.distillation.targets import (
    SoftTargets,
    ViewsCost,
    cache_folder,
    soft_targets,
    teacher_digest,
    views_cost,
)
from kdcourse.distillation.targets.needed import views_shown
from kdcourse.distillation.tokens import token_divergence
from kdcourse.distillation.top import TopLogits

__all__ = [
    "Ensemble",
    "GridResult",
    "GridRow",
    "Method",
    "Outputs",
    "Remembered",
    "Setting",
    "SoftTargets",
    "TopLogits",
    "ViewsCost",
    "border_loss",
    "cache_folder",
    "channelwise_loss",
    "check_teacher",
    "continued",
    "cross_image_loss",
    "distil",
    "distil_chain",
    "distil_grid",
    "dkd_loss",
    "entropy",
    "forward_kl",
    "freeze",
    "generated",
    "hint_loss",
    "hinton_loss",
    "kd_divergence",
    "mean_softened",
    "mld_loss",
    "mutual_learning",
    "mutual_loss",
    "pairwise_loss",
    "pixelwise_loss",
    "reverse_kl",
    "simkd",
    "simkd_loss",
    "soft_targets",
    "softened",
    "softened_mean",
    "teacher_digest",
    "teacher_text",
    "token_divergence",
    "token_top_k_loss",
    "top_k_divergence",
    "views_cost",
    "views_shown",
]
