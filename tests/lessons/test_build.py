from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import v4

from kdcourse.errors import LessonError
from kdcourse.lessons import build as room
from kdcourse.lessons import source
from tests.lessons import tiny


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_known_exercises", lambda number: tiny.KNOWN)


def _lesson(folder: Path, text: str = tiny.SOURCE) -> source.Lesson:
    return source.read(tiny.write(folder, text))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with lessons/ and notebooks/ in it, built once, and what was said."""
    folder, said = tmp_path_factory.mktemp("course"), []
    tiny.write(folder / "lessons")
    (folder / "lessons" / "glossary.md").write_text("# Glossary\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_known_exercises", lambda number: tiny.KNOWN)
        room.build(lessons=folder / "lessons", notebooks=folder / "notebooks", say=said.append)
    return folder, said


def _notebook(folder: Path) -> Any:
    return nbformat.read(folder / "notebooks" / "07_twice.ipynb", as_version=4)


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
    assert said[0].startswith("07_twice: built in ") and "first figure after" in said[0]
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


def test_a_rebuild_gives_the_same_bytes(built: tuple[Path, list[str]]) -> None:
    folder = built[0]
    path = folder / "notebooks" / "07_twice.ipynb"
    before = path.read_bytes()
    written = room.build(
        ["7"], lessons=folder / "lessons", notebooks=path.parent, force=True, say=lambda _: None
    )
    assert written == [path]
    assert path.read_bytes() == before
    content = json.loads(before)
    assert content["nbformat_minor"] == 5
    assert set(content["metadata"]) == {"kdcourse", "kernelspec", "language_info"}
    assert "version" not in content["metadata"]["language_info"]
    assert b'execution"' not in before and b"model_id" not in before


def test_what_is_in_step_is_not_built_again(built: tuple[Path, list[str]]) -> None:
    folder, said = built[0], []
    lessons, notebooks = folder / "lessons", folder / "notebooks"
    assert room.build(lessons=lessons, notebooks=notebooks, say=said.append) == []
    assert said == ["07_twice: in step"]
    assert room.check(lessons, notebooks) == []


def test_cells_keep_their_ids_when_others_change(tmp_path: Path) -> None:
    text = tiny.changed("# %%\n7 * 6\n", "# %%\n7 * 6\n\n# %%\n7 * 6\n")
    text = tiny.changed("Twice is twice.", "Twice is two times.", text)
    one = room.learners_notebook(_lesson(tmp_path)).cells
    two = room.learners_notebook(_lesson(tmp_path, text)).cells
    ids = [cell.id for cell in one]
    assert len(set(ids)) == len(ids) and len({cell.id for cell in two}) == len(two)
    assert {"facts", "picture", "exercise-twice", "solution-twice"} <= set(ids)
    assert [cell.id for cell in two if cell.id not in ids] == [f"{ids[3]}-2", two[-1].id]


def test_out_of_step_is_noticed(built: tuple[Path, list[str]], tmp_path: Path) -> None:
    lessons, notebooks = tmp_path / "lessons", tmp_path / "notebooks"
    tiny.write(lessons)
    assert room.check(lessons, notebooks) == ["07_twice: there is no notebook, or none that can be read"]
    notebooks.mkdir()
    path = notebooks / "07_twice.ipynb"
    good = (built[0] / "notebooks" / "07_twice.ipynb").read_text()
    path.write_text("{")
    assert room.check(lessons, notebooks) == ["07_twice: there is no notebook, or none that can be read"]
    path.write_text(good)
    assert room.check(lessons, notebooks) == []
    path.write_text(good.replace("7 * 6", "7 * 8"))
    assert room.check(lessons, notebooks) == [
        "07_twice: the notebook was edited by hand; edit the source in its place"
    ]
    path.write_text(good)
    tiny.write(lessons, tiny.changed("7 * 6", "6 * 7"))
    (notebooks / "09_old.ipynb").write_text(good)
    (lessons / "glossary.md").write_text("new")
    (lessons / "uncompared.toml").write_text('[[cell]]\nlesson = "05_x"\ncell = "y"\nreason = "z"\n')
    assert room.check(lessons, notebooks) == [
        "07_twice: the source changed since the notebook was built",
        "09_old: there is no lesson that this notebook was built from",
        "uncompared.toml: there is no lesson '05_x'",
        "glossary.md: the copy beside the notebooks is not that of the lessons",
    ]


STOPS = {
    "raises": ("7 * 6", "[][1]", r"code cell 4 \('\[\]\[1\]'\): IndexError: list index out of range"),
    "a false claim": ("7 > 6", "7 < 6", r"code cell 3 .*AssertionError: This does not hold here: Seven"),
    "the kernel dies": ("7 * 6", "import os; os._exit(1)", r"code cell 4 .*the kernel died"),
}


@pytest.mark.parametrize("case", STOPS)
def test_a_lesson_that_stops_says_where_and_leaves_the_old_notebook(case: str, tmp_path: Path) -> None:
    old, new, message = STOPS[case]
    tiny.write(tmp_path / "lessons", tiny.changed(old, new))
    target = tmp_path / "notebooks" / "07_twice.ipynb"
    target.parent.mkdir()
    target.write_text("as it was")
    with pytest.raises(LessonError, match=rf"^07_twice, {message}"):
        room.build(lessons=tmp_path / "lessons", notebooks=target.parent, say=lambda _: None)
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
    "a widget alone": (v4.new_output("display_data", data={room.WIDGET_VIEW: {}}), "no text that stands"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_outputs_that_cannot_be_stored_are_refused(case: str, tmp_path: Path) -> None:
    output, message = REFUSED[case]
    lesson = _lesson(tmp_path)
    notebook = room.learners_notebook(lesson)
    notebook.cells[3].outputs = [output]
    with pytest.raises(LessonError, match=rf"^07_twice, code cell 3 \('7 \* 6'\): .*{message}"):
        room._normalise(lesson, notebook)


def test_a_widget_is_stored_as_what_stands_in_for_it(tmp_path: Path) -> None:
    lesson = _lesson(tmp_path)
    notebook = room.learners_notebook(lesson)
    data = {
        room.WIDGET_VIEW: {"model_id": "1"},
        "image/png": "AA==\n",
        "text/plain": "A quiz of three questions.",
    }
    notebook.cells[3].outputs = [v4.new_output("display_data", data=data)]
    room._normalise(lesson, notebook)
    (output,) = notebook.cells[3].outputs
    assert dict(output.data) == {"image/png": "AA==", "text/plain": "A quiz of three questions."}
    assert output.metadata == {"image/png": {"alt": "A quiz of three questions."}}


def test_a_cell_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CELL_SECONDS", 3)
    lesson = _lesson(tmp_path, tiny.changed("7 * 6", "import time\n\ntime.sleep(60)"))
    with pytest.raises(LessonError, match=r"code cell 4 \('import time'\): it took longer than 3 s"):
        room.make(lesson)


def test_a_lesson_runs_in_an_empty_folder_and_cannot_reach_the_network(tmp_path: Path) -> None:
    code = (
        "import urllib.request\n\nassert os.listdir() == []\n"
        "urllib.request.urlopen('https://example.org', timeout=20)"
    )
    with pytest.raises(LessonError, match=r"URLError: .*refused"):
        room.make(_lesson(tmp_path, tiny.changed("7 * 6", code)))


def test_too_large_a_notebook_and_too_much_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_run", lambda lesson, notebook: room.Spent(1.0))
    lesson = _lesson(tmp_path)
    room.make(lesson)
    monkeypatch.setattr(room, "MOST_BYTES", 1000)
    with pytest.raises(LessonError, match=r"would have [\d,]+ bytes, where 1,000 is the most"):
        room.make(lesson)
    monkeypatch.setattr(room, "_run", lambda lesson, notebook: room.Spent(1.0, bytes=2_100_000_000))
    with pytest.raises(LessonError, match=r"07_twice took 2\.1 GB of memory, where 2 GB is the most"):
        room.make(lesson)


def test_uncompared_cells_are_tagged_and_may_hold_timings(tmp_path: Path) -> None:
    lessons = tmp_path / "lessons"
    tiny.write(lessons)
    listed = '[[cell]]\nlesson = "07_twice"\ncell = "facts"\nreason = "It is timed."\n'
    (lessons / "uncompared.toml").write_text(listed)
    excluded = room.uncompared(lessons)
    assert excluded == [room.Uncompared("07_twice", "facts", "It is timed.")]
    lesson = source.read(lessons / "07_twice.py")
    notebook = room.learners_notebook(lesson, excluded)
    tagged = [cell.id for cell in notebook.cells if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert tagged == ["facts"]
    assert notebook.metadata.kdcourse.digest != room.learners_notebook(lesson).metadata.kdcourse.digest
    cell = next(cell for cell in notebook.cells if cell.id == "facts")
    cell.outputs = [v4.new_output("stream", name="stdout", text="took 3 s")]
    room._normalise(lesson, notebook)
    with pytest.raises(LessonError, match="no code cell named 'elsewhere'"):
        room.learners_notebook(lesson, [room.Uncompared("07_twice", "elsewhere", "why")])
    for wrong in ("[[cell]]\nlesson = 'a'", "[[cell", "cell = 3", "[[cell]]\nlesson='a'\ncell='b'\nreason=1"):
        (lessons / "uncompared.toml").write_text(wrong)
        with pytest.raises(LessonError, match=r"uncompared\.toml can't be used"):
            room.uncompared(lessons)


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
    lesson = _lesson(tmp_path)
    for seconds, said, stated in (
        (4, 0, 15), (14.9, 0, 15), (15.1, 0, 30), (14, 30, 30), (8, 30, 15), (31, 30, 60), (29, 60, 60), (12, 60, 15),
    ):  # fmt: skip
        assert room._limit(lesson, seconds, said) == stated, (seconds, said)
    with pytest.raises(LessonError, match="ran for 61 s, where 60 s is the most"):
        room._limit(lesson, 61, 60)


def test_the_lesson_on_segmentation_may_take_four_minutes(tmp_path: Path) -> None:
    lesson = source.read(tiny.write(tmp_path, name="07_segmentation"))
    assert [room._limit(lesson, seconds, 0) for seconds in (50, 61, 130, 239)] == [60, 120, 240, 240]
    with pytest.raises(LessonError, match="ran for 241 s, where 240 s is the most"):
        room._limit(lesson, 241, 0)
    notebook = room.learners_notebook(lesson)
    room.fill(notebook, lesson, 240)
    assert "machine: under 4 minutes." in notebook.cells[0].source


def test_the_code_of_a_quiz_is_folded_away(tmp_path: Path) -> None:
    text = tiny.changed("# %%\n7 * 6\n", '# %%\nwidgets.quiz("07", [])\n\n# %%\n7 * 6\n')
    cells = room.learners_notebook(_lesson(tmp_path, text)).cells
    folded = [cell.source for cell in cells if cell.metadata.get("jupyter", {}).get("source_hidden")]
    assert folded == ['widgets.quiz("07", [])']


def test_only_the_lessons_asked_for(tmp_path: Path) -> None:
    tiny.write(tmp_path)
    tiny.write(tmp_path, name="03_other")
    assert [path.stem for path in room._wanted(tmp_path, ())] == ["03_other", "07_twice"]
    for number in ("7", "07", "07_twice"):
        assert [path.stem for path in room._wanted(tmp_path, [number])] == ["07_twice"]
    with pytest.raises(LessonError, match=r"no lesson '9' in .*; found 03_other, 07_twice"):
        room._wanted(tmp_path, ["9"])


def test_messages_carry_no_colours(tmp_path: Path) -> None:
    lesson = _lesson(tmp_path)
    code = [cell for cell in room.learners_notebook(lesson).cells if cell.cell_type == "code"]
    assert not re.search("\x1b", str(room._bad(lesson, code, 1, "\x1b[31mred\x1b[0m")))
