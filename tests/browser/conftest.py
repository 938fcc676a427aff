"""JupyterLab on this machine alone and a browser before it, each with nothing of the user's own."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
# What surrounds this pytest is not for a learner's server: its coverage would slow every kernel down.
NOT_PASSED_ON = re.compile(r"PYTEST_|COV_|COVERAGE_|JUPYTER|KDCOURSE_|MPLBACKEND$")
# Folders that JupyterLab and kernels would otherwise share with the user.
_FOLDERS = (
    "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "KDCOURSE_RUNS",
)  # fmt: skip


def chromium() -> str | None:
    """The browser's program: ``$KDCOURSE_CHROMIUM``, or the first of those that go by a known name."""
    named = os.environ.get("KDCOURSE_CHROMIUM")
    return next(filter(None, map(shutil.which, [named] if named else _BROWSERS)), None)


def missing() -> str:
    """What these tests need and this machine lacks, with its cure; empty where all is there."""
    packages = [name for name in ("jupyterlab", "playwright") if find_spec(name) is None]
    if packages:
        return f'{" and ".join(packages)} not installed: pip install -e ".[test,browser]" -c constraints.txt'
    if chromium() is None:
        return "no Chromium: install it (Debian: apt-get install chromium), or name one in $KDCOURSE_CHROMIUM"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A run of all tests leaves these out, with the reason, where they can't run."""
    reason = missing()
    if reason:
        for item in items:
            if item.get_closest_marker("browser") is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@dataclass(frozen=True)
class Server:
    """A JupyterLab that waits for its learner."""

    address: str  # ends in /
    token: str
    notebooks: Path  # the folder that it shows


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``kdcourse lab``, as a learner starts it, on a copy of the notebooks."""
    home = tmp_path_factory.mktemp("lab")
    notebooks = home / "notebooks"
    shutil.copytree(ROOT / "notebooks", notebooks, ignore=shutil.ignore_patterns(".*"))
    with serving(home, notebooks, "kdcourse.cli", "lab", f"--notebooks={notebooks}") as started:
        yield started


@contextmanager
def serving(home: Path, notebooks: Path, *module: str) -> Iterator[Server]:
    """Start JupyterLab by a module and its arguments; nothing of the user's own in it, and in the end asked to stop."""
    token = secrets.token_hex(16)
    folders = {name: home / name.lower() for name in _FOLDERS}
    _decline_news(folders["JUPYTERLAB_SETTINGS_DIR"])
    command = [
        sys.executable, "-m", *module, "--no-browser", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={free_port()}", "--LabApp.expose_app_in_browser=True",
        *(["--allow-root"] if is_root() else []),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not NOT_PASSED_ON.match(name)}
    environment |= {name: str(folder) for name, folder in folders.items()}
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    environment |= {"JUPYTER_TOKEN": token, "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": path}
    # The browser wants a core too: threads that spin while they wait for one slow a lesson down several times.
    environment.setdefault("OMP_NUM_THREADS", "1")
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        address = _address(process, folders["JUPYTER_RUNTIME_DIR"], log)
        yield Server(address, token, notebooks)
        _ask_to_end(address, token)
        assert process.wait(60) == 0, log.read_text()
    finally:
        end(process)


@pytest.fixture(scope="module")
def browser(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """Chromium without a window, logged in."""
    with browsing(server, tmp_path_factory.mktemp("chromium")) as context:
        yield context


@contextmanager
def browsing(server: Server, folder: Path) -> Iterator[BrowserContext]:
    """Open Chromium without a window, logged in; it asks nothing of any other machine, and is answered nothing."""
    from playwright.sync_api import expect

    expect.set_options(timeout=120_000)
    refused: list[str] = []
    others = f"^https?://(?!{re.escape(server.address.split('/')[2])}/)"
    size = {"width": 1280, "height": 1400}
    with opened(folder, others, refused, viewport=size) as context:
        context.new_page().goto(f"{server.address}api/status?token={server.token}")
        yield context
    assert refused == []


@contextmanager
def opened(folder: Path, others: str, refused: list[str], **options: Any) -> Iterator[BrowserContext]:
    """Chromium without a window, its profile in ``folder``.

    Addresses that match the pattern ``others`` get no answer, and go into ``refused``.
    """
    from playwright.sync_api import Route, sync_playwright

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.abort()

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=chromium(), headless=True, args=list(_FLAGS),
            chromium_sandbox=not is_root(), timeout=120_000, **options,
        )  # fmt: skip
        context.set_default_timeout(120_000)
        context.route(re.compile(others), refuse)
        yield context
        context.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of every step go: ``$KDCOURSE_SCREENSHOTS``, or a folder of this run."""
    named = os.environ.get("KDCOURSE_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def free_port() -> int:
    """Free for the moment; JupyterLab takes the next one if it is taken meanwhile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _decline_news(settings: Path) -> None:
    """JupyterLab asks every new user about news, in a box that would cover what the test looks at."""
    file = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))


def _address(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    """Where the server listens, as it says itself once it does."""
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                return str(json.loads(file.read_text())["url"])
            except ValueError:  # half written
                continue
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start within {START_SECONDS} s:\n{log.read_text()}")


def _ask_to_end(address: str, token: str) -> None:
    request = urllib.request.Request(
        f"{address}api/shutdown", method="POST", headers={"Authorization": f"token {token}"}
    )
    # Loopback is not for a proxy.
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Leave no server and no kernel behind, however the tests ended."""
    if process.poll() is not None:
        return
    import psutil

    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        member.kill()
    psutil.wait_procs(family, timeout=30)
    process.wait(30)
