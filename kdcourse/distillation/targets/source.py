"""Find a teacher's outputs for a batch: stored ones looked up, or a frozen teacher's forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from torch import nn

from kdcourse.data import Batch
from kdcourse.distillation.ensemble import Frozen, freeze
from kdcourse.distillation.features import Tap
from kdcourse.distillation.methods.base import Outputs
from kdcourse.distillation.softening import at_least_float32
from kdcourse.distillation.targets.digest import teacher_digest
from kdcourse.distillation.targets.soft_targets import SoftTargets
from kdcourse.errors import ArgumentError
from kdcourse.models.folded import folded


class Source(Protocol):
    """Attributes: ``teacher``, the digest of the teacher; ``told``, for records, what is held of its answers."""

    teacher: str
    told: str

    def outputs(self, batch: Batch) -> Outputs:
        """Return the teacher's outputs for a batch, as its view shows the images."""


def source_of(teacher: nn.Module | SoftTargets) -> Source:
    """Return where a teacher's outputs come from: stored ones are looked up, a network runs on each batch.

    Raises:
        ArgumentError: neither of both.
    """
    if isinstance(teacher, SoftTargets):
        return Stored(teacher)
    if not isinstance(teacher, nn.Module):
        raise ArgumentError(
            f"A teacher must be a torch.nn.Module, or SoftTargets (from soft_targets); found {type(teacher).__name__}."
        )
    return OnTheFly(teacher)


class Stored:
    """Look logits up by view and position.

    Raises:
        ArgumentError: when called, a view that isn't stored, or labels that aren't those of the stored positions.
    """

    def __init__(self, targets: SoftTargets) -> None:
        self._targets, self.teacher = targets, targets.teacher
        self.told = "" if targets.top_k is None else f", top_k={targets.top_k}"

    def outputs(self, batch: Batch) -> Outputs:
        targets, top = self._targets, None
        if targets.top_k is None:
            logits = targets.logits(batch.view, batch.index)
        else:
            top = targets.top(batch.view, batch.index)
            logits = top.values
        if batch.labels.device.type == "cpu":  # elsewhere a comparison would wait for the device
            targets.check_labels(batch.view, batch.index, batch.labels)
        return Outputs(logits, top=top)


class OnTheFly:
    """Ask a frozen copy of a teacher about the very view that the student sees.

    (Function matching, Beyer et al. 2022, https://arxiv.org/abs/2106.05237.)

    Args:
        teacher: copied and frozen.
        layers: names of layers whose outputs are wanted too.
    """

    def __init__(self, teacher: nn.Module, layers: Sequence[str] = ()) -> None:
        self.teacher, self.told = teacher_digest(teacher), ""
        self._frozen = freeze(teacher)
        self._layers, self._folded = tuple(layers), False

    def outputs(self, batch: Batch) -> Outputs:
        self._frozen.to(batch.images.device)  # our own copy; free when it is there already
        if not self._folded and not self._layers:  # whose layers nobody looks at
            self._frozen, self._folded = folded(self._frozen, batch.images), True
        with Tap(tapped(self._frozen), self._layers, always=True) as tap:
            logits = self._frozen(batch.images)
            dtype = at_least_float32(logits)
            return Outputs(logits.to(dtype), {name: value.to(dtype) for name, value in tap.features.items()})


class WithLayers:
    """Take the logits from one source, and the layers from a network of its own, such as a member of an ensemble."""

    def __init__(self, logits: Source, layers: OnTheFly) -> None:
        self._logits, self._layers = logits, layers
        self.teacher, self.told = logits.teacher, f"{logits.told}, layers of {layers.teacher[:16]}"

    def outputs(self, batch: Batch) -> Outputs:
        return replace(self._logits.outputs(batch), features=self._layers.outputs(batch).features)


def tapped(teacher: nn.Module) -> nn.Module:
    """Return the network whose layers carry the names that the user knows: that inside a frozen copy."""
    return teacher.network if isinstance(teacher, Frozen) else teacher
