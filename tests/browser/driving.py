"""A lesson in JupyterLab, driven as its learner would: cells, keys, the mouse, pictures of what is seen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

KERNEL_SECONDS = 180
RUN_SECONDS = 900  # for all cells; on two quiet cores a lesson takes well under a minute

# The toolbar says idle before the kernel is there; the application knows.
_READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget, session = panel?.sessionContext;
    const kernel = session?.session?.kernel;
    return panel?.context?.isReady && session?.isReady && kernel?.connectionStatus === 'connected'
        && kernel?.status === 'idle';
}"""
# Not awaited by `evaluate`, which has no time limit.
_EXECUTE = """([command, args]) => {
    window.kdcourseOutcome = 'under way';
    window.jupyterapp.commands.execute(command, args).then(
        value => { window.kdcourseOutcome = String(value); },
        error => { window.kdcourseOutcome = 'error: ' + error; });
}"""
_THEME = """name => { window.jupyterapp.commands.execute('apputils:change-theme', {theme: name}); }"""
_CODE = """() => window.jupyterapp.shell.currentWidget.content.widgets.map((cell, index) => ({
    index, kind: cell.model.type, source: cell.model.sharedModel.getSource(),
    count: cell.model.executionCount ?? null,
    errors: (cell.model.type === 'code' ? cell.model.sharedModel.getOutputs() : [])
        .filter(output => output.output_type === 'error').map(output => `${output.ename}: ${output.evalue}`),
})).filter(cell => cell.kind === 'code')"""
_SELECT = """index => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.deselectAll();
    notebook.activeCellIndex = index;
    notebook.mode = 'command';
    return notebook.scrollToItem(index, 'start').then(() => notebook.activeCell.node.focus());
}"""
# The picture is another one for each drawing, so its address says nothing; its pixels do.
_PIXELS = """async picture => {
    await picture.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    canvas.getContext('2d').drawImage(picture, 0, 0);
    return canvas.toDataURL();
}"""


@dataclass
class Lesson:
    """A notebook, open in the browser."""

    page: Page
    name: str
    screenshots: Path
    outcome: str = "not run"

    def __post_init__(self) -> None:
        self._number = count(1)

    def open(self, address: str) -> None:
        """Open it, and wait for its kernel."""
        self.page.goto(f"{address}lab/tree/{self.name}.ipynb?reset", wait_until="domcontentloaded")
        self.page.wait_for_function(_READY, timeout=1000 * KERNEL_SECONDS)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def execute(self, command: str, seconds: float = RUN_SECONDS, **arguments: Any) -> str:
        """Run a command of JupyterLab to its end; return its outcome."""
        self.page.evaluate(_EXECUTE, [command, arguments])
        self.page.wait_for_function("() => window.kdcourseOutcome !== 'under way'", timeout=1000 * seconds)
        return str(self.page.evaluate("() => window.kdcourseOutcome"))

    def wait_until_idle(self) -> None:
        self.page.wait_for_function(_READY, timeout=1000 * KERNEL_SECONDS)

    def theme(self, name: str) -> None:
        """Put on one of JupyterLab's own themes: "Light" or "Dark"."""
        self.page.evaluate(_THEME, f"JupyterLab {name}")
        light = {"Light": "true", "Dark": "false"}[name]
        expect(self.page.locator(f'body[data-jp-theme-light="{light}"]')).to_have_count(1)
        self.page.wait_for_timeout(1000)  # its style sheet and its transitions

    def restart(self) -> None:
        """Restart the kernel through JupyterLab's own question."""
        self.page.evaluate(_EXECUTE, ["notebook:restart-kernel", {}])
        self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        self.page.wait_for_function(
            "() => window.kdcourseOutcome !== 'under way'", timeout=1000 * KERNEL_SECONDS
        )
        self.wait_until_idle()

    # -- cells -------------------------------------------------------------------------------

    def code(self) -> list[dict[str, Any]]:
        """The code cells: ``index`` among all cells, ``source``, ``count`` (None: not run), ``errors``."""
        return list(self.page.evaluate(_CODE))

    def find(self, pattern: str) -> tuple[int, re.Match[str]]:
        """The first code cell whose source holds this regular expression, and what matched."""
        for cell in self.code():
            match = re.search(pattern, cell["source"])
            if match:
                return cell["index"], match
        raise AssertionError(f"{self.name} has no cell with {pattern}")

    def select(self, index: int) -> Locator:
        """Go to a cell, so that keys are meant for it."""
        self.page.evaluate(_SELECT, index)
        cell = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell.jp-mod-active")
        expect(cell).to_be_focused()
        return cell

    def run(self, index: int) -> None:
        """Run one cell to its end; an error in it is one of the test."""
        self.select(index)
        outcome = self.execute("notebook:run-cell")
        [cell] = [cell for cell in self.code() if cell["index"] == index]
        assert (outcome, cell["errors"]) == ("true", []), cell["source"]

    # -- keys and mouse ----------------------------------------------------------------------

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def tab_to(self, target: Locator, most: int = 40) -> None:
        """Press Tab until this control has the focus, as someone without a mouse would."""
        for _ in range(most):
            self.press("Tab")
            if target.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"{most} times Tab, and no focus on {target}")

    # -- what is seen ------------------------------------------------------------------------

    def keep(self, what: str, around: Locator | None = None) -> None:
        """Save a picture of the window, scrolled to ``around``."""
        if around is not None:
            around.evaluate("element => element.scrollIntoView({block: 'start'})")
        self.page.screenshot(path=self.screenshots / f"{self.name[:2]}_{next(self._number):02}_{what}.png")


def slider(inside: Locator, name: str) -> tuple[Locator, Locator, Locator]:
    """Handle, track and readout of the slider with this label."""
    whole = inside.locator(".widget-slider", has_text=re.compile(rf"^\s*{re.escape(name)}"))
    return whole.get_by_role("slider"), whole.locator(".noUi-target"), whole.locator(".widget-readout")


def output(cell: Locator) -> Locator:
    """What a cell shows, below its source."""
    return cell.locator(".jp-Cell-outputWrapper")


def pixels(picture: Locator) -> str:
    """All that can be seen of a picture."""
    return str(picture.evaluate(_PIXELS))
