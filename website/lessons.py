"""A stored notebook as a page of the website: its figures as files with alt text and captions, its quizzes folded."""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import dataclass, field
from html import escape
from typing import Any

from kdcourse.errors import DataError
from kdcourse.lessons.colab import CELL
from kdcourse.lessons.links import home

FIGURES = "figures"  # folder of the site
WIDGET = "an interactive widget"  # every widget of the course says so of itself, in its stored text
_FIGURE = "Figure: "
_TIME = re.compile(
    r"\*\*Time:\*\* (\d+) minutes? to read, (\d+) minutes? for the exercises; the machine works\s+for ([^.;]+)\."
)

Notebook = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A picture of a lesson: its file on the site, its words, its size in pixels."""

    file: str
    alt: str
    width: int
    height: int

    def tag(self, root: str, *, lazy: bool = True) -> str:
        """The <img>; ``root`` leads from the page to the top of the site."""
        loading = ' loading="lazy"' if lazy else ""
        return (
            f'<img src="{root}{FIGURES}/{self.file}" width="{self.width}" height="{self.height}"{loading} '
            f'alt="{escape(self.alt)}">'
        )


@dataclass
class Page:
    """A lesson as the site shows it.

    ``notebook`` is what Sphinx reads; ``pictures`` holds file -> PNG; ``summary`` is its first paragraph.
    """

    name: str
    title: str
    summary: str
    reading_minutes: int
    exercise_minutes: int
    machine: str
    notebook: Notebook
    figures: list[Figure] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    widgets: int = 0


def page(notebook: Notebook, name: str) -> Page:
    """Turn a notebook, as `json.load` gives it, into a page; the notebook itself stays as it is.

    Raises:
        DataError: it has no title, no stated time, outputs missing, or a picture without alt text.
    """
    first = _text(notebook["cells"][0]["source"]) if notebook["cells"] else ""
    title = re.match(r"# (\S.*)\n+((?:.+\n)*.+)", first)
    time = _TIME.search(first)
    if title is None or time is None:
        raise DataError(
            f"{name}: the first cell has no title with a paragraph, or doesn't say '**Time:** ...'."
        )
    made = Page(
        name, title[1].strip(), _on_one_line(title[2]), int(time[1]), int(time[2]), _on_one_line(time[3]),
        {**notebook, "cells": []},
    )  # fmt: skip
    cells = made.notebook["cells"]
    for position, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            if cell.get("id") != CELL:  # what sets up Colab would only stand in a reader's way
                cells.append(_code(made, cell, position))
        else:
            cells.append({**cell, "source": _text(cell["source"])})
        if position == 0:
            cells.append(_run_it(name))
    return made


def _run_it(name: str) -> dict[str, Any]:
    """What to do with the page besides reading it; a cell of markdown."""
    words = (
        f'<p class="course-run">These are stored results. To run and change them, open the lesson in '
        f'<a href="{escape(home().colab(name))}">Colab</a> or '
        f'<a href="{escape(home().binder(name))}">Binder</a>, or '
        f'<a href="../_sources/notebooks/{name}.ipynb" download>download the notebook</a>.</p>'
    )
    return {"cell_type": "markdown", "id": "run-it", "metadata": {}, "source": words}


def _code(made: Page, cell: dict[str, Any], position: int) -> dict[str, Any]:
    metadata = dict(cell["metadata"])
    if metadata.get("jupyter", {}).get("source_hidden"):
        metadata["tags"] = [*metadata.get("tags", []), "hide-input"]
    outputs = [_output(made, output, f"{made.name}, cell {position + 1}") for output in cell["outputs"]]
    words = {_text(output["data"]["text/plain"]) for output in cell["outputs"] if _has_picture(output)}
    kept = [_without(output, words) for output in outputs]
    return {
        **cell,
        "source": _text(cell["source"]),
        "metadata": metadata,
        "outputs": [output for output in kept if output is not None],
    }


def _output(made: Page, output: dict[str, Any], where: str) -> dict[str, Any]:
    if output["output_type"] not in ("display_data", "execute_result"):
        return output
    words = _text(output["data"].get("text/plain", ""))
    if _has_picture(output):
        html = _figure(made, output, words, where)
    elif "shown when you run this cell" in words:
        html = f'<p class="course-elsewhere">{escape(words)}</p>'
    else:
        return output
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": html}}


def _figure(made: Page, output: dict[str, Any], words: str, where: str) -> str:
    alt = output["metadata"].get("image/png", {}).get("alt", "")
    if not alt:
        raise DataError(f"{where}: its picture has no alt text; show it with kdcourse.lessons.show.")
    content = base64.b64decode(_text(output["data"]["image/png"]))
    figure = Figure(f"{made.name}-{len(made.figures) + 1:02}.png", alt, *_size(content, where))
    made.figures.append(figure)
    made.pictures[figure.file] = content
    caption = words.removeprefix(_FIGURE)
    kind = "course-figure"
    if WIDGET in words:
        made.widgets += 1
        kind += " course-widget"
        caption = f"{words} It comes alive in JupyterLab, Colab or Binder; this is how it starts."
    caption = caption[:1].upper() + caption[1:]
    return f'<figure class="{kind}">{figure.tag("../")}<figcaption>{escape(caption)}</figcaption></figure>'


def _without(output: dict[str, Any], words: set[str]) -> dict[str, Any] | None:
    """Printed text less what the captions say already; None where nothing is left."""
    if output["output_type"] != "stream":
        return output
    text = _text(output["text"])
    for line in words:
        text = text.replace(f"{line}\n", "", 1)
    return {**output, "text": text} if text.strip() else None


def _has_picture(output: dict[str, Any]) -> bool:
    return "image/png" in output.get("data", {})


def _size(png: bytes, where: str) -> tuple[int, int]:
    """Width and height in pixels."""
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise DataError(f"{where}: its picture is no PNG; build the notebook again.")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
