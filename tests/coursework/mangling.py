"""Everything that happens to notebooks on their way from students to instructors."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Files = dict[
    str, bytes
]  # name below the student's folder -> content; a name that ends in "@" is a link to nowhere good


@dataclass(frozen=True)
class Way:
    """One way of mangling.

    Args:
        name: as the list of expected marks says it.
        mangle: the notebook, its file's name and random numbers -> what is handed in.
        costs: "nothing", "first" (the first task is lost), "some" (any may be), or "all".
    """

    name: str
    mangle: Callable[[Document, str, random.Random], Files]
    costs: str = "nothing"


def written(document: Document) -> bytes:
    """As Jupyter writes it."""
    return (json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def zipped(files: Files, password: bool = False) -> bytes:
    """A zip archive; with a password, one that claims to have one."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 20, 12, 0, 0)), content, zipfile.ZIP_DEFLATED)
    content_of = bytearray(made.getvalue())
    if password:
        for sign, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            place = content_of.find(sign)
            while place >= 0:
                content_of[place + offset] |= 1
                place = content_of.find(sign, place + 4)
    return bytes(content_of)


def is_task(cell: dict[str, Any]) -> bool:
    """Whether a cell holds an exercise's answer."""
    return bool(cell["cell_type"] == "code" and cell["metadata"].get("nbgrader", {}).get("solution"))


def text(cell: dict[str, Any]) -> str:
    """A cell's source."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _bare(cells: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Cells as Colab gives them back."""
    for number, cell in enumerate(cells):
        kept = {key: value for key, value in cell.items() if key != "id"}
        yield {**kept, "metadata": {"id": f"{number:x}Qz{number * 7919 % 4096:03x}"}}


def _colab(document: Document, name: str, _: random.Random) -> Files:
    return {
        name: written(
            {
                "cells": list(_bare(document["cells"])),
                "metadata": {"colab": {"provenance": []}, "kernelspec": {"name": "python3"}},
                "nbformat": 4,
                "nbformat_minor": 0,
            }
        )
    }


def _format_3(document: Document, name: str, _: random.Random) -> Files:
    cells = []
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            cells.append({"cell_type": "code", "input": cell["source"], "language": "python", "outputs": []})
        else:
            cells.append({"cell_type": "markdown", "source": cell["source"]})
        cells[-1]["metadata"] = cell["metadata"]
    sheets = [{"cells": cells, "metadata": {}}]
    return {
        name: written({"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": sheets})
    }


def _without_first_task(document: Document, name: str, _: random.Random) -> Files:
    first = next(cell for cell in document["cells"] if is_task(cell))
    return {name: written({**document, "cells": [cell for cell in document["cells"] if cell is not first]})}


def _broken_first_task(document: Document, name: str, _: random.Random) -> Files:
    document = copy.deepcopy(document)
    first = next(cell for cell in document["cells"] if is_task(cell))
    first["source"] = text(first).replace("):", ")", 1).replace(":\n", "\n", 1).replace("(", "((", 1)
    return {name: written(document)}


def _duplicated_cells(document: Document, name: str, _: random.Random) -> Files:
    cells = [twin for cell in document["cells"] for twin in ([cell, cell] if is_task(cell) else [cell])]
    return {name: written({**document, "cells": cells})}


def _merged_cells(document: Document, name: str, _: random.Random) -> Files:
    """Each exercise and its check in one cell with the code before it, of whose metadata nothing is left."""
    cells: list[dict[str, Any]] = []
    for cell in document["cells"]:
        if cell["cell_type"] == "code" and cells and cells[-1]["cell_type"] == "code":
            cells[-1] = {**cells[-1], "source": f"{text(cells[-1])}\n\n{text(cell)}", "metadata": {}}
        else:
            cells.append(cell)
    return {name: written({**document, "cells": cells})}


def _split_cells(document: Document, name: str, _: random.Random) -> Files:
    cells = []
    for cell in document["cells"]:
        pieces = text(cell).split("\n\n\n") if is_task(cell) else [text(cell)]
        cells += [
            {**cell, "source": piece, "metadata": {} if len(pieces) > 1 else cell["metadata"]}
            for piece in pieces
        ]
    return {name: written({**document, "cells": cells})}


def _reordered(document: Document, name: str, chance: random.Random) -> Files:
    cells = list(document["cells"])
    chance.shuffle(cells)
    return {name: written({**document, "cells": _questions_before_answers(cells)})}


def _questions_before_answers(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(cells, key=lambda cell: cell["cell_type"] == "markdown")


def _with_magics(document: Document, name: str, _: random.Random) -> Files:
    cells = []
    for cell in document["cells"]:
        source = text(cell)
        cells.append(
            {**cell, "source": f"%%time\n{source}\n!nvidia-smi\n%timeit 1 + 1"} if is_task(cell) else cell
        )
    return {name: written({**document, "cells": cells})}


def _half(document: Document, name: str, _: random.Random) -> Files:
    content = written(document)
    return {name: content[: len(content) * 55 // 100]}


def _conflict(document: Document, name: str, _: random.Random) -> Files:
    mark = "<<<<<<< HEAD\n=======\n>>>>>>> theirs\n"
    return {name: written(document).decode().replace('   "metadata": {', f'{mark}   "metadata": {{').encode()}


def _odd(document: Document, name: str, _: random.Random) -> Files:
    odd: list[Any] = [
        None,
        7,
        {},
        {"cell_type": "sql", "source": {"a": 1}},
        {"cell_type": 3, "metadata": "none"},
    ]
    return {name: written({**document, "cells": [*odd, *document["cells"], ["code"]], "metadata": 4})}


def _not_a_number(document: Document, name: str, _: random.Random) -> Files:
    changed = copy.deepcopy(document)
    changed["cells"][0]["metadata"]["score"] = float("nan")
    return {name: written(changed)}


def flooded(document: Document, megabytes: int) -> Iterator[bytes]:
    """A notebook with that much output in its first exercise's check, in pieces."""
    document = copy.deepcopy(document)
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    code[0]["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["FLOOD"]}]
    before, after = written(document).split(b'"FLOOD"')
    line = b'      "step 1234567 [=======>      ] loss {0.1234}, \\"quoted\\" \\\\ and more of it\\n",\n'
    block = line * (1_000_000 // len(line))
    yield before
    for _ in range(megabytes):
        yield block
    yield b'"the end"' + after


def _flooded(document: Document, name: str, _: random.Random) -> Files:
    return {name: b"".join(flooded(document, FLOOD_MEGABYTES))}


FLOOD_MEGABYTES = 8  # the command line's --flood makes one of 200


def _plain(document: Document, name: str, _: random.Random) -> Files:
    return {name: written(document)}


def _stem(name: str) -> str:
    return name.removesuffix(".ipynb")


def _blank_twin(document: Document) -> bytes:
    cells = [{**cell, "source": "..."} if is_task(cell) else cell for cell in document["cells"]]
    return written({**document, "cells": cells})


WAYS: tuple[Way, ...] = (
    Way("a copy's name", lambda d, n, c: {f"{_stem(n)} (1).ipynb": written(d)}),
    Way("a blank twin", lambda d, n, c: {n: _blank_twin(d), f"Copy of {n}": written(d)}),
    Way(
        "zipped",
        lambda d, n, c: {"Meine Lösung.zip": zipped({f"work/{n}": written(d), "__MACOSX/._x.ipynb": b"\0"})},
    ),
    Way("zipped twice", lambda d, n, c: {"all.zip": zipped({"inner.zip": zipped({n: written(d)})})}),
    Way(
        "a name out of its archive",
        lambda d, n, c: {"a.zip": zipped({"../../../x.ipynb": b"{}", n: written(d)})},
    ),
    Way("stripped by Colab", _colab),
    Way("format 3", _format_3),
    Way("cells duplicated", _duplicated_cells),
    Way("cells merged", _merged_cells),
    Way("cells split", _split_cells),
    Way("cells reordered", _reordered),
    Way("magics", _with_magics),
    Way("half-written JSON", _half, "some"),
    Way("a merge conflict", _conflict),
    Way("much output", _flooded),
    Way("a byte order mark", lambda d, n, c: {n: b"\xef\xbb\xbf" + written(d)}),
    Way("UTF-16", lambda d, n, c: {n: written(d).decode().encode("utf-16")}),
    Way("NaN", _not_a_number),
    Way("odd cells", _odd),
    Way("checkpoints beside it", lambda d, n, c: {n: written(d), f".ipynb_checkpoints/{n}": _blank_twin(d)}),
    Way("an exercise deleted", _without_first_task, "first"),
    Way("an exercise that is no Python", _broken_first_task, "first"),
    Way("an empty file", lambda d, n, c: {n: b""}, "all"),
    Way("a web page", lambda d, n, c: {n: b"<!DOCTYPE html><html><body>Sign in</body></html>"}, "all"),
    Way("a PDF", lambda d, n, c: {f"{_stem(n)}.pdf": b"%PDF-1.7"}, "all"),
    Way("a password", lambda d, n, c: {"secret.zip": zipped({n: written(d)}, password=True)}, "all"),
    Way("a broken archive", lambda d, n, c: {"work.zip": zipped({n: written(d)})[:900]}, "all"),
    Way("a link out of the folder", lambda d, n, c: {f"{n}@": b"/etc/passwd"}, "all"),
    Way("nothing at all", lambda d, n, c: {}, "all"),
)
