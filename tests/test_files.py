from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from kdcourse.files import sha256, write_atomically


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


def test_what_a_killed_writer_left_goes_after_a_day(tmp_path: Path) -> None:
    old, fresh, other = tmp_path / ".a[1].xyz.tmp", tmp_path / ".a[1].uvw.tmp", tmp_path / ".b.xyz.tmp"
    for left in (old, fresh, other):
        left.write_bytes(b"half")
    for left in (old, other):
        os.utime(left, (time.time() - 90_000,) * 2)
    write_atomically(tmp_path / "a[1]", b"whole")
    assert sorted(os.listdir(tmp_path)) == [".a[1].uvw.tmp", ".b.xyz.tmp", "a[1]"]


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()
