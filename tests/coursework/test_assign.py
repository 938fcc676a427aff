from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from typer.testing import CliRunner

from kdcourse import cli
from kdcourse.checks import varied
from kdcourse.checks.observe import observe_ours
from kdcourse.course import COURSE, Course, exercise
from kdcourse.course.source import BEGIN, END
from kdcourse.coursework import assignment, questions
from kdcourse.coursework.assign import ANSWER_HERE, ASSIGNMENT, assign
from kdcourse.coursework.records import Assignment
from kdcourse.errors import ArgumentError, LessonError
from tests.coursework import small

SEED = 1_987_654_321


@pytest.fixture
def lessons(tmp_path: Path) -> Course:
    return small.write(tmp_path / "lessons")


@pytest.fixture
def planned(lessons: Course) -> Assignment:
    return assignment.plan(["00", "01"], name="week", course=lessons, seed=SEED)


def cells(path: Path) -> dict[str, Any]:
    """Cells by nbgrader's grade_id, else by their own."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return {cell.metadata.get("nbgrader", {}).get("grade_id", cell.id): cell for cell in notebook.cells}


def every_file(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what is built ------------------------------------------------------------------------------


def test_an_assignment_is_three_notebooks_a_lesson_and_a_course(
    planned: Assignment, lessons: Course, tmp_path: Path
) -> None:
    made = assign(planned, tmp_path / "dist", course=lessons)
    assert made == tmp_path / "dist" / "week"
    names = {"00_warm.ipynb", "01_taught.ipynb", "glossary.md"}
    places = ("release", "solutions", "nbgrader/source/week")
    assert set(every_file(made)) == {f"{place}/{name}" for place in places for name in names} | {
        "nbgrader/nbgrader_config.py",
        "assignment.json",
    }
    assert assignment.load(made / ASSIGNMENT) == planned
    released = cells(made / "release" / "00_warm.ipynb")
    assert released["entropy_nats"].source.endswith(
        "    logarithms = ...  # your turn\n    ...  # your turn"  # as the lesson's own notebook has it
    )
    assert released["check-entropy_nats"].source == 'check("entropy_nats", entropy_nats)'
    grading = released["check-entropy_nats"].metadata
    assert (grading.nbgrader.points, grading.nbgrader.locked, grading.editable) == (2, True, False)
    assert released["why_warm"].source == ANSWER_HERE and released["why_warm"].metadata.nbgrader.points == 3
    assert list(released).index("why_warm") == list(released).index("check-entropy_nats") + 2
    assert "4 minutes, 3 points" in released["ask-why_warm"].source


def test_students_are_told_what_counts(planned: Assignment, lessons: Course, tmp_path: Path) -> None:
    about = cells(assign(planned, tmp_path, course=lessons) / "release" / "00_warm.ipynb")[
        "about-this-assignment"
    ]
    assert "counts for **6 points**, of 11.5 points in all" in about.source
    assert "| The entropy of soft targets | exercise, medium, 3 minutes | 2 |" in about.source
    assert "| Why warm \\| up | question, 4 minutes | 3 |" in about.source


def test_the_source_has_solutions_hidden_tries_and_rubrics_the_solutions_no_tries(
    planned: Assignment, lessons: Course, tmp_path: Path
) -> None:
    made = assign(planned, tmp_path, course=lessons)
    source = cells(made / "nbgrader" / "source" / "week" / "00_warm.ipynb")
    assert source["softened_probabilities"].source == small.SOFTEN
    assert source["check-softened_probabilities"].source == (
        'check("softened_probabilities", softened_probabilities)\n'
        "### BEGIN HIDDEN TESTS\n"
        f"check('softened_probabilities', softened_probabilities, seed={SEED})\n"
        "### END HIDDEN TESTS"
    )
    assert (
        "dark knowledge" in source["why_warm"].source and "- 2 points: the order" in source["why_warm"].source
    )
    path = made / "solutions" / "00_warm.ipynb"
    solved, text = cells(path), path.read_text()
    assert "torch.softmax(logits / temperature, dim=1)" in solved["exercise-softened_probabilities"].source
    assert "dark knowledge" in solved["answer-why_warm"].source
    assert (
        str(SEED) not in text and "HIDDEN" not in text and "SOLUTION" not in text and "nbgrader" not in text
    )


def test_an_exercise_that_does_not_count_stays_as_practice(lessons: Course, tmp_path: Path) -> None:
    chosen = assignment.plan(["00"], exercises=["entropy_nats"], questions=[], course=lessons, seed=SEED)
    made = assign(chosen, tmp_path, course=lessons)
    for kind in ("release", "nbgrader/source/00_warm"):
        found = cells(made / kind / "00_warm.ipynb")
        practice = found["exercise-softened_probabilities"]
        assert "...  # your turn" in practice.source and "nbgrader" not in practice.metadata
        assert "SOLUTION" not in practice.source
        assert not any("why_warm" in name for name in found)
    prose = "\n".join(cell.source for cell in found.values() if cell.cell_type == "markdown")
    assert "### Exercise: soften (easy, 3 minutes)\n\n*For practice only, without points.*" in prose
    assert "### Exercise: entropy (medium, 3 minutes)\n\n*Counts 2 points.*" in prose


def test_links_lead_only_to_notebooks_that_are_there(lessons: Course, tmp_path: Path) -> None:
    source = lessons.folder / "warm" / "lesson.py"
    away = "# [Open in Colab](https://colab.research.google.com/github/x/y/blob/v1/notebooks/00_warm.ipynb)\n"
    source.write_text(source.read_text().replace("# ## Objectives\n", away + "# ## Objectives\n"))
    chosen = assignment.plan(["00"], course=lessons, seed=SEED)
    text = (assign(chosen, tmp_path, course=lessons) / "release" / "00_warm.ipynb").read_text()
    assert "[lesson 00](00_warm.ipynb), lesson 01 and the last." in text
    assert "[glossary](glossary.md)" in text and "{{" not in text
    assert "colab.research" not in text  # it would open the course's own notebook, solutions and all


def test_building_again_gives_the_same_bytes(planned: Assignment, lessons: Course, tmp_path: Path) -> None:
    first = every_file(assign(planned, tmp_path / "one", course=lessons))
    assign(planned, tmp_path / "one", course=lessons)
    again = every_file(assign(planned, tmp_path / "two", course=lessons))
    assert every_file(tmp_path / "one" / "week") == first == again


def test_a_rebuild_keeps_what_nbgrader_has_and_drops_what_is_no_longer_asked(
    planned: Assignment, lessons: Course, tmp_path: Path
) -> None:
    made = assign(planned, tmp_path, course=lessons)
    kept = [
        made / "nbgrader" / "gradebook.db",
        made / "nbgrader" / "submitted" / "ada" / "week" / "01_taught.ipynb",
    ]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    assign(assignment.plan(["00"], name="week", course=lessons, seed=SEED), tmp_path, course=lessons)
    left = every_file(made)
    assert all(path.read_text() == "theirs" for path in kept)
    assert [name for name in left if "01_taught" in name] == ["nbgrader/submitted/ada/week/01_taught.ipynb"]


def test_a_folder_of_something_else_is_left_alone(
    planned: Assignment, lessons: Course, tmp_path: Path
) -> None:
    (tmp_path / "week").mkdir()
    (tmp_path / "week" / "thesis.tex").write_text("three years")
    with pytest.raises(ArgumentError, match="is not an assignment; move it"):
        assign(planned, tmp_path, course=lessons)
    assert every_file(tmp_path / "week") == {"thesis.tex": b"three years"}
    (tmp_path / "week" / "thesis.tex").unlink()
    assert (assign(planned, tmp_path, course=lessons) / ASSIGNMENT).is_file()


def test_an_assignment_of_a_lesson_that_has_changed_is_refused(
    planned: Assignment, lessons: Course, tmp_path: Path
) -> None:
    (lessons.folder / "warm" / "questions.toml").unlink()
    with pytest.raises(LessonError, match="no longer has 'why_warm'"):
        assign(planned, tmp_path / "dist", course=lessons)
    assert not (tmp_path / "dist").exists()


# -- nothing leaks ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> tuple[Assignment, Path]:
    """All lessons as one assignment."""
    everything = assignment.plan(COURSE.order, name="all", seed=SEED)
    return everything, assign(everything, tmp_path_factory.mktemp("dist"))


def texts(value: Any) -> Iterator[str]:
    """Every string in a notebook: sources, outputs, metadata, attachments; lists of lines as one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield "".join(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)
    else:
        yield repr(value)


def squeezed(text: str) -> str:
    return "".join(text.split()).replace('"', "'")


@cache
def secrets() -> dict[str, str]:
    """What students must not find, by what it is, blank space left out."""
    found = {"seed": str(SEED), "hidden tests": "HIDDENTESTS"}
    found |= {"solution begins": squeezed(BEGIN), "solution ends": squeezed(END)}
    for lesson in COURSE.lessons():
        for cell in lesson.exercises:
            for number, region in enumerate(regions(lesson.cells[cell.place - 1].text)):
                found[f"solution of {cell.id}, {number}"] = squeezed(region)
            for number, value in enumerate(expected(cell.id)):
                found[f"expected of {cell.id}, {number}"] = value
    for one in questions.read().values():
        found |= {
            f"answer to {one.id}, {n}": squeezed(line) for n, line in enumerate(one.answer.split("\n\n"))
        }
        found |= {f"rubric of {one.id}, {n}": squeezed(what) for n, (_, what) in enumerate(one.criteria)}
    return found


def regions(code: str) -> list[str]:
    return [part.split(END)[0] for part in code.split(BEGIN)[1:]]


def expected(exercise_id: str) -> list[str]:
    """Right results on visible and hidden inputs, to five digits where they have so many."""
    found = set()
    asked = exercise(exercise_id)
    for tried in (asked, varied(asked, SEED)):
        for outcome in observe_ours(tried, asked.solution):
            found |= {f"{number:.5g}" for number in numbers(list(outcome.parts.values()))}
    return sorted(text for text in found if len(text.strip("-0.").replace(".", "")) == 5 and "e" not in text)


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, torch.Tensor):
        yield from value.double().flatten().tolist()
    elif isinstance(value, float):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from numbers(item)


def leaks(notebook: Any, hidden: dict[str, str]) -> set[str]:
    whole = "\n".join(squeezed(text) for text in texts(notebook))
    return {what for what, text in hidden.items() if text in whole}


@pytest.mark.slow
def test_nothing_that_a_student_gets_holds_solution_hidden_try_expected_value_or_model_answer(
    course: tuple[Assignment, Path],
) -> None:
    _, made = course
    hidden = secrets()
    assert len(hidden) > 300
    seen = set()
    for path in sorted((made / "release").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert leaks(notebook, hidden) == set(), path.name
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
        assert not any("attachments" in cell for cell in notebook["cells"])
        seen |= leaks(json.loads((made / "nbgrader/source/all" / path.name).read_text()), hidden)
    # The scan finds what the instructor's own notebooks do hold: all but the expected values, which nothing holds.
    assert {what for what in hidden if not what.startswith("expected")} == seen


@pytest.mark.slow
def test_the_scan_looks_into_outputs_and_metadata_too(course: tuple[Assignment, Path]) -> None:
    _, made = course
    clean = json.loads((made / "release" / "04_soft_targets.ipynb").read_text())
    hidden = secrets()
    value = next(text for what, text in hidden.items() if what.startswith("expected of soft_gradient"))
    planted = copy.deepcopy(clean)
    planted["cells"][3]["outputs"] = [{"output_type": "stream", "text": [f"tensor([[{value}, 0.]])\n"]}]
    assert any(what.startswith("expected of soft_gradient") for what in leaks(planted, hidden))
    planted = copy.deepcopy(clean)
    planted["cells"][5]["metadata"]["note"] = {"seed": SEED}
    assert leaks(planted, hidden) == {"seed"}


def test_every_function_that_is_asked_for_has_its_blank(course: tuple[Assignment, Path]) -> None:
    everything, made = course
    for task in everything.tasks:
        found = cells(made / "release" / f"{task.lesson}.ipynb")
        if task.kind == "written":
            assert found[task.id].source == ANSWER_HERE
            continue
        defined = [
            cell.source
            for cell in found.values()
            if cell.cell_type == "code"
            and any(
                isinstance(n, ast.FunctionDef) and n.name == task.id for n in ast.walk(ast.parse(cell.source))
            )
        ]
        assert len(defined) == 1 and "...  # your turn" in defined[0]


# -- the command --------------------------------------------------------------------------------


def test_the_command_builds_what_a_variant_asks(tmp_path: Path) -> None:
    variant = tmp_path / "week.toml"
    variant.write_text('name = "week"\nlessons = ["04"]\nexercises = ["soft_gradient"]\nquestions = []\n')
    out = ["--variant", str(variant), "--out", str(tmp_path / "dist"), "--seed", "5"]
    told = CliRunner().invoke(cli.app, ["assign", *out])
    assert told.exit_code == 0, told.output
    assert "week: Soft targets and temperature, 2 points" in told.output
    assert "  soft_gradient  code         2  The gradient that soft targets send back" in told.output
    kept = assignment.load(tmp_path / "dist" / "week" / ASSIGNMENT)
    assert kept.seed == 5 and (tmp_path / "dist" / "week" / "release" / "04_soft_targets.ipynb").is_file()


def test_what_the_command_cannot_do_is_said_in_a_line(tmp_path: Path) -> None:
    for arguments, said in (
        ([], "name at least one"),
        (["12"], "There is no lesson '12'; there are 00_start_here"),
    ):
        told = CliRunner().invoke(cli.app, ["assign", *arguments, "--out", str(tmp_path)])
        assert told.exit_code == 2 and said in told.output and "Traceback" not in told.output
    assert not list(tmp_path.iterdir())
