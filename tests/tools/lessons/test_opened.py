"""What learners open: no stored result, and nothing else missing."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import v4

from kdcourse.course.notebook import SET_UP
from kdcourse.lab.lessons import hand_out
from tools.lessons import opened

ROOT = Path(__file__).parents[3]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_lesson = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@every_lesson
def test_what_learners_open_holds_no_result(path: Path) -> None:
    stored, form = _read(path), _read(path.parent / opened.FOLDER / path.name)
    assert [(cell.id, cell.source) for cell in form.cells] == [
        (cell.id, cell.source) for cell in stored.cells
    ]
    lines = set(opened.INVITATIONS.values())
    for cell, before in zip(form.cells, stored.cells, strict=True):
        if cell.cell_type != "code":
            continue
        assert cell.execution_count is None
        assert [output.output_type for output in cell.outputs] == ["display_data"] * bool(before.outputs)
        assert all(set(output.data) == {"text/plain"} for output in cell.outputs)
        assert {output.data["text/plain"] for output in cell.outputs} <= lines
        folded = before.metadata.get("jupyter", {}).get("source_hidden", False)
        assert (cell.metadata.get("cellView") == "form") == folded
    assert form.metadata.kdcourse.lesson == path.stem
    assert (path.parent / opened.FOLDER / path.name).stat().st_size < 150_000


def test_a_cell_says_what_to_do() -> None:
    shown = [v4.new_output("stream", text="Truth: 42\n")]
    sources = ["widgets.predict('key')", "widgets.quiz('00', [])", "check('one', one)", "print(42)"]
    cells = [v4.new_code_cell(source, outputs=shown, execution_count=1) for source in [*sources, "import os"]]
    cells[-1].outputs = []
    notebook = v4.new_notebook(cells=cells, metadata={"kdcourse": {"lesson": "00_x"}})
    before = copy.deepcopy(notebook)
    text = opened.opened(notebook)
    assert notebook == before and "Truth" not in text
    outputs = [cell["outputs"] for cell in json.loads(text)["cells"]]
    assert [["".join(output["data"]["text/plain"]) for output in each] for each in outputs] == [
        ["Run this cell, then make your prediction."],
        ["Run this cell to answer the questions."],
        ["Run this cell to check your answer."],
        ["Run this cell to see what it shows."],
        [],
    ]


def test_a_copy_that_nobody_changed_is_known_as_such(tmp_path: Path) -> None:
    """The version is a digest of the text, whatever a lesson holds."""
    source = ROOT / "notebooks" / opened.FOLDER
    hand_out(tmp_path, source)
    later = tmp_path / "later"
    later.mkdir()
    for file in source.iterdir():
        text = file.read_text(encoding="utf-8")
        digest = text.rpartition('"version": "')[2][:16]
        (later / file.name).write_text(text.replace(digest, "0" * 16), encoding="utf-8")
    assert {copy.state for copy in hand_out(tmp_path, later)} == {"updated"}


@every_lesson
def test_the_set_up_for_colab_is_there(path: Path) -> None:
    form = _read(path.parent / opened.FOLDER / path.name)
    assert next(cell.id for cell in form.cells if cell.cell_type == "code") == SET_UP
