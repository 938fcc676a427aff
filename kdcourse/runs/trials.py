"""List the trials of the search for the students' settings, and the chosen ones: data, no code."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kdcourse.data import Augmentation
from kdcourse.runs.students import StudentRecipe

SEEDS = (0, 1, 2, 3, 4)

GENTLE = Augmentation(shift=1, flip=True, erase=0.0)
VIEWS = 4


@dataclass(frozen=True)
class Trial:
    """Hold one trial of the search: its name, the question that it helps to answer, its recipe and seed."""

    name: str
    why: str
    recipe: StudentRecipe
    seed: int = 0


_CNN = StudentRecipe("pocket_17k", epochs=8)
_SOFT = replace(_CNN, temperature=2.0, alpha=1.0)
_MLP = StudentRecipe("mlp_25k", epochs=20, optimizer="adamw", learning_rate=3e-3, weight_decay=1e-2)


def _gentle(recipe: StudentRecipe) -> StudentRecipe:
    return replace(recipe, augmentation=GENTLE, views=VIEWS)


TRIALS: tuple[Trial, ...] = (
    # The plain student gets its own best settings, or the comparison would favour distillation.
    Trial("plain", "augmentation", _CNN),
    Trial("T2-a1", "augmentation", _SOFT),
    Trial("T2-a1-gentle", "augmentation", _gentle(_SOFT)),
    Trial("plain-gentle", "augmentation", _gentle(_CNN)),
    *(Trial(f"T{t:g}-a1", "temperature", replace(_SOFT, temperature=t)) for t in (1.0, 4.0, 8.0)),
    Trial("plain-long", "schedule", replace(_CNN, epochs=24)),
    Trial("plain-long-gentle", "schedule", replace(_gentle(_CNN), epochs=24)),
    *(Trial(f"T2-a{alpha:g}", "alpha", replace(_SOFT, alpha=alpha)) for alpha in (0.9, 0.5)),
    Trial("T2-a0.9-long", "schedule", replace(_SOFT, alpha=0.9, epochs=24)),
    Trial("T2-a0.9-long-gentle", "schedule", replace(_gentle(_SOFT), alpha=0.9, epochs=24)),
    *(Trial(f"T{t:g}-a0.9", "temperature", replace(_SOFT, temperature=t, alpha=0.9)) for t in (1.0, 4.0)),
    Trial("mlp-plain", "student", _MLP),
    Trial("mlp-plain-gentle", "student", _gentle(_MLP)),
    *(
        Trial(f"mlp-T{t:g}-a1", "student", replace(_MLP, temperature=t, alpha=1.0))
        for t in (1.0, 2.0, 4.0, 8.0)
    ),
    *(
        Trial(f"mlp-T{t:g}-a1-gentle", "student", replace(_gentle(_MLP), temperature=t, alpha=1.0))
        for t in (1.0, 2.0, 4.0)
    ),
)

# For each kind the best settings of the long schedule, cut to two thirds of its epochs.
RECORDED: dict[str, StudentRecipe] = {
    "plain": replace(_gentle(_CNN), epochs=16),
    "distilled": replace(_gentle(_SOFT), alpha=0.9, epochs=16),
}


_UNET = StudentRecipe("pocket_unet", epochs=10, batch_size=8)
_SOFT_UNET = replace(_UNET, temperature=1.0, alpha=0.9)
_CHANNELS = replace(_UNET, temperature=4.0, channelwise=3.0)
_FLIP = Augmentation(shift=0, flip=True, erase=0.0)

SEGMENTATION_TRIALS: tuple[Trial, ...] = (
    # Here too the plain student gets its own best settings first.
    Trial("plain", "learning rate", _UNET),
    Trial("plain-lr0.1", "learning rate", replace(_UNET, learning_rate=0.1)),
    Trial(
        "plain-adamw", "optimizer", replace(_UNET, optimizer="adamw", learning_rate=1e-2, weight_decay=1e-2)
    ),
    *(Trial(f"T{t:g}-a0.9", "temperature", replace(_SOFT_UNET, temperature=t)) for t in (1.0, 2.0, 4.0)),
    Trial("T1-a0.5", "alpha", replace(_SOFT_UNET, alpha=0.5)),
    *(
        Trial(f"T4-channelwise{weight:g}", "channels", replace(_CHANNELS, channelwise=weight))
        for weight in (3.0, 10.0)
    ),
    Trial("T1-a0.9-channelwise3", "channels", replace(_SOFT_UNET, channelwise=3.0)),
    Trial("plain-flip", "flips", replace(_UNET, augmentation=_FLIP, views=2)),
    Trial(
        "T4-channelwise10-flip", "flips", replace(_CHANNELS, channelwise=10.0, augmentation=_FLIP, views=2)
    ),
)

# Each kind's best on validation without flips, which help both kinds equally and need a second forward pass of the
# teachers. The distilled trials differ no more than seeds do.
SEGMENTATION_RECORDED: dict[str, StudentRecipe] = {
    "plain": _UNET,
    "distilled": replace(_CHANNELS, channelwise=10.0),
}
