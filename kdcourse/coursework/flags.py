"""Point out right answers that an instructor should look at before believing them.

A flag costs no points and never reaches a student's page. It says what was seen; what it means is for a person to say.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import CodeType
from typing import Any

from kdcourse.coursework import slicing

_PACKAGE = "kdcourse"
# What leads around imports, and what no exercise needs; as names only, since models have a method eval.
_NAMES = {"__import__", "compile", "eval", "exec", "globals"}
_ATTRIBUTES = {"__builtins__", "__globals__", "__subclasses__", "__code__", "f_back", "f_locals"}
_MODULES = {
    "builtins",
    "ctypes",
    "gc",
    "importlib",
    "inspect",
    "linecache",
    "os",
    "runpy",
    "subprocess",
    "sys",
}


def borrowed(pieces: Sequence[str], solution: Callable[..., Any]) -> str:
    """Say what an answer takes from the course's package that the exercise's own solution doesn't, or return "".

    Args:
        pieces: the code that the answer needs, the student's own modules included.
        solution: the exercise's.
    """
    trees = []
    for piece in pieces:
        with suppress(*slicing.UNPARSABLE):
            trees.append(slicing.python(piece))
    allowed = set(_names(solution.__code__))
    names = set(_taken(trees))
    taken = sorted(
        name
        for name in names
        if name.rpartition(".")[2] not in allowed and not any(one.startswith(f"{name}.") for one in names)
    )
    said = f"It uses {', '.join(taken)} of the course's package." if taken else ""
    detours = sorted(set(_detours(trees)))
    if detours:
        said = f"{said} It uses {', '.join(detours)}, which no exercise needs.".strip()
    return said


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _taken(trees: Sequence[ast.Module]) -> Iterator[str]:
    """Yield what is imported from the package, and attributes of its modules that are used."""
    modules: dict[str, str] = {}
    nodes = [node for tree in trees for node in ast.walk(tree)]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE:
            for name in node.names:
                modules[name.asname or name.name] = f"{node.module}.{name.name}"
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] == _PACKAGE:
                    modules[name.asname or _PACKAGE] = name.name if name.asname else _PACKAGE
    attributes: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and (root := _dotted(node)).split(".")[0] in modules:
            first, _, rest = root.partition(".")
            yield f"{modules[first]}.{rest}"
            attributes.add(first)
    used = {node.id for node in nodes if isinstance(node, ast.Name)} | {"*"}
    yield from (modules[name] for name in modules.keys() & used if name not in attributes)


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for such an attribute, "" for one of anything else than a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def _detours(trees: Sequence[ast.Module]) -> Iterator[str]:
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.Name(id=name) if name in _NAMES | _ATTRIBUTES:
                yield name
            case ast.Attribute(attr=name) if name in _ATTRIBUTES:
                yield name
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.split(".")[0] in _MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in _MODULES:
                yield module
