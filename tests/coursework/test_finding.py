"""An answer is found wherever a student, or a tool, has put it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from kdcourse.coursework import assign
from kdcourse.coursework.finding import ANSWER_HERE, answered, find, is_blank
from kdcourse.coursework.notebooks import Cell
from kdcourse.coursework.records import Answer, Task
from kdcourse.coursework.slicing import python

TASK = Task("halve", "code", "04_soft_targets", "Halve it", 2)
ASKED = Task("why", "written", "04_soft_targets", "Why halve?", 3)
SETUP = "import math\nfrom kdcourse.course import check"
BLANK = 'def halve(x):\n    """Half of x."""\n    half = ...  # your turn\n    return half'
DONE = BLANK.replace("...  # your turn", "x / 2")
CHECK = 'check("halve", halve)'
QUESTION = "### Question: Why halve? (5 minutes, 3 points)\n\nSay why."


def code(source: str, *names: str) -> Cell:
    return Cell(0, "code", source, names)


def prose(source: str, *names: str) -> Cell:
    return Cell(0, "markdown", source, names)


def placed(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    return tuple(replace(cell, place=place) for place, cell in enumerate(cells, start=1))


def look(*cells: Cell, task: Task = TASK, given: Sequence[Cell] = ()) -> Answer:
    return find(placed(cells), task, placed(given))


def call(answer: Answer, *inputs: Any) -> Any:
    space: dict[str, Any] = {}
    for piece in answer.pieces:
        exec(compile(piece, "<piece>", "exec", dont_inherit=True), space)
    return space[answer.function](*inputs)


EXERCISE, CHECKING = code(DONE, "halve", "exercise-halve"), code(CHECK, "check-halve")


def test_an_exercise_as_it_was_handed_out_and_filled() -> None:
    answer = look(code(SETUP), EXERCISE, CHECKING)
    assert (answer.found_by, answer.function, answer.problem, answer.note) == ("id", "halve", "", "")
    assert answer.pieces == (DONE,) and answer.text == DONE and call(answer, 3) == 1.5
    assert answered(answer)


def test_a_blank_is_found_and_is_no_answer() -> None:
    answer = look(code(BLANK, "halve"), CHECKING)
    assert (
        answer.found_by == "id" and answer.pieces == (BLANK,) and not answered(answer) and not answer.problem
    )


@pytest.mark.parametrize("name", ["halve", "exercise-halve"])
def test_ids_of_any_make_and_none_at_all(name: str) -> None:
    assert look(code(DONE, name), code(CHECK)).found_by == "id"
    assert look(code(DONE), code(CHECK)).found_by == "name"


def test_merged_split_and_reordered_cells() -> None:
    merged = look(code(f"{SETUP}\n{DONE}\n{CHECK}\nmodel.train_for_ever()"))
    assert merged.found_by == "name" and merged.pieces == (DONE,)
    split = look(
        code(SETUP),
        code("def halve(x):\n    return mine(x)"),
        code("def mine(x):\n    return math.floor(x) / 2"),
    )
    assert call(split, 3) == 1.5
    turned = look(CHECKING, EXERCISE, code(SETUP))
    assert call(turned, 3) == 1.5 and turned.found_by == "id"


def test_of_duplicates_the_last_that_is_not_blank_counts_and_it_is_said() -> None:
    better = DONE.replace("x / 2", "x * 0.5")
    answer = look(EXERCISE, code(better, "halve"), code(BLANK, "halve"), CHECKING)
    assert answer.text == better and "more than once (cells 1, 2); the last one, in cell 2" in answer.note
    assert look(EXERCISE, EXERCISE, CHECKING).note == ""


def test_experiments_below_the_check_are_no_answer_unless_there_is_no_other() -> None:
    spoiled = code(DONE.replace("x / 2", "x / 3"))
    assert look(EXERCISE, CHECKING, spoiled).text == DONE
    assert look(EXERCISE, CHECKING, spoiled, CHECKING).text == spoiled.source
    assert look(code(BLANK, "halve"), CHECKING, code(DONE)).text == DONE
    assert look(code(DONE, "halve"), CHECKING, code(spoiled.source, "halve")).text == spoiled.source


def test_a_variable_of_the_functions_name_is_no_answer() -> None:
    assert look(EXERCISE, code("halve = 0.5"), CHECKING).text == DONE
    assert look(code("halve = lambda x: x / 2"), CHECKING).text == "halve = lambda x: x / 2"
    assert call(look(code("def mine(x): return x / 2"), code("halve = mine")), 3) == 1.5


def test_a_renamed_function_is_taken_for_what_its_cell_or_check_says() -> None:
    renamed = DONE.replace("halve", "my_half")
    answer = look(code(renamed, "halve"), CHECKING)
    assert (
        answer.function == "my_half" and "called my_half, not halve" in answer.note and call(answer, 3) == 1.5
    )
    told = look(code(BLANK, "halve"), code(renamed), code('check("halve", my_half)'))
    assert told.function == "my_half" and told.found_by == "name"
    aid = look(code(f"def aid(x): return x\n\n{BLANK}", "halve"), CHECKING)
    assert aid.function == "halve" and not answered(aid)


def test_magics_shell_lines_and_a_slip_elsewhere_in_the_cell_cost_nothing() -> None:
    assert call(look(code(f"%%time\n{DONE}\n!ls\nhalve?")), 3) == 1.5
    assert call(look(code(f"{DONE}\nprint(halve(2)")), 3) == 1.5
    assert call(look(prose(DONE, "halve"), CHECKING), 3) == 1.5
    assert "no longer a code cell" in look(prose(DONE, "halve"), CHECKING).note


@pytest.mark.parametrize("fence", ["```python\n{}\n```", "```\n{}\n```\n", "~~~py\n{}\n~~~"])
def test_a_fenced_cell_that_was_turned_into_text_is_read_as_code(fence: str) -> None:
    answer = look(prose(fence.format(f"import math\n\n{DONE}"), "halve"), CHECKING)
    assert call(answer, 3) == 1.5 and "no longer a code cell" in answer.note
    assert look(prose(f"See:\n```\n{DONE}\n```")).problem


def test_modules_of_the_students_own_come_along() -> None:
    uses = code("from helpers import half\nimport math\n\ndef halve(x):\n    return half(x)", "halve")
    written = code("%%writefile helpers.py\nimport deeper\nhalf = deeper.half\n")
    handed = {"deeper": "def half(x):\n    return x / 2", "unused": "1 / 0", "helpers": "half = None"}
    answer = find(placed([written, uses, CHECKING]), TASK, modules=handed)
    assert dict(answer.modules) == {
        "helpers": "import deeper\nhalf = deeper.half\n\n",
        "deeper": handed["deeper"],
    }
    assert find(placed([uses]), TASK, modules=handed).modules == (("helpers", "half = None"),)
    other = find(placed([uses]), TASK, modules={**handed, "helpers": "half = abs"})
    assert other.fingerprint not in (answer.fingerprint, "") and look(uses).modules == ()
    appended = code("%%writefile -a helpers.py\nmore = 1\n")
    assert look(written, appended, uses).modules[0][1].endswith("\nmore = 1\n\n")


def test_what_the_notebooks_own_check_said_is_known() -> None:
    said = Cell(0, "code", CHECK, ("check-halve",), ("halve",))
    assert look(EXERCISE, said).called_right and not look(EXERCISE, CHECKING).called_right
    assert not look(EXERCISE, Cell(0, "code", CHECK, (), ("twice",))).called_right


def test_calls_of_a_lesson_without_any_ids_are_not_run() -> None:
    answer = look(
        code("import torch\ntorch.train_for_hours()"), code("import torch\n\ndef halve(x):\n    return torch")
    )
    assert "train_for_hours" not in "".join(answer.pieces)


def test_code_that_is_no_python_is_told_with_its_line() -> None:
    answer = look(code(SETUP), code("# mine\ndef halve(x):\n    return x /", "halve"), CHECKING)
    assert answer.problem == "The code of halve (cell 2) is not valid Python: line 3: invalid syntax."
    assert answer.text.startswith("def halve") and answer.pieces == () and answered(answer)
    later = look(code(DONE), code("def halve(x):\n  return x /"), CHECKING)
    assert call(later, 3) == 1.5 and "cell 2, is not valid Python" in later.note
    assert "is not valid Python" in look(code("half = x /", "halve")).problem


def test_what_is_missing_is_told() -> None:
    assert (
        look(code(SETUP)).problem
        == "There is no cell of halve, and no function of that name in any other cell."
    )
    emptied = look(code("x = 3", "halve"), CHECKING)
    assert (
        "nor any other cell has the function halve" in emptied.problem
        and emptied.found_by == "id"
        and not answered(emptied)
    )


def test_deleted_imports_come_from_the_notebook_that_was_handed_out() -> None:
    lost = code("def halve(x):\n    return math.floor(x) / 2", "halve")
    with pytest.raises(NameError):
        call(look(lost), 3)
    assert call(look(lost, given=[code(SETUP), code(BLANK, "halve")]), 3) == 1.5


def test_postponed_annotations_hold_for_every_piece() -> None:
    answer = look(
        code("from __future__ import annotations"),
        code("def halve(x: Unknown) -> Nothing:\n    return x / 2"),
    )
    assert call(answer, 3) == 1.5


def test_an_answer_that_needs_too_much_is_a_problem() -> None:
    chain = "\n".join(["x0 = 0"] + [f"x{n} = x{n - 1}" for n in range(1, 1_500)])
    answer = look(code(chain), code("def halve(x):\n    return x1499", "halve"))
    assert "too much of the notebook" in answer.problem and answer.pieces == ()


@pytest.mark.parametrize(
    ("source", "blank"),
    [
        ("def f():\n    ...", True),
        ("def f():\n    'What it does.'\n    pass", True),
        ("def f():\n    raise NotImplementedError('later')", True),
        ("def f(x):\n    y = ...\n    return y", True),
        ("def f(x):\n    return x[..., 0]", False),
        ("def f(x: tuple[int, ...]):\n    return x", False),
        ("def f(x):\n    raise ValueError", False),
        ("f = lambda: ...", True),
    ],
)
def test_what_is_blank(source: str, blank: bool) -> None:
    assert is_blank(python(source).body[0]) is blank


# -- fingerprints ---------------------------------------------------------------------------------

COPY = """import math as m
def halve(number: float) -> float:
    "Mine, I swear."
    # a comment
    result = (number
              / 2)

    return result"""


def test_a_copy_in_other_words_has_the_same_fingerprint() -> None:
    assert look(code(DONE)).fingerprint == look(code(COPY)).fingerprint != ""
    with_aid = "def {0}(a):\n    return m.floor(a)\ndef halve(x):\n    return {0}(x) / 2"
    one = look(code("import math as m"), code(with_aid.format("g")))
    other = look(code("import math as mm"), code(with_aid.format("down").replace("m.", "mm.")))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    "other", ["x / 3", "2 / x", "0.5 * x", "math.floor(x / 2)", "x // 2", "other(x)", "x.half"]
)
def test_another_answer_has_another_fingerprint(other: str) -> None:
    changed = look(code(SETUP), code(DONE.replace("x / 2", other)))
    assert changed.fingerprint not in ("", look(code(SETUP), code(DONE)).fingerprint)


def test_what_an_aid_does_is_part_of_the_fingerprint() -> None:
    one, other = (look(code(f"def h(x): return x / {n}"), code("def halve(x): return h(x)")) for n in (2, 3))
    assert one.fingerprint != other.fingerprint


# -- written --------------------------------------------------------------------------------------

ASKING, WAITING = prose(QUESTION, "ask-why"), prose(assign.ANSWER_HERE, "why", "answer-why")


def test_the_line_that_stands_for_an_answer_is_no_answer() -> None:
    assert ANSWER_HERE in assign.ANSWER_HERE
    for text in (assign.ANSWER_HERE, "", "YOUR ANSWER HERE", " \n"):
        answer = look(ASKING, prose(text, "why"), task=ASKED)
        assert answer.found_by == "id" and answer.text == "" and not answered(answer) and not answer.problem


def test_a_written_answer_is_found_by_its_id() -> None:
    answer = look(ASKING, prose(f"{assign.ANSWER_HERE}\n\nBecause *two*.", "why"), task=ASKED)
    assert (answer.found_by, answer.text) == ("id", "Because *two*.") and answered(answer)
    same = look(prose("because   TWO", "answer-why"), task=ASKED)
    assert same.fingerprint == answer.fingerprint


def test_a_written_answer_without_ids_is_found_below_its_question() -> None:
    lesson = prose("Now all pictures, over a range.")
    answer = look(prose(QUESTION), prose("Because."), lesson, code("x = 1"), task=ASKED)
    assert (answer.found_by, answer.text) == ("name", "Because.")
    given = [ASKING, WAITING, lesson]
    more = look(
        prose(QUESTION), prose(assign.ANSWER_HERE), prose("Because."), lesson, task=ASKED, given=given
    )
    assert more.text == "Because."


def test_the_lessons_own_prose_is_never_taken_for_an_answer() -> None:
    lesson = prose("Now all pictures.", "markdown-0123456789ab")
    assert look(ASKING, WAITING, lesson, task=ASKED).text == ""
    assert look(ASKING, WAITING, prose("Because.", "3f2a"), lesson, task=ASKED).text == "Because."
    assert (
        look(ASKING, WAITING, prose("Now all."), task=ASKED, given=[ASKING, WAITING, prose("Now all.")]).text
        == ""
    )


def test_several_written_answers_are_all_shown_and_a_missing_one_is_told() -> None:
    several = look(ASKING, prose("One.", "why"), prose("Two.", "why"), task=ASKED)
    assert several.text == "One.\n\nTwo." and "several answers" in several.note
    assert "is missing" in look(code(SETUP), task=ASKED).problem
    merged = look(prose(f"{QUESTION}\n\nBecause.", "ask-why"), code(SETUP), task=ASKED)
    assert merged.text.endswith("Because.")


# -- anything -------------------------------------------------------------------------------------

lines = st.sampled_from(
    [
        DONE,
        BLANK,
        CHECK,
        SETUP,
        QUESTION,
        "def halve(",
        "halve = 3",
        "halve = halve",
        "%%time",
        "import halve",
        "del halve",
    ]
)
any_cell = st.builds(
    Cell,
    st.just(0),
    st.sampled_from(["code", "markdown", "raw"]),
    st.lists(lines | st.text(max_size=10), max_size=4).map("\n".join),
    st.lists(st.sampled_from(["halve", "why", "check-halve", "ask-why", "x"]), max_size=2).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given_any(st.lists(any_cell, max_size=6), st.lists(any_cell, max_size=3))
def test_no_cells_ever_raise(cells: list[Cell], given: list[Cell]) -> None:
    for task in (TASK, ASKED):
        answer = look(*cells, task=task, given=given)
        assert answer.problem or answer.text or answer.found_by
        assert not (answer.problem and answer.pieces)
        for piece in answer.pieces:
            compile(piece, "<piece>", "exec", dont_inherit=True)
