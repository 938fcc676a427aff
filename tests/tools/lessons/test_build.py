from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import v4

from kdcourse.course import Course, source
from kdcourse.course.notebook import fill, learners_notebook, only_displays
from kdcourse.course.showing import WIDGET_VIEW
from kdcourse.errors import LessonError
from tests.course import tiny
from tools.lessons import build as room
from tools.lessons.__main__ import main


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with course/ and notebooks/ in it, built once, and what was said."""
    folder, said = tmp_path_factory.mktemp("tiny"), []
    course = tiny.write(folder / "course")
    course.glossary.write_text("# Glossary\n")
    room.build(course=course, notebooks=folder / "notebooks", say=said.append)
    return folder, said


def _course(folder: Path) -> Course:
    return Course(folder / "course", ("twice",))


def _notebook(folder: Path) -> Any:
    return nbformat.read(folder / "notebooks" / "00_twice.ipynb", as_version=4)


@pytest.mark.slow
def test_a_claim_that_was_not_measured_elsewhere_is_named(
    built: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, said = built
    assert [line for line in said if "tools.margins" in line] == [
        "  how safely this holds elsewhere isn't known, run python -m tools.margins 00_twice: Seven is more than six"
    ]
    runs, again = tmp_path / "runs.jsonl", list[str]()
    margins = {"difference": {"value": 1.0, "low": 0.5, "high": None}, "7 > 6": {"value": 1.0}}
    claim = {"sentence": "Seven is more than six", "holds": True, "evidence": margins}
    runs.write_text(json.dumps({"lesson": "twice", "setting": "1 thread", "error": None, "claims": [claim]}))
    course = _course(folder)
    room.build(course=course, notebooks=tmp_path / "notebooks", runs=runs, say=again.append)
    assert again and not any("tools.margins" in line for line in again)


def test_the_notebook_has_blanks_folded_solutions_and_outputs(built: tuple[Path, list[str]]) -> None:
    folder, said = built
    notebook = _notebook(folder)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert (code[0].id, code[0].outputs) == ("set-up", [])
    assert [cell.id for cell in code].count("set-up") == 1
    exercise = next(cell for cell in code if cell.metadata.get("exercise") == "twice")
    assert exercise.source.endswith("    total = ...  # your turn\n    del total\n    ...  # your turn")
    place = notebook.cells.index(exercise)
    check, solution = notebook.cells[place + 1 : place + 3]
    assert check.outputs[0].text == "twice: not attempted yet\n"
    assert solution.cell_type == "markdown" and solution.metadata.solution == "twice"
    assert solution.source.startswith("<details>\n<summary>Solution</summary>\n\n```python\ndef twice")
    assert "    total = 2 * number\n    return total\n```" in solution.source
    assert not any(source.BEGIN in cell.source for cell in notebook.cells)
    assert said[0].startswith("00_twice: built in ") and "first figure after" in said[0]
    assert (folder / "notebooks" / "glossary.md").read_text() == "# Glossary\n"


def test_outputs_are_stored_but_for_what_is_true_of_one_machine_alone(built: tuple[Path, list[str]]) -> None:
    outputs = {cell.id: cell.outputs for cell in _notebook(built[0]).cells if cell.cell_type == "code"}
    assert outputs["facts"][0].text == (
        "six times seven: 42\nClaim holds: Seven is more than six.\n  difference: at least 0.5\n"
    )
    figure, words, here = outputs["picture"]
    assert figure.metadata["image/png"].alt == "An empty square."
    assert figure.data["text/plain"] == words.text.strip() == "Figure: an empty square"
    assert dict(here.data) == {
        "text/plain": "The working folder: different on every machine, shown when you run this cell."
    }


def test_times_are_filled_in(built: tuple[Path, list[str]]) -> None:
    first = _notebook(built[0]).cells[0].source
    assert "Reading: 1 minutes; exercises: 2 minutes; machine: under 15 s." in first
    assert "{{" not in first


@pytest.mark.slow
def test_a_rebuild_gives_the_same_bytes(built: tuple[Path, list[str]]) -> None:
    folder = built[0]
    path = folder / "notebooks" / "00_twice.ipynb"
    before = path.read_bytes()
    written = room.build(["0"], course=_course(folder), notebooks=path.parent, force=True, say=lambda _: None)
    assert written == [path]
    assert path.read_bytes() == before
    content = json.loads(before)
    assert content["nbformat_minor"] == 5
    assert set(content["metadata"]) == {"kdcourse", "kernelspec", "language_info"}
    assert "version" not in content["metadata"]["language_info"]
    assert b'execution"' not in before and b"model_id" not in before


def test_what_is_in_step_is_not_built_again(built: tuple[Path, list[str]]) -> None:
    folder, said = built[0], []
    course, notebooks = _course(folder), folder / "notebooks"
    assert room.build(course=course, notebooks=notebooks, say=said.append) == []
    assert said == ["00_twice: up to date"]
    assert room.check(course, notebooks) == []


def test_what_learners_open_is_kept_in_step_with_what_is_stored(
    built: tuple[Path, list[str]], tmp_path: Path
) -> None:
    course, notebooks = _course(built[0]), tmp_path / "notebooks"
    shutil.copytree(built[0] / "notebooks", notebooks)
    form = notebooks / "open" / "00_twice.ipynb"
    good = form.read_text()
    assert "six times seven: 42" not in good and "Run this cell to see what it shows." in good
    assert (form.parent / "glossary.md").read_text().startswith("# Glossary\n")
    form.write_text(good.replace("Run this cell", "Truth: 42. Run this cell", 1))
    (form.parent / "42_gone.ipynb").write_text("{}")
    (form.parent / "glossary.md").unlink()
    assert room.check(course, notebooks) == [
        "open/00_twice.ipynb: what learners open is not what is stored",
        "open/glossary.md: what learners open is not what is stored",
        "open/42_gone.ipynb: there is no lesson of this name",
    ]
    written = room.build(course=course, notebooks=notebooks, say=lambda _: None)
    assert written == [form, form.parent / "glossary.md"] and form.read_text() == good


def test_where_only_prose_changed_outputs_are_kept_and_nothing_is_run(
    built: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebooks, said = tmp_path / "notebooks", []
    shutil.copytree(built[0] / "notebooks", notebooks)
    text = tiny.changed("Twice is twice.", "Twice is two times.")
    course = tiny.write(tmp_path / "course", text.replace("# Add.", "# Add it to itself."))
    monkeypatch.setattr(room, "_run", lambda *given: pytest.fail("the lesson was run"))
    monkeypatch.setattr(room.colab, "set_up", lambda: "import sys  # another release")
    assert room.check(course, notebooks) == ["00_twice: its text is not that of the source"]
    written = room.build(course=course, notebooks=notebooks, say=said.append)
    assert written == [notebooks / "00_twice.ipynb", notebooks / "open" / "00_twice.ipynb"]
    assert said == ["00_twice: text replaced, outputs kept"] and room.check(course, notebooks) == []
    before, after = _notebook(built[0]), _notebook(tmp_path)
    before, after = ([cell for cell in one.cells if cell.cell_type == "code"] for one in (before, after))
    assert before[1:] == after[1:] and after[0].source == "import sys  # another release"
    prose = "\n".join(cell.source for cell in _notebook(tmp_path).cells)
    assert "two times" in prose and "Add it to itself." in prose and "machine: under 15 s" in prose


@pytest.mark.parametrize("where", ["a cell", "a solution's given part"])
def test_where_code_changed_the_lesson_is_run(
    where: str, built: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebooks, ran = tmp_path / "notebooks", []
    shutil.copytree(built[0] / "notebooks", notebooks)
    source_, exercises = tiny.SOURCE, tiny.EXERCISES
    if where == "a cell":
        source_ = tiny.changed("7 * 6", "6 * 7")
    else:
        exercises = tiny.changed("    del total\n", "    del total  # or not\n", tiny.EXERCISES)
    course = tiny.write(tmp_path / "course", source_, exercises=exercises)
    assert room.check(course, notebooks) == ["00_twice: its code is not that of the source"]
    monkeypatch.setattr(
        room, "make", lambda lesson, said_before: (ran.append(lesson.name), ("{}", room.Spent()))[1]
    )
    room.build(course=course, notebooks=notebooks, say=lambda _: None)
    assert ran == ["00_twice"]


def test_cells_keep_their_ids_when_others_change(tmp_path: Path) -> None:
    text = tiny.changed("# %%\n7 * 6\n", "# %%\n7 * 6\n\n# %%\n7 * 6\n")
    text = tiny.changed("Twice is twice.", "Twice is two times.", text)
    one = learners_notebook(tiny.lesson(tmp_path)).cells
    two = learners_notebook(tiny.lesson(tmp_path, text)).cells
    ids = [cell.id for cell in one]
    assert len(set(ids)) == len(ids) and len({cell.id for cell in two}) == len(two)
    assert {"facts", "picture", "exercise-twice", "solution-twice"} <= set(ids)
    assert [cell.id for cell in two if cell.id not in ids] == [f"{ids[3]}-2", two[-1].id]


def test_out_of_step_is_noticed(built: tuple[Path, list[str]], tmp_path: Path) -> None:
    course, notebooks = tiny.write(tmp_path / "course"), tmp_path / "notebooks"
    assert room.check(course, notebooks) == ["00_twice: there is no notebook, or none that can be read"]
    notebooks.mkdir()
    path = notebooks / "00_twice.ipynb"
    good = (built[0] / "notebooks" / "00_twice.ipynb").read_text()
    path.write_text("{")
    assert room.check(course, notebooks) == ["00_twice: there is no notebook, or none that can be read"]
    path.write_text(good)
    shutil.copytree(built[0] / "notebooks" / "open", notebooks / "open")
    assert room.check(course, notebooks) == []
    path.write_text(good.replace("7 * 6", "7 * 8"))
    assert room.check(course, notebooks) == ["00_twice: its code is not that of the source"]
    path.write_text(good.replace("Twice is twice", "Twice is thrice"))
    assert room.check(course, notebooks) == ["00_twice: its text is not that of the source"]
    path.write_text(good)
    tiny.write(tmp_path / "course", tiny.changed("7 * 6", "6 * 7"))
    (notebooks / "09_old.ipynb").write_text(good)
    course.glossary.write_text("new")
    assert room.check(course, notebooks) == [
        "00_twice: its code is not that of the source",
        "09_old: there is no lesson that this notebook was built from",
        "glossary.md: the copy beside the notebooks is not that of the lessons",
    ]


STOPS = {
    "raises": ("7 * 6", "[][1]", r"code cell 4 \('\[\]\[1\]'\): IndexError: list index out of range"),
    "a false claim": ("7 > 6", "7 < 6", r"code cell 3 .*AssertionError: This does not hold here: Seven"),
    "the kernel dies": ("7 * 6", "import os; os._exit(1)", r"code cell 4 .*the kernel died"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", STOPS)
def test_a_lesson_that_stops_says_where_and_leaves_the_old_notebook(case: str, tmp_path: Path) -> None:
    old, new, message = STOPS[case]
    course = tiny.write(tmp_path / "course", tiny.changed(old, new))
    target = tmp_path / "notebooks" / "00_twice.ipynb"
    target.parent.mkdir()
    target.write_text("as it was")
    with pytest.raises(LessonError, match=rf"^00_twice, {message}"):
        room.build(course=course, notebooks=target.parent, say=lambda _: None)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert target.read_text() == "as it was"


REFUSED = {
    "stderr": (v4.new_output("stream", name="stderr", text="careful"), r"it wrote to stderr: careful"),
    "a path": (v4.new_output("stream", name="stdout", text="/srv/some/file"), r"its output holds a path"),
    "a timing": (v4.new_output("execute_result", data={"text/plain": "0.31 s"}), r"a timing \('0.31 s'\)"),
    "a figure without words": (v4.new_output("display_data", data={"image/png": "AA=="}), "no alt text"),
    "a figure with its repr": (
        v4.new_output("display_data", data={"image/png": "AA==", "text/plain": "<Figure size 1x1>"}), "no alt text",
    ),
    "a widget alone": (v4.new_output("display_data", data={WIDGET_VIEW: {}}), "no text that stands"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_outputs_that_cannot_be_stored_are_refused(case: str, tmp_path: Path) -> None:
    output, message = REFUSED[case]
    lesson = tiny.lesson(tmp_path)
    notebook = learners_notebook(lesson)
    notebook.cells[3].outputs = [output]
    with pytest.raises(LessonError, match=rf"^00_twice, code cell 3 \('7 \* 6'\): .*{message}"):
        room._normalise(lesson, notebook)


def test_a_widget_is_stored_as_what_stands_in_for_it(tmp_path: Path) -> None:
    lesson = tiny.lesson(tmp_path)
    notebook = learners_notebook(lesson)
    data = {
        WIDGET_VIEW: {"model_id": "1"},
        "image/png": "AA==\n",
        "text/plain": "A quiz of three questions.",
    }
    notebook.cells[3].outputs = [v4.new_output("display_data", data=data)]
    room._normalise(lesson, notebook)
    (output,) = notebook.cells[3].outputs
    assert dict(output.data) == {"image/png": "AA==", "text/plain": "A quiz of three questions."}
    assert output.metadata == {"image/png": {"alt": "A quiz of three questions."}}


@pytest.mark.slow
def test_a_cell_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CELL_SECONDS", 3)
    lesson = tiny.lesson(tmp_path, tiny.changed("7 * 6", "import time\n\ntime.sleep(60)"))
    with pytest.raises(LessonError, match=r"code cell 4 \('import time'\): it took longer than 3 s"):
        room.make(lesson)


def test_a_lesson_runs_in_an_empty_folder_and_cannot_reach_the_network(tmp_path: Path) -> None:
    code = (
        "import urllib.request\n\nassert os.listdir() == []\n"
        "urllib.request.urlopen('https://example.org', timeout=20)"
    )
    with pytest.raises(LessonError, match=r"URLError: .*refused"):
        room.make(tiny.lesson(tmp_path, tiny.changed("7 * 6", code)))


def test_too_large_a_notebook_and_too_much_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_run", lambda lesson, notebook: room.Spent(1.0))
    lesson = tiny.lesson(tmp_path)
    room.make(lesson)
    monkeypatch.setattr(room, "MOST_BYTES", 1000)
    with pytest.raises(LessonError, match=r"would have [\d,]+ bytes, where 1,000 is the most"):
        room.make(lesson)
    monkeypatch.setattr(room, "_run", lambda lesson, notebook: room.Spent(1.0, bytes=2_100_000_000))
    with pytest.raises(LessonError, match=r"00_twice took 2\.1 GB of memory, where 2 GB is the most"):
        room.make(lesson)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("see /home/someone/file.py", "a path"),
        ("'/tmp/x/y'", "a path"),
        ("C:\\Users\\x", "a path"),
        ("<Net at 0x7f3a2b1c>", "a memory address"),
        ("3.1 ms", "a timing"),
        ("12 seconds", "a timing"),
        ("100%|████", "a progress bar"),
        ("5.2it/s", "a timing"),
        ("and/or, 3/4, https://example.org/a/b, 5 students, T = 4, 0.3 to 0.5, </b></i>", None),
    ],
)
def test_what_differs_between_machines_is_found_in_outputs(text: str, what: str | None) -> None:
    for output in (
        v4.new_output("stream", name="stdout", text=f"first\n{text}\nlast"),
        v4.new_output("display_data", data={"text/plain": text, "image/png": "/tmp/abcd/efgh"}),
    ):
        found = room.unstable(output)
        assert found is None if what is None else str(found).startswith(what)


def test_a_stated_duration_stays_while_it_is_about_right(tmp_path: Path) -> None:
    lesson = tiny.lesson(tmp_path)
    for seconds, said, stated in (
        (4, 0, 15), (14.9, 0, 15), (15.1, 0, 30), (14, 30, 30), (8, 30, 15), (31, 30, 60), (29, 60, 60), (12, 60, 15),
    ):  # fmt: skip
        assert room._limit(lesson, seconds, said) == stated, (seconds, said)
    with pytest.raises(LessonError, match="ran for 61 s, where 60 s is the most"):
        room._limit(lesson, 61, 60)


def test_a_lesson_that_says_so_may_take_four_minutes(tmp_path: Path) -> None:
    lesson = replace(tiny.lesson(tmp_path), most_seconds=240)
    assert [room._limit(lesson, seconds, 0) for seconds in (50, 61, 130, 239)] == [60, 120, 240, 240]
    with pytest.raises(LessonError, match="ran for 241 s, where 240 s is the most"):
        room._limit(lesson, 241, 0)
    notebook = learners_notebook(lesson)
    fill(notebook, lesson, 240)
    assert "machine: under 4 minutes." in notebook.cells[0].source


@pytest.mark.parametrize(
    ("code", "hidden"),
    [
        ('widgets.quiz("07", [])', True),
        ("import torch\nfrom kdcourse import data", True),
        ('show(figure(), "a square")\nwidgets.reveal("key", truth)', True),
        ('claim("It gains", gain > 0)', True),
        ('gain = 2 - 1\nclaim("It gains", gain > 0)', False),
        ('check("twice", twice)', False),
        ('show(figure(), "a square")\nprint(1)', False),
        ("import torch\nx = torch.ones(1)", False),
        ("def f():\n    claim(1)", False),
        ("# nothing yet", False),
    ],
)
def test_code_that_only_displays_or_claims_is_folded(code: str, hidden: bool) -> None:
    assert only_displays(code) == hidden


def test_the_code_of_a_quiz_is_folded_away(tmp_path: Path) -> None:
    mine = '# %%\nwidgets.quiz("07", [])\n\n# %% folded=true\n6 * 7\n\n# %%\n7 * 6\n'
    text = tiny.changed("# %%\n7 * 6\n", mine)
    cells = learners_notebook(tiny.lesson(tmp_path, text)).cells
    hidden = [cell.source for cell in cells if cell.metadata.get("jupyter", {}).get("source_hidden")]
    assert {'widgets.quiz("07", [])', "6 * 7"} <= set(hidden) and "7 * 6" not in hidden


def test_the_command_says_what_is_out_of_date_and_names_an_unknown_lesson(
    built: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.lessons.__main__.check", lambda: [])
    assert main(["check"]) == 0
    monkeypatch.setattr(
        "tools.lessons.__main__.check", lambda: ["00_twice: its code is not that of the source"]
    )
    assert main(["check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "All notebooks match their sources.",
        "00_twice: its code is not that of the source",
        "Build them: python -m tools.lessons build",
    ]
    assert main(["build", "99"]) == 1
    assert "There is no lesson '99'; there are 00_start_here" in capsys.readouterr().err


def test_messages_carry_no_colours(tmp_path: Path) -> None:
    lesson = tiny.lesson(tmp_path)
    code = [cell for cell in learners_notebook(lesson).cells if cell.cell_type == "code"]
    assert not re.search("\x1b", str(room._bad(lesson, code, 1, "\x1b[31mred\x1b[0m")))
