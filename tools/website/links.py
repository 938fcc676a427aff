"""Check a finished site: every link leads to a page, file or anchor, and nothing is loaded from another server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements that make the browser load a file, and the attribute that names it.
_LOADED = {
    "audio": "src", "embed": "src", "iframe": "src", "image": "href", "img": "src", "input": "src", "object": "data",
    "script": "src", "source": "src", "track": "src", "use": "href", "video": "src",
}  # fmt: skip
_NOT_LOADED = {"canonical", "alternate", "author", "next", "prev", "search", "index", "license", "top", "up"}
_IN_STYLES = re.compile(r"""url\(\s*["']?(?!data:|#)([^"')]+)|@import\s+["']([^"']+)""")


@dataclass
class Contents(HTMLParser):
    """Collect what one page links to, what it loads, and its anchors."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    _style: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._style = tag == "style"
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and "href" in given and not _NOT_LOADED & set(given.get("rel", "").split()):
            self.loads.append(given["href"])
        loaded = given.get(_LOADED.get(tag, ""), "")
        if loaded:
            self.loads.append(loaded)
        self.loads += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self.loads += _in_styles(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._style:
            self.loads += _in_styles(data)


def pages(site: Path) -> list[Path]:
    """Return the pages of a site: all HTML files except the theme's static ones."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts]


def problems(site: Path) -> list[str]:
    """Return one sentence per broken link and per file from another server."""
    site = site.resolve()
    read = {path: _contents(path) for path in pages(site)}
    found = []
    for path, contents in read.items():
        where = path.relative_to(site).as_posix()
        for address in contents.loads:
            found += [f"{where} {text}" for text in _check(site, path, address, read, loaded=True)]
        for address in contents.links:
            found += [f"{where} {text}" for text in _check(site, path, address, read, loaded=False)]
    for path in sorted(site.rglob("*.css")):
        for address in _in_styles(path.read_text(encoding="utf-8", errors="replace")):
            where = path.relative_to(site).as_posix()
            found += [f"{where} {text}" for text in _check(site, path, address, {}, loaded=True)]
    return list(dict.fromkeys(found))


def _check(
    site: Path, page: Path, address: str, read: dict[Path, Contents], *, loaded: bool
) -> Iterator[str]:
    parts = urlsplit(address)
    if parts.scheme == "data":
        return
    if parts.scheme or parts.netloc:
        if loaded:
            yield f"loads {address} from another server"
        elif parts.scheme not in ("http", "https", "mailto") or (
            parts.scheme != "mailto" and not parts.netloc
        ):
            yield f"has the link {address!r}, which is not an address"
        return
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site) or not target.is_file():
        yield f"{'loads' if loaded else 'links to'} {address}, which doesn't exist"
    elif parts.fragment and target in read and unquote(parts.fragment) not in read[target].anchors:
        yield f"links to {address}, but there is no such anchor"


def _contents(path: Path) -> Contents:
    contents = Contents()
    contents.feed(path.read_text(encoding="utf-8"))
    return contents


def _in_styles(text: str) -> list[str]:
    return [one or other for one, other in _IN_STYLES.findall(text)]
