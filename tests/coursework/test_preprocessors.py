from __future__ import annotations

from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

pytest.importorskip("nbgrader", minversion="0.9.5")

from kdcourse.coursework.assign import ANSWER_HERE
from kdcourse.coursework.preprocessors import HideHiddenTests, NamedBlanks

CHECK = """check("twice", twice)
### BEGIN HIDDEN TESTS
check("twice", twice, seed=77)
### END HIDDEN TESTS"""


def processed(preprocessor: Any, cell: Any) -> Any:
    return preprocessor.preprocess_cell(cell, {"language": "python"}, 0)[0]


def solution(**more: Any) -> dict[str, Any]:
    return {"nbgrader": {"solution": True, "grade": False, "grade_id": "twice", **more}}


def test_students_get_back_the_message_of_a_hidden_try_and_nothing_else_of_it() -> None:
    cell = new_code_cell(CHECK)
    trace = ["\x1b[0;31mAssertionError\x1b[0m", "----> 3 check('twice', twice, seed=77)"]
    cell.outputs = [
        new_output("stream", text="Right ✓\n"),
        new_output("error", ename="AssertionError", evalue="Not yet ✗", traceback=trace),
    ]
    found = processed(HideHiddenTests(), cell)
    assert found.source == 'check("twice", twice)'
    del found["id"]  # drawn at random, which may hold anything
    assert "77" not in str(found) and "HIDDEN" not in str(found)
    assert found.outputs[0].text == "Right ✓\n" and found.outputs[1].traceback == [
        "AssertionError: Not yet ✗"
    ]


@pytest.mark.parametrize("source", ["print(77)", "### END HIDDEN TESTS"])
def test_other_cells_stay_as_they_are(source: str) -> None:
    cell = new_code_cell(source)
    cell.outputs = [new_output("error", ename="E", evalue="e", traceback=["line 1"])]
    found = processed(HideHiddenTests(), cell)
    assert found.source == source and found.outputs[0].traceback == ["line 1"]


def test_a_hidden_region_without_its_end_is_hidden_to_the_last_line() -> None:
    cell = new_code_cell(CHECK.replace("### END HIDDEN TESTS", "more = 77"))
    assert processed(HideHiddenTests(), cell).source == 'check("twice", twice)'


def test_blanks_keep_the_name_that_they_are_to_define() -> None:
    code = "def twice(x):\n    ### BEGIN SOLUTION\n    y = 2 * x\n    ### END SOLUTION\n    return y"
    found = processed(NamedBlanks(), new_code_cell(code, metadata=solution()))
    assert found.source == "def twice(x):\n    y = ...  # your turn\n    return y"
    answer = new_markdown_cell("The model answer.", metadata=solution(grade=True))
    assert processed(NamedBlanks(), answer).source == ANSWER_HERE
    plain = new_code_cell("x = 1")
    assert processed(NamedBlanks(), plain).source == "x = 1"


def test_a_solution_without_markers_is_cleared_altogether() -> None:
    found = processed(NamedBlanks(), new_code_cell("y = 2", metadata=solution()))
    assert "y = 2" not in found.source
