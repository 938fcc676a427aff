"""Stored teacher outputs, looked up by sample and view."""

from kdcourse.distillation.targets.digest import teacher_digest
from kdcourse.distillation.targets.files import cache_folder
from kdcourse.distillation.targets.soft_targets import SoftTargets, soft_targets
from kdcourse.distillation.targets.views_cost import ViewsCost, views_cost

__all__ = ["SoftTargets", "ViewsCost", "cache_folder", "soft_targets", "teacher_digest", "views_cost"]
