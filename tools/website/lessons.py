"""Turn a stored notebook into a page: figures become files with alt text and captions.

What answers a prediction is folded: the outputs of the cells from `widgets.predict` to the `widgets.reveal` of the same
key.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from kdcourse.course.notebook import SET_UP as CELL
from kdcourse.errors import DataError
from kdcourse.figures.output import png_size
from tools.lessons.links import home
from tools.website import parts, trained

FIGURES, PARTS = "figures", "parts"  # folders of the site
WIDGET = "an interactive widget"  # part of the stored text of every widget
LINK = re.compile(r"https?://[^\s<>\"'`]+")
_BLOCK, _DARK, _FEW = 8, 60, 0.002  # a side in pixels, the brightness of dark ones, the share of dark blocks
_FIGURE = "Figure: "
_PREDICT = re.compile(r"(?:(?<=\n\n)|\A)(?=\*\*Predict\b)")
_CHECK = re.compile(r"^check\(", re.MULTILINE)
_CLAIM = "Claim holds:"
_COLUMNS = re.compile(r"\S {2,}\S")  # columns of text, whose alignment must be kept
_PREDICTED, _REVEALED = (re.compile(rf'widgets\.{name}\(\s*"([\w-]+)"') for name in ("predict", "reveal"))
# Outputs of such cells that answer nothing: questions, checks of blank exercises, what only a kernel shows. The widget
# that reveals the truth is stored as a card without it.
_HARMLESS = re.compile(
    r"(Prediction|Quiz|Truth) \d\d|Not attempted yet|.*shown when you run this cell", re.DOTALL
)
_TIME = re.compile(
    r"\*\*Time:\*\* (\d+) minutes? to read, (\d+) minutes? for the exercises; the machine works\s+for\s+([^.;]+)\."
)

Notebook = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """Describe an image of a lesson: file on the site, alt text, size in pixels."""

    file: str
    alt: str
    width: int
    height: int
    chart: bool = False  # without photographs: it may be inverted where the page is dark

    def tag(self, root: str, *, lazy: bool = True) -> str:
        """Return the <img> element; ``root`` leads from the page to the top of the site."""
        loading, look = ' loading="lazy"' if lazy else "", ' class="course-chart"' if self.chart else ""
        return (
            f'<img{look} src="{root}{FIGURES}/{self.file}" width="{self.width}" height="{self.height}"{loading} '
            f'alt="{escape(self.alt)}">'
        )


@dataclass
class Page:
    """Hold a lesson as the site shows it.

    ``notebook`` is Sphinx's source, ``images`` maps file to PNG, ``summary`` is the lesson's first paragraph.
    """

    name: str
    title: str
    summary: str
    reading_minutes: int
    exercise_minutes: int
    machine: str
    notebook: Notebook
    figures: list[Figure] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)
    widgets: int = 0
    asked: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    explorers: dict[str, str] = field(default_factory=dict)  # sentence of the widget -> its file in PARTS


def page(notebook: Notebook, name: str, asked: Mapping[str, dict[str, Any]] | None = None) -> Page:
    """Turn a notebook, as `json.load` gives it, into a page; the notebook isn't modified.

    Args:
        notebook: a lesson.
        name: of its file.
        asked: quizzes and predictions that work in the page, as `parts.states` returns them; others are figures.

    Raises:
        DataError: the notebook has no title, no stated time, no outputs, or an image without alt text.
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
        {**notebook, "cells": []}, asked=asked or {},
    )  # fmt: skip
    for call in (*parts.offered(notebook), *trained.stored(notebook, name)):
        made.explorers[parts.title(call)] = f"{name}-{parts.EXPLORERS[call]}.json"
    cells = made.notebook["cells"]
    folded = revealing(notebook)
    for position, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            if cell.get("id") != CELL:  # the set-up for Colab doesn't interest readers of the page
                cells.append(_code(made, cell, position, folded.get(position, ())))
        else:
            text = _PREDICT.sub("{.course-predict}\n", _linked(_text(cell["source"])))
            cells.append({**cell, "source": text})
        if position == 0:
            cells.append(_run_it(name))
    return made


def _run_it(name: str) -> dict[str, Any]:
    """Return a Markdown cell that says how to run the lesson."""
    words = (
        f'<p class="course-run">These are stored results. To run and change them, open the lesson in '
        f'<a href="{escape(home().colab(name))}">Colab</a> or '
        f'<a href="{escape(home().binder(name))}">Binder</a>, or '
        f'<a href="../_sources/notebooks/{name}.ipynb" download>download the notebook</a>.</p>'
        '<script type="module" src="../_static/parts/host.js"></script>'
    )
    return {"cell_type": "markdown", "id": "run-it", "metadata": {}, "source": words}


def revealing(notebook: Notebook) -> dict[int, list[str]]:
    """Return the cells whose outputs could answer predictions before they are made: position -> their keys."""
    sources = [_text(cell["source"]) if cell["cell_type"] == "code" else "" for cell in notebook["cells"]]
    asked = {key: place for place, source in enumerate(sources) for key in _PREDICTED.findall(source)}
    found: dict[int, list[str]] = {}
    for place, source in enumerate(sources):
        for key in _REVEALED.findall(source):
            for covered in range(asked.get(key, place), place + 1):
                found.setdefault(covered, []).append(key)
    return found


def _code(made: Page, cell: dict[str, Any], position: int, answers: Sequence[str] = ()) -> dict[str, Any]:
    """Return a cell; its outputs are folded where they answer predictions, whose keys are ``answers``."""
    metadata = dict(cell["metadata"])
    marks = {
        "hide-input": metadata.get("jupyter", {}).get("source_hidden"),
        "course-check": _CHECK.search(_text(cell["source"])),
    }
    tags = [*metadata.get("tags", []), *(tag for tag, given in marks.items() if given)]
    if tags:
        metadata["tags"] = tags
    outputs = [_output(made, output, f"{made.name}, cell {position + 1}") for output in cell["outputs"]]
    words = {_text(output["data"]["text/plain"]) for output in cell["outputs"] if _has_image(output)}
    harmless = [_HARMLESS.match(_plain(output)) is not None for output in cell["outputs"]]
    kept: list[dict[str, Any]] = []
    hidden: list[dict[str, Any]] = []
    for output, visible in zip(outputs, harmless, strict=True):
        shown = _without(output, words)
        if shown is not None:
            (kept if visible or not answers else hidden).append(_printed(shown))
    return {
        **cell,
        "source": _text(cell["source"]),
        "metadata": metadata,
        "outputs": [*kept, *([_folded(hidden, answers)] if hidden else [])],
    }


def _folded(outputs: list[dict[str, Any]], answers: Sequence[str]) -> dict[str, Any]:
    """Return outputs as one that a reader has to unfold, or unfolds by predicting."""
    bodies = [
        output["data"].get("text/html") or _as_lines(_text(output["data"]["text/plain"]))
        for output in outputs
    ]
    html = "".join(map(_text, bodies))
    what = "figure" if "<figure" in html else "measured numbers" if f"<b>{_CLAIM}" in html else "result"
    html = (
        f'<details class="course-result" data-after="{" ".join(answers)}">'
        f"<summary>Show the {what} (predict first)</summary>{html}</details>"
    )
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": html}}


def _plain(output: dict[str, Any]) -> str:
    """Return an output as plain text."""
    return _text(
        output["text"] if output["output_type"] == "stream" else output["data"].get("text/plain", "")
    )


def _output(made: Page, output: dict[str, Any], where: str) -> dict[str, Any]:
    if output["output_type"] not in ("display_data", "execute_result"):
        return output
    words = _text(output["data"].get("text/plain", ""))
    if _has_image(output):
        html = _figure(made, output, words, where)
    elif "shown when you run this cell" in words:
        html = f'<p class="course-elsewhere">{escape(words)}</p>'
    else:
        return output
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": html}}


def _figure(made: Page, output: dict[str, Any], words: str, where: str) -> str:
    alt = output["metadata"].get("image/png", {}).get("alt", "")
    if not alt:
        raise DataError(f"{where}: an image has no alt text. Show the figure with kdcourse.course.show.")
    content = base64.b64decode(_text(output["data"]["image/png"]))
    figure = Figure(
        f"{made.name}-{len(made.figures) + 1:02}.png", alt, *_size(content, where), _is_chart(content)
    )
    made.figures.append(figure)
    made.images[figure.file] = content
    caption = words.removeprefix(_FIGURE)
    kind = "course-figure"
    if WIDGET in words:
        made.widgets += 1
        kind += " course-widget"
        named = re.sub(r"^(\w+) \d\d(?:-[\w-]+)?:", r"\1:", words)  # without the widget's id
        caption = (
            f"{named} It is interactive in JupyterLab, Colab or Binder; this image shows its first state."
        )
    caption = caption[:1].upper() + caption[1:]
    image = f'<div class="course-scroll">{figure.tag("../")}</div>'  # wider than the page on a phone
    html = f'<figure class="{kind}">{image}<figcaption>{escape(caption)}</figcaption></figure>'
    return _interactive(made, output, words, html) if WIDGET in words else html


def _interactive(made: Page, output: dict[str, Any], words: str, figure: str) -> str:
    """Put a widget's figure into an element that its front end takes over; see host.js."""
    title, key = words.partition(":")[0], parts.key_of(words)
    if title in made.explorers:
        state = f"../{PARTS}/{made.explorers[title]}"
        kind = made.explorers[title].removeprefix(f"{made.name}-").removesuffix(".json")
        return f'<div data-part="{kind}" data-state="{state}">{figure}</div>'
    if words in made.asked:
        kind, known = title.split()[0].lower(), made.asked[words]
    elif key and title.startswith("Truth"):
        prediction = next((one for one in made.asked.values() if one.get("key") == key), None)
        if prediction is None:
            return figure
        kind, known = (
            "truth",
            {"key": key, "unit": prediction["unit"], **output["metadata"].get("kdcourse", {})},
        )
    else:
        return figure
    data = json.dumps(known, ensure_ascii=False).replace("<", "\\u003c")  # no tag may end the script
    return f'<div data-part="{kind}"><script type="application/json">{data}</script>{figure}</div>'


def _without(output: dict[str, Any], words: set[str]) -> dict[str, Any] | None:
    """Remove from printed text what the captions say; return None if nothing is left."""
    if output["output_type"] != "stream":
        return output
    text = _text(output["text"])
    for line in words:
        text = text.replace(f"{line}\n", "", 1)
    return {**output, "text": text} if text.strip() else None


def _printed(output: dict[str, Any]) -> dict[str, Any]:
    """Format printed text for any width: sentences wrap with an indent, columns scroll."""
    if output["output_type"] != "stream" or output["name"] != "stdout":
        return output
    html = _as_lines(_text(output["text"]))
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": html}}


def _as_lines(text: str) -> str:
    lines = _unwrapped(text.rstrip("\n").split("\n"))
    html, inside = "", False
    for line in lines:
        claims = line.startswith(_CLAIM) or (inside and line.startswith(" "))  # its numbers are indented
        if claims and line.startswith(_CLAIM):
            html += f'{"</span>" * inside}<span class="course-claim">'
        elif inside and not claims:
            html += "</span>"
        html += _printed_line(line)
        inside = claims
    return f'<div class="course-printed"><pre>{html}{"</span>" * inside}</pre></div>'


def _unwrapped(lines: list[str]) -> list[str]:
    """Join the lines of a claim's sentence, which was wrapped for a terminal."""
    made: list[str] = []
    for line in lines:
        if made and made[-1].startswith(_CLAIM) and not made[-1].endswith((".", "?", "!")):
            made[-1] += f" {line.strip()}"
        else:
            made.append(line)
    return made


def _printed_line(line: str) -> str:
    text = escape(line, quote=False)
    if line.startswith(_CLAIM):
        text = text.replace(_CLAIM, f"<b>{_CLAIM}</b>", 1)
    kind = ' class="course-columns"' if _COLUMNS.search(line) else ""
    indent = len(line) - len(line.lstrip(" "))
    deeper = f' style="--indent: {indent}ch"' if indent else ""
    return f"<span{kind}{deeper}>{text}\n</span>"


def _linked(text: str) -> str:
    """Turn the addresses in a lesson's references into links."""
    head, title, references = text.partition("## References")
    return head + title + LINK.sub(_link, references)


def _link(found: re.Match[str]) -> str:
    address = bare(found[0])
    is_link_already = found.string[: found.start()].endswith(("(", "<"))
    return found[0] if is_link_already else f"<{address}>{found[0][len(address) :]}"


def bare(address: str) -> str:
    """Return an address without the punctuation of the sentence around it."""
    address = address.rstrip(".,;:")
    return address if address.count("(") >= address.count(")") else address.rstrip(")").rstrip(".,;")


def _has_image(output: dict[str, Any]) -> bool:
    return "image/png" in output.get("data", {})


def _size(png: bytes, where: str) -> tuple[int, int]:
    """Return width and height in pixels."""
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise DataError(f"{where}: an image is no PNG. Build the notebook again.")
    return png_size(png)


def _is_chart(png: bytes) -> bool:
    """Return whether an image has no dark areas, as photographs of clothes on black have."""
    with Image.open(io.BytesIO(png)) as image:
        if image.mode == "P":  # how `kdcourse.course.show` stores photographs
            return False
        brightest = np.asarray(image.convert("RGB")).max(axis=2)
    height, width = (length // _BLOCK * _BLOCK for length in brightest.shape)
    blocks = brightest[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    return bool((blocks.max(axis=(1, 3)) < _DARK).sum() <= _FEW * blocks.size / _BLOCK**2)


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
