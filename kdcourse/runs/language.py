"""Describe the course's language models: their text, and the teachers that come with the course."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from kdcourse.data import TextDataset
from kdcourse.files import shipped
from kdcourse.runs import teachers

FOLDER = "language-teachers"  # of the course's own, see `kdcourse.files.shipped`
COMMAND = "kdcourse teachers --task language"

# They differ in their seeds alone: first weights and the order of the rows.
RECIPES: tuple[teachers.TeacherRecipe, ...] = tuple(
    teachers.TeacherRecipe(name=f"gpt_{seed}", model="gpt").changed(
        seed=seed,
        epochs=8,
        batch_size=32,
        learning_rate=2e-3,
        optimizer="adamw",
        weight_decay=0.1,
        warm_up=0.05,
        precision="bfloat16",  # two thirds of float32's time where a processor has it
    )
    for seed in (1, 2, 3)
)


def train_teachers(text: TextDataset, folder: Path, *, say: Callable[[str], None], **changes: Any) -> None:
    """Train the teachers that ``folder`` lacks, resuming where an earlier call stopped; half an hour each on one core.

    Args:
        text: `kdcourse.data.austen`.
        folder: gets ``NAME.safetensors`` and ``SHA256SUMS``.
        say: called with a line of progress.
        changes: of every recipe, such as ``precision``.
    """
    for recipe in RECIPES:
        notes = teachers.train_teacher(recipe, text, folder, **changes)
        loss = notes["history"]["epochs"][-1]["validation_loss"]
        say(f"{recipe.name}: validation loss {loss:.3f} nats per token")


def load_teachers(text: TextDataset) -> list[nn.Module]:
    """Return the course's own teachers in eval mode.

    Raises:
        CheckpointError: one is missing, damaged, or was trained for another vocabulary.
    """
    names = [recipe.name for recipe in RECIPES]
    return [model for _, model, _ in teachers.load_teachers(shipped(FOLDER), text, names, remedy=COMMAND)]
