"""Draw the pages' formulas when the site is built: SVG for eyes, MathML for screen readers, no script in the page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from html import unescape
from pathlib import Path

from kdcourse.errors import DataError

SECONDS = 120
PROGRAM = Path(__file__).with_name("drawn.cjs")
Formula = tuple[str, bool]  # LaTeX, and whether it has a line of its own

_FORMULA = re.compile(
    r'(?<=<)(?P<tag>span|div)(?P<open> class="[^"]*\bmath\b[^"]*"[^>]*>)\s*'
    r"(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<block>.*?)\\\])\s*(?=</(?P=tag)>)",
    re.DOTALL,
)
_SCRIPTS = re.compile(r"\s*<script>window\.MathJax = .*?</script>|\s*<script[^>]*/mathjax/[^>]*></script>")
_NOTES = re.compile(r' (?:data-[\w-]+|role|focusable|xmlns)="[^"]*"')


def draw_formulas(site: Path, modules: Path) -> None:
    """Replace the LaTeX in all pages of a site by drawings, and leave out the scripts that would draw it.

    Args:
        site: a folder.
        modules: a folder ``node_modules`` with MathJax and its font.

    Raises:
        DataError: a formula can't be drawn, or Node.js is missing.
    """
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    wanted = sorted({_formula(found) for text in pages.values() for found in _FORMULA.finditer(text)})
    drawings = dict(zip(wanted, _drawn(wanted, modules), strict=True)) if wanted else {}
    for page, text in pages.items():
        page.write_text(_SCRIPTS.sub("", with_drawings(text, drawings)), encoding="utf-8")


def with_drawings(text: str, drawings: Mapping[Formula, str]) -> str:
    """Return a page's HTML with its formulas drawn."""
    return _FORMULA.sub(lambda found: f"{found['tag']}{found['open']}{drawings[_formula(found)]}", text)


def _formula(found: re.Match[str]) -> Formula:
    inline, block = found["inline"], found["block"]
    return unescape(inline if block is None else block).strip(), block is not None


def _drawn(formulas: Iterable[Formula], modules: Path) -> list[str]:
    node = shutil.which("node")
    if node is None:
        raise DataError("The website's formulas are drawn by MathJax, which needs Node.js. Install it.")
    program = modules.parent / PROGRAM.name  # beside the modules, where Node.js looks for them
    shutil.copyfile(PROGRAM, program)
    done = subprocess.run(
        [node, str(program)], input=json.dumps(list(formulas)), capture_output=True, text=True, encoding="utf-8",
        timeout=SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise DataError(f"MathJax could not draw a formula: {done.stderr.strip()[-1000:]}")
    return [
        f'{_NOTES.sub("", svg)}<span class="course-hidden">{_NOTES.sub("", words)}</span>'
        for svg, words in json.loads(done.stdout)
    ]
