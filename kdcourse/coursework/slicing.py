"""Select the few statements of a notebook that one function needs.

    cells' sources -> statements -> those that a definition needs, in an order in which they run

Only imports, definitions and assignments of names that the function uses are selected, what changes their objects, and
what these need in turn; training, plots and downloads are left out. A name in a function's body is looked up when the
function is called, so it may be defined anywhere in the notebook; a name outside of functions is looked up at once.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import textwrap
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

MOST_SOURCE = 50_000  # characters per cell; nobody types more
MOST_CODE = 400_000  # characters per notebook; more would only slow down grading
MOST_READ = 4_000  # statements per notebook
MOST_STATEMENTS = 400  # that one answer may need
_MOST_MAGICS = 10  # per cell, before every line is searched
_MOST_MAGIC = 2_000  # characters of a line that may be a magic
_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}
# fmt: off
_CHANGING = frozenset({
    "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem", "remove",
    "reverse", "setdefault", "sort", "update",
})
# fmt: on
UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True, eq=False)
class Statement:
    """Hold one statement of a notebook's top level.

    Args:
        cell: number of its cell, from 1.
        line: its first line in that cell, from 1.
        text: its source; an import of several names is split into one statement per name.
        node: its syntax tree.
        binds: names that it defines.
        changes: names whose objects it changes: ``table[0] = 1``, ``table.append(1)``.
        touches: names whose objects it may change: ``settings.set(dim=1)``.
        sets: global names that its functions assign when they are called.
        now: names that it looks up when it runs, those left out that it has bound before.
        later: names that its functions look up when they are called.
    """

    cell: int
    line: int
    text: str
    node: ast.stmt
    binds: frozenset[str]
    changes: frozenset[str]
    touches: frozenset[str]
    sets: frozenset[str]
    now: frozenset[str]
    later: frozenset[str]

    @property
    def imports(self) -> bool:
        """Tell whether it is an import."""
        return isinstance(self.node, ast.Import | ast.ImportFrom)


@dataclass(frozen=True)
class Broken:
    """Hold lines of a cell that are not valid Python: where they begin, their text, and the reason."""

    cell: int
    line: int
    text: str
    why: str


class Parsed(NamedTuple):
    """Hold the statements of some cells."""

    statements: tuple[Statement, ...]
    broken: tuple[Broken, ...]


def parse(cells: Iterable[tuple[int, str]]) -> Parsed:
    """Parse code cells, given by number and source, into statements, without what only IPython understands.

    A cell with a syntax error is read statement by statement; the broken ones are returned separately.
    """
    statements: list[Statement] = []
    broken: list[Broken] = []
    left = MOST_CODE
    for number, source in cells:
        left -= len(source)
        for found in _read_cell(number, source, left):
            if len(statements) + len(broken) >= MOST_READ:
                broken.append(Broken(number, 1, source[:MOST_SOURCE], "there is too much code before it"))
                return Parsed(tuple(statements), tuple(broken))
            if isinstance(found, Broken):
                broken.append(found)
            else:
                statements.append(found)
    return Parsed(tuple(statements), tuple(broken))


def needed(
    root: Statement,
    statements: Sequence[Statement],
    fallback: Sequence[Statement] = (),
    lessons: Collection[int] = (),
) -> list[Statement]:
    """Return the statements that ``root`` needs, including itself, in an order in which they run.

    Args:
        root: the definition.
        statements: all statements of the notebook, in its order, including ``root``.
        fallback: further statements for names that the notebook doesn't define, such as the lesson's own imports.
        lessons: numbers of the cells that the student left as they were. A call in another one that may change an
            object, such as ``settings.set(dim=1)``, is selected too, and may fail.

    Raises:
        RecursionError: more than ``MOST_STATEMENTS`` statements are needed, or the chain is too long to follow.
    """
    return _Slice(root, statements, fallback, frozenset(lessons)).ordered()


# -- from a cell to statements ------------------------------------------------------------------


def _read_cell(number: int, source: str, left: int) -> Iterator[Statement | Broken]:
    if len(source) > MOST_SOURCE or left < 0:
        what = f"the cell has {len(source):,} characters" if left >= 0 else "there is too much code before it"
        yield Broken(number, 1, source[:MOST_SOURCE], f"{what}, and was not read")
        return
    code = without_magics(source)
    try:
        tree = python(code)
    except UNPARSABLE as error:
        yield from _in_chunks(number, code, error)
        return
    yield from _statements(number, code, tree, 0)


def python(code: str) -> ast.Module:
    """Parse a text into a syntax tree, without warnings.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: the text is not valid Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about "\d" and the like in students' strings
        return ast.parse(code)


def _statements(number: int, code: str, tree: ast.Module, before: int) -> Iterator[Statement]:
    lines = code.split("\n")
    for place, node in enumerate(tree.body):
        follower = tree.body[place + 1] if place + 1 < len(tree.body) else None
        previous = tree.body[place - 1] if place else None
        for part, text in _parts(node, lines, previous, follower):
            found = _statement(number, before + _first_line(node), text, part)
            if found is not None:
                yield found


def _parts(
    node: ast.stmt, lines: list[str], previous: ast.stmt | None, follower: ast.stmt | None
) -> Iterator[tuple[ast.stmt, str]]:
    """Yield a statement and its text; an import of several names is split into one per name."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        for name in node.names:
            part = (
                ast.Import([name])
                if isinstance(node, ast.Import)
                else ast.ImportFrom(node.module, [name], node.level)
            )
            yield part, ast.unparse(part)
        return
    first, last = _first_line(node), node.end_lineno or node.lineno
    shares = (previous is not None and previous.end_lineno == first) or (
        follower is not None and _first_line(follower) == last
    )
    if shares:  # a = 1; b = 2
        try:
            yield node, ast.unparse(node)
        except RecursionError:
            return
    else:
        yield node, "\n".join(lines[first - 1 : last])


def _first_line(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _statement(number: int, line: int, text: str, node: ast.stmt) -> Statement | None:
    """Build a statement; None if it can't be compiled, such as a return outside of any function."""
    if isinstance(node, ast.ImportFrom) and node.level:
        return None  # from . import: a notebook is not part of a package
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "<cell>", "exec", dont_inherit=True)
            table = symtable.symtable(text, "<cell>", "exec")
            binds, now, later = _names(table)
            now -= binds - _read_first(node)
            changes, sets = frozenset(_changed(node)), frozenset(_set_inside(table))
    except UNPARSABLE:
        return None
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        binds = frozenset("*")
    if isinstance(node, ast.Delete):
        binds = frozenset()
    return Statement(number, line, text, node, binds, changes, _touched(node), sets, now, later)


def _names(table: symtable.SymbolTable) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return the names that a statement defines, looks up at once, and looks up when its functions are called."""
    symbols = table.get_symbols()
    binds = frozenset(s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace())
    now = {s.get_name() for s in symbols if s.is_referenced()}
    later: set[str] = set()
    for child in table.get_children():
        _names_inside(child, now, later, called_later=False)
    return binds, frozenset(now), frozenset(later)


_AT_ONCE = ("listcomp", "setcomp", "dictcomp", "genexpr")


def _names_inside(table: symtable.SymbolTable, now: set[str], later: set[str], called_later: bool) -> None:
    is_body = table.get_type() == "function" and table.get_name() not in _AT_ONCE
    called_later = called_later or is_body
    into = later if called_later else now
    into.update(s.get_name() for s in table.get_symbols() if s.is_global())
    for child in table.get_children():
        _names_inside(child, now, later, called_later)


def _changed(node: ast.stmt) -> Iterator[str]:
    """Yield names of objects that a statement changes when it runs."""
    parts: list[ast.AST] = [node]
    while parts:
        part = parts.pop()
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        parts.extend(ast.iter_child_nodes(part))
        if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store | ast.Del):
            yield from _root_name(part)
        elif (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and part.func.attr in _CHANGING
        ):
            yield from _root_name(part.func)


def _touched(node: ast.stmt) -> frozenset[str]:
    """Return the name whose object a statement may change that is a call and nothing else: ``settings.set(dim=1)``."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
            return frozenset(_root_name(method))
    return frozenset()


def _set_inside(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield the global names that functions assign: ``global scale``."""
    for child in table.get_children():
        yield from (s.get_name() for s in child.get_symbols() if s.is_declared_global() and s.is_assigned())
        yield from _set_inside(child)


def _read_first(node: ast.stmt) -> set[str]:
    """Return the names that a statement may read before it binds them, in the order in which Python evaluates it."""
    bound: set[str] = set()
    read: set[str] = set()

    def look(part: ast.AST | Sequence[ast.AST] | None) -> None:
        match part:
            case None:
                pass
            case list():
                for one in part:
                    look(one)
            case ast.Name(id=name, ctx=ast.Load()):
                if name not in bound:
                    read.add(name)
            case ast.Name(id=name):
                bound.add(name)
            case ast.Assign(targets=targets, value=value):
                look([value, *targets])
            case ast.AnnAssign(target=target, value=value, annotation=annotation):
                look([value, annotation, target] if value else [annotation])
            case ast.AugAssign(target=target, value=value):
                if isinstance(target, ast.Name) and target.id not in bound:
                    read.add(target.id)
                look([value, target])
            case ast.NamedExpr(target=target, value=value):
                look([value, target])
            case ast.For() | ast.AsyncFor():
                look([part.iter, part.target, *part.body, *part.orelse])
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                look(
                    [
                        *part.decorator_list,
                        *(b for b in ast.iter_child_nodes(part) if not isinstance(b, ast.stmt)),
                    ]
                )
                if isinstance(part, ast.ClassDef):
                    read.update(each.id for each in ast.walk(part) if isinstance(each, ast.Name))
                bound.add(name)
            case ast.Lambda(args=args):
                look(args)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                read.update(
                    each.id for each in ast.walk(part) if isinstance(each, ast.Name) and each.id not in bound
                )
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                bound.update((name.asname or name.name).split(".")[0] for name in names)
            case ast.ExceptHandler(name=str(name)):
                look(part.type)
                bound.add(name)
                look(part.body)
            case ast.AST():
                look(list(ast.iter_child_nodes(part)))

    look(node)
    return read


def _root_name(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


# -- magics and syntax errors -------------------------------------------------------------------

_MAGIC = re.compile(
    r"(?P<indent>[ \t]*)(?:[%!?].*|\w[\w.]*\?\??[ \t]*|(?P<name>[A-Za-z_][\w, ]*?)[ \t]*=[ \t]*[%!].*)"
)
_CODE_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun", "%%memit", "%%python", "%%python3", "%%px")
_FOREIGN = r"%%[a-zA-Z!]"


def without_magics(source: str) -> str:
    """Return a cell's Python, with ``pass`` in place of each line that is for IPython or the shell."""
    source = _dedented(source)
    first = source.lstrip().split("\n", 1)[0]
    if re.match(_FOREIGN, first):
        if first.split()[0] not in _CODE_MAGICS:
            return ""  # %%bash, %%html, %%writefile
        source = source.replace(first, "pass", 1)
    for _ in range(_MOST_MAGICS):
        try:
            python(source)
            return source
        except SyntaxError as error:
            fixed = _without_magic(source, error.lineno)
            if fixed is None:
                return source
            source = fixed
        except (ValueError, RecursionError, MemoryError):
            return source
    return "\n".join(_plain_line(line) for line in source.split("\n"))


def _dedented(source: str) -> str:
    """Dedent a cell whose first line is indented, as IPython does."""
    first = next((line for line in source.split("\n") if line.strip()), "")
    return textwrap.dedent(source) if first[:1] in (" ", "\t") else source


def _without_magic(source: str, number: int | None) -> str | None:
    """Replace the line with the error if it is a magic; return None if it isn't."""
    lines = source.split("\n")
    if number is None or not 1 <= number <= len(lines):
        return None
    plain = _plain_line(lines[number - 1])
    if plain == lines[number - 1]:
        return None
    lines[number - 1] = plain
    return "\n".join(lines)


def _plain_line(line: str) -> str:
    magic = _MAGIC.fullmatch(line) if len(line) <= _MOST_MAGIC else None
    if magic is None:
        return line
    return magic["indent"] + (f"{magic['name']} = None" if magic["name"] else "pass")


_GOES_ON = re.compile(r"[ \t)\]}#]|(?:else|elif|except|finally)\b|$")


def _in_chunks(number: int, code: str, error: BaseException) -> Iterator[Statement | Broken]:
    """Parse statement by statement, split at lines without indentation; a broken one doesn't affect the others."""
    lines = code.split("\n")
    starts = [place for place, line in enumerate(lines) if not _GOES_ON.match(line)]
    starts = [s for s in starts if not (s and lines[s - 1].startswith("@"))]
    if not starts or len(starts) > 2_000:
        yield Broken(number, 1, code, _why(error, 0))
        return
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        chunk = "\n".join(lines[start:end])
        try:
            tree = python(chunk)
        except UNPARSABLE as fault:
            yield Broken(number, start + 1, chunk, _why(fault, start))
            continue
        yield from _statements(number, chunk, tree, start)


def _why(error: BaseException, before: int) -> str:
    """Describe an error in words, with its line in the cell."""
    if isinstance(error, SyntaxError):
        line = f"line {error.lineno + before}: " if error.lineno else ""
        return f"{line}{error.msg}"
    return "it is nested too deeply" if isinstance(error, RecursionError | MemoryError) else str(error)


# -- following names ----------------------------------------------------------------------------


class _Slice:
    """Follow names from one statement to those that define them."""

    def __init__(
        self,
        root: Statement,
        statements: Sequence[Statement],
        fallback: Sequence[Statement],
        lessons: frozenset[int],
    ) -> None:
        self._root = root
        self._all = [*fallback, *statements]
        self._own = len(fallback)  # the notebook's own statements start here
        self._lessons = lessons
        self._place = {id(statement): place for place, statement in enumerate(self._all)}
        self._definers: dict[str, list[int]] = {}
        setters = {name: one.sets for one in self._all if one.sets for name in one.binds}
        self._binds = [
            one.binds.union(*(setters[name] for name in setters.keys() & one.now)) for one in self._all
        ]
        for place, statement in enumerate(self._all):
            for name in self._binds[place] | statement.changes:
                self._definers.setdefault(name, []).append(place)
        self._trials: set[int] = set()
        for place, statement in enumerate(self._all):
            if statement.touches - statement.changes and self._is_light(place):
                self._trials.add(place)
        for place in sorted(self._trials):
            for name in self._all[place].touches:
                self._definers[name] = sorted([*self._definers.get(name, []), place])
        self._placed: set[int] = set()
        self._completed: set[int] = set()
        self._order: list[int] = []

    def _is_students(self, place: int) -> bool:
        return place >= self._own and self._all[place].cell not in self._lessons

    def _is_light(self, place: int) -> bool:
        """Tell whether a statement is the student's and needs nothing of the lesson but imports."""
        if not self._is_students(place):
            return False
        definers = (one for name in self._all[place].now for one in self._definers.get(name, ()))
        return all(self._all[one].imports or self._is_students(one) for one in definers)

    def ordered(self) -> list[Statement]:
        """Return the needed statements in an order in which they run."""
        root = self._place[id(self._root)]
        self._put(root)
        self._complete(root)
        order = self._order
        names = self._root.binds
        if not any(names & self._all[place].now for place in order if place != root):
            # No needed statement may redefine the answer's own name after it.
            order = [place for place in order if place != root] + [root]
        return [_tried(self._all[place]) if place in self._trials else self._all[place] for place in order]

    def _put(self, place: int) -> None:
        """Append a statement after all those that must run before it."""
        if place in self._placed:
            return
        self._placed.add(place)
        if len(self._placed) > MOST_STATEMENTS:
            raise RecursionError(f"more than {MOST_STATEMENTS} statements are needed")
        statement = self._all[place]
        # An object that it changes must exist too, with its earlier changes.
        for name in sorted(statement.now | statement.changes):
            for definer in self._defined_before(name, place):
                self._put(definer)
                self._complete(definer)
        self._order.append(place)

    def _complete(self, place: int) -> None:
        """Append what the functions in a statement look up when they are called."""
        if place in self._completed:
            return
        self._completed.add(place)
        for name in sorted(self._all[place].later):
            for definer in self._defined_anywhere(name):
                self._put(definer)
                self._complete(definer)

    def _defined_before(self, name: str, place: int) -> list[int]:
        """Return the statements that define a name before ``place``; later ones only if there are none before."""
        definers = self._of(name)
        return self._last_definition(
            name, [definer for definer in definers if definer < place]
        ) or self._last_definition(name, [definer for definer in definers if definer > place])

    def _defined_anywhere(self, name: str) -> list[int]:
        if name in self._root.binds:
            return []
        root = self._place[id(self._root)]
        definers = self._of(name)
        # The value at the answer's check, right after its definition, or else the final value.
        return self._last_definition(
            name, [definer for definer in definers if definer < root]
        ) or self._last_definition(name, definers)

    def _of(self, name: str) -> list[int]:
        definers = self._definers.get(name, [])
        own = [definer for definer in definers if definer >= self._own]
        if any(name in self._binds[definer] for definer in own):
            return own
        if any(name in self._binds[definer] for definer in definers):
            return definers
        return [] if name in _BUILTINS else self._definers.get("*", [])

    def _last_definition(self, name: str, definers: list[int]) -> list[int]:
        """Return the last statement that defines a name, all that import it, and all that changed it since."""
        binding = [definer for definer in definers if name in self._binds[definer]]
        stars = [definer for definer in definers if "*" in self._binds[definer]]
        if not binding:
            return stars
        last = binding[-1]
        if self._all[
            last
        ].imports:  # import a, import a.b: both define a; a lesson changes no library for answers
            return [one for one in definers if self._all[one].imports or self._is_light(one)]
        if isinstance(self._all[last].node, ast.AugAssign):
            earlier = self._last_definition(name, [definer for definer in definers if definer < last])
            return [*earlier, *(definer for definer in definers if definer >= last)]
        return [definer for definer in definers if definer >= last]


def _tried(statement: Statement) -> Statement:
    """Return a statement whose failure is ignored: it was selected only because it may change something."""
    text = textwrap.indent(ast.unparse(statement.node), "    ")
    return replace(statement, text=f"try:\n{text}\nexcept Exception:\n    pass")
