"""A lesson as a notebook, before it is run: for the builder, and for assignments."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path
from typing import Any

from kdcourse.course.source import Cell, ExerciseCell, Lesson

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"  # beside the package in a clone
SET_UP = "set-up"  # id of the cell that installs the course on Google Colab
# Folded in JupyterLab and on Colab, left out on the website.
SET_UP_METADATA = {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["remove-cell"]}
# Functions that display something, and compute nothing that later cells need.
DISPLAYED = {"claim", "show", "show_here", "widgets.predict", "widgets.quiz", "widgets.reveal"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}


def learners_notebook(lesson: Lesson, set_up: str = "") -> Any:
    """Return the notebook as learners find it: blanks, folded solutions, no outputs, times not filled in.

    Args:
        lesson: as `kdcourse.course.Course.lesson` reads it.
        set_up: code that installs the course on Google Colab, for a cell before the first code. Without it, cells and
            folded solutions match the lesson's own one to one.
    """
    from nbformat import v4

    exercises = {exercise.place: exercise for exercise in lesson.exercises}
    solutions = {exercise.check: exercise for exercise in lesson.exercises if exercise.blanks}
    names = _Names()
    cells = []
    for cell in lesson.cells:
        if set_up and cell.kind == "code":
            cells.append(v4.new_code_cell(set_up, metadata=node(SET_UP_METADATA), id=SET_UP))
            set_up = ""
        text = exercises[cell.place].given if cell.place in exercises else cell.text
        metadata: dict[str, Any] = {"exercise": cell.exercise} if cell.exercise else {}
        if cell.folded or (cell.kind == "code" and not cell.exercise and only_displays(cell.text)):
            metadata["jupyter"] = {"source_hidden": True}
        new = v4.new_markdown_cell if cell.kind == "markdown" else v4.new_code_cell
        cells.append(new(text, metadata=metadata, id=names.of(cell)))
        if cell.place in solutions:
            exercise = solutions[cell.place]
            metadata = {"solution": exercise.id}
            cells.append(
                v4.new_markdown_cell(_folded(exercise), metadata=metadata, id=f"solution-{exercise.id}")
            )
    notebook = v4.new_notebook(cells=cells)
    notebook.nbformat_minor = 5
    notebook.metadata = node(
        {
            "kdcourse": {"lesson": lesson.name},
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": LANGUAGE,
        }
    )
    return notebook


def only_displays(code: str) -> bool:
    """Return whether a cell only imports, displays or claims something: JupyterLab folds its code."""
    statements = ast.parse(code).body
    called = [
        ast.unparse(each.value.func)
        for each in statements
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call)
    ]
    imports = sum(isinstance(each, ast.Import | ast.ImportFrom) for each in statements)
    return bool(statements) and len(called) + imports == len(statements) and set(called) <= DISPLAYED


def stored_set_up(notebook: Any) -> str:
    """Return the code that installs the course on Google Colab, from a stored notebook; "" where there is none."""
    cells = [] if notebook is None else notebook.cells
    return next((str(cell.source) for cell in cells if cell.get("id") == SET_UP), "")


def fill(notebook: Any, lesson: Lesson, limit: int) -> None:
    """Put the times into the prose that names them; ``limit`` is the most seconds that the machine takes."""
    values = {
        "reading_minutes": str(lesson.reading_minutes),
        "exercise_minutes": str(lesson.exercise_minutes),
        "machine_seconds": machine_time(limit),
    }
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: values[found[1]], cell.source)


def machine_time(limit: int) -> str:
    """Return how a lesson states its machine time, such as "under 30 s"."""
    return f"under {limit} s" if limit <= 60 else f"under {limit // 60} minutes"


def machine_seconds(notebook: Any) -> int:
    """Return the most seconds of machine time that a stored notebook states; 0 where there is none."""
    return 0 if notebook is None else int(notebook.metadata.get("kdcourse", {}).get("machine_seconds", 0))


def stored_notebook(path: Path) -> Any:
    """Read a notebook from disk; None where there is none that can be read."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError):
        return None


def node(content: dict[str, Any]) -> Any:
    """Return a dictionary as nbformat holds it: its entries are attributes as well."""
    from nbformat import from_dict

    return from_dict(content)


def _folded(exercise: ExerciseCell) -> str:
    return (
        f"<details>\n<summary>Solution</summary>\n\n```python\n{exercise.solution.strip()}\n```\n\n</details>"
    )


class _Names:
    """Ids of cells: what a cell is called, else a digest of what it says; the same whenever it is built."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def of(self, cell: Cell) -> str:
        digest = hashlib.sha256(f"{cell.kind}\n{cell.text}".encode()).hexdigest()[:12]
        name = cell.name or (f"exercise-{cell.exercise}" if cell.exercise else f"{cell.kind}-{digest}")
        count = self._seen[name] = self._seen.get(name, 0) + 1
        return name if count == 1 else f"{name}-{count}"
