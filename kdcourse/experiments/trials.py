"""What was tried to find a student's settings, and what was chosen: data, no code."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kdcourse.data import Augmentation
from kdcourse.experiments.students import StudentRecipe

SEEDS = (0, 1, 2, 3, 4)

GENTLE = Augmentation(shift=1, flip=True, erase=0.0)
USUAL = Augmentation(shift=2, flip=True, erase=0.0)
HARD = Augmentation(shift=2, flip=True, erase=0.5)


@dataclass(frozen=True)
class Trial:
    """One try of the search: a name, the question it answers, the recipe, the seed."""

    name: str
    why: str
    recipe: StudentRecipe
    seed: int = 0


_PLAIN = StudentRecipe("pocket_17k", epochs=8)
_DISTILLED = replace(_PLAIN, temperature=2.0, alpha=1.0)

TRIALS: tuple[Trial, ...] = (
    Trial("plain-no-augmentation", "plain: augmentation", _PLAIN),
    Trial("plain-gentle", "plain: augmentation", replace(_PLAIN, augmentation=GENTLE, views=8)),
    Trial("T2-no-augmentation", "distilled: augmentation", _DISTILLED),
    Trial("T2-gentle", "distilled: augmentation", replace(_DISTILLED, augmentation=GENTLE, views=8)),
)

RECORDED: dict[str, StudentRecipe] = {
    "plain": replace(_PLAIN, epochs=40, augmentation=GENTLE, views=8),
    "distilled": replace(_DISTILLED, epochs=40, augmentation=GENTLE, views=8),
}
