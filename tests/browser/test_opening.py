"""`kdcourse lab` in Chromium: lesson 00 is open, without results, and the next time the work is as it was left.

`pytest -m browser --no-cov tests/browser/test_opening.py` runs these alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip(
    "playwright", reason='playwright not installed: pip install -e ".[test,browser]" -c constraints.txt'
)

from playwright.sync_api import Page, expect

from kdcourse.lab import FIRST
from tests.browser.conftest import browsing, serving
from tests.browser.driving import Lesson

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

SOON = 120_000
WORK = "# my own work\n"
_NAME = "() => window.jupyterapp?.shell?.currentWidget?.context?.path"
_TABS = "() => [...window.jupyterapp.shell.widgets('main')].map(widget => widget.title.label)"
_SOURCE = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .map(cell => cell.model.sharedModel.getSource()).join('\\n')"""
_WRITE = """work => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cell = panel.content.widgets.find(cell => cell.model.type === 'code');
    cell.model.sharedModel.setSource(work + cell.model.sharedModel.getSource());
    return panel.context.save().then(() => true);
}"""


@contextmanager
def _visit(home: Path, browser: Path) -> Iterator[Page]:
    """Start `kdcourse lab`, and go to the address that it opens in a browser."""
    home.mkdir(exist_ok=True)
    lessons = home.parent / "lessons"
    with (
        serving(home, lessons, "kdcourse.cli", "lab", f"--notebooks={lessons}") as server,
        browsing(server, browser) as context,
    ):
        page = context.new_page()
        page.goto(server.address, wait_until="domcontentloaded")
        page.wait_for_function(f"() => ({_NAME})() === '{FIRST}'", timeout=SOON)
        lesson = Lesson(page, FIRST, home)
        lesson.wait_until_idle()  # a kernel that is only starting delays JupyterLab's end
        yield page


def test_lesson_00_is_open_and_the_work_is_found_again(tmp_path: Path, screenshots: Path) -> None:
    with _visit(tmp_path / "first", tmp_path / "chromium") as page:
        lines = page.locator(".jp-NotebookPanel .jp-OutputArea-output")
        expect(lines.first).to_contain_text("Run this cell")
        expect(page.locator(".jp-NotebookPanel .jp-RenderedImage")).to_have_count(0)
        page.screenshot(path=screenshots / "lab_opened.png")
        assert FIRST in page.evaluate(_TABS)
        assert page.evaluate(_WRITE, WORK)
    work = (tmp_path / "lessons" / FIRST).read_bytes()
    assert b"my own work" in work
    with _visit(tmp_path / "second", tmp_path / "chromium") as page:
        assert page.evaluate(_SOURCE).count(WORK) == 1
    assert (tmp_path / "lessons" / FIRST).read_bytes() == work
