"""Training settings: one object, checked once, in place of the same parameters on every function."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from kdcourse.data import Augmentation
from kdcourse.data.batches import check_seed
from kdcourse.errors import ArgumentError
from kdcourse.training.optimizers import check_optimizer, check_warm_up
from kdcourse.training.precision import check_precision


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Hold what a training run depends on besides its model, data and objective.

    Args:
        epochs: passes over the training split.
        batch_size: images per step.
        learning_rate: peak of the one-cycle schedule (`one_cycle`).
        seed: of the order of the images, of their views and of dropout.
        optimizer, weight_decay: see `make_optimizer`.
        warm_up: share of all steps over which the learning rate rises, 0 to below 1.
        augmentation: ``None`` leaves images as they are.
        views: number of different augmented views; ``None`` for a new one every epoch.
        view_seed: seed of the views where it differs from ``seed``.
        precision: ``float32``, ``bfloat16``, or ``auto`` for whichever is faster for this model here; a run that
            resumes from a checkpoint keeps the one that it began with. ``float64``, for exact comparisons, leaves the
            model in float64.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``. Under ``accelerate launch`` every process takes its share of
            each batch and gradients are averaged.
        validate: ``False`` skips the pass over the validation split after every epoch but the last.
        label_smoothing, class_weights: of the labels' cross-entropy in training, see `kdcourse.training.CrossEntropy`;
            of a distilled student they change the labels' term. ``class_weights`` may be ``"balanced"``, so that
            rare classes count as much as common ones (`kdcourse.training.balanced_weights`). The validation loss is
            the plain cross-entropy all the same.
        keep: which epoch's weights the network holds in the end: ``last``, or ``best`` for the one with the highest
            validation metric (accuracy, for masks mean IoU, for several labels per image mean F1), the first of
            equals. A figure that chose an epoch is too good: judge such a network on other images.

    Raises:
        ArgumentError: a value out of range.
    """

    epochs: int
    batch_size: int = 256
    learning_rate: float
    seed: int
    optimizer: str = "sgd"
    weight_decay: float = 5e-4
    warm_up: float = 0.2
    augmentation: Augmentation | None = None
    views: int | None = None
    view_seed: int | None = None
    precision: str = "auto"
    device: str = "auto"
    validate: bool = True
    label_smoothing: float = 0.0
    class_weights: Sequence[float] | str | None = None
    keep: str = "last"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ArgumentError(f"{name} must be at least 1; found {value!r}.")
        check_optimizer(self.optimizer, self.learning_rate, self.weight_decay)
        check_warm_up(self.warm_up)
        check_precision(self.precision, auto=True)
        check_seed(self.seed)
        if self.view_seed is not None:
            check_seed(self.view_seed, "view_seed")
        if self.views is not None and self.views < 1:
            raise ArgumentError(
                f"views must be at least 1, or None for a new view every epoch; found {self.views}."
            )
        if self.keep not in ("last", "best"):
            raise ArgumentError(
                f"keep is which epoch's weights to keep, 'last' or 'best'; found {self.keep!r}."
            )
        if self.keep == "best" and not self.validate:
            raise ArgumentError(
                "keep='best' chooses the epoch by its validation metric, which validate=False leaves out. Take "
                "keep='last', or leave validate=False out."
            )
        check_label_smoothing(self.label_smoothing)
        if self.class_weights is not None and self.class_weights != "balanced":
            object.__setattr__(self, "class_weights", check_class_weights(self.class_weights))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings, in order."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def of(cls, settings: Settings | None, changes: Mapping[str, Any]) -> Settings:
        """Return ``settings`` with ``changes``; without ``settings``, new ones.

        Raises:
            ArgumentError: an unknown name (the known ones are listed), a setting that is needed and missing, a value
                out of range.
        """
        check_names(changes, cls.names())
        if settings is not None:
            return replace(settings, **changes)
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        if missing := sorted(needed - changes.keys()):
            raise ArgumentError(
                f"Training needs values for {', '.join(sorted(needed))}; {', '.join(missing)} missing. Pass them by "
                "name, or settings=Settings(...)."
            )
        return cls(**changes)

    @property
    def recorded(self) -> dict[str, Any]:
        """Return what a history keeps of them, as plain JSON: all but device, precision and validation."""
        found = {
            name: getattr(self, name)
            for name in self.names()
            if name not in ("device", "precision", "validate", *_LATER)
        }
        return found | {"augmentation": self.augmentation.key if self.augmentation else None} | self.unusual

    @property
    def unusual(self) -> dict[str, Any]:
        """Return, as plain JSON, the settings that records name only where they differ from their defaults."""
        named = (*_LATER, "warm_up")
        defaults = {f.name: f.default for f in fields(self) if f.name in named}
        found = {name: getattr(self, name) for name in named}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
            if value != defaults[name]
        }


# Records from before there were these settings stay as they are, and so do the results found by them.
_LATER = ("label_smoothing", "class_weights", "keep")


def check_label_smoothing(label_smoothing: float) -> None:
    """Raise ArgumentError unless ``label_smoothing`` lies in [0, 1)."""
    if not 0 <= label_smoothing < 1:
        raise ArgumentError(
            f"label_smoothing must lie in [0, 1); found {label_smoothing}. Take 0 for none, 0.1 is usual."
        )


def check_class_weights(weights: object) -> tuple[float, ...]:
    """Return class weights as a tuple of numbers.

    Raises:
        ArgumentError: anything but positive finite numbers.
    """
    try:
        found = None if isinstance(weights, str) else tuple(float(w) for w in weights)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        found = None
    if not found or not all(0 < weight < math.inf for weight in found):
        raise ArgumentError(
            f"class_weights must be one positive number per class, 'balanced' or None; found {weights!r}."
        )
    return found


def check_names(found: Mapping[str, Any], *known: tuple[str, ...]) -> None:
    """Raise ArgumentError, listing the known names, where ``found`` holds another one."""
    every = [name for names in known for name in names]
    unknown = sorted(found.keys() - set(every))
    if unknown:
        raise ArgumentError(
            f"There is no setting {', '.join(map(repr, unknown))}; known are {', '.join(every)}."
        )
