"""Pages load no more than they use, and their code fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdcourse.errors import DataError
from tests.website.tiny import code, notebook
from tools.website.columns import WIDTH, fitted
from tools.website.lighten import SCRIPT, lighten

_SETS = (
    '{file:[1,2,[],"f1","regular"]},'
    '{bars:[448,512,["navicon"],"f0c9","M0 96"],file:[3,4,[9680,"page"],"f1","solid"]}'
)


def _site(folder: Path, body: str) -> Path:
    script = folder / SCRIPT
    script.parent.mkdir(parents=True)
    script.write_text(f"var x={_SETS};")
    scripts = ('defer src="_static/scripts/fontawesome.js?digest=1"', 'src="searchindex.js"')
    head = "\n".join(f"<script {script}></script>" for script in scripts)
    for name in ("index.html", "search.html"):
        (folder / name).write_text(f"{head}<p>{body}</p>")
    return folder


def test_icons_are_drawn_and_what_isn_t_used_is_left_out(tmp_path: Path) -> None:
    site = _site(tmp_path, '<i class="theme-switch fas fa-file fa-lg" data-mode="light"></i>')
    lighten(site)
    page = (site / "index.html").read_text()
    assert '<svg class="theme-switch course-icon fa-file fa-lg" data-mode="light" viewBox="0 0 3 4"' in page
    assert 'd="solid"' in page and "<script" not in page and not (site / SCRIPT).exists()
    assert "searchindex.js" in (site / "search.html").read_text()


def test_an_unknown_icon_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no icon fab github"):
        lighten(_site(tmp_path, '<span class="fab fa-github"></span>'))


def test_code_fits_a_page_and_stays_the_same_program() -> None:
    words = "word " * 30
    lesson = notebook(
        code(
            f"# {words.strip()}\nfound = some_function_with_a_name({', '.join(f'argument_{n}=1' for n in range(8))})"
        ),
        code("short = {'a':1}"),
    )
    wide, short = fitted(lesson)["cells"][1:]
    assert max(map(len, wide["source"].split("\n"))) <= WIDTH
    assert "# word word" in wide["source"] and "argument_7=1," in wide["source"]
    assert short["source"] == ["short = {'a':1}"]
