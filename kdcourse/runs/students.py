"""Students trained side by side, plain and distilled: one recipe, one seed, one stored result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdcourse import models, training
from kdcourse.data import Augmentation, Dataset, SegmentationDataset
from kdcourse.distillation import DenseTargets, SoftTargets, distil
from kdcourse.errors import CheckpointError


@dataclass(frozen=True)
class StudentRecipe:
    """Everything that a student's training depends on but its seed and its teacher.

    ``alpha=0`` is the plain student: the labels alone. The distilled one differs from it in
    ``temperature`` and ``alpha`` (of masks, perhaps ``channelwise``, the weight of `channelwise_loss`) and in
    nothing else, unless a search on validation says so.
    """

    model: str
    epochs: int
    temperature: float = 1.0
    alpha: float = 0.0
    augmentation: Augmentation | None = None
    views: int | None = None
    batch_size: int = 256
    learning_rate: float = 0.05
    optimizer: str = "muon"
    weight_decay: float = 5e-3
    channelwise: float = 0.0

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe as plain JSON; a channel-wise term that isn't there is left out."""
        found = asdict(self) | {"augmentation": self.augmentation.key if self.augmentation else None}
        return found if self.channelwise else {k: v for k, v in found.items() if k != "channelwise"}

    @property
    def asks(self) -> bool:
        """Whether a teacher has a part in it."""
        return self.alpha > 0 or self.channelwise > 0

    def plain(self) -> StudentRecipe:
        """The same training on the labels alone."""
        return replace(self, temperature=1.0, alpha=0.0, channelwise=0.0)


# What `kdcourse run` trains while you watch: the recorded search's choice, cut to fit in minutes.
LIVE = StudentRecipe("pocket_17k", epochs=2, temperature=2.0, alpha=0.9)


def train_student(
    recipe: StudentRecipe,
    data: Dataset | SegmentationDataset,
    targets: SoftTargets | DenseTargets | None,
    seed: int,
    *,
    path: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: bool | str = True,
    notes: dict[str, Any] | None = None,
    after_step: Callable[[int, int], None] | None = None,
) -> tuple[nn.Module, training.History]:
    """Train one student, or load it where ``path`` holds one of this recipe, seed, data and teacher.

    Plain and distilled students of one seed start from the same weights and meet the same pictures
    in the same order.

    Args:
        recipe: how to train.
        data: pictures and labels, or masks.
        targets: the teacher's answers; may be ``None`` for a plain student.
        seed: of initial weights and of the order of the pictures.
        path: where the finished student is stored, its checkpoint beside it while it trains.
        device, precision, progress, after_step: see `kdcourse.training.fit`.
        notes: more to keep beside the weights.

    Returns:
        The student in eval mode, and its history.
    """
    identity = {
        "recipe": recipe.settings,
        "seed": seed,
        "data": data.train.digest[:16],
        "teacher": targets.teacher[:16] if targets is not None and recipe.asks else None,
        "classes": list(data.classes),
    }
    if path is not None and path.exists():
        student = _build(recipe, data, seed)
        try:
            kept = training.load_weights(student, path)
        except CheckpointError:
            kept = {}  # damaged, or of another architecture: trained anew below
        if kept.get("identity") == identity:
            return student.eval(), training.History.from_json(json.dumps(kept["history"]))
    student = _build(recipe, data, seed)
    checkpoint = None
    if path is not None:
        # Named after all that the run depends on: another run never meets this one's checkpoint.
        mark = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        checkpoint = path.with_name(f"{path.stem}-{mark}.checkpoint.safetensors")
    shared: dict[str, Any] = {
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "seed": seed,
        "optimizer": recipe.optimizer,
        "weight_decay": recipe.weight_decay,
        "augmentation": recipe.augmentation,
        "views": recipe.views,
        "view_seed": 0,
        "device": device,
        "precision": precision,
        "progress": progress,
        "checkpoint": checkpoint,
        "after_step": after_step,
    }
    if recipe.asks and targets is not None:
        history = distil(
            student,
            targets,
            data,
            **_method(recipe),
            **shared,
        )
    else:
        history = training.fit(student, data, **shared)
    student.cpu()
    if path is not None:
        kept = {"identity": identity, "history": json.loads(history.to_json())} | (notes or {})
        training.save_weights(student, path, kept)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return student, history


def _method(recipe: StudentRecipe) -> dict[str, Any]:
    """Return the recipe's method, as `distil` takes it."""
    found: dict[str, Any] = {"temperature": recipe.temperature, "alpha": recipe.alpha}
    if recipe.channelwise:
        method = ["pixelwise", "channelwise"] if recipe.alpha else "channelwise"
        found |= {"method": method, "weights": {"channelwise": recipe.channelwise}}
    return found


def _build(recipe: StudentRecipe, data: Dataset | SegmentationDataset, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return models.build(
        recipe.model,
        num_classes=len(data.classes),
        in_channels=data.image_shape[0],
        size=data.image_shape[1:],
    )
