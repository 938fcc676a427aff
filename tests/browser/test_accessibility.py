"""Who can't see, point or tell colours apart: axe-core and the keyboard on every widget, in both themes.

`pytest -m browser --no-cov tests/browser/test_accessibility.py` runs these alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip(
    "playwright", reason='playwright not installed: pip install -e ".[browser]" -c constraints.txt'
)

import nbformat
from playwright.sync_api import Locator, expect

from tests.browser.axe import THEMES, nothing_wrong, seen_by
from tests.browser.driving import Lesson, output, slider
from tests.website import conftest as website

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from tests.browser.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(2400)]

axe = website.axe  # the program, a fixture

# What lies to the right of the output that it belongs to, less what a box of its own scrolls.
_STICKS_OUT = """() => [...document.querySelectorAll('.kdcourse *')].filter(element => {
    const box = element.getBoundingClientRect();
    const room = element.closest('.jp-OutputArea-output').getBoundingClientRect();
    return box.width && box.right > room.right + 1 && !element.parentElement.closest('.kdcourse-wide');
}).map(element => `${element.tagName}.${element.className} ${element.textContent.slice(0, 40)}`)"""

# Every widget, with little to compute.
_GALLERY = (
    "# Every widget",
    "## One after the other",
    "import torch\n"
    "from kdcourse import widgets\n"
    "from tests.distillation import tiny\n"
    "from tests.widgets.test_tuner import QUICK, targets\n"
    "from tests.widgets.tiny import CLASS_NAMES, scenes, task\n"
    "images, labels, members = task()",
    "widgets.temperature_explorer(images, members, labels, CLASS_NAMES)",
    "widgets.ensemble_explorer(members, labels, CLASS_NAMES)",
    "widgets.mistake_browser(images, labels, CLASS_NAMES, {'teacher': members[0], 'plain': members[1]})",
    "widgets.threshold_explorer(*scenes())",
    "widgets.predict('gallery-choice', 'Which?', choices=['this one', 'that one'])",
    "widgets.predict('gallery-number', 'How many?', number=(0, 10, 1), unit='of 10')",
    "widgets.reveal('gallery-number', 3, unit='of 10')",
    "widgets.quiz('gallery', [widgets.Question('Which is right?', [\n"
    "    widgets.Option('this', True, 'It is.'), widgets.Option('that', False, 'It is not.')])])",
    "widgets.live_heat_map([1.0, 4.0], [0.5, 1.0], [0], data=tiny.dataset(), teacher=targets(), epochs=1)",
    "widgets.distillation_tuner(tiny.dataset(), targets(), settings=QUICK)",
)


@pytest.fixture(scope="module")
def gallery(server: Server, browser: BrowserContext, screenshots: Path) -> Iterator[Lesson]:
    """A notebook with every widget, run."""
    cells = [
        nbformat.v4.new_markdown_cell(text) if text.startswith("#") else nbformat.v4.new_code_cell(text)
        for text in _GALLERY
    ]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "kdcourse": {},  # a notebook of the course, on which the extension acts
    }
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.write(notebook, server.notebooks / "gallery.ipynb")
    page = browser.new_page()
    lesson = Lesson(page, "gallery", screenshots)
    try:
        lesson.open(server.address)
        lesson.outcome = lesson.execute("notebook:run-all-cells")
        lesson.wait_until_idle()
        assert [cell["errors"] for cell in lesson.code() if cell["errors"]] == []
        expect(page.get_by_text("javascript error")).to_have_count(0)
        yield lesson
    finally:
        page.close()


# -- axe-core: WCAG 2.0 to 2.2, levels A and AA, and its best practices -----------------------------


@pytest.mark.parametrize("theme", THEMES)
def test_no_widget_keeps_anybody_out(gallery: Lesson, axe: str, theme: str) -> None:
    assert nothing_wrong(gallery, axe, theme)["contrasts"] > 60


def test_axe_sees_what_is_wrong(gallery: Lesson, axe: str) -> None:
    gallery.theme("Light")
    gallery.page.evaluate(
        """() => {
            const seen = [...document.querySelectorAll('.kdcourse img')].filter(image => image.checkVisibility());
            seen[0].removeAttribute('alt');
            document.querySelector('.kdcourse button').style.color = '#aaa';
        }"""
    )
    rules = {text.split()[0] for text in seen_by(axe, gallery)["wrong"]}
    assert rules == {"image-alt", "color-contrast"}


# -- by keyboard alone ------------------------------------------------------------------------------


def _widget(gallery: Lesson, name: str) -> Locator:
    """A widget of the gallery, from now on by its place: which cell is active changes with the focus."""
    index, _ = gallery.find(rf"^widgets\.{name}\(")
    gallery.select(index)
    return output(gallery.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{index}"]'))


def _focused(gallery: Lesson) -> str:
    """What has the focus, as a screen reader names it."""
    return str(
        gallery.page.evaluate(
            """() => { const e = document.activeElement;
                return `${e.tagName} ${e.getAttribute('role') ?? e.type ?? ''} ${e.innerText ?? ''}`.trim(); }"""
        )
    )


@pytest.mark.parametrize("theme", THEMES)
def test_the_tuner_is_used_without_a_mouse(gallery: Lesson, theme: str) -> None:
    gallery.theme(theme)
    tuner = _widget(gallery, "distillation_tuner")
    kept = tuner.get_by_label("Runs").locator("option").count()
    radios = tuner.get_by_role("radio")
    gallery.tab_to(radios.first)
    _assert_focus_is_seen(radios.first)
    gallery.press("Tab")
    gallery.press("Space")
    expect(radios.nth(1)).to_be_checked()
    gallery.press("Shift+Tab")
    gallery.press("Space")
    expect(radios.first).to_be_checked()
    # Four stops, because in ipywidgets each radio button is one: the two other radio buttons (labels alone, teacher
    # alone), the menu of methods, the temperature's slider.
    temperature, track, readout = slider(tuner, "Temperature T")
    # Labels alone need no temperature; the kernel has to answer before the slider can be used again.
    expect(track).not_to_have_attribute("disabled", re.compile(""))
    gallery.tab_to(temperature, most=4)
    expect(temperature).to_have_accessible_name("Temperature T")
    _assert_focus_is_seen(temperature)
    before = readout.inner_text()
    gallery.press("ArrowRight")
    expect(readout).not_to_have_text(before)
    gallery.press("ArrowLeft")
    expect(readout).to_have_text(before)
    epochs, _, readout = slider(tuner, "Epochs")
    gallery.tab_to(epochs)
    gallery.press("Home")
    expect(readout).to_have_text("1")
    train = tuner.get_by_role("button", name="Train", exact=True)
    gallery.tab_to(train)
    _assert_focus_is_seen(train)
    gallery.press("Enter")
    expect(tuner.get_by_role("status")).to_contain_text(re.compile("Finished: "))
    now = tuner.get_by_label("Runs").locator("option").count()
    assert now == kept + (1 if kept else 2)  # with the plain twin, which is trained once
    gallery.tab_to(tuner.get_by_label("Runs"))
    _assert_focus_is_seen(tuner.get_by_label("Runs"))
    delete = tuner.get_by_role("button", name="Delete the chosen runs…")
    gallery.tab_to(delete)
    gallery.press("Enter")
    sure = tuner.get_by_role("button", name="No, keep them")
    expect(sure).to_be_visible()
    gallery.tab_to(sure)
    gallery.press("Space")
    expect(sure).to_be_hidden()
    expect(tuner.get_by_label("Runs").locator("option")).to_have_count(now)
    gallery.keep(f"tuner_by_keyboard_{theme}", tuner)


def test_members_are_ticked_without_a_mouse(gallery: Lesson) -> None:
    explorer = _widget(gallery, "ensemble_explorer")
    status, boxes = explorer.get_by_role("status"), explorer.get_by_role("checkbox")
    said = status.inner_text()
    gallery.tab_to(boxes.nth(1))
    _assert_focus_is_seen(boxes.nth(1))
    gallery.press("Space")
    expect(boxes.nth(1)).not_to_be_checked()
    expect(status).not_to_have_text(said)
    gallery.press("Space")
    expect(status).to_have_text(said)
    radios = explorer.get_by_role("radio")
    gallery.tab_to(radios.nth(0))  # the chosen one; arrow keys choose another
    gallery.press("ArrowDown")
    expect(radios.nth(1)).to_be_checked()
    _assert_left(gallery, explorer)


def test_mistakes_are_browsed_without_a_mouse(gallery: Lesson) -> None:
    mistakes = _widget(gallery, "mistake_browser")
    status = mistakes.get_by_role("status")
    said = status.inner_text()
    either = mistakes.get_by_role("radio", name="either").first
    gallery.tab_to(either)
    _assert_focus_is_seen(either)
    gallery.press("ArrowDown")  # wrong
    expect(status).not_to_have_text(said)
    images = mistakes.get_by_role("slider", name="Image")
    gallery.tab_to(images)
    gallery.press("ArrowRight")
    expect(images).to_have_attribute("aria-valuetext", re.compile("^2 of"))
    gallery.tab_to(mistakes.get_by_role("button", name="Previous"))
    gallery.press("Enter")
    expect(images).to_have_attribute("aria-valuetext", re.compile("^1 of"))
    _assert_left(gallery, mistakes)


def test_a_threshold_is_slid_without_a_mouse(gallery: Lesson) -> None:
    explorer = _widget(gallery, "threshold_explorer")
    status = explorer.get_by_role("status")
    chosen = explorer.get_by_role("combobox", name="Class")
    gallery.tab_to(chosen)
    _assert_focus_is_seen(chosen)
    before = status.inner_text()
    gallery.press("ArrowUp")
    expect(status).not_to_have_text(before)
    threshold = explorer.get_by_role("slider", name="Threshold")
    gallery.tab_to(threshold)
    gallery.press("End")
    expect(threshold).to_have_attribute("aria-valuetext", "1.00")
    expect(explorer.get_by_role("img", name="Mask at threshold 1.00")).to_be_visible()
    _assert_left(gallery, explorer)


def test_the_heat_map_is_trained_without_a_mouse(gallery: Lesson) -> None:
    heat_map = _widget(gallery, "live_heat_map")
    gallery.tab_to(heat_map.get_by_role("button", name="Train", exact=True))
    gallery.press("Space")
    expect(heat_map.locator("details")).not_to_contain_text("Not trained yet")
    expect(heat_map.get_by_role("button", name="Stop", exact=True)).to_be_disabled()
    gallery.tab_to(heat_map.locator("summary"))
    gallery.press("Enter")
    expect(heat_map.locator("details")).to_have_attribute("open", "")
    _assert_left(gallery, heat_map)


def test_no_widget_sticks_out_on_a_phone(gallery: Lesson) -> None:
    tuner = _widget(gallery, "distillation_tuner")
    if not tuner.get_by_label("Runs").locator("option").count():
        tuner.get_by_role("button", name="Train", exact=True).click()
    expect(tuner.get_by_role("table")).to_be_visible()  # which scrolls in a box of its own
    before = gallery.page.viewport_size
    assert before is not None
    gallery.page.set_viewport_size({"width": 390, "height": 844})
    gallery.page.evaluate("() => { window.jupyterapp.shell.collapseLeft(); }")  # the list of files
    try:
        gallery.page.wait_for_timeout(1000)
        gallery.keep("phone", tuner)
        assert gallery.page.evaluate(_STICKS_OUT) == []
    finally:
        gallery.page.evaluate("() => { window.jupyterapp.shell.expandLeft(); }")
        gallery.page.set_viewport_size(before)


def _assert_left(gallery: Lesson, widget: Locator) -> None:
    """Tab leads out of a widget in the end."""
    for _ in range(20):
        gallery.press("Tab")
        if not widget.evaluate("element => element.contains(document.activeElement)"):
            return
    raise AssertionError(f"20 times Tab, and the focus is still at {_focused(gallery)}")


def _assert_focus_is_seen(control: Locator) -> None:
    """An outline two pixels wide, 3:1 against what surrounds it (WCAG 2.2, 1.4.11)."""
    seen = control.evaluate(
        """element => {
            const style = getComputedStyle(element), numbers = text => text.match(/[\\d.]+/g).map(Number);
            let around = element.closest('.widget-slider') ?? element.parentElement;  // not the thin track itself
            while ((numbers(getComputedStyle(around).backgroundColor)[3] ?? 1) < 0.5) around = around.parentElement;
            const luminance = text => numbers(text).slice(0, 3).map(c => c / 255).map(
                c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce(
                (sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
            const [a, b] = [style.outlineColor, getComputedStyle(around).backgroundColor].map(luminance);
            return {line: style.outlineStyle, width: parseFloat(style.outlineWidth),
                    contrast: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)};
        }"""
    )
    assert seen["line"] != "none" and seen["width"] >= 2 and seen["contrast"] >= 3, seen
