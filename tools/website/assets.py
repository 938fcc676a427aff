"""The browser's part of the website, MathJax and its kind: npm packages, fetched once, checked before every use.

`assets.toml` lists them. Archives are kept in ``tools/website/.assets`` (or ``$KDCOURSE_SITE_ASSETS``) as npm delivers
them; what the pages need is unpacked from them whenever the site is built.
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
    """One npm package: which files of it go where, and the digest that its archive must have."""

    name: str
    version: str
    integrity: str  # "sha512-" and base64, as npm writes it
    licence: str
    folder: str
    files: tuple[str, ...]
    use: str = "site"  # or "tests"
    strip: str = ""  # leading part of the files' paths that is left out at their place

    @property
    def archive(self) -> str:
        """File name of its archive in the cache."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def packages(path: Path = LIST) -> tuple[Package, ...]:
    """The packages that `assets.toml` lists.

    Raises:
        DataError: an entry lacks something, or has what nobody reads.
    """
    found = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("package", []):
        try:
            package = Package(**{**entry, "files": tuple(entry["files"])})
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path.name}: the entry {entry.get('name')!r} can't be used ({error}); look at its neighbours."
            ) from None
        if not package.integrity.startswith("sha512-"):
            raise DataError(
                f"{path.name}: {package.name} has the digest {package.integrity!r}; it begins with 'sha512-'. "
                f"Ask: npm view {package.name}@{package.version} dist.integrity"
            )
        found.append(package)
    return tuple(found)


def cache_folder() -> Path:
    """Where archives are kept: ``$KDCOURSE_SITE_ASSETS``, or ``.assets`` beside this file, which git ignores."""
    named = os.environ.get("KDCOURSE_SITE_ASSETS")
    return Path(named) if named else HERE / ".assets"


def missing(wanted: Sequence[Package], cache: Path | None = None) -> str:
    """Why these packages can't be had here, in words; empty where they can."""
    here = cache or cache_folder()
    if shutil.which("npm") is not None or all(
        _is_good(here / package.archive, package) for package in wanted
    ):
        return ""
    return (
        "npm is not installed, and the packages that lie beside the website's pages are not in "
        f"{here.name}: install Node.js, which brings npm"
    )


def fetch(
    wanted: Sequence[Package], cache: Path | None = None, say: Callable[[str], object] = print
) -> dict[str, Path]:
    """The packages' archives, from the cache where they are whole, else through the npm client.

    Args:
        wanted: of `packages`.
        cache: a folder; by default `cache_folder`.
        say: gets a line for each package that is fetched.

    Returns:
        Archive by name of the package.

    Raises:
        DataError: no npm, npm failed, or what came isn't what `assets.toml` names.
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
    """Put the files of a package that the site needs below ``target``; returns them.

    Raises:
        DataError: a pattern of the list fits no file of the archive.
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
            place = target / package.folder / name.removeprefix(package.strip)
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
    """Plain files and their paths inside the package; none that would lie outside of it."""
    for member in content.getmembers():
        _, _, name = member.name.partition("/")  # npm puts everything below package/
        if member.isfile() and ".." not in name.split("/"):
            yield member, name


def _digest(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode("ascii")


def _is_good(archive: Path, package: Package) -> bool:
    return archive.is_file() and _digest(archive.read_bytes()) == package.integrity


def _pack(package: Package) -> bytes:
    """The package's archive, as npm fetches it from wherever this machine's npm is told to look."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(
            f"The website needs the npm package {package.name}, and npm is not installed. Install Node.js, which "
            "brings npm (Debian: apt-get install npm)."
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
                f"npm brought no {wanted} within {FETCH_SECONDS} s. Is there a network? Try again."
            ) from None
        archives = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            raise DataError(f"npm could not fetch {wanted}: {_reason(done.stderr, done.stdout)}")
        data = archives[0].read_bytes()
    if _digest(data) != package.integrity:
        raise DataError(
            f"npm brought a {wanted} with the digest {_digest(data)}, where assets.toml expects "
            f"{package.integrity}. Use neither until you know why they differ."
        )
    return data


def _reason(errors: str, output: str) -> str:
    try:
        return str(json.loads(output)["error"]["summary"])
    except (ValueError, KeyError, TypeError):
        lines = [line for line in errors.splitlines() if line.strip()]
        return " ".join(lines[-3:]) or "it gave no reason"
