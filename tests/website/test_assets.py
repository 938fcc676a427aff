"""npm packages: only what the list names is used, whatever the cache or the network holds."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kdcourse.errors import DataError
from tools.website import assets
from tools.website.assets import Package


def _archive(**files: str) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return held.getvalue()


_GOOD = _archive(**{"package/dist/a.js": "a", "package/dist/b.css": "b", "package/../../evil.js": "no"})


def _package(data: bytes = _GOOD, **changes: Any) -> Package:
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    given = {"name": "@x/y", "version": "1.0", "integrity": integrity, "licence": "MIT"}
    return Package(**{**given, "files": ("dist/*.js",), **changes})


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """An npm that delivers what stands in this list, from its front."""
    shelf: list[bytes] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if not shelf:
            return subprocess.CompletedProcess(
                command, 1, '{"error": {"summary": "no such package"}}', "npm error"
            )
        Path(command[command.index("--pack-destination") + 1], "any.tgz").write_bytes(shelf.pop(0))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(assets.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(assets.subprocess, "run", run)
    return shelf


def test_a_package_is_fetched_once(npm: list[bytes], tmp_path: Path) -> None:
    npm.append(_GOOD)
    said: list[str] = []
    first = assets.fetch([_package()], tmp_path, said.append)
    assert assets.fetch([_package()], tmp_path, said.append) == first == {"@x/y": tmp_path / "x-y-1.0.tgz"}
    assert said == ["fetching @x/y 1.0"]


def test_a_damaged_archive_is_fetched_again(npm: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "x-y-1.0.tgz").write_bytes(_GOOD[:-1])
    npm.append(_GOOD)
    assert assets.fetch([_package()], tmp_path)["@x/y"].read_bytes() == _GOOD


def test_something_else_than_the_list_names_is_refused(npm: list[bytes], tmp_path: Path) -> None:
    npm.append(_archive(**{"package/dist/a.js": "evil"}))
    with pytest.raises(DataError, match="Use neither until you know why"):
        assets.fetch([_package()], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_npm_gives_its_reason(npm: list[bytes], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"could not fetch @x/y@1\.0: no such package"):
        assets.fetch([_package()], tmp_path)


def test_without_npm_a_whole_cache_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets.shutil, "which", lambda name: None)
    assert "install Node.js" in assets.missing([_package()], tmp_path)
    with pytest.raises(DataError, match="npm is not installed"):
        assets.fetch([_package()], tmp_path)
    (tmp_path / "x-y-1.0.tgz").write_bytes(_GOOD)
    assert assets.missing([_package()], tmp_path) == ""
    assert assets.fetch([_package()], tmp_path)


def test_only_what_is_listed_is_unpacked_and_never_outside(tmp_path: Path) -> None:
    archive = tmp_path / "y.tgz"
    archive.write_bytes(_GOOD)
    target = tmp_path / "site" / "deep"
    assert assets.unpack(archive, _package(), target) == [target / "@x" / "y" / "dist" / "a.js"]
    with pytest.raises(DataError, match=r"has no file '\*evil\.js'"):
        assets.unpack(archive, _package(files=("*evil.js",)), target)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["a.js", "y.tgz"]


@pytest.mark.parametrize("entry", ['name = "a"', 'name = "a"\nversion = "1"\nfiles = []\nwhat = 1'])
def test_an_entry_that_can_not_be_used_is_named(entry: str, tmp_path: Path) -> None:
    listed = tmp_path / "assets.toml"
    listed.write_text(f"[[package]]\n{entry}\n")
    with pytest.raises(DataError, match="the entry 'a' can't be used"):
        assets.packages(listed)


def test_the_list_names_exact_versions() -> None:
    listed = assets.packages()
    assert {"mathjax", "axe-core"} <= {package.name for package in listed}
    assert all(package.version[0].isdigit() and package.use in ("site", "tests") for package in listed)
