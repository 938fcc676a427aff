"""Hold how a model of the course is trained: what teachers' and students' recipes have in common."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from kdcourse.training import Settings

# Every model of the course is trained like this where its recipe has no other value.
TRAINING = Settings(epochs=16, learning_rate=0.05, seed=0, optimizer="muon", weight_decay=5e-3)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hold a model's name (see `kdcourse.models.build`) and how to train it."""

    model: str
    training: Settings = TRAINING

    def changed(self, **changes: Any) -> Self:
        """Return this recipe with other values of its own fields, or of `kdcourse.training.Settings`.

        Raises:
            ArgumentError: an unknown name (the known ones are listed), a value out of range.
        """
        own = {each.name: changes.pop(each.name) for each in fields(self) if each.name in changes}
        recipe = replace(self, **own)
        return replace(recipe, training=Settings.of(recipe.training, changes))
