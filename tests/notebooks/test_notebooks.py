"""Every notebook, run anew and compared with its stored outputs; and those outputs themselves.

Each notebook is a test of its own that runs nbval in a process of its own. So plain `pytest` runs them all, and
pytest-xdist may hand them out as it likes: nbval's cells, collected by pytest itself, need ``--dist loadfile``,
without which the cells of one notebook end up in different kernels.
"""

from __future__ import annotations

import builtins
import re
import shutil
import symtable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kdcourse.course import COURSE, Course, source
from tests.course import tiny
from tests.notebooks.running import NOTEBOOK_SECONDS, ROOT, nbval
from tools.lessons import build

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _code(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


# -- run and compared ------------------------------------------------------------------------


@pytest.mark.timeout(NOTEBOOK_SECONDS + 60)
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.slow(seconds=140 if "07" in path.name else 60))
        for path in NOTEBOOKS
    ],
)
def test_every_output_is_what_is_stored(path: Path, tmp_path: Path) -> None:
    outcome = nbval(path, tmp_path)
    assert outcome.code == 0, outcome.text
    assert outcome.passed == len(_code(path)), outcome.text


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small notebook, built as the lessons are."""
    folder = tmp_path_factory.mktemp("small")
    text, _ = build.make(tiny.lesson(folder))
    path = folder / "00_twice.ipynb"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_every_change_in_an_output_makes_nbval_fail_and_nothing_else_does(
    small: Path, tmp_path: Path
) -> None:
    text = small.read_text(encoding="utf-8")
    changes = {
        '"six times seven: 42\\n"': '"six times seven: 43\\n"',  # a number that is printed
        '"42"': '"43"',  # a cell's value
        '"Figure: an empty square"': '"Figure: an empty circle"',  # what stands for a figure
        'twice: not attempted yet\\n"': 'twice: right\\n"',  # a verdict
    }
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    copy = tmp_path / small.name
    copy.write_text(text, encoding="utf-8")
    outcome = nbval(copy, tmp_path)
    assert outcome.code == 1 and f"{len(changes)} failed" in outcome.text, outcome.text
    assert outcome.passed == len(_code(small)) - len(changes), outcome.text


# -- what is stored --------------------------------------------------------------------------


def test_sources_and_notebooks_are_in_step() -> None:
    assert NOTEBOOKS, "there are no notebooks: python -m tools.lessons build"
    assert build.check() == []


@pytest.mark.slow
def test_a_change_of_a_source_is_out_of_step(tmp_path: Path) -> None:
    course = Course(tmp_path / "course", COURSE.order)
    shutil.copytree(COURSE.folder, course.folder)
    assert build.check(course) == []
    first = course.lesson("0")
    first.path.write_text(first.path.read_text() + "\n# %%\n1 + 1\n")
    assert build.check(course) == [f"{first.name}: its code is not that of the source"]


@every_notebook
def test_code_cells_are_counted_from_one_and_none_is_null(path: Path) -> None:
    # nbval compares nothing at all for a cell whose count is null.
    assert [cell.execution_count for cell in _code(path)] == list(range(1, len(_code(path)) + 1))


@every_notebook
def test_kdcourse_is_imported_before_torch(path: Path) -> None:
    # It limits how long OpenMP's threads spin, which counts only if it is set before torch is loaded.
    lines = [line.split() for cell in _code(path) for line in cell.source.splitlines()]
    imported = [words[1].partition(".")[0] for words in lines if words[:1] in (["import"], ["from"])]
    assert imported.index("kdcourse") < imported.index("torch")


@every_notebook
def test_nothing_of_one_machine_is_stored(path: Path) -> None:
    for cell in _code(path):
        # These tags would make errors pass, or cells go uncompared.
        assert not {"raises-exception", "nbval-raises-exception", "nbval-skip", "nbval-ignore-output"} & set(
            cell.metadata.get("tags", [])
        )
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", cell.source
            assert build.unstable(output) is None, cell.source
    text = path.read_text(encoding="utf-8")
    assert "model_id" not in text and str(ROOT) not in text and str(Path.home()) + "/" not in text
    assert path.stat().st_size < 1_000_000


@every_notebook
def test_every_figure_has_alt_text(path: Path) -> None:
    pictures = [
        output for cell in _code(path) for output in cell.outputs
        if any(kind.startswith("image/") for kind in output.get("data", {}))
    ]  # fmt: skip
    assert pictures, "a lesson without a single figure"
    for output in pictures:
        words = output.metadata["image/png"]["alt"]
        assert len(words.split()) > 3 and not words.startswith("<")
        assert len(output.data["text/plain"].split()) > 3


@every_notebook
def test_every_exercise_is_blank_hinted_checked_and_solved(path: Path) -> None:
    lesson = COURSE.lesson(path.stem)
    asked = [exercise for exercise in lesson.exercises if exercise.blanks]
    assert asked, "a lesson without an exercise"
    cells = nbformat.read(path, as_version=4).cells
    places = {
        cell.metadata["exercise"]: place for place, cell in enumerate(cells) if "exercise" in cell.metadata
    }
    for exercise in asked:
        task, blank, check, solution = cells[places[exercise.id] - 1 : places[exercise.id] + 3]
        assert task.source.count("<details>") == exercise.hints >= 1
        assert source.YOUR_TURN in blank.source and "SOLUTION" not in blank.source
        assert check.outputs[0].text.startswith("Not attempted yet"), check.outputs
        assert solution.metadata["solution"] == exercise.id
        code = re.search(r"```python\n(.*)```", solution.source, flags=re.DOTALL)
        assert solution.source.startswith("<details>") and code is not None
        compile(code[1], exercise.id, "exec")


@every_notebook
def test_every_name_that_a_solution_uses_is_there_before_its_exercise(path: Path) -> None:
    lesson = COURSE.lesson(path.stem)
    known = set(dir(builtins))
    solutions = {exercise.place: exercise.solution for exercise in lesson.exercises}
    for cell in lesson.cells:
        if cell.kind != "code":
            continue
        code = symtable.symtable(solutions.get(cell.place, cell.text), cell.exercise or path.stem, "exec")
        if cell.place in solutions:
            assert _globals_of(code) <= known, f"{cell.exercise} needs {_globals_of(code) - known}"
        known |= {
            symbol.get_name() for symbol in code.get_symbols() if symbol.is_assigned() or symbol.is_imported()
        }


def _globals_of(scope: symtable.SymbolTable) -> set[str]:
    """Return the names that functions in a scope take from the module."""
    inside = [name for child in scope.get_children() for name in _globals_of(child)]
    own = [symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()]
    return {*own, *inside} if isinstance(scope, symtable.Function) else set(inside)
