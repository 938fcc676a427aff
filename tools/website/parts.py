"""Find out what a lesson's interactive parts show, without running the lesson.

A part is a call such as ``widgets.quiz(...)``. Its arguments need few of the lesson's statements, and those are run:
the data are loaded and stored networks queried, but nothing is trained. For calls that need a training run, see
`tools.website.trained`.
"""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Collection, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from kdcourse.errors import DataError

# Functions of `kdcourse.widgets` -> module of their front end. The others train.
ASKING = {"quiz": "quiz", "predict": "prediction"}
EXPLORERS = {
    "temperature_explorer": "temperature",
    "ensemble_explorer": "ensemble",
    "mistake_browser": "mistakes",
    "threshold_explorer": "threshold",
}
_TRAINING = {"fit", "distil", "distil_grid"}


@dataclass(frozen=True)
class Statement:
    """Hold a top-level statement of a lesson's code, and the names that it needs and gives."""

    node: ast.stmt
    call: str = ""  # the function of `kdcourse.widgets` whose widget the statement shows
    needs: frozenset[str] = frozenset()
    sets: frozenset[str] = frozenset()  # anew: earlier values don't matter
    changes: frozenset[str] = frozenset()
    trains: bool = False


def statements(notebook: dict[str, Any]) -> list[Statement]:
    """Return the statements of a notebook's code cells, in order."""
    sources = ("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    nodes = [node for source in sources for node in ast.parse(source).body]
    imports = (node.names for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
    modules = {(alias.asname or alias.name).partition(".")[0] for names in imports for alias in names}
    return [_statement(node, modules) for node in nodes]


def needed(every: list[Statement], place: int) -> list[Statement]:
    """Return the statements that the one at ``place`` needs, itself last."""
    wanted = set(every[place].needs)
    kept = [every[place]]
    for statement in reversed(every[:place]):
        if wanted & (statement.sets | statement.changes):
            wanted -= statement.sets
            wanted |= statement.needs
            kept.append(statement)
    return kept[::-1]


def offered(notebook: dict[str, Any]) -> dict[str, int]:
    """Return the calls of explorers that need no training run: function -> position among `statements`."""
    return _explorers(notebook, trained=False)


def trained(notebook: dict[str, Any]) -> dict[str, int]:
    """Return the calls of explorers that need a training run: function -> position among `statements`."""
    return _explorers(notebook, trained=True)


def _explorers(notebook: dict[str, Any], *, trained: bool) -> dict[str, int]:
    every = statements(notebook)
    places = {each.call: place for place, each in enumerate(every) if each.call in EXPLORERS}
    return {
        call: place
        for call, place in places.items()
        if any(one.trains for one in needed(every, place)) is trained
    }


def states(
    notebook: dict[str, Any], name: str, calls: Collection[str], *, training: bool = False
) -> dict[str, dict[str, Any]]:
    """Run what these calls need and return what their widgets show: the widget's sentence -> its state.

    Args:
        notebook: a lesson as `json.load` gives it.
        name: of the lesson, for messages.
        calls: functions of `kdcourse.widgets`.
        training: run those that need a training run, too.

    Raises:
        DataError: a statement failed.
    """
    from kdcourse.widgets.base import CourseWidget

    every = statements(notebook)
    wanted: set[int] = set()  # statements by identity: several calls may share some
    for place, statement in enumerate(every):
        if statement.call in calls:
            which = needed(every, place)
            if training or not any(one.trains for one in which):
                wanted |= {id(one) for one in which}
    found: dict[str, dict[str, Any]] = {}
    known: dict[str, Any] = {"__name__": name}
    quiet = io.StringIO()
    with redirect_stdout(quiet), redirect_stderr(quiet), patch.object(CourseWidget, "draw", _no_figure):
        for statement in every:
            if id(statement) in wanted:
                widget = _run(statement, known, name)
                if widget is not None and statement.call in calls:
                    found[widget.sentence] = widget.state()
                    widget.close()
    return found


def _no_figure(widget: object) -> None:
    """Stand in for a widget's `draw`: the page draws by itself."""


def _run(statement: Statement, known: dict[str, Any], name: str) -> Any:
    """Run a statement; return the value of an expression, else None."""
    try:
        if isinstance(statement.node, ast.Expr):
            return eval(compile(ast.Expression(statement.node.value), name, "eval"), known)
        exec(compile(ast.Module([statement.node], []), name, "exec"), known)
    except Exception as error:
        raise DataError(
            f"{name}: a statement that an interactive part of its page needs failed ({type(error).__name__}: {error}): "
            f"{ast.unparse(statement.node)[:200]}"
        ) from error
    return None


def _statement(node: ast.stmt, modules: Collection[str]) -> Statement:
    """Return a statement; no call such as ``torch.manual_seed(0)`` changes one of the ``modules``."""
    names = _Names()
    names.visit(node)
    whole = isinstance(
        node, ast.Assign | ast.AnnAssign | ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    )
    sets = names.stores if whole else set()
    changes = (names.stores - sets) | names.changes.difference(modules)
    return Statement(
        node, _call(node), frozenset(names.loads), frozenset(sets), frozenset(changes), names.trains
    )


def _call(node: ast.stmt) -> str:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="widgets"), attr=name))):
            return name
    return ""


class _Names(ast.NodeVisitor):
    """Collect the names that a statement loads, stores, and changes in place.

    Variables of comprehensions, functions and lambdas belong to these alone.
    """

    def __init__(self) -> None:
        self.loads: set[str] = set()
        self.stores: set[str] = set()
        self.changes: set[str] = set()
        self.trains = False

    def visit_Name(self, node: ast.Name) -> None:
        (self.loads if isinstance(node.ctx, ast.Load) else self.stores).add(node.id)

    def visit_alias(self, node: ast.alias) -> None:
        self.stores.add((node.asname or node.name).partition(".")[0])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        self.changes |= set(_owner(node.target))
        self.loads |= set(_owner(node.target))

    def visit_Attribute(self, node: ast.Attribute | ast.Subscript) -> None:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            self.changes |= set(_owner(node))

    visit_Subscript = visit_Attribute

    def visit_Call(self, node: ast.Call) -> None:
        """Take what is passed to a training function as changed by it."""
        self.generic_visit(node)
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in _TRAINING:
            self.trains = True
            self.changes |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}

    def visit_Expr(self, node: ast.Expr) -> None:
        """Take a method that is called for its effect, such as ``rows.append(...)``, as a change."""
        self.generic_visit(node)
        if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
            self.changes |= set(_owner(node.value.func))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.stores.add(node.name)
        self._inside(node, _arguments(node.args))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.stores.add(node.name)
        self._inside(node, set())

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._inside(node, _arguments(node.args))

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._inside(node, set())

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp  # type: ignore[assignment]

    def _inside(self, node: ast.AST, own: set[str]) -> None:
        names = _Names()
        names.generic_visit(node)
        self.loads |= names.loads - names.stores - own
        self.trains |= names.trains


def _arguments(given: ast.arguments) -> set[str]:
    return {argument.arg for argument in ast.walk(given) if isinstance(argument, ast.arg)}


def _owner(node: ast.expr) -> Iterator[str]:
    """Yield the variable that ``a.b[c].d`` belongs to."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def title(call: str) -> str:
    """Return what the widget's sentence begins with: 'mistake_browser' -> 'Mistake browser'."""
    return call.replace("_", " ").capitalize()


def key_of(sentence: str) -> str:
    """Return the key in the sentence of a prediction or its truth: 'Truth 05-views: ...' -> '05-views'."""
    found = re.match(r"(?:Prediction|Truth) ([\w-]+):", sentence)
    return found[1] if found else ""
