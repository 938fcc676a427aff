"""Distillation methods by name: each file of this folder is one."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.errors import ArgumentError

__all__ = ["Description", "Method", "Outputs", "build", "describe", "names", "settings_of"]


@dataclass(frozen=True)
class Description:
    """Hold what lists, menus and API pages say of a method."""

    name: str
    title: str
    paper: str
    summary: str
    tasks: tuple[str, ...]
    layers: str | None
    settings: dict[str, Any]
    top_k: bool
    tries: tuple[Mapping[str, Any], ...]


@cache
def _classes() -> dict[str, type[Method]]:
    found: dict[str, type[Method]] = {}
    for file in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{file.name}")
        own = [value for value in vars(module).values() if isinstance(value, type)]
        own = [
            c for c in own if c.__module__ == module.__name__ and issubclass(c, Method) and c is not Method
        ]
        if own:
            found[file.name] = own[0]
    return found


def names(task: str | None = None) -> tuple[str, ...]:
    """Return the names of all methods, or of those for one task (``labels``, ``masks``, ``multilabel``, ``tokens``)."""
    return tuple(name for name, method in _classes().items() if task is None or task in method.tasks)


def _class(name: str) -> type[Method]:
    if name not in _classes():
        raise ArgumentError(f"There is no method {name!r}; choose one of {', '.join(names())}.")
    return _classes()[name]


def settings_of(name: str) -> dict[str, Any]:
    """Return the settings of a method with their defaults.

    Raises:
        ArgumentError: an unknown name; the known ones are listed.
    """
    return _class(name).settings()


def describe(name: str) -> Description:
    """Return what there is to say about a method.

    Raises:
        ArgumentError: an unknown name; the known ones are listed.
    """
    method = _class(name)
    summary = (method.__doc__ or "").strip().partition("\n")[0]
    return Description(
        name,
        method.title,
        method.paper,
        summary,
        method.tasks,
        method.layers,
        method.settings(),
        method.top_k,
        method.tries,
    )


def build(method: str | Method | Sequence[str | Method], **settings: Any) -> tuple[Method, ...]:
    """Build one method or several by name.

    Args:
        method: a name, several, or methods that are built already.
        settings: go to each of the named methods that has a setting of that name; the others keep their defaults.

    Returns:
        The methods, in order, as a tuple also where there is one.

    Raises:
        ArgumentError: an unknown name or setting (the right ones are listed), a method named twice, none at all, a
            setting out of range.
    """
    chosen = [method] if isinstance(method, str | Method) else list(method)
    for one in chosen:
        if not isinstance(one, str | Method):
            raise ArgumentError(
                f"A method is a name ({', '.join(names())}) or a Method; found {type(one).__name__}."
            )
    named = {one: settings_of(one) for one in chosen if isinstance(one, str)}
    known = sorted({name for defaults in named.values() for name in defaults})
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        whose = ", ".join(named) or "a method that is built already"
        raise ArgumentError(
            f"There is no setting {', '.join(map(repr, unknown))} of {whose}; its settings are "
            f"{', '.join(known) or 'none'}."
        )
    built = tuple(
        _class(one)(**{k: v for k, v in settings.items() if k in named[one]}) if isinstance(one, str) else one
        for one in chosen
    )
    found = [one.name for one in built]
    if not found or len(set(found)) < len(found):
        raise ArgumentError(f"method must name one method or more, each once; found {found}.")
    return built
