"""Build an assignment's notebooks: for students, with solutions, and as a course that nbgrader can grade.

    Assignment  ->  dist/NAME/release/NN_name.ipynb             for students
                    dist/NAME/solutions/NN_name.ipynb           for after the deadline
                    dist/NAME/nbgrader/source/NAME/NN_name.ipynb, nbgrader_config.py
                    dist/NAME/assignment.json                   for the instructor only: it holds the seed

Students' notebooks are built from the lesson's blanks. They never contained a solution, so none can be left in them.
Building again gives the same bytes.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kdcourse.course import COURSE, Course, Lesson
from kdcourse.course import notebook as lesson_notebook
from kdcourse.course.notebook import NOTEBOOKS
from kdcourse.course.source import YOUR_TURN, ExerciseCell
from kdcourse.coursework import finding
from kdcourse.coursework import questions as written
from kdcourse.coursework.assignment import as_json
from kdcourse.coursework.questions import Question, points_in_words
from kdcourse.coursework.records import Assignment, Task
from kdcourse.errors import ArgumentError, LessonError
from kdcourse.files import write_atomically

ASSIGNMENT = "assignment.json"
RELEASE, SOLUTIONS, NBGRADER = "release", "solutions", "nbgrader"
ANSWER_HERE = f"*{finding.ANSWER_HERE}*"  # in italics
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
CELL_SECONDS = 300

Kind = Literal["release", "source", "solutions"]

_ABOUT = """## Assignment: {title}

This notebook counts for **{points}**{part}.

| task | | points |
|---|---|---:|
{rows}

- **Exercises**: fill the blanks `{blank}`. The check below each says whether your answer is right; run it as
  often as you like. Grading tests your function with other inputs as well.
- **Questions**: write your answer into the cell below the question. A person marks it.
- Don't change the names of functions or the checks. You may add cells.
- Unlike the course's own notebooks, this one contains no solutions.
- Before you hand it in: restart the kernel, run all cells, save. Then hand in this file, `{file}`, under its own name.
"""

_CONFIG = '''"""The nbgrader course of the assignment {name}; `kdcourse assign` overwrites it.

In this folder:  nbgrader generate_assignment {name}    (or give students ../release, which is the same)
                 nbgrader autograde {name}              submissions are in submitted/STUDENT/{name}/
                 nbgrader generate_feedback {name}

Nbgrader runs students' notebooks as your own user: they can read this folder, its hidden tests and its gradebook, and
answer and test share one process. `kdcourse grade` runs them in a sandbox and judges outside of it. If you grade with
nbgrader anyway, give it a kernel that sees neither this folder nor the network: install a kernelspec whose command
starts ipykernel inside bubblewrap, and name it in the last lines below.
"""

import os
import sys
from pathlib import Path

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader.converters.generate_assignment import GenerateAssignment
from nbgrader.preprocessors import ClearSolutions, GetGrades

from kdcourse.coursework.preprocessors import HideHiddenTests, NamedBlanks

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "kdcourse"
c.CourseDirectory.root = str(Path(__file__).resolve().parent)

# Nbgrader runs other commands by name, which are found only if its environment is activated.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

# Blanks as in the lessons ("logits = ...  # your turn"), and no hidden test in what students get back.
usual = GenerateAssignment.preprocessors.default()
c.GenerateAssignment.preprocessors = [NamedBlanks if each is ClearSolutions else each for each in usual]
c.GenerateFeedback.preprocessors = [GetGrades, HideHiddenTests, CSSHTMLHeaderPreprocessor]

# Seconds per cell; some cells train a network.
c.ExecutePreprocessor.timeout = {seconds}
c.ExecutePreprocessor.startup_timeout = 120

# The sandboxed kernel, if you have installed one under that name:
# c.ExecutePreprocessor.kernel_name = "python3-sandboxed"
# c.KernelManager.transport = "ipc"
# c.KernelManager.ip = "/var/tmp/kdcourse-kernels/k"  # absolute: the kernel starts in another folder
'''


@dataclass(frozen=True)
class _Sheet:
    """Hold what one lesson's notebooks are made of."""

    assignment: Assignment
    lesson: Lesson
    questions: tuple[Question, ...]
    seconds: int  # that the lesson states for the machine
    set_up: str  # code that installs the course on Google Colab, where students may open the notebook

    def task(self, task_id: str) -> Task | None:
        """Return the task of that id, or None if it doesn't count."""
        return next((task for task in self.assignment.tasks if task.id == task_id), None)


def assign(
    assignment: Assignment, out: Path = Path("dist"), *, course: Course = COURSE, notebooks: Path = NOTEBOOKS
) -> Path:
    """Build everything that an assignment needs, and return its folder, ``out``/NAME.

    Args:
        assignment: the assignment, as `kdcourse.coursework.assignment.plan` returns it.
        out: parent of its folder. Files of an earlier build are replaced; nbgrader's own files there stay.
        course: the lessons.
        notebooks: the folder of the built notebooks, from which run times and the set-up cell for Colab are taken.

    Raises:
        ArgumentError: ``out``/NAME is something else, or nbgrader is not installed.
        LessonError: a lesson is missing or malformed.
    """
    target = out / assignment.name
    if target.exists() and not (target.is_dir() and (_is_ours(target) or not any(target.iterdir()))):
        raise ArgumentError(
            f"{target} exists and is not an assignment; move it, or choose another --out or name."
        )
    files: dict[Path, str] = {}
    for sheet in _sheets(assignment, course, notebooks):
        name = f"{sheet.lesson.name}.ipynb"
        files[Path(RELEASE, name)] = _text(_release(sheet))
        files[Path(SOLUTIONS, name)] = _text(_notebook(sheet, "solutions"))
        files[Path(NBGRADER, "source", assignment.name, name)] = _text(_notebook(sheet, "source"))
    if course.glossary.is_file():
        for place in {path.parent for path in files}:
            files[place / course.glossary.name] = course.glossary.read_text(encoding="utf-8")
    files[Path(NBGRADER, "nbgrader_config.py")] = _CONFIG.format(name=assignment.name, seconds=CELL_SECONDS)
    # Written last: without it, no command uses a half-built folder.
    files[Path(ASSIGNMENT)] = as_json(assignment)
    for path, text in files.items():
        write_atomically(target / path, text)
    _remove_stale(target, files)
    return target


def _is_ours(target: Path) -> bool:
    return (target / ASSIGNMENT).is_file() or (target / NBGRADER / "nbgrader_config.py").is_file() or (
        {path.name for path in target.iterdir()} <= {RELEASE, SOLUTIONS, NBGRADER}  # a build that was interrupted
    )  # fmt: skip


def _remove_stale(target: Path, files: dict[Path, str]) -> None:
    """Remove notebooks of an earlier build that the assignment no longer has."""
    for place in {path.parent for path in files if path.suffix == ".ipynb"}:
        for path in (target / place).glob("*.ipynb"):
            if place / path.name not in files:
                path.unlink()


def _sheets(assignment: Assignment, course: Course, notebooks: Path) -> Iterator[_Sheet]:
    known = written.read(course)
    for name in assignment.lessons:
        lesson = course.lesson(name)
        asked = written.of_lesson(lesson, known.values())
        there = {exercise.id for exercise in lesson.exercises if exercise.blanks} | {one.id for one in asked}
        missing = [task.id for task in assignment.of_lesson(name) if task.id not in there]
        if missing:
            raise LessonError(
                f"{name} no longer has {missing[0]!r}, which the assignment asks for; plan it again."
            )
        chosen = tuple(one for one in asked if one.id in {task.id for task in assignment.tasks})
        stored = lesson_notebook.stored_notebook(notebooks / f"{name}.ipynb")
        seconds = lesson_notebook.machine_seconds(stored) or lesson.most_seconds
        yield _Sheet(assignment, lesson, chosen, seconds, lesson_notebook.stored_set_up(stored))


# -- notebooks ----------------------------------------------------------------------------------


def _notebook(sheet: _Sheet, kind: Kind) -> Any:
    """Build a lesson's notebook without outputs, as one of the three kinds."""
    from nbformat.v4 import new_markdown_cell

    lesson = sheet.lesson
    notebook = lesson_notebook.learners_notebook(lesson, sheet.set_up)
    exercises = {exercise.id: exercise for exercise in lesson.exercises if exercise.blanks}
    cells: list[Any] = [cell for cell in notebook.cells if "solution" not in cell.metadata]
    made: list[Any] = []
    checked: ExerciseCell | None = None  # whose check comes next: a lesson's exercise has it right below
    for cell in cells:
        if (exercise := exercises.get(cell.metadata.get("exercise", ""))) is not None:
            _mark_task(made[-1], sheet.task(exercise.id))
            _fill_exercise(cell, sheet, exercise, kind)
        made.append(cell)
        if checked is not None:
            _fill_check(cell, sheet, checked, kind)
            asked = [question for question in sheet.questions if question.after == checked.id]
            made += [new for question in asked for new in _question_cells(question, sheet, kind)]
        checked = exercise
    made.insert(1, new_markdown_cell(_about(sheet), id="about-this-assignment"))
    notebook.cells = made
    lesson_notebook.fill(notebook, lesson, sheet.seconds)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _without_other_notebooks(cell.source, sheet.assignment)
    notebook.metadata.kdcourse = lesson_notebook.node(
        {"assignment": sheet.assignment.name, "lesson": lesson.name}
    )
    return notebook


def _fill_exercise(cell: Any, sheet: _Sheet, exercise: ExerciseCell, kind: Kind) -> None:
    if kind == "solutions":
        cell.source = exercise.solution
    elif sheet.task(exercise.id) is not None:
        cell.metadata.nbgrader = _nbgrader(exercise.id, solution=True)
        if kind == "source":
            cell.source = sheet.lesson.cells[exercise.place - 1].text


def _fill_check(cell: Any, sheet: _Sheet, exercise: ExerciseCell, kind: Kind) -> None:
    task = sheet.task(exercise.id)
    if kind == "solutions" or task is None:
        return
    cell.metadata.nbgrader = _nbgrader(f"check-{exercise.id}", points=task.points, grade=True, locked=True)
    if kind == "source":
        seed = sheet.assignment.seed
        hidden = _with_seed(cell.source, exercise.id, seed)
        cell.source = f"{cell.source.rstrip()}\n{BEGIN_HIDDEN}\n{hidden}\n{END_HIDDEN}"


def _with_seed(code: str, exercise: str, seed: int) -> str:
    """Return the call of ``check`` in a cell, with the seed for other inputs."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Call(args=[ast.Constant(value=value), *_]) if value == exercise:
                call = copy.deepcopy(node)
                call.keywords.append(ast.keyword("seed", ast.Constant(seed)))
                return ast.unparse(call)
    raise LessonError(f"No call of check with {exercise!r} in:\n{code}")


def _question_cells(question: Question, sheet: _Sheet, kind: Kind) -> list[Any]:
    """Return the cell of the question and the cell for its answer."""
    from nbformat.v4 import new_markdown_cell

    task = sheet.task(question.id)
    assert task is not None  # only those that count are asked
    worth = f"{question.minutes} minutes, {points_in_words(task.points)}"
    ask = new_markdown_cell(
        f"### Question: {question.title} ({worth})\n\n{question.prompt}", id=f"ask-{question.id}"
    )
    answer = new_markdown_cell(ANSWER_HERE, id=f"answer-{question.id}")
    if kind != "release":
        answer.source = f"{question.answer}\n\n**Rubric**\n\n{task.rubric}"
    if kind != "solutions":
        ask.metadata.nbgrader = _nbgrader(f"ask-{question.id}", locked=True)
        answer.metadata.nbgrader = _nbgrader(question.id, points=task.points, grade=True, solution=True)
    return [ask, answer]


def _nbgrader(
    grade_id: str,
    *,
    points: float | None = None,
    grade: bool = False,
    solution: bool = False,
    locked: bool = False,
) -> Any:
    """Return a cell's metadata in nbgrader's format, version 3."""
    content: dict[str, Any] = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if points is not None:
        content["points"] = int(points) if float(points).is_integer() else points
    return lesson_notebook.node(content)


def _release(sheet: _Sheet) -> Any:
    """Build the students' notebook: locked and with checksums, as by nbgrader's generate_assignment."""
    try:
        from nbgrader.preprocessors import CheckCellMetadata, ComputeChecksums, LockCells
    except ImportError:
        raise ArgumentError(
            'An assignment needs nbgrader, which is not installed: python -m pip install "kdcourse[coursework]"'
        ) from None
    notebook = _notebook(sheet, "release")
    resources: dict[str, Any] = {}
    for preprocessor in (LockCells(), ComputeChecksums(), CheckCellMetadata()):
        notebook, resources = preprocessor.preprocess(notebook, resources)
    return notebook


def _text(notebook: Any) -> str:
    import nbformat

    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


# -- prose --------------------------------------------------------------------------------------


def _about(sheet: _Sheet) -> str:
    assignment, lesson = sheet.assignment, sheet.lesson
    tasks = assignment.of_lesson(lesson.name)
    part = "" if len(assignment.lessons) == 1 else f", of {points_in_words(assignment.points)} in all"
    efforts = {e.id: f"exercise, {e.difficulty}, {e.minutes} minutes" for e in lesson.exercises}
    efforts |= {question.id: f"question, {question.minutes} minutes" for question in sheet.questions}
    return _ABOUT.format(
        title=assignment.title,
        points=points_in_words(sum(task.points for task in tasks)),
        part=part,
        rows="\n".join(f"| {_cell(task.title)} | {efforts[task.id]} | {task.points:g} |" for task in tasks),
        blank=YOUR_TURN,
        file=f"{lesson.name}.ipynb",
    ).rstrip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _mark_task(cell: Any, task: Task | None) -> None:
    """Write an exercise's points below its heading."""
    said = (
        "*For practice only, without points.*"
        if task is None
        else f"*Counts {points_in_words(task.points)}.*"
    )
    cell.source = re.sub(
        r"^(### Exercise:.*)$",
        lambda found: f"{found[1]}\n\n{said}",
        cell.source,
        count=1,
        flags=re.MULTILINE,
    )


def _without_other_notebooks(text: str, assignment: Assignment) -> str:
    """Remove links to notebooks that the assignment doesn't have.

    The words of a link stay. A line that opens the lesson on Colab or Binder is removed: it would open the course's own
    notebook, which contains solutions.
    """
    text = re.sub(
        r"^.*\]\(https://(?:colab\.research\.google\.com|mybinder\.org)/.*\n?", "", text, flags=re.M
    )
    return re.sub(
        r"\[([^\]]*)\]\((\d\d_\w+)\.ipynb\)",
        lambda found: found[0] if found[2] in assignment.lessons else found[1],
        text,
    )
