"""Formulas become drawings with their MathML beside them, and pages lose the scripts for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kdcourse.errors import DataError
from tools.website import assets
from tools.website.drawn import draw_formulas

_SCRIPTS = (
    '<script>window.MathJax = {"options": {}}</script>\n'
    '<script defer="defer" src="_static/assets/mathjax/startup.js"></script>'
)
_PAGE = (
    '{scripts}<p>As <span class="math notranslate nohighlight">\\(a &lt; b\\)</span> says:</p>'
    '<div class="math notranslate nohighlight">\n\\[{latex}\\]</div><code>\\(a\\)</code>'
)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wanted = [package for package in assets.packages() if package.use == "site"]
    reason = assets.missing(wanted) or ("" if shutil.which("node") else "Node.js is not installed")
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("mathjax") / "node_modules"
    for package in wanted:
        assets.unpack(assets.fetch(wanted)[package.name], package, folder)
    return folder


def test_formulas_are_drawn(modules: Path, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "page.html"
    page.parent.mkdir()
    page.write_text(_PAGE.format(scripts=_SCRIPTS, latex=r"\frac{T^2}{B} \sum_b p_b"))
    draw_formulas(tmp_path, modules)
    text = page.read_text()
    assert text.count('<svg style="vertical-align') == text.count('<span class="course-hidden"><math') == 2
    assert "<mo>&lt;</mo>" in text and "<mfrac>" in text and "<code>\\(a\\)</code>" in text
    assert "MathJax" not in text and "<script" not in text


def test_a_formula_that_cannot_be_drawn_is_named(modules: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(_PAGE.format(scripts="", latex=r"\unknown{T}"))
    with pytest.raises(DataError, match=r"Undefined control sequence.*\\unknown\{T\}"):
        draw_formulas(tmp_path, modules)
