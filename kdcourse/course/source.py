"""Read and check a lesson as its author writes it.

    soft_targets/lesson.py, exercises.py  ->  Lesson, with its cells and exercises

``lesson.py`` is a notebook in jupytext's percent format. In its prose, ``{{lesson distil}}`` becomes a link to that
lesson, whatever its number. An exercise is three cells: markdown with its task, difficulty, minutes and folded hints;
code that consists of ``from kdcourse.course.TOPIC.exercises import ID``; and code that calls ``check``. The second one
stands for the function of that name in ``exercises.py``, in which ``### BEGIN SOLUTION`` and ``### END SOLUTION``
enclose what learners write themselves. Without those markers it is a worked example.

JupyterLab folds the code of a cell that begins with ``# %% folded=true``, since only its output matters to learners.
"""

from __future__ import annotations

import ast
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdcourse.errors import LessonError

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
YOUR_TURN = "...  # your turn"
LESSON, EXERCISES = "lesson.py", "exercises.py"
WORDS_A_MINUTE = 200
PLACEHOLDERS = ("reading_minutes", "exercise_minutes", "machine_seconds")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_EFFORT = re.compile(r"\b(easy|medium|hard)\b[^\n]*?\b(\d+)\s+minutes?\b")
_HINT = re.compile(r"<details>\s*<summary>\s*Hint\b.*?</details>", re.DOTALL)
_TAKEN = re.compile(r"from kdcourse\.course\.(\w+)\.exercises import (\w+)")
_LINK = re.compile(r"\{\{\s*([Ll]esson) (\w+)\s*\}\}")
_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")
MOST_SECONDS = 60
_SECTIONS = ("Objectives", "Recap", "References")


@dataclass(frozen=True)
class Cell:
    """One cell: ``kind`` is "markdown" or "code", ``place`` its number in the lesson, from 1.

    ``exercise`` is the id of the exercise whose definition the cell holds, or "". ``folded``: its author wants its code
    folded.
    """

    place: int
    kind: str
    text: str
    name: str
    exercise: str
    folded: bool = False


@dataclass(frozen=True)
class ExerciseCell:
    """Hold what a learner is asked to write, and where.

    ``given`` is the code as learners find it, ``solution`` the complete code without markers. ``blanks`` counts
    the regions left to them; a worked example has none. ``place`` is the code cell's, ``check`` the check cell's.
    """

    id: str
    place: int
    check: int
    given: str
    solution: str
    blanks: int
    difficulty: str
    minutes: int
    hints: int


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes:
        number: two digits, its position in the order of the lessons.
        topic: the name of its folder.
        title: its heading, without the number.
        path: its source, ``lesson.py``.
        cells: its prose and code as notebooks show it, with solutions between markers.
        exercises: what learners are asked to write, in order.
        most_seconds: of machine time that it may take; a lesson says so where 60 are not enough, in its header
            (``kdcourse: {most_seconds: 240}`` below ``jupyter``).
    """

    number: str
    topic: str
    title: str
    path: Path
    cells: tuple[Cell, ...]
    exercises: tuple[ExerciseCell, ...]
    most_seconds: int

    @property
    def name(self) -> str:
        """Number and topic, such as 04_soft_targets: the name of its notebook."""
        return f"{self.number}_{self.topic}"

    @property
    def objectives(self) -> list[str]:
        """Return what a learner can do afterwards, one entry per line of the section Objectives.

        Raises:
            LessonError: there is no such list.
        """
        section = re.split(r"^##+ Objectives\b", _prose(self.cells), flags=re.MULTILINE)[1]
        section = re.split(r"^(?:##|\*\*)", section, maxsplit=1, flags=re.MULTILINE)[0]
        found = re.findall(r"^- (.+(?:\n  .+)*)", section, flags=re.MULTILINE)
        if not found:
            raise LessonError(
                f"{_label(self.path)}: there is no list below '## Objectives'; say what a learner can do afterwards."
            )
        return [" ".join(entry.split()).rstrip(";.") for entry in found]

    @property
    def exercise_minutes(self) -> int:
        """Minutes of all exercises, as their authors put them."""
        return sum(exercise.minutes for exercise in self.exercises)

    @property
    def reading_minutes(self) -> int:
        """Minutes to read all prose once, at 200 words a minute."""
        words = re.findall(r"\w+", re.sub(r"<[^>]*>|\]\([^)]*\)", " ", _prose(self.cells)))
        return max(1, math.ceil(len(words) / WORDS_A_MINUTE))


def read(folder: Path, order: Sequence[str]) -> Lesson:
    """Read and check one lesson.

    Args:
        folder: of the lesson, named by its topic.
        order: the topics of all lessons, this one among them.

    Raises:
        LessonError: anything missing or malformed; names the file and the cell.
    """
    path, topic = folder / LESSON, folder.name
    if not _NAME.fullmatch(topic) or topic not in order:
        raise LessonError(
            f"{topic!r} is not a topic of the course, which has {', '.join(order)}. A topic is lower-case words joined "
            "by underscores; add it to the order of the lessons."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LessonError(
            f"There is no lesson {path}; write it, or check the order of the lessons."
        ) from None
    notebook = _notebook(path, text)
    cells = tuple(_cells(path, notebook, order))
    title = _check_prose(path, cells)
    number = f"{order.index(topic):02d}"
    heading = cells[0].text.replace(f"# {title}", f"# Lesson {number}: {title}", 1)
    cells = (replace(cells[0], text=heading), *cells[1:])
    exercises = tuple(_exercise(path, cells, cell) for cell in cells if cell.exercise)
    for word, found in (("exercise", [e.id for e in exercises]), ("cell", [c.name for c in cells if c.name])):
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise LessonError(
                f"{_label(path)}: the {word} {twice[0]!r} is there twice; give each a name of its own."
            )
    most = notebook.metadata.get("kdcourse", {}).get("most_seconds", MOST_SECONDS)
    return Lesson(number, topic, title, path, cells, exercises, int(most))


def _label(path: Path) -> str:
    """Return the name of a file for messages: with its folder, since every lesson's file has the same name."""
    return f"{path.parent.name}/{path.name}"


def _prose(cells: Sequence[Cell]) -> str:
    return "\n\n".join(cell.text for cell in cells if cell.kind == "markdown")


def _notebook(path: Path, text: str) -> Any:
    import jupytext

    try:
        notebook: Any = jupytext.reads(text, fmt="py:percent")
    except Exception as error:
        # jupytext and the YAML and JSON readers under it raise errors of many kinds.
        raise LessonError(f"{_label(path)} is not in jupytext's percent format: {error}") from error
    if len(notebook.cells) < 2:
        raise LessonError(
            f"{_label(path)} has {len(notebook.cells)} cell(s). Begin each cell with a line '# %%', or "
            "'# %% [markdown]' for prose."
        )
    return notebook


def _cells(path: Path, notebook: Any, order: Sequence[str]) -> Iterator[Cell]:
    for place, cell in enumerate(notebook.cells, start=1):
        unknown = sorted(set(cell.metadata) - {"name", "folded", "lines_to_next_cell"})
        if cell.cell_type not in ("markdown", "code") or unknown:
            what = f"metadata {unknown}" if unknown else f"type {cell.cell_type}"
            raise LessonError(
                f"{_label(path)}, cell {place}: found {what}; a cell is markdown or code and may have the keys 'name' "
                "and 'folded'."
            )
        name = str(cell.metadata.get("name", ""))
        found = Cell(place, cell.cell_type, cell.source, name, "", bool(cell.metadata.get("folded", False)))
        if name and not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
            raise _wrong(path, found, f"is named {name!r}; take lower-case letters, digits and underscores.")
        if not found.text.strip():
            raise _wrong(path, found, "is empty; fill it or take it out.")
        if found.kind == "code":
            _check_code(path, found)
            yield _with_definition(path, found)
        else:
            yield replace(found, text=_linked(path, found, order))


def _linked(path: Path, cell: Cell, order: Sequence[str]) -> str:
    """Return the prose of a cell, with links to other lessons in place of their topics."""

    def link(found: re.Match[str]) -> str:
        if found[2] not in order:
            raise _wrong(path, cell, f"links to the lesson {found[2]!r}; there are {', '.join(order)}.")
        number = f"{order.index(found[2]):02d}"
        return f"[{found[1]} {number}]({number}_{found[2]}.ipynb)"

    return _LINK.sub(link, cell.text)


def _with_definition(path: Path, cell: Cell) -> Cell:
    """Return the cell itself, or for one that imports an exercise, a cell with its definition."""
    taken = _TAKEN.fullmatch(cell.text.strip())
    if taken is None or taken[1] != path.parent.name:
        if re.search(r"\.exercises\b", cell.text):
            raise _wrong(
                path,
                cell,
                "takes something from a file of exercises. An exercise's cell has one line and nothing else: "
                f"from kdcourse.course.{path.parent.name}.exercises import ITS_ID",
            )
        if BEGIN in cell.text or END in cell.text:
            raise _wrong(
                path, cell, f"holds a solution; it belongs in {EXERCISES}, where it is written once."
            )
        return cell
    return replace(cell, text=definition(path.with_name(EXERCISES), taken[2]), exercise=taken[2])


def definition(path: Path, name: str) -> str:
    """Return the source of the function ``name`` in a file of exercises, with the comments at its end.

    Raises:
        LessonError: no such file or function.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LessonError(f"There is no {_label(path)}, which is to define {name!r}.") from None
    try:
        functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    except SyntaxError as error:
        raise LessonError(f"{_label(path)} is not Python (line {error.lineno}): {error.msg}.") from None
    if name not in functions:
        there = ", ".join(one for one in functions if not one.startswith("_")) or "none"
        raise LessonError(f"{_label(path)} defines no function {name!r}; it has {there}.")
    lines, node = text.splitlines(), functions[name]
    last = node.end_lineno or node.lineno
    while last < len(lines) and lines[last].startswith(
        " "
    ):  # the marker at the end is no part of the syntax tree
        last += 1
    return "\n".join(lines[node.lineno - 1 : last])


def _check_code(path: Path, cell: Cell) -> None:
    code = cell.text.rstrip()
    try:
        statements = ast.parse(code).body
    except SyntaxError as error:
        raise _wrong(path, cell, f"is not Python (line {error.lineno} of the cell): {error.msg}.") from None
    if code.endswith(";"):
        raise _wrong(path, cell, "ends with ';', which hides nothing when notebooks are tested; assign to _.")
    unseen = [each for each in statements[:-1] if ast.unparse(each).startswith("widgets.")]
    if unseen:
        raise _wrong(
            path,
            cell,
            f"makes a widget that nobody sees (line {unseen[0].lineno} of the cell), since a cell shows its last value "
            "alone; give each widget a cell.",
        )


def _check_prose(path: Path, cells: Sequence[Cell]) -> str:
    """Check that a lesson says what every lesson must say; return its title."""
    first = cells[0]
    heading = re.match(r"# (?!Lesson \d)(\S.*)", first.text)
    if first.kind != "markdown" or heading is None:
        raise _wrong(
            path, first, "must be markdown that begins with '# ' and a title; the number is added to it."
        )
    prose = [cell for cell in cells if cell.kind == "markdown"]
    whole = _prose(cells)
    for section in _SECTIONS:
        if not re.search(rf"^##+ {section}\b", whole, flags=re.MULTILINE):
            raise LessonError(f"{_label(path)}: there is no section '## {section}'; every lesson has one.")
    if not re.search(r"\*\*Builds on:?\*\*", whole):
        raise LessonError(
            f"{_label(path)}: nothing says what the lesson builds on; write '**Builds on:** ...'."
        )
    if "](glossary.md" not in whole:
        raise LessonError(
            f"{_label(path)}: there is no link to the glossary; write '[glossary](glossary.md)'."
        )
    references = re.split(r"^##+ References\b", whole, flags=re.MULTILINE)[1]
    if not re.search(r"\b(?:1[89]|20)\d\d\b[\s\S]*https?://", references):
        raise LessonError(
            f"{_label(path)}: its references give no year and link; each has author, year, title, link."
        )
    used = _PLACEHOLDER.findall(whole)
    for name in PLACEHOLDERS:
        if used.count(name) != 1:
            raise LessonError(
                f"{_label(path)}: {{{{{name}}}}} must stand exactly once; found {used.count(name)}."
            )
    for cell in prose:
        for name in _PLACEHOLDER.findall(cell.text):
            if name not in PLACEHOLDERS:
                raise _wrong(
                    path,
                    cell,
                    f"has {{{{{name}}}}}; the builder knows {', '.join(PLACEHOLDERS)} and {{{{lesson TOPIC}}}}.",
                )
        if re.search(r"!\[\s*\]\(", cell.text) or any(
            not re.search(r"\balt\s*=\s*[\"'][^\"']+", tag) for tag in re.findall(r"<img\b[^>]*>", cell.text)
        ):
            raise _wrong(path, cell, "shows a picture without alt text; say in words what is to be seen.")
        if len(re.findall(r"<details\b", cell.text)) != cell.text.count("</details>"):
            raise _wrong(path, cell, "opens and closes <details> unequally often.")
    return heading[1].strip()


def _exercise(path: Path, cells: Sequence[Cell], cell: Cell) -> ExerciseCell:
    given, solution, blanks = derive(f"{_label(path.with_name(EXERCISES))}, {cell.exercise}", cell.text)
    before = cells[cell.place - 2] if cell.place > 1 else None
    after = cells[cell.place] if cell.place < len(cells) else None
    if before is None or before.kind != "markdown":
        raise _wrong(
            path, cell, "is an exercise without a markdown cell before it, which gives the task and hints."
        )
    effort = _EFFORT.search(before.text)
    if effort is None:
        raise _wrong(
            path,
            before,
            "must say how hard the exercise is and how long it takes, such as '(easy, 5 minutes)'.",
        )
    hints = len(_HINT.findall(before.text))
    if blanks and not hints:
        raise _wrong(
            path,
            before,
            "has no hint; write <details><summary>Hint 1</summary> ... </details>, with empty lines.",
        )
    if after is None or after.kind != "code" or not _calls_check(after.text, cell.exercise):
        raise _wrong(
            path,
            cell,
            f'is an exercise without its check; the next cell must call check("{cell.exercise}", ...).',
        )
    return ExerciseCell(
        cell.exercise, cell.place, after.place, given, solution, blanks, effort[1], int(effort[2]), hints
    )


def derive(where: str, code: str) -> tuple[str, str, int]:
    """Return what learners find, the solution, and the number of blanks.

    Args:
        where: names the code in errors.
        code: with markers around what learners write.

    Raises:
        LessonError: markers that don't pair, or that enclose part of a statement.
    """
    given: list[str] = []
    solution: list[str] = []
    region: list[str] | None = None
    blanks = 0
    for line in code.splitlines():
        word = line.strip()
        if word == BEGIN:
            if region is not None:
                raise LessonError(f"{where}: it has {BEGIN!r} twice before {END!r}.")
            region = []
        elif word == END:
            if region is None:
                raise LessonError(f"{where}: it has {END!r} without {BEGIN!r} before it.")
            given.append(_blank(where, region))
            region, blanks = None, blanks + 1
        elif BEGIN in line or END in line:
            raise LessonError(f"{where}: it has {word!r}; {BEGIN!r} and {END!r} stand on lines of their own.")
        else:
            solution.append(line)
            (given if region is None else region).append(line)
    if region is not None:
        raise LessonError(f"{where}: it has {BEGIN!r} without {END!r} after it.")
    blank = "\n".join(given)
    try:
        ast.parse(blank)
    except SyntaxError as error:
        raise LessonError(f"{where}: it is no Python once its solution is blank: {error.msg}.") from None
    return blank, "\n".join(solution), blanks


def _blank(where: str, region: Sequence[str]) -> str:
    """The line that stands for a region of the solution in a learner's notebook."""
    body = textwrap.dedent("\n".join(region))
    first = next((line for line in region if line.strip()), None)
    if first is None:
        raise LessonError(f"{where}: it has nothing between {BEGIN!r} and {END!r}.")
    indent = first[: len(first) - len(first.lstrip())]
    try:
        statements = ast.parse(body).body
    except SyntaxError as error:
        raise LessonError(f"{where}: it encloses part of a statement in its solution: {error.msg}.") from None
    if len(statements) == 1:
        match statements[0]:
            case ast.Assign(targets=[ast.Name(id=name)]):
                return f"{indent}{name} = {YOUR_TURN}"
            case ast.Return(value=ast.expr()):
                return f"{indent}return {YOUR_TURN}"
    return indent + YOUR_TURN


def _calls_check(code: str, exercise: str) -> bool:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if called == "check" and isinstance(first, ast.Constant) and first.value == exercise:
                return True
    return False


def _wrong(path: Path, cell: Cell, problem: str) -> LessonError:
    start = next((line.strip() for line in cell.text.splitlines() if line.strip()), "")
    shown = f" ({start[:50]!r})" if start else ""
    return LessonError(f"{_label(path)}, cell {cell.place}{shown}: it {problem}")
