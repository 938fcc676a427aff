"""Leave out of the pages what they don't use: all of Font Awesome (1.5 MB) for a few icons, and the search's index."""

from __future__ import annotations

import re
from pathlib import Path

from kdcourse.errors import DataError

SCRIPT = "_static/scripts/fontawesome.js"
_ICON = re.compile(r'"?([\w-]+)"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"\]')
_ELEMENT = re.compile(
    r'<(i|span) class="((?:[^"]* )?)(fa[bs]|fa-solid|fa-brands) fa-([\w-]+)([^"]*)"([^>]*)></\1>'
)
_SEARCH = re.compile(r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js"></script>')
_SCRIPTS = re.compile(r"\s*<(?:script|link)[^>]*fontawesome\.js[^>]*>(?:</script>)?")
# One icon of each set that no other set has; names such as "file" exist in several.
_SETS = {"fab": "github", "fa-brands": "github", "fas": "bars", "fa-solid": "bars"}


def lighten(site: Path) -> None:
    """Replace the icons of all pages of a site by drawings; load the search's index on its own page alone.

    Raises:
        DataError: the script lacks an icon that a page shows.
    """
    script = site / SCRIPT
    known = _sets(script.read_text(encoding="utf-8"))
    for page in site.rglob("*.html"):
        text = _ELEMENT.sub(lambda found: _svg(found, known), page.read_text(encoding="utf-8"))
        text = _SCRIPTS.sub("", text)
        page.write_text(text if page.name == "search.html" else _SEARCH.sub("", text), encoding="utf-8")
    for file in script.parent.glob(f"{script.name}*"):
        file.unlink()


def _sets(script: str) -> list[dict[str, tuple[str, str, str]]]:
    """Return the script's sets of icons: name -> width, height, path."""
    sets: list[dict[str, tuple[str, str, str]]] = []
    end = -1
    for found in _ICON.finditer(script):
        if found.start() != end + 1:  # a comma lies between two icons of a set
            sets.append({})
        sets[-1][found[1]] = (found[2], found[3], found[4])
        end = found.end()
    return sets


def _svg(found: re.Match[str], known: list[dict[str, tuple[str, str, str]]]) -> str:
    _, before, style, name, after, attributes = found.groups()
    icons = next((icons for icons in known if _SETS.get(style, "") in icons), {})
    if name not in icons:
        raise DataError(f"The theme's script {SCRIPT} has no icon {style} {name}. Has the theme changed?")
    width, height, path = icons[name]
    return (
        f'<svg class="{before}course-icon fa-{name}{after}"{attributes} viewBox="0 0 {width} {height}" '
        f'aria-hidden="true"><path fill="currentColor" d="{path}"/></svg>'
    )
