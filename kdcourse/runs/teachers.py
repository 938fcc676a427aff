"""Train, store and load the course's teachers: five classifiers, three U-Nets; three GPTs are in `language`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdcourse import models, training
from kdcourse.data import AnyDataset, Augmentation
from kdcourse.errors import CheckpointError
from kdcourse.files import CHECKSUMS, read_checksums, sha256, shipped, write_atomically
from kdcourse.runs.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class TeacherRecipe(Recipe):
    """Hold one teacher's name and how it is trained."""

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """Return the recipe as plain JSON, in the form in which stored teachers keep it."""
        recorded = self.training.recorded
        return {
            "name": self.name,
            "model": self.model,
            **{name: recorded[name] for name in _RECORDED},
            **self.training.unusual,
        }


# The training settings that a stored teacher's notes hold, in their order.
_RECORDED = (
    "seed", "augmentation", "epochs", "batch_size", "learning_rate", "optimizer", "weight_decay",
)  # fmt: skip


def _recipe(name: str, model: str, seed: int, augmentation: Augmentation, **changes: Any) -> TeacherRecipe:
    return TeacherRecipe(name=name, model=model).changed(seed=seed, augmentation=augmentation, **changes)


# They differ in seed, width and augmentation: an ensemble gains from members whose errors differ (Hansen and
# Salamon 1990).
RECIPES: tuple[TeacherRecipe, ...] = (
    _recipe("teacher_1", "teacher", 1, Augmentation(), epochs=18),
    _recipe("teacher_2", "teacher_wide", 2, Augmentation()),
    _recipe("teacher_3", "teacher", 3, Augmentation(flip=False, erase=0.7)),
    _recipe("teacher_4", "teacher_wide", 4, Augmentation(shift=1)),
    _recipe("teacher_5", "teacher", 5, Augmentation(erase=0.3, erase_sides=(6, 14))),
)

# No augmentation: every epoch has fresh scenes.
SEGMENTATION_RECIPES: tuple[TeacherRecipe, ...] = tuple(
    TeacherRecipe(name=name, model=model).changed(seed=seed, augmentation=None, epochs=24, batch_size=32)
    for seed, (name, model) in enumerate((("unet_1", "unet"), ("unet_2", "unet_wide"), ("unet_3", "unet")), 1)
)


RUN = "kdcourse run --teachers train"
_LISTED = 10  # classes that an error names
# What `kdcourse run --augmentation` takes; "auto" tries the next two, see `choose_flips`.
AUGMENTATIONS = ("auto", "flips", "no-flips", "none")


def shipped_folder() -> Path:
    """Return the folder of the course's own teachers."""
    return shipped("teachers")


def augmented(recipe: TeacherRecipe, choice: str) -> TeacherRecipe:
    """Return the recipe with its own augmentation ("flips"), with that less mirroring ("no-flips"), or with "none"."""
    own = recipe.training.augmentation
    if own is None or choice == "flips":
        return recipe
    return recipe.changed(augmentation=None if choice == "none" else own.without_flips())


def choose_flips(
    recipe: TeacherRecipe,
    data: AnyDataset,
    folder: Path,
    metric: str,
    **changes: Any,
) -> dict[str, Any]:
    """Train one teacher with and without mirroring, and choose the better one on the validation split.

    Both are trained in full, so that what is compared is what will be used: how much an augmentation helps depends on
    the number of epochs. The better one (of equal ones that of the smaller loss) becomes the teacher of this recipe in
    ``folder``, so the choice costs the training of one more teacher. Both stay in ``folder/trials``: a later call
    trains nothing.

    Args:
        recipe: a teacher whose augmentation mirrors images.
        data, folder, changes: see `train_teacher`.
        metric: what is compared, ``accuracy`` or ``iou``.

    Returns:
        ``chosen``, "flips" or "no-flips", and for each of the two its ``validation`` metric, by name.
    """
    tried = {
        choice: train_teacher(augmented(recipe, choice), data, folder / "trials" / choice, **changes)
        for choice in ("flips", "no-flips")
    }
    last = {choice: notes["history"]["epochs"][-1] for choice, notes in tried.items()}
    chosen = max(
        last, key=lambda choice: (last[choice][f"validation_{metric}"], -last[choice]["validation_loss"])
    )
    name = f"{recipe.name}.safetensors"
    better = (folder / "trials" / chosen / name).read_bytes()
    if not (folder / name).exists() or (folder / name).read_bytes() != better:
        write_atomically(folder / name, better)
        write_checksums(folder)
    return {
        "chosen": chosen,
        "validation": {choice: record[f"validation_{metric}"] for choice, record in last.items()},
    }


def train_teacher(
    recipe: TeacherRecipe,
    data: AnyDataset,
    folder: Path,
    *,
    progress: bool = True,
    **changes: Any,
) -> dict[str, Any]:
    """Train one teacher, or resume its training, and store it in ``folder``.

    Writes ``NAME.safetensors`` (matrices in float16), whose notes hold settings and history, and updates the folder's
    checksums. A teacher that is there already, trained with this recipe on these images, is kept.

    Returns:
        The notes stored with the weights.
    """
    recipe = recipe.changed(**changes)
    settings = recipe.settings | {"data": data.train.digest[:16]}
    path = folder / f"{recipe.name}.safetensors"
    if path.exists():
        notes = training.load_weights(_build(recipe.model, data), path)
        if notes.get("settings") == settings:
            return notes
    torch.manual_seed(recipe.training.seed)
    model = _build(recipe.model, data)
    checkpoint = folder / f"{recipe.name}.checkpoint.safetensors"
    history = training.fit(
        model,
        data,
        recipe.training,
        checkpoint=checkpoint,
        checkpoint_every=100,
        progress=recipe.name if progress else False,
    )
    notes = {
        "model": recipe.model,
        "classes": list(data.classes),
        "settings": settings,
        "history": json.loads(history.to_json()),
    }
    training.save_weights(model, path, notes, dtype=torch.float16)
    write_checksums(folder)
    checkpoint.unlink(missing_ok=True)
    return notes


def load_teachers(
    folder: Path, data: AnyDataset, names: Sequence[str] | None = None, *, remedy: str = RUN
) -> list[tuple[str, nn.Module, dict[str, Any]]]:
    """Load stored teachers: name, model in eval mode, notes. Their logits are in the order of the classes of ``data``.

    ``remedy`` is the command that trains them, which errors name.

    Raises:
        CheckpointError: the list of checksums is damaged; a teacher is missing, damaged, changed since its checksum was
            written, or was trained for other classes than those of ``data``.
    """
    expected = read_checksums(folder)
    wanted = list(names) if names is not None else sorted(Path(file).stem for file in expected)
    if not wanted:
        raise CheckpointError(f"There are no trained teachers in {folder}. Train them with: {remedy}")
    found = []
    for name in wanted:
        path = folder / f"{name}.safetensors"
        check_digest(path, expected, remedy)
        notes = training.weights.read_tensors(path)[1]
        known = tuple(notes.get("classes", ()))
        if sorted(known) != sorted(data.classes):
            raise CheckpointError(
                f"{path} was trained for the classes {_some(known)}; {data.name} has {_some(data.classes)}. "
                f"Train teachers for them with: {remedy}"
            )
        model = _build(notes["model"], data)
        training.load_weights(model, path)
        if known != data.classes:
            model = models.SelectedClasses(model, known, data.classes)
        found.append((name, model.eval(), notes))
    return found


def _some(classes: Sequence[str]) -> str:
    more = len(classes) - _LISTED
    return ", ".join(classes[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def check_digest(path: Path, expected: dict[str, str], remedy: str) -> None:
    """Raise `CheckpointError` unless ``path`` has the SHA-256 that ``expected`` lists for its name."""
    found = sha256(path) if path.exists() else "no file"
    if found != expected.get(path.name):
        raise CheckpointError(
            f"{path} is not the file that was stored: SHA-256 {expected.get(path.name, 'not listed')} expected, "
            f"{found} found. Restore it (git checkout -- {path.name} in its folder), or train it again with: "
            f"{remedy}"
        )


def write_checksums(folder: Path) -> None:
    """Write ``SHA256SUMS`` (the format of ``sha256sum``) for every finished model of ``folder``."""
    files = sorted(p for p in folder.glob("*.safetensors") if not p.name.endswith(".checkpoint.safetensors"))
    write_atomically(folder / CHECKSUMS, "".join(f"{sha256(p)}  {p.name}\n" for p in files))


def _build(name: str, data: AnyDataset) -> nn.Module:
    return models.build(name, data=data)
