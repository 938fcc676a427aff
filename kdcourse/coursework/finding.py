"""Find the answer to a task in a notebook.

    cells -> by the cell's id, or else by the function's name -> Answer

Students duplicate, merge, split and move cells, and some tools strip the cells' ids. So a function is looked for in all
cells; the cell's id is used where it tells more than the name. The answer that counts is the one that Python has after
running the notebook from the top to the exercise's check: the last definition that isn't blank.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Literal
from urllib.parse import unquote

from kdcourse.coursework import slicing
from kdcourse.coursework.notebooks import Cell
from kdcourse.coursework.records import Answer, Task
from kdcourse.coursework.slicing import Broken, Parsed, Statement

NONE: Mapping[str, str] = MappingProxyType({})
INVALID = "is not valid Python"
MOST_SHOWN = 20_000  # characters of an answer that are kept for display
ANSWER_HERE = "Write your answer here, in place of this line."
_OF_LESSON = re.compile(r"(?:markdown|code)-[0-9a-f]{12}(?:-\d+)?")  # ids of the lessons' own cells
_PLACEHOLDERS = re.compile(
    rf"^[\s*_]*(?:{re.escape(ANSWER_HERE)}|your answer here\.?|type your answer here.*)[\s*_]*$",
    re.IGNORECASE | re.MULTILINE,
)


def find(
    cells: Sequence[Cell], task: Task, given: Sequence[Cell] = (), modules: Mapping[str, str] = NONE
) -> Answer:
    """Find the answer to a task.

    Args:
        cells: the cells of the student's notebook.
        task: what was asked.
        given: the cells of the notebook as students got it, for what a student deleted, such as imports.
        modules: name -> source of modules that were handed in beside the notebook.

    Returns:
        An answer; if there is nothing to check, its ``problem`` says why.
    """
    if task.kind == "written":
        return _written(cells, task, given)
    answer = _code(tuple(cells), task, tuple(given), {**modules, **_written_modules(cells)})
    return replace(answer, called_right=any(task.id in cell.right for cell in cells))


def answered(answer: Answer) -> bool:
    """Tell whether the answer is more than a blank."""
    return bool(answer.fingerprint)


def is_named(cell: Cell, task_id: str) -> bool:
    """Tell whether a cell's metadata or id says that it holds a task's answer."""
    return not {task_id, f"exercise-{task_id}", f"answer-{task_id}"}.isdisjoint(cell.names)


# -- code ---------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _parsed(cells: tuple[Cell, ...]) -> Parsed:
    return slicing.parse((cell.place, code) for cell in cells if (code := _source(cell)))


_FENCED = re.compile(r"\s*(```+|~~~+)[ \t]*(?:i?python3?|py)?[ \t]*\n(?P<code>.*?)\n[ \t]*\1\s*", re.DOTALL)


def _source(cell: Cell) -> str:
    """Return a cell's code, also of an exercise that was turned into markdown by mistake; "" if it has none."""
    if cell.kind == "code":
        return cell.source
    fenced = _FENCED.fullmatch(cell.source)
    code = fenced["code"] if fenced else cell.source
    starts = r"^(?:async )?def \w" if fenced else r"\A\s*(?:async )?def \w"
    return code if re.search(starts, code, re.MULTILINE) else ""


_WRITTEN_MODULE = re.compile(
    r"\s*%%(?:writefile|file)[ \t]+(?P<more>-a[ \t]+)?(?:\./)?(?P<name>\w+)\.py[ \t]*\n"
)


def _written_modules(cells: Sequence[Cell]) -> dict[str, str]:
    """Return name -> source of the modules that the notebook itself writes: ``%%writefile helpers.py``."""
    found: dict[str, str] = {}
    for cell in cells:
        if cell.kind == "code" and (magic := _WRITTEN_MODULE.match(cell.source)):
            before = found.get(magic["name"], "") if magic["more"] else ""
            found[magic["name"]] = f"{before}{cell.source[magic.end() :]}\n"
    return found


def _imported_modules(pieces: Sequence[Statement], modules: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the student's own modules that some statements import, directly or through each other."""
    found: dict[str, str] = {}
    ahead: list[ast.AST] = [piece.node for piece in pieces]
    while ahead:
        for node in ast.walk(ahead.pop()):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for name in (name.split(".")[0] for name in names):
                if name in modules and name not in found:
                    found[name] = modules[name]
                    with suppress(*slicing.UNPARSABLE):
                        ahead.append(slicing.python(modules[name]))
    return tuple(sorted(found.items()))


def _unchanged(cells: Sequence[Cell], given: Sequence[Cell], chosen: int) -> set[int]:
    """Return the numbers of the cells that are the lesson's own: without evidence, all but the chosen one."""
    sources = {cell.source.strip() for cell in given}
    if sources:
        return {cell.place for cell in cells if cell.source.strip() in sources}
    known = {cell.place for cell in cells if any(_OF_LESSON.fullmatch(name) for name in cell.names)}
    return known or {cell.place for cell in cells if cell.place != chosen}


def _code(cells: tuple[Cell, ...], task: Task, given: tuple[Cell, ...], modules: Mapping[str, str]) -> Answer:
    parsed = _parsed(cells)
    own = {cell.place for cell in cells if is_named(cell, task.id)}
    candidates = _candidates(cells, parsed, task, own)
    if not candidates:
        return _missing(cells, parsed, task, own)
    chosen = next((each for each in reversed(candidates) if not is_blank(each.node)), candidates[-1])
    found_by: Literal["id", "name"] = "id" if chosen.cell in own else "name"
    name = task.id if task.id in chosen.binds else min(chosen.binds)
    text = chosen.text[:MOST_SHOWN]
    fallback = tuple(s for s in _parsed(given).statements if task.id not in s.binds) if given else ()
    try:
        pieces = slicing.needed(chosen, parsed.statements, fallback, _unchanged(cells, given, chosen.cell))
        imported = _imported_modules(pieces, modules)
        fingerprint = "" if is_blank(chosen.node) else _fingerprint(pieces)
        if imported and fingerprint:
            fingerprint = _digest(fingerprint + repr(imported))
        note = " ".join(_notes(task, chosen, candidates, name, parsed, cells))
    except RecursionError:
        problem = f"{task.id} needs too much of the notebook to be run by itself."
        return Answer(task.id, found_by, (), name, text, _digest(text), problem)
    future = _future(parsed.statements)
    texts = tuple(future + piece.text for piece in pieces)
    return Answer(task.id, found_by, texts, name, text, fingerprint, note=note, modules=imported)


def _candidates(cells: Sequence[Cell], parsed: Parsed, task: Task, own: set[int]) -> list[Statement]:
    """Return the statements that may be the answer, in the notebook's order."""
    bound = [s for s in parsed.statements if task.id in s.binds]
    functions = [s for s in bound if _is_function(s.node)]
    check = max((cell.place for cell in cells if _is_check(cell, task.id)), default=None)
    in_time = [s for s in functions if s.cell in own or check is None or s.cell <= check]
    # A variable of the same name that is not a function is the answer only if nothing else is.
    for group in (in_time, _renamed(cells, parsed, task, own, bound), functions, bound):
        if any(not is_blank(s.node) for s in group):
            return group
    return in_time or functions or bound


def _renamed(
    cells: Sequence[Cell], parsed: Parsed, task: Task, own: set[int], bound: Sequence[Statement]
) -> list[Statement]:
    """Return functions of another name: passed to the check, or in the exercise's cell, if that has no other."""
    told = _names_checked(cells, task.id)
    functions = [s for s in parsed.statements if _is_function(s.node) and s.binds]
    return [s for s in functions if s.binds & told] or [s for s in functions if s.cell in own and not bound]


def _is_function(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return isinstance(node.value, ast.Lambda | ast.Name | ast.Attribute)
    if isinstance(node, ast.If | ast.Try | ast.With):
        return any(_is_function(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt))
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _is_check(cell: Cell, task_id: str) -> bool:
    if f"check-{task_id}" in cell.names:
        return True
    return (
        cell.kind == "code"
        and re.search(rf"\bcheck\(\s*[\"']{re.escape(task_id)}[\"']", cell.source) is not None
    )


def _names_checked(cells: Sequence[Cell], task_id: str) -> set[str]:
    """Return the names that students pass to the check: ``check("id", this)``."""
    call = rf"\bcheck\(\s*[\"']{re.escape(task_id)}[\"']\s*,\s*([A-Za-z_]\w*)\s*[,)]"
    return {name for cell in cells if cell.kind == "code" for name in re.findall(call, cell.source)}


def is_blank(node: ast.stmt) -> bool:
    """Tell whether ``...`` is still there or the body is empty (``x[..., 0]`` is no blank)."""
    indices = {
        id(part)
        for each in ast.walk(node)
        if isinstance(each, ast.Subscript)
        for part in ast.walk(each.slice)
    }
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and part.value is Ellipsis and id(part) not in indices:
            return True
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and all(
        _says_nothing(s) for s in node.body
    )


def _says_nothing(node: ast.stmt) -> bool:
    match node:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Raise(exc=ast.Name(id=name)) | ast.Raise(exc=ast.Call(func=ast.Name(id=name))):
            return name == "NotImplementedError"
    return False


def _broken_definition(parsed: Parsed, name: str, after: Statement | None = None) -> Broken | None:
    """Return the last definition of that name with a syntax error."""
    header = re.compile(rf"^(?:async +)?def +{re.escape(name)}\b|^{re.escape(name)} *=(?!=)", re.MULTILINE)
    found = [broken for broken in parsed.broken if header.search(broken.text)]
    if after is not None:
        found = [broken for broken in found if (broken.cell, broken.line) > (after.cell, after.line)]
    return found[-1] if found else None


def _missing(cells: Sequence[Cell], parsed: Parsed, task: Task, own: set[int]) -> Answer:
    broken = _broken_definition(parsed, task.id) or next(
        (b for b in reversed(parsed.broken) if b.cell in own), None
    )
    if broken is not None:
        found_by: Literal["id", "name"] = "id" if broken.cell in own else "name"
        text = broken.text[:MOST_SHOWN]
        problem = f"The code of {task.id} (cell {broken.cell}) {INVALID}: {broken.why}."
        return Answer(
            task.id, found_by, function=task.id, text=text, fingerprint=_digest(text), problem=problem
        )
    if own:
        problem = (
            f"The cell of {task.id} exists, but neither it nor any other cell has the function {task.id}."
        )
        text = "\n\n".join(cell.source for cell in cells if cell.place in own)[:MOST_SHOWN]
        return Answer(task.id, "id", function=task.id, text=text, problem=problem)
    problem = f"There is no cell of {task.id}, and no function of that name in any other cell."
    return Answer(task.id, "", function=task.id, problem=problem)


def _notes(
    task: Task,
    chosen: Statement,
    candidates: list[Statement],
    name: str,
    parsed: Parsed,
    cells: Sequence[Cell],
) -> Iterator[str]:
    """Yield notes for student and instructor on how the answer was found."""
    if len({ast.dump(s.node) for s in candidates if not is_blank(s.node)}) > 1:
        places = ", ".join(
            str(place) for place in sorted({s.cell for s in candidates if not is_blank(s.node)})
        )
        yield f"{name} is defined more than once (cells {places}); the last one, in cell {chosen.cell}, counts."
    if name != task.id:
        yield f"The function is called {name}, not {task.id}; it was used as {task.id}."
    broken = _broken_definition(parsed, task.id, after=chosen)
    if broken is not None:
        yield (
            f"Another definition of {task.id}, in cell {broken.cell}, is not valid Python ({broken.why}) and doesn't "
            "count."
        )
    if any(cell.place == chosen.cell and cell.kind != "code" for cell in cells):
        yield f"Cell {chosen.cell} is no longer a code cell; it was read as one."


def _future(statements: Sequence[Statement]) -> str:
    """Return the future import, if any: in Jupyter it applies to all later cells, so it precedes each piece."""
    asked = any(
        isinstance(s.node, ast.ImportFrom)
        and s.node.module == "__future__"
        and s.node.names[0].name == "annotations"
        for s in statements
    )
    return "from __future__ import annotations\n" if asked else ""


# -- comparing answers --------------------------------------------------------------------------


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _fingerprint(pieces: Sequence[Statement]) -> str:
    """Compute a digest of the pieces' structure, with variables numbered in order of appearance."""
    imported = {name: _imported(piece.node) for piece in pieces if piece.imports for name in piece.binds}
    own = [piece for piece in pieces if not piece.imports]
    numbered = _Numbered(imported, {name for piece in own for name in _written_names(piece.node)})
    return _digest("\n".join(ast.dump(numbered.visit(slicing.python(piece.text))) for piece in own))


def _imported(node: ast.stmt) -> str:
    """Return what an import makes available: ``import torch.nn.functional as F`` is torch.nn.functional."""
    assert isinstance(node, ast.Import | ast.ImportFrom)
    name = node.names[0].name
    return f"{node.module}.{name}" if isinstance(node, ast.ImportFrom) else name


def _written_names(node: ast.AST) -> Iterator[str]:
    """Yield the names of variables, arguments and functions that the code defines."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        elif isinstance(part, ast.arg):
            yield part.arg
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield part.name


class _Numbered(ast.NodeTransformer):
    """Replace names by numbers, and remove docstrings and annotations."""

    def __init__(self, imported: dict[str, str], chosen: set[str]) -> None:
        self._imported = imported
        self._chosen = chosen
        self._numbers: dict[str, str] = {}

    def _name(self, name: str) -> str:
        if name in self._chosen:
            return self._numbers.setdefault(name, f"_{len(self._numbers)}")
        return self._imported.get(name, name)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._name(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg, node.annotation = self._name(node.arg), None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name, node.returns = self._name(node.name), None
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


# -- written ------------------------------------------------------------------------------------


def _written(cells: Sequence[Cell], task: Task, given: Sequence[Cell]) -> Answer:
    own = [cell for cell in cells if is_named(cell, task.id)]
    below = list(_below_question(cells, task, {cell.source.strip() for cell in given}))
    if own:
        below = [cell for cell in below if cell not in own and _without_placeholder(cell.source)]
    # An answer in a new cell below the question counts too, if the intended cell is unchanged.
    holders = own if any(_without_placeholder(cell.source) for cell in own) or not below else below
    if not holders:
        holders = [cell for cell in cells if _asks(cell, task)]  # the answer may be merged with the question
    if not holders:
        return Answer(task.id, "", problem=f"The cell for the answer to '{task.title}' is missing.")
    texts = {cell.place: _without_placeholder(cell.source) for cell in holders}
    different = list(dict.fromkeys(text for text in texts.values() if text))
    note = ""
    if len(different) > 1 and holders is own:
        places = ", ".join(str(place) for place, text in texts.items() if text)
        note = f"There are several answers to '{task.title}' (cells {places}); all of them are shown."
    text = "\n\n".join(different)
    text, pictures = _with_pictures(text, dict(picture for cell in holders for picture in cell.pictures))
    if re.search(r"\]\(attachment:", text):
        note = f"{note} A picture in it can't be shown here; open the notebook.".strip()
    words = " ".join(re.findall(r"\w+", text.casefold()))
    fingerprint = _digest(words + "".join(pictures)) if words else ""
    found_by: Literal["id", "name"] = "id" if holders is own else "name"
    shown = text[:MOST_SHOWN]
    return Answer(task.id, found_by, text=shown, fingerprint=fingerprint, note=note, pictures=pictures)


_MOST_PICTURES = 6
_PICTURE = re.compile(
    r"!\[[^\]\n]{0,200}\]\((?:(?P<data>data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]{1,2000000}={0,2})"
    r"|attachment:(?P<name>[^)\s]{1,300}))\)"
)


def _with_pictures(text: str, attached: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Replace the pictures in a text by their numbers, and return them."""
    found: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        address = match["data"] or attached.get(unquote(match["name"]), "")
        if not address or len(found) >= _MOST_PICTURES:
            return match[0]
        found.append(address)
        return f"[picture {len(found)}]"

    return _PICTURE.sub(numbered, text), tuple(found)


def _asks(cell: Cell, task: Task) -> bool:
    heading = rf"\s*#+\s*Question:\s*{re.escape(task.title)}"
    return f"ask-{task.id}" in cell.names or re.match(heading, cell.source, re.IGNORECASE) is not None


def _below_question(cells: Sequence[Cell], task: Task, given: set[str]) -> Iterator[Cell]:
    """Yield cells of text that students put between a question and the next cell of the lesson.

    If nothing distinguishes the lesson's cells from theirs, yield only the cell right below the question.
    """
    inside = False
    for cell in cells:
        if _asks(cell, task):
            inside = True
            continue
        if not inside:
            continue
        blank = not _without_placeholder(cell.source)
        lessons_own = cell.source.strip() in given and not blank
        if cell.kind == "code" or lessons_own or any(_OF_LESSON.fullmatch(name) for name in cell.names):
            return
        yield cell
        if not given and not cell.names:
            return


def _without_placeholder(text: str) -> str:
    return _PLACEHOLDERS.sub("", text).strip()
