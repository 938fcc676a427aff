"""Deep mutual learning: several students without a teacher learn from each other (Zhang et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import Batch, Dataset
from kdcourse.distillation.methods.kd import kd_divergence
from kdcourse.distillation.softening import check_temperature
from kdcourse.errors import ArgumentError
from kdcourse.training import History, Settings, fit, task_of


def mutual_loss(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Compute what M students minimise: the labels' cross-entropies, and how far they are from each other.

    Student k minimises ``cross_entropy(z_k, y) + 1 / (M - 1) * sum over l of T^2 * KL(softmax(z_l / T) ||
    softmax(z_k / T))``, the other students' predictions being targets, through which no gradient flows.

    Args:
        logits: z, floating point [M, B, C], M >= 2; gradients flow here.
        labels: int64 [B].
        temperature: T > 0; 1 in the paper.

    Returns:
        The sums over the students of both parts, scalars in nats.

    Raises:
        ArgumentError: fewer than two students, T out of range.

    Source: Zhang, Xiang, Hospedales, Lu 2018 (https://arxiv.org/abs/1706.00384), section 2, for any number of students
    as in its section on larger cohorts.
    """
    check_temperature(temperature)
    if logits.ndim != 3 or len(logits) < 2:
        raise ArgumentError(
            f"Mutual learning needs logits [students, batch, classes] of at least two; found {list(logits.shape)}."
        )
    students = len(logits)
    entropy = torch.stack([F.cross_entropy(each, labels) for each in logits]).sum()
    apart = [
        kd_divergence(logits[own], logits[other], temperature)
        for own in range(students)
        for other in range(students)
        if other != own
    ]
    return entropy, torch.stack(apart).sum() / (students - 1)


class _Peers(nn.Module):
    """Run several students, and return the mean of their logits; their own ones stay in ``latest``, [M, B, C]."""

    def __init__(self, students: Sequence[nn.Module]) -> None:
        super().__init__()
        self.students = nn.ModuleList(students)

    def forward(self, images: Tensor) -> Tensor:
        self.latest = torch.stack([student(images) for student in self.students])
        return self.latest.mean(0)


class _Mutual:
    """Minimise `mutual_loss` of the peers' latest logits."""

    def __init__(self, peers: _Peers, temperature: float) -> None:
        self._peers, self._temperature = peers, temperature
        self.name = f"mutual learning of {len(peers.students)}, temperature={temperature:g}"

    def __call__(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        own = self._peers.latest.to(logits.dtype)
        labels, mutual = mutual_loss(own, batch.labels, self._temperature)
        return {"loss": labels + mutual, "labels": labels, "mutual": mutual}


def mutual_learning(
    students: Sequence[nn.Module],
    data: Dataset,
    settings: Settings | None = None,
    *,
    temperature: float = 1.0,
    **changes: Any,
) -> History:
    """Train several students in place, at once: each learns from the labels and from the others' predictions.

    No teacher is needed. The history's accuracies are those of all students together, whose logits are averaged; its
    parts are those of `mutual_loss`. Departure: the paper updates the students in turn, so that each sees what the
    others have become in this step; here all take their step together.

    Args:
        students: fresh networks, at least two; their architectures may differ, their classes may not.
        data: images and labels.
        settings: how to train, see `kdcourse.training.Settings`; or pass each by name.
        temperature: T > 0 of the students' predictions for each other.
        changes: `Settings` by name, and further arguments of `kdcourse.training.fit`, such as ``checkpoint``.

    Returns:
        The history of their training.

    Raises:
        ArgumentError: fewer than two students, one object twice, data other than images with one label each, T out of
            range, and as `fit`.

    Source: Zhang, Xiang, Hospedales, Lu 2018 (https://arxiv.org/abs/1706.00384).
    """
    check_temperature(temperature)
    if len(students) < 2 or len({id(each) for each in students}) < len(students):
        raise ArgumentError(
            f"Mutual learning needs at least two students, each a network of its own; found {len(students)}, "
            f"{len({id(each) for each in students})} of them different. Build each with kdcourse.models.build."
        )
    if task_of(data).name != "labels":
        raise ArgumentError(
            f"Mutual learning is for images with one label each; {data.name!r} has {task_of(data).has}."
        )
    for student in students:
        student.train()
    peers = _Peers(students)
    return fit(peers, data, settings, objective=_Mutual(peers, temperature), **changes)
