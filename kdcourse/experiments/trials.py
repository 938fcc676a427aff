"""What was tried to find the students' settings, and what was chosen: data, no code."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kdcourse.data import Augmentation
from kdcourse.experiments.students import StudentRecipe

SEEDS = (0, 1, 2, 3, 4)

GENTLE = Augmentation(shift=1, flip=True, erase=0.0)
USUAL = Augmentation(shift=2, flip=True, erase=0.0)
VIEWS = 4


@dataclass(frozen=True)
class Trial:
    """One try of the search: its name, the question it helps to answer, the recipe, the seed."""

    name: str
    why: str
    recipe: StudentRecipe
    seed: int = 0


_CNN = StudentRecipe("pocket_17k", epochs=8)
_SOFT = replace(_CNN, temperature=2.0, alpha=1.0)
_MLP = StudentRecipe("mlp_25k", epochs=20, optimizer="adamw", learning_rate=3e-3, weight_decay=1e-2)
_AUGMENTATIONS = {"gentle": GENTLE, "usual": USUAL}


def _augmented(recipe: StudentRecipe, name: str) -> StudentRecipe:
    return replace(recipe, augmentation=_AUGMENTATIONS[name], views=VIEWS)


TRIALS: tuple[Trial, ...] = (
    # The plain student gets its own best settings, or the comparison would flatter distillation.
    Trial("plain", "augmentation", _CNN),
    Trial("T2-a1", "augmentation", _SOFT),
    Trial("T2-a1-gentle", "augmentation", _augmented(_SOFT, "gentle")),
    Trial("plain-gentle", "augmentation", _augmented(_CNN, "gentle")),
    *(Trial(f"T{t:g}-a1", "temperature", replace(_SOFT, temperature=t)) for t in (1.0, 4.0, 8.0)),
    Trial("plain-long", "schedule", replace(_CNN, epochs=24)),
    Trial("plain-long-gentle", "schedule", replace(_augmented(_CNN, "gentle"), epochs=24)),
    *(Trial(f"T2-a{alpha:g}", "alpha", replace(_SOFT, alpha=alpha)) for alpha in (0.9, 0.5)),
    Trial("T2-a0.9-long", "schedule", replace(_SOFT, alpha=0.9, epochs=24)),
    Trial("T2-a0.9-long-gentle", "schedule", replace(_augmented(_SOFT, "gentle"), alpha=0.9, epochs=24)),
    *(Trial(f"T{t:g}-a0.9", "temperature", replace(_SOFT, temperature=t, alpha=0.9)) for t in (1.0, 4.0)),
    Trial("mlp-plain", "student", _MLP),
    Trial("mlp-plain-gentle", "student", _augmented(_MLP, "gentle")),
    *(
        Trial(f"mlp-T{t:g}-a1", "student", replace(_MLP, temperature=t, alpha=1.0))
        for t in (1.0, 2.0, 4.0, 8.0)
    ),
    *(
        Trial(
            f"mlp-T{t:g}-a1-gentle", "student", replace(_augmented(_MLP, "gentle"), temperature=t, alpha=1.0)
        )
        for t in (1.0, 2.0, 4.0)
    ),
    *(
        Trial(f"plain-rate{rate:g}", "learning rate", replace(_CNN, learning_rate=rate))
        for rate in (0.025, 0.1)
    ),
    Trial("T2-a1-rate0.1", "learning rate", replace(_SOFT, learning_rate=0.1)),
    Trial("plain-sgd", "optimizer", replace(_CNN, optimizer="sgd", learning_rate=0.2, weight_decay=5e-4)),
    Trial("plain-usual", "augmentation", _augmented(_CNN, "usual")),
    *(
        Trial(f"{name}-{kind}", "student", replace(recipe, model=name))
        for name in ("pocket_6k", "depthwise_3k")
        for kind, recipe in (("plain", _CNN), ("T2-a1", _SOFT))
    ),
)

# For either kind the settings that were best of the long schedule, cut to two thirds of it.
RECORDED: dict[str, StudentRecipe] = {
    "plain": replace(_augmented(_CNN, "gentle"), epochs=16),
    "distilled": replace(_augmented(_SOFT, "gentle"), alpha=0.9, epochs=16),
}
