"""Choose and build the methods of a training, and tell their settings from those of the training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from kdcourse.data import AnyDataset
from kdcourse.distillation import methods
from kdcourse.distillation.methods import Method
from kdcourse.errors import ArgumentError
from kdcourse.training import Settings, fit, task_of

# What `fit` takes besides settings: how a run is stored and watched.
FIT_ARGUMENTS = tuple(
    name
    for name, parameter in inspect.signature(fit).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name != "objective"
)
# What else `distil` takes by name: no setting of a method can have such a name, since it would never be passed on.
_TAKEN = {
    "method", "objective", "alpha", "weights", "layers", "layers_of", "teacher_precision", "cache", *FIT_ARGUMENTS,
    *Settings.names(),
}  # fmt: skip
USUAL = {
    "labels": "kd",
    "masks": "pixelwise",
    "multilabel": "mld",
    "tokens": "token_kl",
}  # the method of each task where none is named


def chosen_methods(
    method: str | Method | Sequence[str | Method] | None,
    settings: Mapping[str, Any],
    data: AnyDataset,
) -> tuple[Method, ...]:
    """Build methods, those of the task where none is named, and make sure that they are for this task.

    Raises:
        ArgumentError: an unknown method or setting, or a method for another task (the right ones are listed); a method
            with a setting that has the name of an argument of `distil`.
    """
    task = task_of(data)
    if method is None:
        method = USUAL[task.name]
    try:
        chosen = methods.build(method, **settings)
    except ArgumentError as error:
        if "no setting" not in str(error):
            raise
        raise ArgumentError(
            f"{error} Training takes {', '.join(Settings.names())}; `fit` besides {', '.join(FIT_ARGUMENTS)}."
        ) from None
    for one in chosen:
        if taken := sorted(one.settings().keys() & _TAKEN):
            raise ArgumentError(
                f"{one.name} has a setting {taken[0]!r}, and so does training itself. Name it otherwise in the method."
            )
        if task.name not in one.tasks:
            raise ArgumentError(
                f"{one.name} is for {' or '.join(one.tasks)}, and {data.name!r} has {task.has}. Methods for it: "
                f"{', '.join(methods.names(task.name))}."
            )
    return chosen


def check_own(found: Mapping[str, Any]) -> None:
    """Raise ArgumentError where a method or its settings come with an objective of one's own."""
    if given := [name for name, value in found.items() if value is not None]:
        raise ArgumentError(
            f"An objective of your own is minimised as it is; found {', '.join(given)} beside it. Leave them out, or "
            f"take a method in its place. Training takes {', '.join(Settings.names())}; `fit` besides "
            f"{', '.join(FIT_ARGUMENTS)}."
        )


def check_top_k(used: Sequence[Method], objective: object) -> None:
    """Raise ArgumentError where a method, or an objective of one's own, needs more than a teacher's top k logits."""
    able = [name for name in methods.names() if methods.describe(name).top_k]
    lacking = [one.name for one in used if not one.top_k] or (
        ["an objective of your own"] if objective else []
    )
    if lacking:
        raise ArgumentError(
            f"Only the top k logits of these soft targets are stored, and {lacking[0]} needs all. Compute them without "
            f"top_k, or take {' or '.join(able)}."
        )
