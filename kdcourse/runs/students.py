"""Train students, plain and distilled: one recipe, one seed, one stored result."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdcourse import models, training
from kdcourse.data import AnyDataset, View
from kdcourse.distillation import Method, SoftTargets, distil, methods, teacher_digest, views_shown
from kdcourse.errors import CheckpointError
from kdcourse.runs.recipe import TRAINING, Recipe

# The training settings that a stored recipe names, in the order of the recorded students' files.
_RECORDED = ("augmentation", "views", "batch_size", "learning_rate", "optimizer", "weight_decay")


# Students of every seed see the same augmented views, so that soft targets are computed once for all of them.
_SHARED_VIEWS = replace(TRAINING, view_seed=0)


@dataclass(frozen=True, kw_only=True)
class StudentRecipe(Recipe):
    """Hold everything that a student's training depends on except its seed and its teacher.

    Args:
        model, training: see `kdcourse.runs.recipe.Recipe`; each run replaces the seed.
        methods: how to learn from the teacher, see `kdcourse.distillation.methods.build`; none for a plain student,
            which learns from the labels alone.
        alpha: weight of the methods' terms, 0 to 1; ``1 - alpha`` weighs the labels.
        weights: of a method's terms by its name, where it isn't ``alpha``.
        layers: see `kdcourse.distillation.distil`.
    """

    training: training.Settings = _SHARED_VIEWS
    methods: tuple[Method, ...] = ()
    alpha: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, str] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Return the recipe as plain JSON, in the form in which recorded students store it.

        Temperature, alpha and weights tell whether a student learns by ``kd``, ``pixelwise`` or ``channelwise``; other
        methods are named.
        """
        recorded = self.training.recorded
        weights = {name: weight for name, weight in self.weights.items() if weight}
        chosen: dict[str, Any] = {}
        for method in self._used:
            for name in method.settings():
                value = getattr(method, name)
                chosen[name if chosen.get(name, value) == value else f"{method.name}.{name}"] = value
        found = {
            "model": self.model,
            "epochs": self.training.epochs,
            "temperature": chosen.pop("temperature", 1.0),
            "alpha": self.alpha,
            **{name: recorded[name] for name in _RECORDED},
            **weights,
            **chosen,
            **self.training.unusual,
        }
        names = [method.name for method in self._used]
        usual = names[:1] if self.alpha and names[:1] in (["kd"], ["pixelwise"]) else []
        if names != [*usual, *(name for name in weights if name not in usual)]:
            found["method"] = names
        return found | ({"layers": dict(self.layers)} if self.layers else {})

    @property
    def _used(self) -> list[Method]:
        """Return the methods whose terms have a weight above 0."""
        return [method for method in self.methods if self.weights.get(method.name, self.alpha)]

    @property
    def views(self) -> tuple[View, ...]:
        """Return the augmented views that training shows, for which soft targets are needed."""
        how = self.training
        return views_shown(how.augmentation, how.views, how.view_seed or 0, how.epochs)

    @property
    def distilled(self) -> bool:
        """Return whether the student learns from a teacher."""
        return bool(self._used)

    @property
    def compared(self) -> list[str]:
        """Return the kinds of layers that methods compare, for which stored soft targets don't suffice."""
        return [method.layers for method in self._used if method.layers is not None]

    @property
    def learns(self) -> str:
        """Return what the student learns from, in words, such as ``kd(temperature=2), alpha = 0.9``."""
        taught = [
            f"{method!r}" + (f" * {self.weights[method.name]:g}" if method.name in self.weights else "")
            for method in self._used
        ]
        return f"{' + '.join(taught) or 'labels'}, alpha = {self.alpha:g}"

    def plain(self) -> StudentRecipe:
        """Return the same training on the labels alone."""
        return replace(self, methods=(), alpha=0.0, weights={}, layers=None)


# What `kdcourse run` trains while you watch: the recorded search's choice, with fewer epochs, in minutes.
LIVE = StudentRecipe(model="pocket_17k", methods=methods.build("kd", temperature=2.0), alpha=0.9).changed(
    epochs=2
)


def train_student(
    recipe: StudentRecipe,
    data: AnyDataset,
    targets: SoftTargets | nn.Module | None,
    *,
    path: Path | None = None,
    notes: dict[str, Any] | None = None,
    progress: bool | str = True,
    after_step: Callable[[int, int, float], None] | None = None,
    student: nn.Module | None = None,
    **changes: Any,
) -> tuple[nn.Module, training.History]:
    """Train one student, or load it where ``path`` holds one of this recipe, seed, data and teacher.

    Plain and distilled students of one seed start from the same weights and see the same images in the same order.

    Args:
        recipe: how to train.
        data: images and labels, or masks, or a text.
        targets: the teacher's soft targets, or for methods that compare features the teacher itself; ``None`` will do
            for a plain student.
        path: file of the finished student; its checkpoint is stored beside it during training.
        notes: further content of the file's notes.
        progress, after_step: see `kdcourse.training.fit`.
        student: what `build_student` returned for this recipe and seed. It draws from PyTorch's one random generator,
            so students that are trained by several threads are built before.
        changes: of the recipe, such as ``seed``, ``device`` or ``precision``.

    Returns:
        The student in eval mode, and its history.
    """
    recipe = recipe.changed(**changes)
    identity = {
        "recipe": recipe.settings,
        "seed": recipe.training.seed,
        "data": data.train.digest[:16],
        "teacher": _digest(targets)[:16] if targets is not None and recipe.distilled else None,
        "classes": list(data.classes),
    }
    student = build_student(recipe, data) if student is None else student
    if path is not None and path.exists():
        stored = copy.deepcopy(student)
        try:
            kept = training.load_weights(stored, path)
        except CheckpointError:
            kept = {}  # damaged, or of another architecture: trained again below
        if kept.get("identity") == identity:
            return stored.eval(), training.History.from_json(json.dumps(kept["history"]))
    checkpoint = None
    if path is not None:
        # Named after all that the run depends on, so that no other run finds this checkpoint.
        mark = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        checkpoint = path.with_name(f"{path.stem}-{mark}.checkpoint.safetensors")
    if recipe.distilled and targets is not None:
        history = distil(
            student, targets, data, recipe.training, method=copy.deepcopy(recipe.methods), alpha=recipe.alpha,
            weights=recipe.weights, layers=recipe.layers, checkpoint=checkpoint, progress=progress,
            after_step=after_step,
        )  # fmt: skip
    else:
        history = training.fit(
            student, data, recipe.training, checkpoint=checkpoint, progress=progress, after_step=after_step
        )
    student.cpu()
    if path is not None:
        kept = {"identity": identity, "history": json.loads(history.to_json())} | (notes or {})
        training.save_weights(student, path, kept)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return student, history


def _digest(targets: SoftTargets | nn.Module) -> str:
    if isinstance(targets, nn.Module):
        return teacher_digest(targets)
    return targets.teacher if targets.top_k is None else f"{targets.teacher[:8]}-top{targets.top_k}"


def build_student(recipe: StudentRecipe, data: AnyDataset) -> nn.Module:
    """Return an untrained student for these data, its weights drawn with the recipe's seed."""
    torch.manual_seed(recipe.training.seed)
    return models.build(recipe.model, data=data)
