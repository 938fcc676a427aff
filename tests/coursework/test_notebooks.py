"""Whatever comes in as a notebook is read as far as it can be, in bounded memory, and never stops anything."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdcourse.coursework import notebooks
from kdcourse.coursework.notebooks import Notebook, parse
from kdcourse.coursework.records import Handed

SOURCES = ["import torch\nx = 1", "# Ünïcode “text” 漢字", 'print("[{outputs}]", "\\\\")\n']


def document() -> dict[str, Any]:
    v4 = nbformat.v4
    cells = [
        v4.new_code_cell(
            SOURCES[0], id="one", outputs=[v4.new_output("stream", text='a "line" [of\noutput\\')]
        ),
        v4.new_markdown_cell(SOURCES[1], metadata={"nbgrader": {"grade_id": "why"}}, id="answer-why"),
        v4.new_code_cell(SOURCES[2], metadata={"exercise": "objective"}, id="two"),
    ]
    return dict(v4.new_notebook(cells=cells, metadata={"kdcourse": {"lesson": "05_distil"}}))


def text() -> str:
    return nbformat.writes(nbformat.from_dict(document()))


def from_bytes(content: bytes) -> Notebook:
    return parse(io.BytesIO(content), "a.ipynb")


def sources(notebook: Notebook) -> list[str]:
    return [cell.source for cell in notebook.cells]


def streamed(content: bytes, monkeypatch: pytest.MonkeyPatch, block: int = 37) -> Notebook:
    """Read as a file is that is too large to be read in one go."""
    monkeypatch.setattr(notebooks, "WHOLE", 0)
    monkeypatch.setattr(notebooks, "_BLOCK", block)
    return from_bytes(content)


def test_a_notebook_as_it_should_be() -> None:
    found = from_bytes(text().encode())
    assert sources(found) == SOURCES and found.problems == () and found.lesson == "05_distil"
    assert [cell.kind for cell in found.cells] == ["code", "markdown", "code"]
    assert found.cells[1].names == ("why", "answer-why") and found.cells[2].names[0] == "objective"
    assert [cell.place for cell in found.cells] == [1, 2, 3]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_that_editors_write(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = text().encode(encoding)
    assert sources(from_bytes(content)) == SOURCES
    assert sources(streamed(content, monkeypatch)) == SOURCES


def test_letters_of_an_old_windows_editor_are_kept() -> None:
    assert sources(
        from_bytes('{"cells": [{"cell_type": "markdown", "source": "Müller"}]}'.encode("cp1252"))
    ) == ["Müller"]


def test_format_3_with_worksheets_and_headings() -> None:
    v3 = nbformat.v3
    cells = [
        v3.new_heading_cell("Lesson", level=1),
        v3.new_code_cell("x = 1\ny = 2", outputs=[v3.new_output("pyout", output_text="[1]")]),
        v3.new_text_cell("markdown", "An answer."),
    ]
    old = v3.new_notebook(worksheets=[v3.new_worksheet(cells=cells)])
    found = from_bytes(v3.writes_json(old).encode())
    assert sources(found) == ["Lesson", "x = 1\ny = 2", "An answer."]
    assert [cell.kind for cell in found.cells] == ["markdown", "code", "markdown"]


def test_format_3_of_any_tool_and_nan_in_metadata() -> None:
    cell = '{"cell_type": "code", "input": ["x = NaN\\n", "y"], "prompt_number": NaN}'
    written = f'{{"nbformat": 3, "worksheets": [{{"cells": [{cell}]}}, 3]}}'
    assert sources(from_bytes(written.encode())) == ["x = NaN\ny"]


def test_outputs_are_left_out_wherever_the_stream_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    content = text().encode()
    for block in (1, 2, 3, 5, 8, 13, 21, 64, 1000):
        found = streamed(content, monkeypatch, block)
        assert sources(found) == SOURCES and found.problems == (), block


def test_a_giant_string_may_be_cut_within_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "MOST_STRING", 20)
    cells = [
        {"cell_type": "code", "outputs": ['\\"]}' * 50, "\\" * 99], "source": text} for text in ("a", "b")
    ]
    content = json.dumps({"cells": cells}).encode()
    for block in range(1, 40):
        assert sources(streamed(content, monkeypatch, block)) == ["a", "b"], block


strings = st.text(st.sampled_from('ab"\\[]{},:\n é'), max_size=12)
outputs = st.recursive(
    strings | st.none() | st.floats(allow_nan=True),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(strings | st.just("outputs"), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(strings, st.lists(outputs, max_size=3)), min_size=1, max_size=4),
    st.integers(1, 50),
    st.booleans(),
)
def test_the_stream_gives_what_reading_the_whole_gives(
    cells: list[tuple[str, list[Any]]], block: int, indented: bool
) -> None:
    content = json.dumps(
        {"cells": [{"cell_type": "code", "outputs": output, "source": source} for source, output in cells]},
        indent=1 if indented else None,
    ).encode()
    with pytest.MonkeyPatch.context() as patch:
        found = streamed(content, patch, block)
    assert found == from_bytes(content) and found.problems == ()
    assert sources(found) == [source for source, _ in cells]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans())
@example(b"", True)
@example(b"[" * 100_000, False)
@example(b'{"cells":' * 10_000, False)
@example(b'{"cells": [{"cell_type": "code", "source": ' + b"9" * 5_000 + b"}]}", False)
@example(b"\xff\xfe\x00", True)
@example(b'{"cells": [{"cell_type": "code", "source": "\\ud800\\u0000"}]}', True)
def test_no_bytes_ever_raise(content: bytes, in_stream: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = streamed(content, patch) if in_stream else from_bytes(content)
    assert found.cells or found.problems
    for cell in found.cells:
        cell.source.encode()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_damage_to_a_notebook_ever_raises(data: st.DataObject) -> None:
    content = bytearray(text().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    for found in (
        from_bytes(bytes(content)),
        from_bytes(bytes(content[: data.draw(st.integers(0, len(content)))])),
    ):
        assert found.cells or found.problems


def test_a_broken_upload_keeps_the_cells_before_the_break() -> None:
    content = text().encode()
    found = from_bytes(content[: content.index(b'"exercise"') + 10])
    assert sources(found) == [*SOURCES[:2], ""]
    assert "ends in the middle" in found.problems[0] and "last cell may be incomplete" in found.problems[0]


def test_half_a_source_is_kept_as_far_as_it_goes() -> None:
    content = text()
    found = from_bytes(content[: content.index("漢") + 1].encode())
    assert sources(found) == [SOURCES[0], "# Ünïcode “text” 漢"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"cell_type": "markdown",', '"cell_type": "markdown"'),  # a comma lost
        ('"nbformat": 4,', '"nbformat": 4,,'),
        ('   "metadata"', '<<<<<<< HEAD\n=======\n>>>>>>> mine\n   "metadata"'),
        ('"execution_count": null', '"execution_count": Non"e'),
        (' ],\n "metadata"', ' "metadata"'),
    ],
)
def test_json_with_a_slip_is_read_all_the_same(old: str, new: str) -> None:
    broken = text().replace(old, new)
    assert broken != text()
    with pytest.raises(ValueError):
        json.loads(broken)
    found = from_bytes(broken.encode())
    assert sources(found) == SOURCES and len(found.problems) == 1
    assert ("merge" in found.problems[0]) == ("<<<" in new)


def test_a_stray_quote_costs_its_line_alone() -> None:
    broken = text().replace("import torch", 'import "torch')
    found = from_bytes(broken.encode())
    assert sources(found)[1:] == SOURCES[1:]


def test_a_bracket_lost_in_outputs_does_not_swallow_the_cells_below(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = text().replace('"output_type": "stream"', '"output_type": [[["stream"')
    found = streamed(broken.encode(), monkeypatch)
    assert sources(found)[1:] == SOURCES[1:]


def test_cells_of_odd_types_and_missing_keys() -> None:
    cells: list[Any] = [
        7,
        None,
        ["code"],
        {},
        {"cell_type": "code"},
        {"cell_type": "code", "source": None, "metadata": []},
        {"cell_type": "sql", "source": {"a": 1}},
        {"source": ["a = 1", "b = 2"], "outputs": []},
        {
            "cell_type": 5,
            "source": ["x\r\n", 3, "y"],
            "metadata": {"nbgrader": "no", "id": "abc", "exercise": 4},
        },
    ]
    found = from_bytes(json.dumps({"cells": cells}).encode())
    assert sources(found) == ["", "", "", "", "a = 1\nb = 2", "x\ny"]
    assert [cell.kind for cell in found.cells] == ["markdown", "code", "code", "raw", "code", "markdown"]
    assert found.cells[-1].names == ("abc",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"%PDF-1.7 ...", "a PDF"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"PK\x03\x04abc", "a zip archive"),
        (b"{}", "holds no cells"),
        (b'{"cells": 3}', "holds no cells"),
        (b"[1, 2]", "not a notebook"),
        (b"def f(): pass", "no cell in it could be read"),
    ],
)
def test_what_is_no_notebook_is_told_what_it_is(content: bytes, says: str) -> None:
    found = from_bytes(content)
    assert found.cells == () and says in found.problems[0] and found.problems[0].startswith("'a.ipynb' ")


class Long(io.RawIOBase):
    """A stream that is made as it is read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._rest = parts, b""

    def read(self, size: int = -1) -> bytes:
        self._rest = self._rest or next(self._parts, b"")
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


@pytest.mark.parametrize(
    "repeated",
    [
        b'      "epoch 12 [####] loss {0.3}\\n",\n' * 25_000,
        b'"iVBORw0KGgoAAAANSUhEUgAA' + b"A" * 1_000_000 + b'",',
        (b'{"a": [1, 2], "b": "' + b"c" * 2_000 + b'"},') * 500,
    ],
    ids=["lines", "a picture", "brackets"],
)
def test_forty_megabytes_of_output_take_a_few_of_memory(repeated: bytes) -> None:
    def parts() -> Iterator[bytes]:
        yield b'{"cells": [{"cell_type": "code", "outputs": ['
        yield from [repeated] * 40
        yield b'0], "source": "x = 1"}, {"cell_type": "code", "outputs": [], "source": "y = 2"}], "metadata": {}}'

    tracemalloc.start()
    try:
        found = parse(Long(parts()))  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sources(found) == ["x = 1", "y = 2"] and found.problems == ()
    assert peak < 30e6


@pytest.mark.parametrize(
    "endless", [b"[" * 1_000_000, b'"' + b"x" * 1_000_000, b"[]," * 400_000, b'{"a":1,' * 100_000]
)
def test_an_endless_file_is_left_at_a_bound(endless: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "MOST_BYTES", 20_000_000)
    monkeypatch.setattr(notebooks, "_MOST_BRACKETS", 500_000)

    def parts() -> Iterator[bytes]:
        yield b'{"cells": [{"cell_type": "code", "source": "x = 1", "outputs": ['
        while True:
            yield endless

    found = parse(Long(parts()))  # type: ignore[arg-type]
    assert sources(found) == ["x = 1"] and found.problems


def test_a_giant_source_counts_as_empty_and_the_rest_is_read() -> None:
    cells = [{"cell_type": "code", "source": "x" * 6_000_000}, {"cell_type": "code", "source": "y = 2"}]
    assert sources(from_bytes(json.dumps({"cells": cells}).encode())) == ["", "y = 2"]


def test_a_file_in_an_archive_and_one_in_an_archive_in_it(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("04.ipynb", text())
    path = tmp_path / "work.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.ipynb", text())
        archive.writestr("inner.zip", inner.getvalue())
    assert sources(notebooks.read(Handed(path, "a.ipynb", "a", 0))) == SOURCES
    nested = Handed(path, "inner.zip", "b", 0, inner="04.ipynb")
    assert sources(notebooks.read(nested)) == SOURCES and nested.read() == text().encode()


def test_a_damaged_or_vanished_file_is_a_problem_and_no_error(tmp_path: Path) -> None:
    path = tmp_path / "work.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, so that one byte can be turned round
        archive.writestr("a.ipynb", text())
    content = bytearray(path.read_bytes())
    content[content.index(b"torch")] ^= 1
    path.write_bytes(content)
    found = notebooks.read(Handed(path, "a.ipynb", "a", 0))
    assert "'a' is damaged: Bad CRC-32" in found.problems[0]
    for gone in (
        Handed(path, "b.ipynb", "b", 0),
        Handed(tmp_path / "c", None, "c", 0),
        Handed(path, "a.ipynb", "d", 0, "e"),
    ):
        found = notebooks.read(gone)
        assert found.cells == () and "can't be read" in found.problems[0]


def test_attached_pictures_are_kept_and_nothing_else_is() -> None:
    kinds = {"image/png": "iVBO\nRw==", "image/svg+xml": "PHN2Zz4=", "text/html": "<b>"}
    cell = {
        "cell_type": "markdown",
        "source": "x",
        "attachments": {"a.png": kinds, "b": 3, "c": {"image/png": "<"}},
    }
    (found,) = notebooks.parse(io.BytesIO(json.dumps({"cells": [cell]}).encode())).cells
    assert found.pictures == (("a.png", "data:image/png;base64,iVBORw=="),)


def test_the_count_of_a_cut_notebook_is_of_cells_with_a_source() -> None:
    cells = [{"cell_type": "code", "outputs": [], "source": f"x{n} = 1"} for n in range(3)]
    text = json.dumps({"cells": cells})
    cut = text[: text.index("x2") - 14]
    found = notebooks.parse(io.BytesIO(cut.encode()))
    assert sum(bool(cell.source) for cell in found.cells) == 2
    assert "2 cell(s) could be read; its last cell may be incomplete" in found.problems[0]
