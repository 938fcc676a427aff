"""The website, built once for all tests, and a browser that is answered by nobody but it."""

from __future__ import annotations

import functools
import http.server
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from tests.browser.conftest import chromium, opened
from tools.website import assets

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

BUILD_SECONDS = 900
# What tests of pages in Chromium have in common: their `pytestmark`.
IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(find_spec("playwright") is not None and chromium() is None, reason="no Chromium"),
    pytest.mark.usefixtures("nobody_else_is_asked"),
]
# What axe finds in a page's main part, rule by rule.
AXE_MAIN = """async () => (await axe.run('main', {resultTypes: ['violations']})).violations.map(
    found => `${found.id}: ` + found.nodes.map(node => node.target.join(' ')).join(', '))"""
_SPHINX = ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx_copybutton", "ipywidgets")


def why_no_site() -> str:
    """What building the site needs and this machine lacks, with its cure; empty where all is there."""
    packages = [name for name in _SPHINX if find_spec(name) is None]
    if packages:
        return f'{" and ".join(packages)} not installed: pip install -e ".[test,site]" -c constraints.txt'
    return assets.missing([package for package in assets.packages() if package.use == "site"])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site: ``$KDCOURSE_SITE`` where that is set, else built now; the workers of one run share it."""
    if "KDCOURSE_SITE" in os.environ:
        return Path(os.environ["KDCOURSE_SITE"]).resolve()
    reason = why_no_site()
    if reason:
        pytest.skip(reason)
    from tools.website.build import MARK, build

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "website"
    with FileLock(f"{folder}.lock", timeout=BUILD_SECONDS):
        if not (folder / MARK).is_file():
            build(folder)
    return folder


# -- in a browser ------------------------------------------------------------------------------------


@dataclass
class Reader:
    """A browser before the site: opens pages, and remembers what went wrong while it did."""

    context: BrowserContext
    address: str  # ends in /
    refused: list[str] = field(default_factory=list)  # asked of anybody else
    wrong: list[str] = field(default_factory=list)  # answers of 400 and above, errors of scripts

    @contextmanager
    def page(self, path: str, theme: str = "light", width: int = 1280, height: int = 900) -> Iterator[Page]:
        """A page, loaded, in one of the two themes."""
        page = self.context.new_page()
        try:
            page.on("response", lambda answer: answer.status >= 400 and self.wrong.append(answer.url))
            page.on("pageerror", lambda error: self.wrong.append(f"{path}: {error}"))
            page.set_viewport_size({"width": width, "height": height})
            page.add_init_script(
                f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
            )
            page.goto(self.address + path, wait_until="load")
            yield page
        finally:
            page.close()

    @contextmanager
    def page_that_misses(self, file: str, path: str) -> Iterator[Page]:
        """A page, loaded, whose first request for a file got no answer."""
        tries: list[Route] = []

        def fail_once(route: Route) -> None:
            tries.append(route)
            if len(tries) == 1:
                route.abort("connectionreset")
            else:
                route.continue_()

        page = self.context.new_page()
        try:
            page.route(f"**/{file}", fail_once)
            page.goto(self.address + path)
            yield page
        finally:
            page.close()


@pytest.fixture(scope="module")
def reader(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Chromium without a window before a server of this machine; whatever asks another machine is refused."""
    refused: list[str] = []
    with _served(site) as address:
        others = rf"^(?!{re.escape(address)}|data:|blob:|about:)"
        with opened(tmp_path_factory.mktemp("chromium"), others, refused) as browser:
            yield Reader(browser, address, refused)


@pytest.fixture
def nobody_else_is_asked(reader: Reader) -> Iterator[None]:
    """No page asks another machine, and none asks for what isn't there, or has an error in its scripts."""
    reader.refused.clear()
    reader.wrong.clear()
    yield
    assert reader.refused == []
    assert reader.wrong == []


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The folder's address, for as long as it is needed."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves a page drops what it was about to get; that is no mistake."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: pytest has enough to say."""


@pytest.fixture(scope="session")
def axe() -> str:
    """The program that looks for what keeps people out."""
    [package] = [package for package in assets.packages() if package.name == "axe-core"]
    reason = assets.missing([package])
    if reason:
        pytest.skip(reason)
    import tarfile

    with tarfile.open(assets.fetch([package])[package.name]) as archive:
        program = archive.extractfile("package/axe.min.js")
        assert program is not None
        return program.read().decode()
