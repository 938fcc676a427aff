"""Run a network as a teacher, without copying it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from kdcourse.distillation.ensemble import Ensemble, Frozen, checked, logits_of
from kdcourse.errors import ArgumentError
from kdcourse.models.folded import folded
from kdcourse.models.inputs import as_input
from kdcourse.models.layout import arranged, suits_channels_last
from kdcourse.models.mode import evaluating
from kdcourse.models.stored import check_not_lazy


class TeacherInference:
    """Call a teacher with images brought to its device and type.

    Convolutions take about half the time with kernels in channels-last memory format, if the teacher allows it
    (`kdcourse.models.layout`), and BatchNorm none as a part of them (`kdcourse.models.folded`). The teacher isn't
    modified: a copy, or the teacher with copies of its kernels, is called. What happens to it later doesn't show.
    """

    def __init__(self, teacher: nn.Module) -> None:
        self._teacher = teacher
        self._kernels: dict[str, Tensor] | None = None
        parameter = next((p for p in teacher.parameters() if p.is_floating_point()), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self._dtype = torch.float32 if parameter is None else parameter.dtype

    def __call__(self, images: Tensor) -> Tensor:
        images = as_input(images.to(self.device), self._dtype)
        if self._kernels is None:
            self._teacher = folded(self._teacher, images)
            self._kernels = self._kernels_for(images)
        if not self._kernels:
            return logits_of(self._teacher, images)
        images = arranged(self._teacher, images)
        return checked(functional_call(self._teacher, self._kernels, (images,)), self._teacher, images)

    def _kernels_for(self, images: Tensor) -> dict[str, Tensor]:
        # Frozen copies and ensembles arrange their own.
        arranges_itself = isinstance(self._teacher, torch.jit.ScriptModule | Frozen | Ensemble)
        if arranges_itself or images.ndim != 4 or not suits_channels_last(self._teacher, images):
            return {}
        last = torch.channels_last
        return {
            name: kernel.detach().contiguous(memory_format=last)
            for name, kernel in self._teacher.named_parameters()
            if kernel.ndim == 4 and not kernel.is_contiguous(memory_format=last)
        }


@contextmanager
def teacher_inference(teacher: nn.Module) -> Iterator[TeacherInference]:
    """Run a network as a teacher: eval mode and no gradient inside, its modes restored afterwards."""
    if not isinstance(teacher, nn.Module):
        raise ArgumentError(f"A teacher must be a torch.nn.Module; found {type(teacher).__name__}.")
    check_not_lazy(teacher)
    with evaluating(teacher), torch.no_grad():
        yield TeacherInference(teacher)


def evenly_spaced(length: int, count: int) -> Tensor:
    """Return ``count`` positions evenly spaced over ``length`` (all of them when there are fewer), int64."""
    count = min(count, length)
    return torch.arange(count) * length // count
