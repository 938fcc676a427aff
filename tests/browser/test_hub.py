"""A JupyterHub as docs/jupyterhub.md sets it up, in Chromium: two users, each with their own lessons and work.

`pytest -m browser --no-cov tests/browser/test_hub.py` runs this alone. Users of this machine and their passwords, whom
the page's settings let in, are replaced by any names: both servers then run as the same user of the machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip(
    "playwright", reason='playwright not installed: pip install -e ".[test,browser]" -c constraints.txt'
)

from playwright.sync_api import expect

from kdcourse.lab import FIRST
from tests.browser.conftest import NOT_PASSED_ON, ROOT, START_SECONDS, end, free_port, is_root, opened
from tests.browser.driving import Lesson, output

PROXY = shutil.which("configurable-http-proxy")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        find_spec("jupyterhub") is None or PROXY is None,
        reason="JupyterHub or its proxy not installed: pip install jupyterhub -c constraints.txt, "
        "npm install --global configurable-http-proxy",
    ),
]

KEY = "00-which-student"
SOON = 60_000
_FOR_TESTS = """
load_subconfig({settings!r})
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_port = {hub}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.ConfigurableHTTPProxy.command = [{command!r}]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.Spawner.args += ["--LabApp.expose_app_in_browser=True", *{arguments!r}]
"""


@contextmanager
def _hub(folder: Path) -> Iterator[str]:
    """Start a hub with the page's settings, whose users have homes in ``folder``; yield its address."""
    public, hub, proxy = (free_port() for _ in range(3))
    config, log = folder / "config.py", folder / "hub.log"
    settings = str(ROOT / "docs" / "jupyterhub_config.py")
    config.write_text(
        _FOR_TESTS.format(
            settings=settings,
            public=public,
            hub=hub,
            proxy=proxy,
            command=PROXY,
            homes=str(folder),
            arguments=["--allow-root"] if is_root() else [],
        )
    )
    environment = {name: value for name, value in os.environ.items() if not NOT_PASSED_ON.match(name)}
    with log.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", f"--config={config}"],
            env=environment | {"PYTHONPATH": str(ROOT)},
            cwd=folder,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{public}/hub/health", process, log)
        yield f"http://127.0.0.1:{public}"
    finally:
        end(process)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        try:
            direct.open(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"JupyterHub did not start within {START_SECONDS} s:\n{log.read_text()}")


@contextmanager
def _visit(hub: str, name: str, folder: Path, screenshots: Path) -> Iterator[Lesson]:
    """Log in unless this was done before, and wait for the lesson that opens; nothing is asked of other machines."""
    expect.set_options(timeout=SOON)
    refused: list[str] = []
    others = f"^https?://(?!{re.escape(hub.split('/')[2])}/)"
    again = (folder / "chromium").exists()
    folder.mkdir(exist_ok=True)
    with opened(folder / "chromium", others, refused, viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(SOON)
        page.goto(f"{hub}/hub/{'spawn' if again else 'login'}")
        if not again:
            page.get_by_label("Username").fill(name)
            page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
        page.wait_for_function(
            f"() => window.jupyterapp?.shell?.currentWidget?.context?.path === '{FIRST}'", timeout=SOON
        )
        if not again:
            page.get_by_role("button", name="No", exact=True).click()  # news of Jupyter
        lesson = Lesson(page, FIRST.removesuffix(".ipynb"), screenshots)
        lesson.wait_until_idle()
        yield lesson
    assert refused == []


def _answer(lesson: Lesson, number: int) -> str:
    """Run the imports and the first prediction of lesson 00, choose an option, and return it."""
    for pattern in (r"^from kdcourse import", rf'widgets\.predict\(\s*"{KEY}"'):
        index, _ = lesson.find(pattern)
        lesson.select(index)
        lesson.press("Control+Enter")
    asked = output(lesson.select(index))
    button = asked.get_by_role("button", name="That is my prediction")
    expect(button).to_be_visible()
    expect(asked).not_to_contain_text("Your prediction")
    label = asked.locator(".widget-radio-box label").nth(number)
    label.click()
    button.click()
    chosen = label.inner_text().strip()
    expect(asked.get_by_role("status")).to_contain_text(f"Your prediction: {chosen}.")
    return chosen


def _stored(home: Path) -> str:
    """Return the prediction that a user's server has stored in the user's home."""
    [file] = home.rglob(f"{KEY}.json")
    return file.read_text()


def _is_refused(lesson: Lesson, server: str) -> None:
    """Ask for another user's lessons, files, kernels and terminals, and go to their JupyterLab."""
    for path in (f"api/contents/{FIRST}", f"files/{FIRST}", "api/kernels", "api/terminals"):
        # With the browser's cookies, but none of the headers by which a server tells a script's request.
        answer = lesson.page.request.get(f"{server}/{path}")
        assert (answer.status, "distil" in answer.text()) == (403, False), path
    assert lesson.page.goto(f"{server}/lab/tree/{FIRST}").status == 403  # type: ignore[union-attr]


def test_two_users_work_beside_each_other_and_neither_sees_the_others_work(
    tmp_path: Path, screenshots: Path
) -> None:
    chosen = {}
    with _hub(tmp_path) as hub:
        for number, name in enumerate(("ann", "ben")):
            with _visit(hub, name, tmp_path / name, screenshots) as lesson:
                assert lesson.page.evaluate("() => 'kdcourse' in (window._JUPYTERLAB ?? {})"), "the extension"
                chosen[name] = _answer(lesson, number)
                lesson.page.screenshot(path=screenshots / f"hub_{name}.png")
                assert lesson.page.request.get(f"{hub}/user/{name}/api/contents/{FIRST}").status == 200
            # Kernels print on sockets that any user of the machine could otherwise read.
            keys = [file.read_text() for file in (tmp_path / name).rglob("kernel-*.json")]
            assert keys and all("curve_secretkey" in key for key in keys)
        # Each again, while both servers run.
        for name, other in (("ann", "ben"), ("ben", "ann")):
            with _visit(hub, name, tmp_path / name, screenshots) as lesson:
                _is_refused(lesson, f"{hub}/user/{other}")
                lesson.page.screenshot(path=screenshots / f"hub_{name}_refused.png")
        assert chosen["ann"] != chosen["ben"]
        for name in chosen:
            assert chosen[name] in _stored(tmp_path / name)
            assert (tmp_path / name / "kdcourse-lessons" / FIRST).is_file()
