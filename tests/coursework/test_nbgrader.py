"""An assignment goes through the installed nbgrader: its release, its grading, its feedback, its validator.

A real lesson is run from top to bottom, so all of it happens once, for all tests here. Of the other submissions only
the cells that matter are run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config, PyFileConfigLoader

from kdcourse.coursework import assignment
from kdcourse.coursework.assign import assign
from tests.coursework.test_assign import SEED, leaks, secrets
from tools.lessons.build import CHECKOUT

pytest.importorskip("nbgrader", minversion="0.9.5")

LESSON = "04_soft_targets"
RIGHT = {
    "softened_probabilities": "def softened_probabilities(logits, temperature):\n"
    "    exponentials = ((logits - logits.max(dim=1, keepdim=True).values) / temperature).exp()\n"
    "    return exponentials / exponentials.sum(dim=1, keepdim=True)\n",
    "soft_gradient": "def soft_gradient(student_logits, teacher_logits, temperature):\n"
    "    q, p = (torch.softmax(z / temperature, dim=1) for z in (student_logits, teacher_logits))\n"
    "    return (q - p) / (temperature * len(student_logits))\n",
    "why_soften": "Since one class has nearly all, and $1 > 0.99$.",
}
# Right on the tries that everybody can look up, and on no others.
FROM_A_TABLE = (
    "def softened_probabilities(logits, temperature):\n"
    "    from kdcourse.course import exercise\n"
    "    asked = exercise('softened_probabilities')\n"
    "    for probe in asked.probes:\n"
    "        if logits.shape == probe.inputs[0].shape and torch.equal(logits, probe.inputs[0]):\n"
    "            return asked.solution(logits, temperature)\n"
    "    return logits\n"
)
WRONG = RIGHT | {
    "softened_probabilities": FROM_A_TABLE,
    "soft_gradient": RIGHT["soft_gradient"].replace("(q - p)", "(p - q)"),
}


@dataclass(frozen=True)
class Course:
    """A course that nbgrader has been through."""

    made: Path
    generated: dict[str, Any]
    gradebook: dict[str, dict[str, Any]]
    feedback: dict[str, str]


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Kernels import this package and write nobody's files."""
    own = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("KDCOURSE_RUNS", str(own / "runs"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(own / "runtime"))
        patch.setenv("IPYTHONDIR", str(own / "ipython"))
        patch.setenv("XDG_CACHE_HOME", str(own / "cache"))
        yield patch


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    planned = assignment.plan(
        [LESSON],
        name="week-4",
        exercises=["softened_probabilities", "soft_gradient"],
        questions=["why_soften"],
        points={"soft_gradient": 2.5},
        seed=SEED,
    )
    return assign(planned, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def config(made: Path) -> Config:
    found: Config = PyFileConfigLoader("nbgrader_config.py", str(made / "nbgrader")).load_config()
    return found


@pytest.fixture(scope="module")
def course(made: Path, config: Config, surroundings: pytest.MonkeyPatch) -> Course:
    from nbgrader.api import Gradebook
    from nbgrader.apps import NbGraderAPI

    api = NbGraderAPI(config=config)
    root = made / "nbgrader"
    succeeded(api.generate_assignment("week-4"))
    answers: dict[str, dict[str, str]] = {"right": RIGHT, "wrong": WRONG, "untouched": {}}
    for student, given in answers.items():
        path = root / "submitted" / student / "week-4" / f"{LESSON}.ipynb"
        path.parent.mkdir(parents=True)
        submission = answered(made / "release" / path.name, given)
        path.write_text(json.dumps(submission if student == "right" else graded_alone(submission)))
        succeeded(api.autograde("week-4", student))
        succeeded(api.generate_feedback("week-4", student))
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        rows = {
            student: {
                grade.name: (grade.auto_score, grade.max_score, grade.needs_manual_grade)
                for grade in gradebook.find_submission("week-4", student).notebooks[0].grades
            }
            for student in answers
        }
    html = {name: (root / "feedback" / name / "week-4" / f"{LESSON}.html").read_text() for name in answers}
    generated = json.loads((root / "release" / "week-4" / f"{LESSON}.ipynb").read_text())
    return Course(made, generated, rows, html)


def succeeded(result: dict[str, Any]) -> None:
    assert result["success"], result.get("error") or result.get("log")


def answered(release: Path, given: dict[str, str]) -> dict[str, Any]:
    """A released notebook in which a student has written."""
    notebook: dict[str, Any] = json.loads(release.read_text())
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if name in given:
            cell["source"] = given[name]
    return notebook


def graded_alone(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook of the lesson's imports and of what is graded, without the lesson between."""
    cells = notebook["cells"]
    kept = [
        cell for cell in cells if cell["metadata"].get("nbgrader") or "import torch" in str(cell["source"])
    ]
    return notebook | {"cells": kept}


@pytest.mark.slow(seconds=90)
def test_nbgrader_releases_just_what_the_command_does(course: Course) -> None:
    ours = json.loads((course.made / "release" / f"{LESSON}.ipynb").read_text())
    assert course.generated["cells"] == ours["cells"]  # blanks, locks and checksums included
    assert course.generated["metadata"] == ours["metadata"]
    assert leaks(course.generated, secrets()) == set()


@pytest.mark.slow(seconds=90)
def test_right_answers_earn_their_points_and_wrong_and_missing_ones_none(course: Course) -> None:
    soft, gradient, question = (
        "check-softened_probabilities",
        "check-soft_gradient",
        "why_soften",
    )
    assert course.gradebook["right"] == {
        soft: (1, 1, False), gradient: (2.5, 2.5, False), question: (None, 3, True),
    }  # fmt: skip
    assert course.gradebook["wrong"] == {
        soft: (0, 1, False), gradient: (0, 2.5, False), question: (None, 3, True),
    }  # fmt: skip
    assert course.gradebook["untouched"] == {
        soft: (0, 1, False), gradient: (0, 2.5, False), question: (0, 3, False),
    }  # fmt: skip


@pytest.mark.slow(seconds=90)
def test_nothing_but_the_answers_stops_a_notebook(course: Course) -> None:
    path = course.made / "nbgrader" / "autograded" / "right" / "week-4" / f"{LESSON}.ipynb"
    cells = json.loads(path.read_text())["cells"]
    stopped = [
        "".join(cell["source"])
        for cell in cells
        if any(output["output_type"] == "error" for output in cell.get("outputs", []))
    ]
    assert stopped == [  # the lesson's other exercises, left as practice and not attempted
        'check("entropy_nats", entropy_nats)',
        'check("matching_logits_gradient", matching_logits_gradient)',
    ]


@pytest.mark.slow(seconds=90)
@pytest.mark.parametrize("student", ["right", "wrong", "untouched"])
def test_feedback_shows_verdicts_and_no_hidden_tries(student: str, course: Course) -> None:
    page = course.feedback[student]
    assert str(SEED) not in page and "HIDDEN TESTS" not in page
    said = {"right": "Right", "wrong": "Not yet", "untouched": "Not attempted yet"}[student]
    assert said in page
    assert ("Probabilities at a temperature" in page) == (student == "right")  # whose notebook was whole
    # The graders' copy has them: what was taken out of the page was there.
    graded = course.made / "nbgrader" / "autograded" / student / "week-4" / f"{LESSON}.ipynb"
    assert str(SEED) in graded.read_text()


@pytest.mark.slow(seconds=90)
def test_the_validator_passes_what_is_right_and_names_what_is_not(
    made: Path, config: Config, surroundings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nbgrader.validator import Validator

    half = {name: RIGHT[name] for name in ("softened_probabilities", "why_soften")}
    path = tmp_path / f"{LESSON}.ipynb"
    path.write_text(json.dumps(graded_alone(answered(made / "release" / path.name, half))))
    found = Validator(config=config).validate(str(path))
    assert set(found) == {"failed"}
    assert [cell["source"] for cell in found["failed"]] == ['check("soft_gradient", soft_gradient)']
    assert "Not attempted yet" in found["failed"][0]["raw_error"]


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda cell: cell.update(source="print('right')"), "changed"),
        (lambda cell: cell.update(cell_type="markdown"), "type_changed"),
    ],
)
def test_the_validator_sees_a_check_that_was_changed(
    edit: Callable[[dict[str, Any]], None], found: str, made: Path, config: Config, tmp_path: Path
) -> None:
    from nbgrader.validator import Validator

    path = tmp_path / f"{LESSON}.ipynb"
    notebook = answered(made / "release" / path.name, {})
    cells = [cell for cell in notebook["cells"] if "grade_id" in str(cell["metadata"].get("nbgrader"))]
    edit(next(cell for cell in cells if cell["metadata"]["nbgrader"]["grade_id"] == "check-soft_gradient"))
    notebook["cells"] = cells  # the lesson itself needs not be run for this
    path.write_text(json.dumps(notebook))
    assert set(Validator(config=config).validate(str(path))) == {found}
