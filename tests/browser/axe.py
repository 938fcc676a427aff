"""axe-core on a notebook that is open in JupyterLab: WCAG 2.0 to 2.2, levels A and AA, and its best practices."""

from __future__ import annotations

from typing import Any

from tests.browser.driving import Lesson

THEMES = ("Light", "Dark")

# What JupyterLab 4.6 itself gets wrong inside a notebook: rule -> the elements it is left to, and why.
UPSTREAM = {
    # The list of cells has the role "feed", and cells no role at all, where a feed may hold articles alone.
    "aria-required-children": ".jp-WindowedPanel-viewport",
    # The button that folds a section, beside its heading, has neither a text nor a name.
    "button-name": ".jp-collapseHeadingButton",
}
_AXE = """async excused => {
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    const found = await axe.run('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook',
        {runOnly: tags, elementRef: true, resultTypes: ['violations', 'passes']});
    const outcome = {wrong: [], excused: [], contrasts: 0};
    for (const rule of found.violations) for (const node of rule.nodes) {
        if (excused[rule.id] && node.element.matches(excused[rule.id])) outcome.excused.push(rule.id);
        else outcome.wrong.push(`${rule.id} (${rule.impact}): ${node.target.join(' ').slice(-120)}: `
            + (node.any[0] ?? node.all[0] ?? node.none[0])?.message);
    }
    const contrast = found.passes.find(rule => rule.id === 'color-contrast');
    outcome.contrasts = contrast?.nodes.filter(node => node.element.closest('.kdcourse')).length ?? 0;
    return outcome;
}"""
# axe takes what lies outside its frame for invisible, and so for legible. JupyterLab's body has no height.
_TALL = "body { height: 100vh }"
_HEIGHT = """() => Math.ceil(document.querySelector(
    '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-viewport').getBoundingClientRect().height)"""

_TO_THE_TOP = "() => document.querySelectorAll('.jp-WindowedPanel-outer').forEach(one => one.scrollTo(0, 0))"


def nothing_wrong(lesson: Lesson, axe: str, theme: str) -> dict[str, Any]:
    """What axe finds in a theme, once it is sure that nothing of it is wrong."""
    lesson.theme(theme)
    found = seen_by(axe, lesson)
    lesson.keep(f"axe_{theme}")
    assert found["wrong"] == []
    return found


def seen_by(axe: str, lesson: Lesson) -> dict[str, Any]:
    """What axe finds in the whole notebook: in a window as tall as the notebook, for it looks no further."""
    page, before = lesson.page, lesson.page.viewport_size
    assert before is not None
    page.evaluate(axe)
    page.add_style_tag(content=_TALL)
    try:
        height = 0
        # Cells that had not been laid out get their true height once they are in the window.
        for _ in range(8):
            last, height = height, page.evaluate(_HEIGHT)
            if height == last:
                break
            page.set_viewport_size({"width": before["width"], "height": height + 400})
            page.wait_for_timeout(1000)
        page.evaluate(_TO_THE_TOP)  # where running the cells has scrolled to its end, it may stay there
        return dict(page.evaluate(_AXE, UPSTREAM))
    finally:
        page.set_viewport_size(before)
