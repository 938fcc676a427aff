"""The course's JupyterLab extension acts on notebooks of the course, and on no other: compared in Chromium.

`pytest -m browser --no-cov tests/browser/test_other_notebooks.py` runs these alone.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip(
    "playwright", reason='playwright not installed: pip install -e ".[browser]" -c constraints.txt'
)

import nbformat
from PIL import Image
from playwright.sync_api import Locator, expect

from kdcourse import lab
from tests.browser.conftest import browsing, serving
from tests.browser.driving import Lesson

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1200)]

LESSON = lab.FIRST.removesuffix(".ipynb")  # without which `kdcourse lab` would not start
THEMES = ("Light", "Dark")
ALT = "A grey square, 40 pixels wide"
LONG = "a sentence of many words " * 20

# Everything that the extension adds to a notebook has something to act on here.
_SHOW_IMAGE = f"""\
import base64, io
from IPython.display import HTML, display
from PIL import Image
buffer = io.BytesIO()
Image.new("L", (40, 40), 128).save(buffer, "PNG")
def show():  # a comment
    data = {{"image/png": base64.b64encode(buffer.getvalue()).decode()}}
    display(data, raw=True, metadata={{"image/png": {{"alt": {ALT!r}}}}})
show()"""
_WIDGETS = """\
import ipywidgets as widgets
inside = widgets.Output()
with inside:
    show()
box = widgets.VBox([widgets.IntSlider(3, description="Steps"), widgets.Select(options=["a", "b"]), inside])
box.add_class("kdcourse")
box"""
_TEXT = """\
# A notebook
A [link](https://example.org) and `code`, a list

- with another [link](https://example.org)

```python
def plain(x):  # a comment
    return x + 1
```

<details><summary>More</summary>folded</details>"""

# Per element of a notebook, its toolbar apart: name, attributes, own text, and the computed style as far as it differs
# from that of the parent. Random ids and the server's port are replaced. Left out: sizes that JupyterLab and CodeMirror
# remember from earlier layouts, which depend on timing, and the attribute style, which the computed style includes.
_SNAPSHOT = r"""panel => [panel, ...panel.querySelectorAll('*')].filter(
    element => !element.closest('.jp-NotebookPanel-toolbar')
).map(element => {
    const fixed = text => text.replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}/g, 'UUID')
        .replace(/\b[0-9a-f]{32}\b/g, 'HEX').replace(/127\.0\.0\.1:\d+/g, 'SERVER')
        .replace(' jp-mod-searchable', '');  // JupyterLab sets it or not, as it becomes ready before or after its panel
    const texts = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE);
    const style = getComputedStyle(element), above = getComputedStyle(element.parentElement);
    const value = name => style.getPropertyValue(name);
    const named = [...style].filter(name => !/^contain-intrinsic-|^flex-basis$/.test(name));
    const told = named.filter(name => element === panel || value(name) !== above.getPropertyValue(name));
    return {
        name: fixed(element.tagName + '.' + element.className),
        attributes: [...element.attributes].filter(({name}) => name !== 'style')
            .map(({name, value}) => fixed(`${name}=${value}`)).sort(),
        text: texts.map(node => node.data).join('|'),
        style: Object.fromEntries(told.map(name => [name, fixed(value(name))])),
    };
})"""
# What the extension adds.
_ADDED = """panel => {
    const all = (selector, get) => [...panel.querySelectorAll(selector)].map(get);
    return {
        images: all('.jp-RenderedImage img', image => image.getAttribute('alt')),
        editors: all('.cm-content', editor => editor.getAttribute('aria-label')),
        links: all('.jp-RenderedHTMLCommon a[href^="http"]', link => getComputedStyle(link).textDecorationLine),
        sliders: all('.noUi-handle', handle => handle.getAttribute('aria-label')),
        lists: all('.kdcourse select', list => list.dataset.lmSuppressShortcuts ?? null),
    };
}"""
_CURRENT = "() => window.jupyterapp.shell.currentWidget.id"

Snapshot = list[dict[str, Any]]


@dataclass
class Seen:
    """What Chromium shows of a lesson, and of another notebook beside it."""

    loaded: bool  # the extension
    opened: dict[str, list[str | None]]  # what the extension adds to the lesson, before a cell runs
    lesson: dict[str, list[str | None]]  # the same after every cell ran
    other: dict[str, Snapshot]  # the other notebook after every cell ran, per theme


def _notebooks(folder: Path) -> Path:
    """Write two notebooks that differ in their metadata alone; return their folder."""
    buffer = io.BytesIO()
    Image.new("L", (40, 40), 128).save(buffer, "PNG")
    stored = nbformat.v4.new_output(
        "display_data",
        data={"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": ALT},
        metadata={"image/png": {"alt": ALT}},
    )
    cells = [
        nbformat.v4.new_markdown_cell(_TEXT, id="text"),
        nbformat.v4.new_code_cell(_SHOW_IMAGE, id="image", outputs=[stored], execution_count=1),
        nbformat.v4.new_code_cell(f"print({LONG!r})", id="printed"),
        nbformat.v4.new_code_cell('HTML("<p>A <a href=https://example.org>link</a></p>")', id="html"),
        nbformat.v4.new_code_cell(_WIDGETS, id="widgets"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir()
    for name, ours in {LESSON: {"kdcourse": {"source": "lesson.py"}}, "other": {}}.items():
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel} | ours)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder


def _see(home: Path, *module: str) -> Seen:
    """Open a lesson and another notebook beside it, run both, and record what is shown."""
    folder = home / "notebooks"
    with serving(home, folder, *module) as server, browsing(server, home / "chromium") as context:
        lesson = Lesson(context.new_page(), LESSON, home)
        lesson.open(server.address)
        panel = _panel(lesson)
        expect(panel.locator(".jp-RenderedImage img")).to_have_count(1)
        lesson.page.wait_for_timeout(1000)
        opened = panel.evaluate(_ADDED)
        _run_all(lesson)
        lesson.execute("docmanager:open", path="other.ipynb", options={"mode": "split-right"})
        lesson.wait_until_idle()
        _run_all(lesson)
        return Seen(
            loaded=lesson.page.evaluate("() => 'kdcourse' in (window._JUPYTERLAB ?? {})"),
            opened=opened,
            lesson=panel.evaluate(_ADDED),
            other={theme: _settled(lesson, _panel(lesson), theme) for theme in THEMES},
        )


def _panel(lesson: Lesson) -> Locator:
    """Return the notebook that is open in front."""
    return lesson.page.locator(f"#{lesson.page.evaluate(_CURRENT)}")


def _run_all(lesson: Lesson) -> None:
    lesson.execute("notebook:run-all-cells")
    lesson.wait_until_idle()
    assert [cell["errors"] for cell in lesson.code() if cell["errors"]] == []
    expect(_panel(lesson).locator(".jp-RenderedImage img")).to_have_count(2)
    expect(_panel(lesson).get_by_role("slider")).to_have_count(1)


def _settled(lesson: Lesson, panel: Locator, theme: str) -> Snapshot:
    """Return a snapshot of a notebook once two in a row are the same."""
    lesson.theme(theme)
    last: Snapshot = []
    for _ in range(10):
        # Whether the active cell has the focus, and so a ring, depends on which of JupyterLab's panels was ready first.
        lesson.page.evaluate("() => document.activeElement.blur()")
        before, last = last, panel.evaluate(_SNAPSHOT)
        if before == last:
            return last
        lesson.page.wait_for_timeout(1000)
    raise AssertionError(f"The notebook still changes:\n{_differences(before, last)}")


def _differences(one: Snapshot, other: Snapshot) -> list[tuple[Any, ...]]:
    """List where two snapshots differ: the element, what of it, and both values."""
    if (names := [e["name"] for e in one]) != (others := [e["name"] for e in other]):
        return [
            ("elements", sorted({*names} - {*others}), sorted({*others} - {*names}), len(names), len(others))
        ]
    found: list[tuple[Any, ...]] = []
    for a, b in zip(one, other, strict=True):
        found += [(a["name"], key, a[key], b[key]) for key in ("attributes", "text") if a[key] != b[key]]
        styles = a["style"].keys() | b["style"].keys()
        pairs = [(key, a["style"].get(key), b["style"].get(key)) for key in sorted(styles)]
        found += [(a["name"], key, mine, theirs) for key, mine, theirs in pairs if mine != theirs]
    return found


@pytest.fixture(scope="module")
def with_extension(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """``kdcourse lab``."""
    home = tmp_path_factory.mktemp("with")
    folder = _notebooks(home / "notebooks")
    return _see(home, "kdcourse.cli", "lab", f"--notebooks={folder}")


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """JupyterLab as this Python has it."""
    home = tmp_path_factory.mktemp("without")
    folder = _notebooks(home / "notebooks")
    return _see(home, "jupyterlab", f"--ServerApp.root_dir={folder}")


def test_a_lesson_is_improved(with_extension: Seen) -> None:
    assert with_extension.loaded
    assert with_extension.opened["images"] == [ALT]  # a stored output
    seen = with_extension.lesson
    assert seen["images"] == [ALT, ALT]  # the second one is inside a widget
    assert set(seen["editors"]) == {"Source"} and len(seen["editors"]) >= 4
    assert set(seen["links"]) == {"underline"} and len(seen["links"]) == 3
    assert (seen["sliders"], seen["lists"]) == (["Steps"], ["true"])


def test_another_notebook_beside_a_lesson_is_as_without_the_extension(
    with_extension: Seen, without: Seen
) -> None:
    assert not without.loaded, "an old copy is installed in this Python: pip install the project again"
    for theme in THEMES:
        assert len(without.other[theme]) > 200
        assert _differences(with_extension.other[theme], without.other[theme]) == []


def test_the_comparison_sees_what_the_extension_adds(with_extension: Seen, without: Seen) -> None:
    assert without.lesson["links"] == ["none"] * 3
    added = {None} | {
        text for name in ("images", "editors", "sliders", "lists") for text in without.lesson[name]
    }
    assert added <= {None, ""}
