"""Read notebooks as students hand them in, as far as they can be read.

    a file's bytes -> text -> JSON, outputs left out -> cells

Only what people wrote counts. Outputs are dropped while the file is streamed, so that hundreds of megabytes of them
take no memory and little time. A file that is no longer JSON, because an upload stopped or a merge went wrong, is read
by a tolerant reader: it closes open brackets and takes every cell that it finds.
"""

from __future__ import annotations

import codecs
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from kdcourse.coursework.records import Handed

Kind = Literal["code", "markdown", "raw"]

WHOLE = 4_000_000  # bytes; a file up to this size is read in one go
MOST_BYTES = 512_000_000  # per file; the rest is not read
MOST_TEXT = 8_000_000  # characters per notebook without its outputs
MOST_STRING = 1_000_000  # characters per string outside of outputs; a longer one counts as empty
MOST_CELLS = 5_000
_MOST_BRACKETS = 1_000_000  # in outputs; no plot has more
_MOST_DEPTH = 100
_BLOCK = 1 << 20
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
_LEFT_OUT = ("outputs", "attachments", "widgets")


@dataclass(frozen=True)
class Cell:
    r"""Hold one cell.

    Args:
        place: its number in the notebook, from 1.
        kind: "code", "markdown" or "raw".
        source: its text, with \n between lines.
        names: its identifiers: nbgrader's grade_id, the exercise in its metadata, its id, Colab's id; those that exist,
            in this order.
        right: the exercises that its stored output calls right; unknown in files larger than ``WHOLE``.
        pictures: images that were pasted into it, by name, as addresses that begin with data:image/; unknown in files
            larger than ``WHOLE``.
    """

    place: int
    kind: Kind
    source: str
    names: tuple[str, ...] = ()
    right: tuple[str, ...] = field(default=(), compare=False)
    pictures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Notebook:
    """Hold the cells that could be read, and sentences on what could not.

    Args:
        cells: in their order.
        problems: such as "'04.ipynb' ends in the middle; its last cell may be incomplete."
        lesson: the lesson in its metadata, such as "04_soft_targets", or "".
        python: the version of Python with which it was run, such as "3.13.1", or "".
    """

    cells: tuple[Cell, ...]
    problems: tuple[str, ...] = ()
    lesson: str = ""
    python: str = ""


def read(handed: Handed) -> Notebook:
    """Read a notebook; no content of a file raises an error."""
    quoted = f"'{handed.label}'"
    try:
        with handed.open() as stream:
            return parse(stream, handed.label)
    except (*UNREADABLE, KeyError) as error:  # KeyError: the archive no longer has the member
        # NotImplementedError, for a compression method that zipfile doesn't know, is a RuntimeError.
        return Notebook((), (f"{quoted} can't be read: {short(error)}.",))


def parse(stream: IO[bytes], label: str = "the notebook") -> Notebook:
    """Read a notebook from a stream of bytes; an error while reading counts as its end.

    Args:
        stream: at its beginning.
        label: its name in problems.
    """
    problems = _Problems(f"'{label}'")
    text, whole = _text(stream, problems)
    if whole and not text.strip():
        return Notebook((), problems("is empty"))
    if kind := _another_kind(text):
        return Notebook((), problems(f"is {kind}, not a notebook; a file that ends in .ipynb is needed"))
    document = _strict(text) if whole else None
    if document is None:
        document = _tolerant(text, problems, cut=not whole)
    found = list(_cells_of(document))
    if len(found) > MOST_CELLS:
        problems(f"has {len(found):,} cells; the first {MOST_CELLS:,} were read")
    cells = tuple(_cell(place, cell) for place, cell in enumerate(found[:MOST_CELLS], start=1))
    if not cells:
        problems(
            "holds no cells"
            if isinstance(document, dict)
            else "is not a notebook; nothing in it could be read"
        )
    return Notebook(cells, tuple(problems.sentences), _lesson(document), _python(document))


@dataclass
class _Problems:
    """Collect the problems of one file, each once."""

    quoted: str
    sentences: list[str] = field(default_factory=list)

    def __call__(self, problem: str) -> tuple[str, ...]:
        sentence = f"{self.quoted} {problem}."
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        return tuple(self.sentences)


# -- from bytes to text -------------------------------------------------------------------------


def _as_latin(error: UnicodeError) -> tuple[str, int]:
    """Read invalid bytes as Western European text, so that no letter is lost."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("kdcourse-latin", _as_latin)


def _text(stream: IO[bytes], problems: _Problems) -> tuple[str, bool]:
    """Return the text and whether it is the whole file; of a large file, return the text without outputs."""
    blocks = _blocks(stream, problems)
    head = b""
    for block in blocks:
        head += block
        if len(head) > WHOLE:
            break
    else:
        return _decoded(head), True
    decoder = codecs.getincrementaldecoder(_encoding(head))("kdcourse-latin")

    def texts() -> Iterator[str]:
        yield decoder.decode(head).removeprefix("\ufeff")
        for block in blocks:
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)

    outline = _Outline()
    for piece in _cut_after_commas(texts()):
        if not outline.take(piece):
            problems("has more text than any notebook of this course; the rest was left out")
            break
    return outline.text(), False


def _blocks(stream: IO[bytes], problems: _Problems) -> Iterator[bytes]:
    seen = 0
    while seen <= MOST_BYTES:
        try:
            block = stream.read(_BLOCK)
        except UNREADABLE as error:
            problems(f"is damaged: {short(error)}")
            return
        if not block:
            return
        seen += len(block)
        yield block
    problems(f"has more than {MOST_BYTES / 1e6:.0f} MB; the rest was not read")


def _encoding(head: bytes) -> str:
    """Detect the encoding by the byte order mark, or else by the places of zero bytes in the first two characters."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    match [byte == 0 for byte in head[:4]]:
        case [False, True, False, True]:
            return "utf-16-le"
        case [True, False, True, False]:
            return "utf-16-be"
    return "utf-8"


def _decoded(content: bytes) -> str:
    return content.decode(_encoding(content), "kdcourse-latin").removeprefix("\ufeff")


def _another_kind(text: str) -> str:
    """Return the kind of a file that was handed in instead of a notebook, or ""."""
    start = text[:1000].lstrip().lower()
    kinds = {
        "%pdf": "a PDF",
        "<!doctype html": "a web page",
        "<html": "a web page",
        "pk\x03\x04": "a zip archive",
        "rar!": "a RAR archive",
        "7z\xbc\xaf": "a 7-Zip archive",
        "version https://git-lfs": "a pointer to a file in Git LFS",
    }
    return next((kind for sign, kind in kinds.items() if start.startswith(sign)), "")


# -- without outputs ----------------------------------------------------------------------------

# A string ends at its quote or, in a broken file, with its line, so that one stray quote doesn't swallow the rest.
_STRING = r'"(?:[^"\\\n]++|\\[\s\S])*+["\n]'
_KEY = r'"(?:' + "|".join(_LEFT_OUT) + r')"\s*+:\s*+'
_KEEP = re.compile(rf"(?:[^\"]++|(?!{_KEY}[\[{{]){_STRING})*+")
_DROP = re.compile(_KEY)
# Outputs contain no cells, so a cell_type there means that a bracket is missing before it.
_SKIP = re.compile(rf'(?:[^"\[\]{{}}]++|(?!"cell_type"\s*+:){_STRING})*+')
_REST_OF_STRING = re.compile(r'(?:[^"\\\n]++|\\[\s\S])*+["\n]?')


class _Outline:
    """Collect a notebook's text piece by piece, without the values of the keys in ``_LEFT_OUT``."""

    def __init__(self) -> None:
        self._kept: list[str] = []
        self._size = 0
        self._rest = ""  # text at the end that can't be classified yet
        self._open: list[str] = []  # the closing brackets of what is being skipped
        self._depth = 0
        self._brackets = 0
        self._in_string = False

    def text(self) -> str:
        """Return what was kept."""
        tail = self._rest if not self._depth and not self._in_string else ""
        return "".join(self._kept) + tail[:MOST_STRING]

    def take(self, piece: str) -> bool:
        """Add a piece of text; return False when the limits are reached."""
        text, self._rest = self._rest + piece, ""
        place = 0
        while place < len(text):
            if self._in_string:
                place = self._leave_string(text, place)
            elif self._depth:
                place = self._skip(text, place)
            else:
                place = self._keep(text, place)
            if self._size > MOST_TEXT or self._brackets > _MOST_BRACKETS:
                return False
            if self._rest:
                break
        return True

    def _keep(self, text: str, place: int) -> int:
        end = _end(_KEEP, text, place)
        self._add(text[place:end])
        if end == len(text):
            return end
        if key := _DROP.match(text, end):
            opening = text[key.end()]
            closing = "]" if opening == "[" else "}"
            self._add(f"{key[0]}{opening}{closing}")
            self._depth = 1
            return key.end() + 1
        return self._unfinished(text, end)

    def _skip(self, text: str, place: int) -> int:
        depth, brackets, match, size = self._depth, 0, _SKIP.match, len(text)
        while depth and brackets <= _MOST_BRACKETS:
            place = match(text, place).end()  # type: ignore[union-attr]  # the pattern matches the empty string
            if place == size or text[place] == '"':
                break
            depth += 1 if text[place] in "[{" else -1
            brackets += 1
            place += 1
        self._depth = depth
        self._brackets += brackets
        if place == size or not depth or brackets > _MOST_BRACKETS:
            return place
        if text.startswith('"cell_type"', place):
            self._depth = 0
            return place
        return self._unfinished(text, place)

    def _unfinished(self, text: str, start: int) -> int:
        """Handle a string without an end yet: wait for more text, unless it is too long or is skipped anyway."""
        if not self._depth and len(text) - start <= MOST_STRING:
            self._rest = text[start:]
            return start
        if not self._depth:
            self._add('""')
        self._in_string = True
        return self._leave_string(text, start + 1)

    def _leave_string(self, text: str, place: int) -> int:
        end = _end(_REST_OF_STRING, text, place)
        closed = end > place and text[end - 1] in '"\n' and not _escaped(text, place, end - 1)
        self._in_string = not closed
        if not closed:
            self._rest = text[end:]  # empty, or the backslash of a split escape
        return end

    def _add(self, text: str) -> None:
        self._kept.append(text)
        self._size += len(text)


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    """Return the end of a match of a pattern that matches the empty string."""
    match = pattern.match(text, place)
    assert match is not None
    return match.end()


def _escaped(text: str, first: int, place: int) -> bool:
    """Tell whether the character at ``place`` has an odd number of backslashes before it."""
    start = place
    while start > first and text[start - 1] == "\\":
        start -= 1
    return (place - start) % 2 == 1


def _cut_after_commas(texts: Iterator[str]) -> Iterator[str]:
    """Split text into pieces that end in commas, so that no piece ends between a key and its bracket."""
    rest = ""
    for text in texts:
        cut = text.rfind(",") + 1
        if cut:
            yield rest + text[:cut]
            rest = text[cut:]
        elif len(rest) + len(text) > MOST_STRING:
            yield rest + text
            rest = ""
        else:
            rest += text
    yield rest


# -- from text to JSON --------------------------------------------------------------------------


def _strict(text: str) -> Any:
    """Parse the document, or return None if it isn't JSON; NaN and raw line ends in strings are accepted."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


_TOKEN = re.compile(r'(?P<string>"(?:[^"\\\n]++|\\[^\n])*+"?)|(?P<mark>[\[\]{},])|:|[^\s"\[\]{},:]++')


def _tolerant(text: str, problems: _Problems, cut: bool) -> Any:
    """Read text that is not JSON (or whose outputs were removed) into a document of all cells that are found."""
    if cut and (document := _strict(text)) is not None:
        return document
    reader = _Tolerant()
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "string":
            reader.string(token[0])
        elif token.lastgroup == "mark":
            reader.mark(token[0])
        else:
            reader.word(token[0])
    whole = sum("source" in cell or "input" in cell for cell in reader.cells)
    if reader.cells:
        broken = "ends in the middle" if reader.stack else "is damaged"
        last = "; its last cell may be incomplete" if reader.in_cell() else ""
        conflict = (
            ", with the markers of a merge conflict in it" if re.search(r"^<{7} ", text, re.MULTILINE) else ""
        )
        problems(f"{broken}{conflict}: {whole} cell(s) could be read{last}")
    else:
        problems("is damaged, and no cell in it could be read")
    return {"cells": reader.cells, "metadata": reader.metadata()}


class _Tolerant:
    """Build JSON from damaged text: close what is open, open what is missing, and collect every cell."""

    def __init__(self) -> None:
        self.cells: list[dict[str, Any]] = []
        self.stack: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str | None] = []  # per item of the stack: the key that waits for its value
        self._root: Any = None
        self._too_deep = 0

    def in_cell(self) -> bool:
        """Tell whether a cell is still open."""
        return any(part is self.cells[-1] for part in self.stack)

    def metadata(self) -> Any:
        """Return the document's metadata, as far as they were read."""
        return self._root.get("metadata", {}) if isinstance(self._root, dict) else {}

    def string(self, token: str) -> None:
        """Take a string: a key, a value, or an item."""
        value = _unquoted(token)
        if self.stack and isinstance(self.stack[-1], dict) and self._keys[-1] is None:
            self._keys[-1] = value
        else:
            self._put(value)

    def word(self, token: str) -> None:
        """Take a number, true, false, null, or anything invalid; its value is not used."""
        if self.stack and self._keys[-1] is not None and token != ":":
            self._put(None)

    def mark(self, token: str) -> None:
        """Take a bracket or comma."""
        if token == ",":
            if self.stack:
                self._keys[-1] = None
        elif token in "[{":
            self._push([] if token == "[" else {})
        elif self._too_deep:
            self._too_deep -= 1
        else:
            self._close(list if token == "]" else dict)

    def _push(self, value: dict[str, Any] | list[Any]) -> None:
        if len(self.stack) >= _MOST_DEPTH:
            self._too_deep += 1
            return
        if self._root is None:
            self._root = value
        self._put(value)
        self.stack.append(value)
        self._keys.append(None)

    def _close(self, kind: type) -> None:
        depth = len(self.stack)
        while depth and not isinstance(self.stack[depth - 1], kind):
            depth -= 1
        if depth:
            del self.stack[depth - 1 :], self._keys[depth - 1 :]

    def _put(self, value: Any) -> None:
        if not self.stack:
            return
        top = self.stack[-1]
        if isinstance(top, list):
            top.append(value)
            return
        key, self._keys[-1] = self._keys[-1], None
        if key is None:
            return
        if key == "cell_type":
            if key in top:  # the brackets between two cells are missing
                self.stack[-1] = top = {}
            self.cells.append(top)
        top[key] = value


def _unquoted(token: str) -> str:
    closed = (
        token if len(token) > 1 and token.endswith('"') and not _escaped(token, 1, len(token) - 1) else ""
    )
    try:
        return str(json.loads(closed or f'{token}"', strict=False))
    except ValueError:  # an invalid escape, or half of one
        inside = token[1:-1] if closed else token[1:].rstrip("\\")
        known = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
        return re.sub(r"\\(.)", lambda match: known.get(match[1], match[0]), inside)


# -- from JSON to cells -------------------------------------------------------------------------


def _cells_of(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the cells of format 4, and those of the worksheets of formats 1 to 3."""
    if not isinstance(document, dict):
        return
    sheets = document.get("worksheets")
    for holder in [document, *(sheets if isinstance(sheets, list) else [])]:
        cells = holder.get("cells") if isinstance(holder, dict) else None
        if isinstance(cells, list):
            yield from (cell for cell in cells if isinstance(cell, dict))


def _cell(place: int, cell: dict[str, Any]) -> Cell:
    source = _joined(cell["source"] if "source" in cell else cell.get("input"))
    right = tuple(_called_right(cell.get("outputs")))
    return Cell(place, _kind(cell), source, _names(cell), right, tuple(_pictures(cell.get("attachments"))))


_MOST_PICTURE = 2_000_000  # characters of base64
_IMAGE = re.compile(r"image/(?:png|jpeg|gif|webp)")


def _pictures(attachments: Any) -> Iterator[tuple[str, str]]:
    for name, kinds in attachments.items() if isinstance(attachments, dict) else ():
        for kind, data in kinds.items() if isinstance(kinds, dict) else ():
            data = re.sub(r"\s+", "", _joined(data))
            sound = _IMAGE.fullmatch(kind) and re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", data)
            if sound and len(data) <= _MOST_PICTURE:
                yield clean(name), f"data:{kind};base64,{data}"


_CALLED_RIGHT = re.compile(r"^Right ✓ (\w+)", re.MULTILINE)
_MOST_OUTPUT = 200_000  # characters of a cell's output that are searched


def _called_right(outputs: Any) -> Iterator[str]:
    """Yield the exercises that a check called right when the notebook was run."""
    left, ahead = _MOST_OUTPUT, [outputs]
    while ahead and left > 0:
        part = ahead.pop()
        if isinstance(part, dict):
            ahead += part.values()
        elif isinstance(part, list):
            ahead += part
        elif isinstance(part, str):
            yield from _CALLED_RIGHT.findall(part[:left])
            left -= len(part)


def _kind(cell: dict[str, Any]) -> Kind:
    match cell.get("cell_type"):
        case "code" | "markdown" | "raw" as kind:
            return kind
        case "heading" | "html":  # of format 3
            return "markdown"
        case str():
            return "raw"
    return "code" if {"outputs", "execution_count", "input", "prompt_number"} & cell.keys() else "markdown"


def _joined(source: Any) -> str:
    """Return the text of a cell, which is a string or a list of lines."""
    if isinstance(source, list):
        lines = [line for line in source if isinstance(line, str)]
        # The format wants every line with its line end; some tools leave it out.
        between = "\n" if not any(line.endswith(("\n", "\r")) for line in lines[:-1]) else ""
        source = between.join(lines)
    return clean(source) if isinstance(source, str) else ""


def clean(text: str) -> str:
    """Replace zero characters and halves of surrogate pairs, and use line ends of one kind."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub("[\0\ud800-\udfff]", "\ufffd", text)


def _names(cell: dict[str, Any]) -> tuple[str, ...]:
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    nbgrader = metadata.get("nbgrader")
    grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    found = (grade_id, metadata.get("exercise"), cell.get("id"), metadata.get("id"))
    return tuple(dict.fromkeys(clean(name)[:200] for name in found if isinstance(name, str) and name))


def _lesson(document: Any) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    ours = metadata.get("kdcourse") if isinstance(metadata, dict) else None
    lesson = ours.get("lesson") if isinstance(ours, dict) else None
    return lesson if isinstance(lesson, str) and re.fullmatch(r"\d\d_[a-z0-9_]{1,60}", lesson) else ""


def _python(document: Any) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    language = metadata.get("language_info") if isinstance(metadata, dict) else None
    version = language.get("version") if isinstance(language, dict) else None
    return version if isinstance(version, str) and re.fullmatch(r"3\.\d{1,3}(\.\w{1,9})?", version) else ""


def short(error: BaseException) -> str:
    """Return the first line of an error's message, or its type."""
    said = clean(str(error)).strip().rstrip(".").splitlines()
    return said[0][:200] if said else type(error).__name__
