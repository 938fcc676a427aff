"""List the trials of the search for the students' settings, and the chosen ones: data, no code."""

from __future__ import annotations

from dataclasses import dataclass

from kdcourse.data import Augmentation
from kdcourse.distillation import methods
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


_CNN = StudentRecipe(model="pocket_17k").changed(epochs=8)
_MLP = StudentRecipe(model="mlp_25k").changed(
    epochs=20, optimizer="adamw", learning_rate=3e-3, weight_decay=1e-2
)


def _soft(recipe: StudentRecipe, temperature: float, alpha: float = 1.0) -> StudentRecipe:
    return recipe.changed(methods=methods.build("kd", temperature=temperature), alpha=alpha)


def _gentle(recipe: StudentRecipe) -> StudentRecipe:
    return recipe.changed(augmentation=GENTLE, views=VIEWS)


_SOFT = _soft(_CNN, 2.0)


TRIALS: tuple[Trial, ...] = (
    # The plain student gets its own best settings, or the comparison would favour distillation.
    Trial("plain", "augmentation", _CNN),
    Trial("T2-a1", "augmentation", _SOFT),
    Trial("T2-a1-gentle", "augmentation", _gentle(_SOFT)),
    Trial("plain-gentle", "augmentation", _gentle(_CNN)),
    *(Trial(f"T{t:g}-a1", "temperature", _soft(_CNN, t)) for t in (1.0, 4.0, 8.0)),
    Trial("plain-long", "schedule", _CNN.changed(epochs=24)),
    Trial("plain-long-gentle", "schedule", _gentle(_CNN).changed(epochs=24)),
    *(Trial(f"T2-a{alpha:g}", "alpha", _SOFT.changed(alpha=alpha)) for alpha in (0.9, 0.5)),
    Trial("T2-a0.9-long", "schedule", _SOFT.changed(alpha=0.9, epochs=24)),
    Trial("T2-a0.9-long-gentle", "schedule", _gentle(_SOFT).changed(alpha=0.9, epochs=24)),
    *(Trial(f"T{t:g}-a0.9", "temperature", _soft(_CNN, t, 0.9)) for t in (1.0, 4.0)),
    Trial("mlp-plain", "student", _MLP),
    Trial("mlp-plain-gentle", "student", _gentle(_MLP)),
    *(Trial(f"mlp-T{t:g}-a1", "student", _soft(_MLP, t)) for t in (1.0, 2.0, 4.0, 8.0)),
    *(Trial(f"mlp-T{t:g}-a1-gentle", "student", _soft(_gentle(_MLP), t)) for t in (1.0, 2.0, 4.0)),
)

# For each kind the best settings of the long schedule, cut to two thirds of its epochs.
RECORDED: dict[str, StudentRecipe] = {
    "plain": _gentle(_CNN).changed(epochs=16),
    "distilled": _gentle(_SOFT).changed(alpha=0.9, epochs=16),
}


_UNET = StudentRecipe(model="pocket_unet").changed(epochs=10, batch_size=8)


def _taught(temperature: float, alpha: float, *, channelwise: float = 0.0) -> StudentRecipe:
    both = methods.build(["pixelwise", "channelwise"], temperature=temperature)
    return _UNET.changed(methods=both, alpha=alpha, weights={"channelwise": channelwise})


SEGMENTATION_TRIALS: tuple[Trial, ...] = (
    # Here too the plain student gets its own best settings first.
    Trial("plain", "learning rate", _UNET),
    Trial("plain-lr0.1", "learning rate", _UNET.changed(learning_rate=0.1)),
    *(Trial(f"T{t:g}-a1", "temperature", _taught(t, 1.0)) for t in (1.0, 2.0, 4.0)),
    Trial("T1-a0.5", "alpha", _taught(1.0, 0.5)),
    Trial("T1-a1-channelwise3", "channels", _taught(1.0, 1.0, channelwise=3.0)),
)

# The few-masks case of `kdcourse study masks`: the teachers' answers, and no mask.
SEGMENTATION_RECORDED: dict[str, StudentRecipe] = {"plain": _UNET, "distilled": _taught(1.0, 1.0)}
