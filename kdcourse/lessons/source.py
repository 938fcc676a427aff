"""A lesson as its author writes it: a jupytext percent file, read and checked.

    lessons/04_soft_targets.py  ->  Lesson, with its cells and exercises

An exercise is three cells: markdown with its task, difficulty, minutes and folded hints; code with the key
``exercise`` in its metadata, whose ``### BEGIN SOLUTION`` and ``### END SOLUTION`` enclose what learners write
themselves; and code that calls ``check``. Without those markers it is a worked example.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import math
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdcourse.errors import LessonError

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
YOUR_TURN = "...  # your turn"
GLOSSARY = "glossary.md"
WORDS_A_MINUTE = 200
PLACEHOLDERS = ("reading_minutes", "exercise_minutes", "machine_seconds")
_NAME = re.compile(r"(\d\d)_[a-z0-9_]+")
_EFFORT = re.compile(r"\b(easy|medium|hard)\b[^\n]*?\b(\d+)\s+minutes?\b")
_HINT = re.compile(r"<details>\s*<summary>\s*Hint\b.*?</details>", re.DOTALL)
_SECTIONS = ("Objectives", "Recap", "References")


@dataclass(frozen=True)
class Cell:
    """One cell: ``kind`` is "markdown" or "code", ``place`` its number in the lesson, from 1."""

    place: int
    kind: str
    text: str
    name: str
    exercise: str


@dataclass(frozen=True)
class Exercise:
    """What a learner is asked to write.

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
    """A lesson: ``name`` such as ``04_soft_targets``, its cells, its exercises, and a digest of its source."""

    name: str
    title: str
    cells: tuple[Cell, ...]
    exercises: tuple[Exercise, ...]
    digest: str

    @property
    def number(self) -> str:
        """The two digits that its name begins with."""
        return self.name[:2]

    @property
    def exercise_minutes(self) -> int:
        """Minutes of all exercises, as their authors put them."""
        return sum(exercise.minutes for exercise in self.exercises)

    @property
    def reading_minutes(self) -> int:
        """Minutes to read all prose once, at 200 words a minute."""
        prose = " ".join(cell.text for cell in self.cells if cell.kind == "markdown")
        words = re.findall(r"\w+", re.sub(r"<[^>]*>|\]\([^)]*\)", " ", prose))
        return max(1, math.ceil(len(words) / WORDS_A_MINUTE))


def sources(folder: Path) -> list[Path]:
    """The lessons' files in ``folder``, in the order of their numbers.

    Raises:
        LessonError: no folder, or two lessons of one number.
    """
    if not folder.is_dir():
        raise LessonError(
            f"There is no folder {folder} with lessons; they come with the repository, not with pip."
        )
    found = sorted(path for path in folder.glob("*.py") if _NAME.fullmatch(path.stem))
    for one, other in itertools.pairwise(found):
        if one.stem[:2] == other.stem[:2]:
            raise LessonError(f"{one.name} and {other.name} have one number; rename one of them.")
    return found


def read(path: Path, known: Collection[str] | None = None) -> Lesson:
    """Read and check one lesson.

    Args:
        path: a file NN_name.py in jupytext's percent format.
        known: the ids that exercises may have; by default those of this lesson in `kdcourse.checks`.

    Raises:
        LessonError: anything missing or malformed; names the file and the cell.
    """
    if not _NAME.fullmatch(path.stem):
        raise LessonError(
            f"{path.name}: a lesson's name is NN_words.py, two digits and lower-case words; rename the file."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LessonError(f"There is no lesson {path}; write it, or check the number.") from None
    cells = tuple(_cells(path, text))
    title = _check_prose(path, cells)
    ids = known if known is not None else _known_exercises(path.stem[:2])
    exercises = tuple(_exercise(path, cells, cell, ids) for cell in cells if cell.exercise)
    for word, found in (("exercise", [e.id for e in exercises]), ("cell", [c.name for c in cells if c.name])):
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise LessonError(
                f"{path.name}: the {word} {twice[0]!r} is there twice; give each a name of its own."
            )
    for cell in cells:
        if not cell.exercise and (BEGIN in cell.text or END in cell.text):
            raise _wrong(
                path, cell, f'holds a solution but no exercise. Write: # %% exercise="its_id" above {BEGIN}'
            )
    return Lesson(path.stem, title, cells, exercises, hashlib.sha256(text.encode()).hexdigest())


def _cells(path: Path, text: str) -> Iterator[Cell]:
    import jupytext

    try:
        notebook: Any = jupytext.reads(text, fmt="py:percent")
    except Exception as error:
        # jupytext and the YAML and JSON readers under it raise errors of many kinds.
        raise LessonError(f"{path.name} is not in jupytext's percent format: {error}") from error
    if len(notebook.cells) < 2:
        raise LessonError(
            f"{path.name} has {len(notebook.cells)} cell(s). Begin each cell with a line '# %%', or "
            "'# %% [markdown]' for prose."
        )
    for place, cell in enumerate(notebook.cells, start=1):
        unknown = sorted(set(cell.metadata) - {"exercise", "name", "lines_to_next_cell"})
        if cell.cell_type not in ("markdown", "code") or unknown:
            what = f"metadata {unknown}" if unknown else f"type {cell.cell_type}"
            raise LessonError(
                f"{path.name}, cell {place}: found {what}; a cell is markdown or code and may have the keys "
                "'exercise' and 'name'."
            )
        name, exercise = (str(cell.metadata.get(key, "")) for key in ("name", "exercise"))
        found = Cell(place, cell.cell_type, cell.source, name, exercise)
        for word in (name, exercise):
            if word and not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", word):
                raise _wrong(
                    path, found, f"is named {word!r}; take lower-case letters, digits and underscores."
                )
        if not found.text.strip():
            raise _wrong(path, found, "is empty; fill it or take it out.")
        if found.kind == "code":
            _check_code(path, found)
        yield found


def _check_code(path: Path, cell: Cell) -> None:
    code = cell.text.rstrip()
    try:
        ast.parse(code)
    except SyntaxError as error:
        raise _wrong(path, cell, f"is not Python (line {error.lineno} of the cell): {error.msg}.") from None
    if code.endswith(";"):
        raise _wrong(path, cell, "ends with ';', which hides nothing when notebooks are tested; assign to _.")


def _check_prose(path: Path, cells: Sequence[Cell]) -> str:
    """What every lesson must say somewhere; returns its title."""
    first = cells[0]
    heading = re.match(r"# Lesson (\d\d): (\S.*)", first.text)
    if first.kind != "markdown" or heading is None or heading[1] != path.stem[:2]:
        raise _wrong(
            path, first, f"must be markdown that begins with '# Lesson {path.stem[:2]}: ' and a title."
        )
    prose = [cell for cell in cells if cell.kind == "markdown"]
    whole = "\n\n".join(cell.text for cell in prose)
    for section in _SECTIONS:
        if not re.search(rf"^##+ {section}\b", whole, flags=re.MULTILINE):
            raise LessonError(f"{path.name}: there is no section '## {section}'; every lesson has one.")
    if not re.search(r"\*\*Builds on:?\*\*", whole):
        raise LessonError(f"{path.name}: nothing says what the lesson builds on; write '**Builds on:** ...'.")
    if f"]({GLOSSARY}" not in whole:
        raise LessonError(f"{path.name}: there is no link to the glossary; write '[glossary]({GLOSSARY})'.")
    references = re.split(r"^##+ References\b", whole, flags=re.MULTILINE)[1]
    if not re.search(r"\b(?:1[89]|20)\d\d\b[\s\S]*https?://", references):
        raise LessonError(
            f"{path.name}: its references give no year and link; each has author, year, title, link."
        )
    used = re.findall(r"\{\{\s*(.*?)\s*\}\}", whole)
    for name in PLACEHOLDERS:
        if used.count(name) != 1:
            raise LessonError(
                f"{path.name}: {{{{{name}}}}} must stand exactly once; found {used.count(name)}."
            )
    for cell in prose:
        for name in re.findall(r"\{\{\s*(.*?)\s*\}\}", cell.text):
            if name not in PLACEHOLDERS:
                raise _wrong(
                    path, cell, f"has {{{{{name}}}}}; the builder fills {', '.join(PLACEHOLDERS)} alone."
                )
        if re.search(r"!\[\s*\]\(", cell.text) or any(
            not re.search(r"\balt\s*=\s*[\"'][^\"']+", tag) for tag in re.findall(r"<img\b[^>]*>", cell.text)
        ):
            raise _wrong(path, cell, "shows a picture without alt text; say in words what is to be seen.")
        if len(re.findall(r"<details\b", cell.text)) != cell.text.count("</details>"):
            raise _wrong(path, cell, "opens and closes <details> unequally often.")
    return heading[2].strip()


def _exercise(path: Path, cells: Sequence[Cell], cell: Cell, known: Collection[str]) -> Exercise:
    if cell.kind != "code":
        raise _wrong(path, cell, "has the key 'exercise', which belongs on the code that learners write.")
    if cell.exercise not in known:
        there = ", ".join(known) or "none"
        raise _wrong(
            path, cell, f"is the exercise {cell.exercise!r}; kdcourse.checks has {there} for this lesson."
        )
    given, solution, blanks = derive(path, cell)
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
            f'is an exercise without its check; the next cell must call checks.check("{cell.exercise}", ...).',
        )
    return Exercise(
        cell.exercise, cell.place, after.place, given, solution, blanks, effort[1], int(effort[2]), hints
    )


def derive(path: Path, cell: Cell) -> tuple[str, str, int]:
    """What learners find, the solution, and the number of blanks."""
    given: list[str] = []
    solution: list[str] = []
    region: list[str] | None = None
    blanks = 0
    for line in cell.text.splitlines():
        word = line.strip()
        if word == BEGIN:
            if region is not None:
                raise _wrong(path, cell, f"has {BEGIN!r} twice before {END!r}.")
            region = []
        elif word == END:
            if region is None:
                raise _wrong(path, cell, f"has {END!r} without {BEGIN!r} before it.")
            given.append(_blank(path, cell, region))
            region, blanks = None, blanks + 1
        elif BEGIN in line or END in line:
            raise _wrong(path, cell, f"has {word!r}; {BEGIN!r} and {END!r} stand on lines of their own.")
        else:
            solution.append(line)
            (given if region is None else region).append(line)
    if region is not None:
        raise _wrong(path, cell, f"has {BEGIN!r} without {END!r} after it.")
    code = "\n".join(given)
    try:
        ast.parse(code)
    except SyntaxError as error:
        raise _wrong(path, cell, f"is no Python once its solution is blank: {error.msg}.") from None
    return code, "\n".join(solution), blanks


def _blank(path: Path, cell: Cell, region: Sequence[str]) -> str:
    """The line that stands for a region of the solution in a learner's notebook."""
    body = textwrap.dedent("\n".join(region))
    first = next((line for line in region if line.strip()), None)
    if first is None:
        raise _wrong(path, cell, f"has nothing between {BEGIN!r} and {END!r}.")
    indent = first[: len(first) - len(first.lstrip())]
    try:
        statements = ast.parse(body).body
    except SyntaxError as error:
        raise _wrong(path, cell, f"encloses part of a statement in its solution: {error.msg}.") from None
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


def _known_exercises(number: str) -> Collection[str]:
    from kdcourse import checks

    return tuple(checks.exercises(int(number)))


def _wrong(path: Path, cell: Cell, problem: str) -> LessonError:
    start = next((line.strip() for line in cell.text.splitlines() if line.strip()), "")
    shown = f" ({start[:50]!r})" if start else ""
    return LessonError(f"{path.name}, cell {cell.place}{shown}: it {problem}")
