"""Put the pages `live` and `live_masks` together: text, controls, what both begin with, and the tabs between them."""

from __future__ import annotations

from pathlib import Path

from tools.website.live.masks import students

HERE = Path(__file__).resolve().parent
FOLDER = Path("_static", "live")  # in the site; both pages share files
# Page -> its tab.
TABS = {"live": "Name garments", "live_masks": "Mark garments"}


def pages() -> list[str]:
    """Return the names of the pages that can be made: `live_masks` has none before its students are trained."""
    return [name for name in TABS if name != "live_masks" or students.stored()]


def fragment(name: str, folder: Path) -> str:
    """Return the page of that name as Markdown; ``folder`` holds its page.md and its controls.html."""
    opening = (HERE / "opening.html").read_text(encoding="utf-8")
    controls = (folder / "controls.html").read_text(encoding="utf-8").replace("<!-- opening -->\n", opening)
    text = (folder / "page.md").read_text(encoding="utf-8")
    return text.replace("<!-- tabs -->", _raw(_top(name))).replace("<!-- controls -->", _raw(controls))


def _top(name: str) -> str:
    """Return the style sheet's link, and the tabs unless this is the only page."""
    style = f'<link rel="stylesheet" href="{FOLDER.as_posix()}/live.css">\n'
    found = pages()
    if found == [name]:
        return style
    current = ' aria-current="page"'
    tabs = "\n".join(
        f'<a href="{page}.html"{current if page == name else ""}>{TABS[page]}</a>' for page in found
    )
    return f'{style}<nav class="live-tabs" aria-label="Live pages">\n{tabs}\n</nav>\n'


def _raw(html: str) -> str:
    return f"```{{raw}} html\n{html}```"
