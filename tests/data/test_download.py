"""Against a real HTTP server on this machine that misbehaves in every way that servers do."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdcourse.data.download import download
from kdcourse.errors import ArgumentError, DataError

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000).astype(np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
HALF = 150_000


class Server(ThreadingHTTPServer):
    """Each path plays a script, one word an answer, the last word for ever; ``log`` tells of the answers."""

    daemon_threads = True

    def __init__(self) -> None:
        self.scripts: dict[str, deque[str]] = {}
        self.log: list[dict[str, Any]] = []
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, *script: str) -> str:
        path = f"/{len(self.scripts)}/file.bin"
        self.scripts[path] = deque(script)
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news here."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        script = self.server.scripts[self.path]
        word = script.popleft() if len(script) > 1 else script[0]
        asked = self.headers.get("Range")
        entry = {"path": self.path, "word": word, "range": asked, "sent": 0}
        self.server.log.append(entry)
        if word.isdigit():
            self.send_error(int(word))
            return
        if word == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if word == "mute":
            self.server.closing.wait(30)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = CONTENT
        if word in ("corrupt", "corrupt-truncate"):
            body = CONTENT[:1000] + bytes(1000) + CONTENT[2000:]
        elif word == "other":
            body = b"<html>Please log in</html>"
        elif word == "long":
            body = CONTENT + b"more"
        if word in ("no-range", "no-range-truncate"):
            start = 0
        if start >= len(body):
            self.send_error(416)
            return
        lied = 7 if word == "wrong-range" else start
        self.send_response(206 if asked and not word.startswith("no-range") else 200)
        if asked and not word.startswith("no-range"):
            self.send_header("Content-Range", f"bytes {lied}-{len(body) - 1}/{len(body)}")
        if word not in ("no-length", "long"):
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        stop = len(body)
        if word in ("truncate", "stall", "no-range-truncate", "corrupt-truncate", "slow"):
            stop = max(start, HALF)
        elif word == "inch":
            stop = start + 100_000
        self.send(body[start:stop], entry)
        if word == "stall":
            self.server.closing.wait(30)
        elif word == "slow":
            while not self.server.closing.wait(0.02):
                self.send(body[stop : stop + 1], entry)
                stop += 1

    def send(self, content: bytes, entry: dict[str, Any]) -> None:
        entry["sent"] += len(content)  # first, since the client may be done before this thread goes on
        self.wfile.write(content)
        self.wfile.flush()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


def get(urls: list[str], target: Path, **options: Any) -> Path:
    settings = {"sha256": SHA256, "size": len(CONTENT), "timeout": 20, "pause": 0.01, "progress": False}
    return download(urls, target, **(settings | options))


def left_over(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()} - {"file.bin.lock"}


def test_plain(server: Server, target: Path) -> None:
    assert get([server.url("whole")], target) == target
    assert target.read_bytes() == CONTENT
    assert left_over(target) == {"file.bin"}
    assert server.log[0]["range"] is None


@pytest.mark.parametrize("options", [{"size": None}, {"sha256": None, "md5": MD5.upper()}, {"md5": MD5}])
def test_either_digest_with_or_without_size(server: Server, target: Path, options: dict[str, Any]) -> None:
    assert get([server.url("whole")], target, **options).read_bytes() == CONTENT


def test_progress_bar_counts_the_bytes(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    get([server.url("truncate", "whole")], target, progress=True)
    shown = capsys.readouterr().err
    assert "file.bin" in shown and "100%" in shown and "293k/293k" in shown


def test_a_server_that_tells_no_length(server: Server, target: Path) -> None:
    assert get([server.url("no-length")], target, size=None).read_bytes() == CONTENT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("404", "answered 404 Not Found"),
        ("500", "answered 500 Internal Server Error (2 times)"),
        ("503", "answered 503"),
        ("reset", "dropped the connection"),
        ("mute", "timed out: nothing came for 0.6 s"),
        ("stall", "timed out: nothing came for 0.6 s"),
        ("slow", "stalled: less than 1024 bytes a second"),
        ("truncate", "broke off after 150,000 of 300,000 bytes"),
        ("no-range-truncate", "broke off after 150,000 of 300,000 bytes"),
        ("corrupt", f"sent another or a damaged file (sha256 expected {SHA256}, found "),
        ("other", "offers 26 bytes where 300,000 are right"),
        ("long", "broke off after 300,004 of 300,000 bytes"),
    ],
)
def test_each_failure_is_told_and_the_second_mirror_serves(
    server: Server, target: Path, word: str, said: str
) -> None:
    bad, good = server.url(word), server.url("whole")
    patience = 0.6 if word in ("mute", "stall", "slow") else 20
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        get([bad], target, rounds=2, advice="Ask a neighbour.", timeout=patience)
    assert time.monotonic() - start < 20
    assert f"{bad}: " in str(caught.value) and said in str(caught.value)
    assert "HTTP_PROXY" in str(caught.value) and "Ask a neighbour." in str(caught.value)
    assert not target.exists()
    (target.parent / "file.bin.part").unlink(missing_ok=True)

    asked_before = len(server.log)
    assert get([bad, good], target, timeout=patience).read_bytes() == CONTENT
    # The second mirror came right after the first failure, not after all its tries.
    assert [entry["word"] for entry in server.log[asked_before:]] == [word, "whole"]
    assert left_over(target) == {"file.bin"}


def test_nobody_listens(target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match=r"refused the connection \(3 times\)"):
        get([f"http://127.0.0.1:{port}/file.bin"], target)
    assert left_over(target) == set()


def test_all_mirrors_are_listed(server: Server, target: Path) -> None:
    urls = [server.url("404"), server.url("500", "reset"), server.url("other")]
    with pytest.raises(DataError) as caught:
        get(urls, target)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("Could not download file.bin")
    assert lines[1] == f"  {urls[0]}: answered 404 Not Found"
    assert lines[2] == f"  {urls[1]}: answered 500 Internal Server Error; dropped the connection (2 times)"
    assert lines[3].startswith(f"  {urls[2]}: offers 26 bytes")
    # What can't recover is asked once, what may is asked every round.
    assert [entry["path"] for entry in server.log].count("/0/file.bin") == 1
    assert [entry["path"] for entry in server.log].count("/1/file.bin") == 3
    assert left_over(target) == set()


def test_resumes_where_it_broke_off(server: Server, target: Path) -> None:
    url = server.url("truncate", "whole")
    assert get([url], target).read_bytes() == CONTENT
    assert [entry["range"] for entry in server.log] == [None, f"bytes={HALF}-"]
    assert sum(entry["sent"] for entry in server.log) == len(CONTENT)  # no byte twice


def test_resumes_at_the_other_mirror(server: Server, target: Path) -> None:
    assert get([server.url("truncate"), server.url("whole")], target).read_bytes() == CONTENT
    assert server.log[1]["range"] == f"bytes={HALF}-"
    assert sum(entry["sent"] for entry in server.log) == len(CONTENT)


def test_half_a_wrong_file_does_not_spoil_the_next_mirror(server: Server, target: Path) -> None:
    assert (
        get([server.url("corrupt-truncate"), server.url("whole")], target, rounds=1).read_bytes() == CONTENT
    )
    assert [entry["range"] for entry in server.log] == [None, f"bytes={HALF}-", None]


def test_the_next_call_goes_on(server: Server, target: Path) -> None:
    with pytest.raises(DataError, match="150,000 bytes that came are kept"):
        get([server.url("truncate", "404")], target)
    assert left_over(target) == {"file.bin.part"}
    assert get([server.url("whole")], target).read_bytes() == CONTENT
    assert server.log[-1]["range"] == f"bytes={HALF}-" and server.log[-1]["sent"] == len(CONTENT) - HALF


def test_rounds_that_gain_ground_do_not_count(server: Server, target: Path) -> None:
    assert get([server.url("inch")], target, rounds=1).read_bytes() == CONTENT
    assert len(server.log) == 3 and sum(entry["sent"] for entry in server.log) == len(CONTENT)


def test_a_server_without_ranges_starts_again(server: Server, target: Path) -> None:
    assert get([server.url("truncate", "no-range")], target).read_bytes() == CONTENT
    assert server.log[1]["range"] == f"bytes={HALF}-" and server.log[1]["sent"] == len(CONTENT)


def test_a_wrong_range_is_not_glued_on(server: Server, target: Path) -> None:
    assert get([server.url("truncate", "wrong-range", "whole")], target).read_bytes() == CONTENT
    assert [entry["range"] for entry in server.log] == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * len(CONTENT), CONTENT + b"x", CONTENT[:5] + b"x" * 9])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_wrong_is_overcome(
    server: Server, target: Path, part: bytes, size: int | None
) -> None:
    target.parent.mkdir()
    (target.parent / "file.bin.part").write_bytes(part)
    assert get([server.url("whole")], target, size=size).read_bytes() == CONTENT
    if size is not None and len(part) > size:
        assert [entry["range"] for entry in server.log] == [None]  # seen without asking
    assert left_over(target) == {"file.bin"}


def test_a_part_that_is_whole_needs_no_server(target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "file.bin.part").write_bytes(CONTENT)
    assert get(["http://127.0.0.1:9/file.bin"], target).read_bytes() == CONTENT
    assert left_over(target) == {"file.bin"}


def test_a_file_that_is_there_is_kept_and_a_damaged_one_replaced(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    get([server.url("404")], target)
    assert server.log == []
    target.write_bytes(CONTENT[:-1])
    assert get([server.url("whole")], target).read_bytes() == CONTENT


def test_many_at_once_fetch_once(server: Server, target: Path) -> None:
    url = server.url("whole")
    threads = [threading.Thread(target=get, args=([url], target), kwargs={"timeout": 5}) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert len(server.log) == 1
    assert left_over(target) == {"file.bin"}


# Alone: the rest of the package would load torch, which takes seconds and isn't needed here.
SCRIPT = """
import sys, types
sys.modules["kdcourse.data"] = types.ModuleType("kdcourse.data")
sys.modules["kdcourse.data"].__path__ = ["kdcourse/data"]
from kdcourse.data.download import download
url, target, sha256, timeout = sys.argv[1:]
download([url], target, sha256=sha256, timeout=float(timeout), progress=False)
"""


def start_process(url: str, target: Path, timeout: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, url, str(target), SHA256, str(timeout)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_killed_in_the_middle_another_process_goes_on(server: Server, target: Path) -> None:
    part = target.parent / "file.bin.part"
    first = start_process(server.url("stall"), target, 60)
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size == HALF):
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.02)
    second = start_process(server.url("whole"), target, 60)  # waits for the first one's lock
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not target.exists() or target.read_bytes() == CONTENT
    assert second.wait(60) == 0
    assert target.read_bytes() == CONTENT
    assert server.log[-1]["range"] == f"bytes={HALF}-"
    assert left_over(target) == {"file.bin"}


def test_interrupted_from_the_keyboard(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kdcourse.data.download.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get([server.url("truncate", "truncate", "truncate")], target)
    monkeypatch.undo()
    assert left_over(target) == {"file.bin.part"}
    assert get([server.url("whole")], target).read_bytes() == CONTENT


def test_a_full_disk_is_not_blamed_on_the_mirror(server: Server, target: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # a write beyond fails as on a full disk
    try:
        with pytest.raises(DataError, match=r"Could not write .*file\.bin\.part.*Free some disk space"):
            get([server.url("whole"), server.url("whole")], target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(server.log) == 1
    assert left_over(target) == set()


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"Could not write .*choose a folder"):
        get([server.url("whole")], tmp_path / "file" / "file.bin")


@pytest.mark.parametrize(
    ("urls", "options", "said"),
    [
        ([], {}, "at least one address"),
        (["file:///etc/hosts"], {}, "found 'file:///etc/hosts'"),
        (["http://x/"], {"sha256": None}, "found neither"),
        (["http://x/"], {"rounds": 0}, "rounds >= 1"),
        (["http://x/"], {"timeout": 0}, "timeout > 0"),
    ],
)
def test_bad_arguments(target: Path, urls: list[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        get(urls, target, **options)
    assert not target.parent.exists()
