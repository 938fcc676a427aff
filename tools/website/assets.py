"""Fetch the npm packages that build and test the website, such as MathJax, and check them before every use.

`assets.toml` lists them. Archives are kept in ``tools/website/.assets`` (or ``$KDCOURSE_SITE_ASSETS``) as npm delivers
them. The files that are needed are unpacked at every build of the site.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdcourse.errors import DataError
from kdcourse.files import write_atomically

HERE = Path(__file__).resolve().parent
LIST = HERE / "assets.toml"
FETCH_SECONDS = 300


@dataclass(frozen=True)
class Package:
    """Describe one npm package: its files, and the digest of its archive."""

    name: str
    version: str
    integrity: str  # "sha512-" and base64, as npm writes it
    licence: str
    files: tuple[str, ...]
    use: str = "site"  # or "tests"

    @property
    def archive(self) -> str:
        """Return the file name of the package's archive in the cache."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def packages(path: Path = LIST) -> tuple[Package, ...]:
    """Return the packages that `assets.toml` lists.

    Raises:
        DataError: an entry lacks a field or has an unknown one.
    """
    found = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("package", []):
        try:
            package = Package(**{**entry, "files": tuple(entry["files"])})
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path.name}: the entry {entry.get('name')!r} can't be used ({error}). "
                "Compare it with the other entries."
            ) from None
        if not package.integrity.startswith("sha512-"):
            raise DataError(
                f"{path.name}: {package.name} has the digest {package.integrity!r}; it begins with 'sha512-'. "
                f"Ask: npm view {package.name}@{package.version} dist.integrity"
            )
        found.append(package)
    return tuple(found)


def cache_folder() -> Path:
    """Return the folder of the archives: ``$KDCOURSE_SITE_ASSETS``, or ``.assets`` beside this file."""
    named = os.environ.get("KDCOURSE_SITE_ASSETS")
    return Path(named) if named else HERE / ".assets"


def missing(wanted: Sequence[Package], cache: Path | None = None) -> str:
    """Return the reason why these packages aren't available here, or an empty text."""
    here = cache or cache_folder()
    if shutil.which("npm") is not None or all(
        _is_good(here / package.archive, package) for package in wanted
    ):
        return ""
    return (
        "npm is not installed, and the packages that build the website are not in "
        f"{here.name}: install Node.js, which includes npm"
    )


def fetch(
    wanted: Sequence[Package], cache: Path | None = None, say: Callable[[str], object] = print
) -> dict[str, Path]:
    """Return the packages' archives, from the cache if they are intact, else through the npm client.

    Args:
        wanted: some of `packages`.
        cache: a folder; by default `cache_folder`.
        say: called with one line for each package that is fetched.

    Returns:
        Archives by package name.

    Raises:
        DataError: npm is missing or failed, or the digest differs from the one in `assets.toml`.
    """
    here = cache or cache_folder()
    found = {}
    for package in wanted:
        archive = here / package.archive
        if not _is_good(archive, package):
            say(f"fetching {package.name} {package.version}")
            write_atomically(archive, _pack(package))
        found[package.name] = archive
    return found


def unpack(archive: Path, package: Package, target: Path) -> list[Path]:
    """Unpack the listed files of a package below ``target``, a folder ``node_modules``, and return them.

    Raises:
        DataError: a pattern of the list matches no file of the archive.
    """
    written = []
    unused = set(package.files)
    with tarfile.open(archive) as content:
        for member, name in _members(content):
            fitting = {pattern for pattern in package.files if fnmatch.fnmatchcase(name, pattern)}
            if not fitting:
                continue
            unused -= fitting
            source = content.extractfile(member)
            assert source is not None  # `_members` gives plain files alone
            place = target / package.name / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source.read())
            written.append(place)
    if unused:
        raise DataError(
            f"assets.toml: {package.name} {package.version} has no file {sorted(unused)[0]!r}. List its files: "
            f"tar -tzf {package.archive}"
        )
    return written


def _members(content: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Yield plain files and their paths in the package, without those that lead out of it."""
    for member in content.getmembers():
        _, _, name = member.name.partition("/")  # npm puts everything below package/
        if member.isfile() and ".." not in name.split("/"):
            yield member, name


def _digest(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode("ascii")


def _is_good(archive: Path, package: Package) -> bool:
    return archive.is_file() and _digest(archive.read_bytes()) == package.integrity


def _pack(package: Package) -> bytes:
    """Fetch the package's archive with this machine's npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(
            f"The website needs the npm package {package.name}, and npm is not installed. Install Node.js, which "
            "includes npm (Debian: apt-get install npm)."
        )
    wanted = f"{package.name}@{package.version}"
    with tempfile.TemporaryDirectory(prefix="kdcourse-npm-") as folder:
        try:
            done = subprocess.run(
                [npm, "pack", wanted, "--json", "--ignore-scripts", "--pack-destination", folder],
                capture_output=True, text=True, encoding="utf-8", cwd=folder, timeout=FETCH_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DataError(
                f"npm didn't fetch {wanted} within {FETCH_SECONDS} s. Check the network and try again."
            ) from None
        archives = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            raise DataError(f"npm could not fetch {wanted}: {_reason(done.stderr, done.stdout)}")
        data = archives[0].read_bytes()
    if _digest(data) != package.integrity:
        raise DataError(
            f"npm fetched {wanted} with the digest {_digest(data)}; assets.toml lists "
            f"{package.integrity}. Use neither until you know why they differ."
        )
    return data


def _reason(errors: str, output: str) -> str:
    try:
        return str(json.loads(output)["error"]["summary"])
    except (ValueError, KeyError, TypeError):
        lines = [line for line in errors.splitlines() if line.strip()]
        return " ".join(lines[-3:]) or "it gave no reason"
