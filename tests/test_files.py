from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from kdcourse.errors import CheckpointError
from kdcourse.files import CHECKSUMS, read_checksums, sha256, write_atomically


def test_content_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    write_atomically(path, "größer")
    assert path.read_bytes() == "größer".encode()
    write_atomically(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.skipif(os.name == "nt", reason="no such modes there")
def test_others_may_read_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["write", "fsync", "chmod", "replace"])
@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, problem: BaseException
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise problem

    if step == "write":
        opened = os.fdopen

        class Full:
            def __init__(self, *args: object) -> None:
                self.file = opened(*args)  # type: ignore[call-overload]

            def __enter__(self) -> Full:
                return self

            def __exit__(self, *_: object) -> None:
                self.file.close()

            def write(self, data: bytes) -> None:
                self.file.write(data[: len(data) // 2])
                raise problem

        monkeypatch.setattr(os, "fdopen", Full)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(problem)):
        write_atomically(path, b"new content")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_many_writers_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([letter]) * 200_000 for letter in b"abcdef"]
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if path.exists():
                seen.append(path.read_bytes())

    def write(content: bytes) -> None:
        for _ in range(5):
            write_atomically(path, content)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert seen and all(content in contents for content in seen)
    assert os.listdir(tmp_path) == ["file"]


def killed_before_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `write_atomically` leaves of ``path`` when its process is killed just before the rename."""
    before = set(path.parent.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(os, "unlink", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"half")
    [left] = set(path.parent.iterdir()) - before
    return left


def test_what_killed_writers_of_any_file_left_goes_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, fresh, other = (
        killed_before_the_end(tmp_path / name, monkeypatch) for name in ("a[1]", "a[1]", "b")
    )
    foreign = tmp_path / ".b.xyz.tmp"  # of some other program
    foreign.write_bytes(b"half")
    for left in (old, other, foreign):
        os.utime(left, (time.time() - 90_000,) * 2)
    write_atomically(tmp_path / "a[1]", b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([fresh, foreign, tmp_path / "a[1]"])


def test_what_killed_writers_left_makes_room_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = killed_before_the_end(tmp_path / "a", monkeypatch)
    os.utime(left, (time.time() - 90_000,) * 2)

    def make(*_: object, **__: object) -> tuple[int, str]:
        assert not left.exists()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", make)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "b", b"whole")


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_checksums_are_read_as_sha256sum_writes_them(tmp_path: Path) -> None:
    assert read_checksums(tmp_path) == {}
    one, other = "0" * 64, "f" * 64
    (tmp_path / CHECKSUMS).write_bytes(f"{one}  a b.txt\r\n\n{other} *größe\n".encode())
    assert read_checksums(tmp_path) == {"a b.txt": one, "größe": other}


@pytest.mark.parametrize(
    "line", [b"nonsense", b"0" * 63 + b"  a", b"0" * 64, b"\xff" * 64 + b"  a", b"G" * 64 + b"  a"]
)
def test_a_line_that_is_no_checksum_is_named(tmp_path: Path, line: bytes) -> None:
    (tmp_path / CHECKSUMS).write_bytes(b"0" * 64 + b"  a\n" + line + b"\n")
    with pytest.raises(CheckpointError, match="SHA256SUMS, line 2 is not '<digest>  <file>'"):
        read_checksums(tmp_path)


def test_checksums_are_read_where_torch_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.modules['torch'] = None\n"
        f"from kdcourse import doctor; print(doctor.teachers(Path({str(tmp_path)!r})))"
    )
    (tmp_path / CHECKSUMS).write_text("nonsense\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "line 1 is not" in done.stdout
