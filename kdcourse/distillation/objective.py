"""Combine the loss that a student minimises: the labels' term and the terms of one method or several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from kdcourse.data import IGNORE, Batch
from kdcourse.distillation.arguments import check_alpha
from kdcourse.distillation.features import Tap
from kdcourse.distillation.maps import scored, valid_pixels
from kdcourse.distillation.methods import Method, Outputs
from kdcourse.distillation.targets.source import Source
from kdcourse.errors import ArgumentError
from kdcourse.training import MASKS, Objective, cross_entropy, task_of
from kdcourse.training.labels import share_of_processes
from kdcourse.training.objective import LabelsLoss, describe


def weights_of(
    methods: Sequence[Method], alpha: float, weights: Mapping[str, float] | None
) -> dict[str, float]:
    """Return the weight of each method's terms by name: ``alpha`` unless ``weights`` says otherwise.

    Raises:
        ArgumentError: alpha outside [0, 1], a weight below 0, of a method that isn't there, or nothing left to learn.
    """
    check_alpha(alpha)
    given, known = dict(weights or {}), [method.name for method in methods]
    if unknown := sorted(given.keys() - set(known)):
        raise ArgumentError(
            f"There is no method {unknown[0]!r} to weigh here; weights go to {', '.join(known)}."
        )
    for name, weight in given.items():
        if not 0 <= weight < math.inf:
            raise ArgumentError(f"weights[{name!r}] must be a number of at least 0; found {weight}.")
    found = {name: given.get(name, alpha) for name in known}
    if alpha == 1 and not any(found.values()):
        raise ArgumentError("With alpha=1 and every weight 0 there is nothing to learn. Lower alpha.")
    return found


class Layers:
    """Hold which layers each method compares, and the student's as they were in its last forward pass.

    Args:
        pairs: names of the student's and of the teacher's layers, by method.
        tap: holds the student's.
    """

    def __init__(
        self, pairs: Mapping[str, tuple[Sequence[str], Sequence[str]]] | None = None, tap: Tap | None = None
    ) -> None:
        self._pairs, self._tap = dict(pairs or {}), tap

    def of_student(self, logits: Tensor) -> Outputs:
        """Return the student's outputs, in the type of its logits."""
        features = {} if self._tap is None else self._tap.features
        return Outputs(logits, {name: value.to(logits.dtype) for name, value in features.items()})

    def seen_by(self, method: str, student: Outputs, teacher: Outputs) -> tuple[Outputs, Outputs]:
        """Return what a method gets of both sides: the logits and its own layers, in order."""
        own, theirs = self._pairs.get(method, ((), ()))
        return (
            Outputs(student.logits, {name: student.features[name] for name in own}),
            Outputs(
                teacher.logits,
                {name: teacher.features[name].to(student.logits.dtype) for name in theirs},
                teacher.top,
            ),
        )

    def told(self, method: str) -> str:
        """Return the layers in words, for records."""
        own, theirs = self._pairs.get(method, ((), ()))
        return f" at {', '.join(own)} as {', '.join(theirs)}" if own else ""


class Distillation(nn.Module):
    """Minimise ``(1 - alpha) * cross_entropy + sum of weight * terms`` over one method or several.

    A term of weight 0 isn't computed, and where all are 0 the teacher isn't run. The named parts are the
    cross-entropy (``labels``) and each method's terms, unweighted. The methods' parameters are this module's; the
    teacher is no part of it.

    Args:
        methods: what is learned from the teacher.
        source: where its outputs come from; ``None`` will do where all weights are 0.
        alpha: the labels weigh ``1 - alpha``.
        weights: of each method's terms, by name, where it isn't ``alpha``.
        layers: what the methods compare besides logits.
        labels_loss: the labels' term, see `kdcourse.training.labels.labels_loss`.

    Raises:
        ArgumentError: see `weights_of`; when called, what the methods and the source raise.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        source: Source | None,
        *,
        alpha: float,
        weights: Mapping[str, float] | None = None,
        layers: Layers | None = None,
        labels_loss: LabelsLoss = cross_entropy,
    ) -> None:
        super().__init__()
        self.labels_loss = labels_loss
        self._layers = Layers() if layers is None else layers
        every = weights_of(methods, alpha, weights)
        used = [method for method in methods if every[method.name]]
        self.methods = nn.ModuleList(used)
        self.alpha, self.weights = alpha, {method.name: every[method.name] for method in used}
        self._source = source
        if any(method.rewrites for method in used) and (alpha < 1 or len(used) > 1):
            raise ArgumentError(
                f"{next(method.name for method in used if method.rewrites)} learns from the student's own samples, "
                f"which have no labels. Take it alone and with alpha=1; found alpha={alpha:g} and "
                f"{', '.join(self.weights)}."
            )
        taught = [f"{method!r}{self._layers.told(method.name)}{self._weight(method.name)}" for method in used]
        whose = f", teacher={source.teacher[:16]}{source.told}" if source is not None and used else ""
        self.name = f"{' + '.join(taught) or 'labels'}, alpha={alpha:g}{whose}"

    def rewrite(self, student: nn.Module, batch: Batch) -> Batch:
        """Return the batch that is trained on in place of ``batch``: itself, unless a method rewrites it."""
        for method in self.methods:
            assert isinstance(method, Method)
            batch = method.rewrite(student, batch)
        return batch

    def forward(self, logits: Tensor, batch: Batch) -> Tensor | dict[str, Tensor]:
        """Return the loss of the student's logits [B, C], [B, C, H, W] or [B, T, V], alone or with its parts."""
        if not self.weights:
            return (
                (1 - self.alpha) * self._labels(logits, batch) if self.alpha else self._labels(logits, batch)
            )
        assert self._source is not None
        student, teacher = self._layers.of_student(logits), self._source.outputs(batch)
        parts: dict[str, Tensor] = {}
        total: Tensor | None = None
        if self.alpha < 1:
            parts["labels"] = self._labels(logits, batch)
            total = (1 - self.alpha) * parts["labels"]
        for (name, weight), method in zip(self.weights.items(), self.methods, strict=True):
            terms: dict[str, Tensor] = method(*self._layers.seen_by(name, student, teacher), batch)
            share = share_of_processes(batch, logits.dtype) if method.per_label else 1.0
            for key, term in terms.items():
                term = term * share
                parts[name if len(terms) == 1 else f"{name}.{key}"] = term
                weighted = weight * term
                total = weighted if total is None else total + weighted
        assert total is not None
        return {"loss": total, **parts}

    def _weight(self, name: str) -> str:
        return "" if self.weights[name] == self.alpha else f" * {self.weights[name]:g}"

    def _labels(self, logits: Tensor, batch: Batch) -> Tensor:
        if task_of(batch) is MASKS:  # not even a NaN gets through from pixels that are left out
            logits = scored(logits, valid_pixels(batch.labels, IGNORE))
        return self.labels_loss(logits, batch)


@dataclass(frozen=True)
class TaughtBatch(Batch):
    """Hold a batch and the teacher's logits for it, [B, C] or [B, C, H, W], for an objective of one's own."""

    teacher_logits: Tensor


class OwnObjective(nn.Module):
    """Minimise an objective from outside, which finds the teacher's logits in ``batch.teacher_logits``.

    Args:
        objective: ``(logits, batch) -> scalar``, or with named parts; see `kdcourse.training.fit`.
        source: where the teacher's logits come from.
    """

    def __init__(self, objective: Objective, source: Source) -> None:
        super().__init__()
        self.objective, self._source = objective, source
        self.__name__ = f"{describe(objective)}, teacher={source.teacher[:16]}"

    def forward(self, logits: Tensor, batch: Batch) -> Tensor | dict[str, Tensor]:
        """Return what the objective returns for the student's logits."""
        teacher = self._source.outputs(batch).logits
        return self.objective(
            logits, TaughtBatch(batch.images, batch.labels, batch.index, batch.view, teacher)
        )
