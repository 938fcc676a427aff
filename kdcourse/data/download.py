"""Download one file: mirrors, resume, time-outs, checksum, never half a file."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from tqdm.auto import tqdm

from kdcourse.errors import ArgumentError, DataError

CHUNK = 64 * 1024
SLOWEST = 1024  # bytes per second; a slower server counts as silent


class _MirrorError(Exception):
    """Report that one attempt at one mirror failed; ``final`` where another attempt there can't succeed."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def download(
    urls: Sequence[str],
    target: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    rounds: int = 3,
    timeout: float = 20.0,
    pause: float = 1.0,
    progress: bool = True,
    advice: str = "",
) -> Path:
    """Fetch one file, trying its mirrors in order, and put it at ``target`` only when it is whole.

    The bytes are written to ``<target>.part``. An interrupted call leaves that file behind and the next
    one continues from its end with an HTTP Range request. When a mirror fails, the next is tried at once;
    when all have failed, those that may recover are tried again after a pause. A round that brought 64 KiB
    or more does not count against ``rounds``. Processes that want the same target wait for each other, and
    all but the first find it ready. Proxies are taken from
    ``HTTP_PROXY`` and ``HTTPS_PROXY``.

    Args:
        urls: the same file at each mirror, the preferred one first (http or https).
        target: where the file is to be; its folder is made. A file that is already there and
            has the right digest is kept, any other is replaced.
        sha256: expected digest in hexadecimal, or its first digits, at least 8, as in the names of PyTorch's files.
            At least one of ``sha256`` and ``md5`` is needed.
        md5: as ``sha256``.
        size: expected length in bytes, where known.
        rounds: how often each mirror is tried while the file doesn't grow, at least 1.
        timeout: seconds to wait for a connection, and for the next bytes of an answer.
        pause: seconds before the second round; doubled before each one after.
        progress: show a progress bar.
        advice: a sentence for errors that says what else can be done.

    Returns:
        ``target`` as a path.

    Raises:
        ArgumentError: no address, an address that is not http(s), no digest, one that isn't hexadecimal, or no round.
        DataError: no mirror gave the file (each is listed with what happened there), or it
            could not be written.
    """
    addresses = [urls] if isinstance(urls, str) else list(urls)
    for url in addresses:
        if not url.lower().startswith(("http://", "https://")):
            raise ArgumentError(f"download needs http:// or https:// addresses; found {url!r}.")
    if not addresses:
        raise ArgumentError("download needs at least one address; found none. Pass the mirrors as `urls`.")
    if sha256 is None and md5 is None:
        raise ArgumentError("download needs `sha256` or `md5` to know the right file; found neither.")
    if rounds < 1 or timeout <= 0:
        raise ArgumentError(f"download needs rounds >= 1 and timeout > 0; found {rounds} and {timeout}.")
    digests = {name: value.lower() for name, value in (("sha256", sha256), ("md5", md5)) if value is not None}

    for name, digest in digests.items():
        if not re.fullmatch("[0-9a-f]{8,}", digest):
            raise ArgumentError(
                f"{name} must be a hexadecimal digest, or at least 8 digits of it; found {digest!r}."
            )

    target = Path(target)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The lock is let go by the operating system when its holder dies, so none goes stale.
        with FileLock(target.with_name(target.name + ".lock")):
            if target.is_file() and _mismatch(target, digests) is None:
                return target
            with tqdm(
                total=size,
                unit="B",
                unit_scale=True,
                unit_divisor=1024,
                desc=target.name,
                disable=not progress,
            ) as bar:
                _fetch(addresses, part, digests, size, rounds, timeout, pause, bar, advice)
            os.replace(part, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    return target


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"Could not write {path}: {error}. Free some disk space or choose a folder that you may write to."
    )


def _fetch(
    urls: list[str],
    part: Path,
    digests: dict[str, str],
    size: int | None,
    rounds: int,
    timeout: float,
    pause: float,
    bar: tqdm[Any],
    advice: str,
) -> None:
    """Fill ``part`` with the whole, checked file, or raise DataError with what happened at each mirror."""
    story: dict[str, list[str]] = {url: [] for url in urls}
    alive = list(dict.fromkeys(urls))
    furthest = _length(part)
    idle_rounds = 0
    while alive and idle_rounds < rounds:
        if idle_rounds:
            time.sleep(pause * 2 ** (idle_rounds - 1))
        idle_rounds += 1
        for url in list(alive):
            try:
                _complete(url, part, digests, size, timeout, bar)
                return
            except _MirrorError as error:
                story[url].append(str(error))
                if error.final:
                    alive.remove(url)
            if _length(part) >= furthest + CHUNK:
                furthest = _length(part)
                idle_rounds = 0

    lines = []
    for url, events in story.items():
        times = Counter(events)
        told = [event if times[event] == 1 else f"{event} ({times[event]} times)" for event in times]
        lines.append(f"  {url}: " + "; ".join(told))
    kept = ""
    if _length(part):
        kept = f" The {_length(part):,} bytes that came are kept; the next call goes on from them."
    raise DataError(
        f"Could not download {part.name.removesuffix('.part')}. What happened at each mirror:\n"
        + "\n".join(lines)
        + "\nCheck the network, and behind a proxy set HTTP_PROXY and HTTPS_PROXY, then try again."
        + kept
        + (f" {advice}" if advice else "")
    )


def _complete(
    url: str, part: Path, digests: dict[str, str], size: int | None, timeout: float, bar: tqdm[Any]
) -> None:
    """Complete ``part`` from one mirror and check it, or raise _MirrorError."""
    while True:
        resumed = _length(part) > 0
        _append(url, part, size, timeout, bar)
        mismatch = _mismatch(part, digests)
        if mismatch is None:
            return
        part.unlink()
        if not resumed:
            raise _MirrorError(f"sent another or a damaged file ({mismatch})")
        # The wrong byte may lie in what another mirror or an earlier call left: once more, from nothing.


def _append(url: str, part: Path, size: int | None, timeout: float, bar: tqdm[Any]) -> None:
    """Add to ``part`` what it lacks with one request; raise _MirrorError unless the response was complete."""
    have = _length(part)
    if size is not None and have > size:
        part.unlink()
        have = 0
    if size is not None and have == size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "kdcourse", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with contextlib.closing(urllib.request.urlopen(request, timeout=timeout)) as answer:
            if answer.status == 206:
                span = str(answer.headers.get("Content-Range", ""))
                if not span.startswith(f"bytes {have}-"):
                    part.unlink(missing_ok=True)
                    raise _MirrorError(f"answered a request for bytes {have}- with {span!r}")
            else:
                have = 0  # the server ignored the range and sends the whole file again
            promised = answer.headers.get("Content-Length", "")
            whole = have + int(promised) if promised.isdigit() else size
            if size is not None and whole is not None and whole != size:
                raise _MirrorError(f"offers {whole:,} bytes where {size:,} are right", final=True)
            bar.total = whole
            bar.n = have
            bar.refresh()
            _receive(answer, part, have, whole, timeout, bar)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)  # nothing lies beyond what we have, so what we have is wrong
        final = 400 <= error.code < 500 and error.code not in (408, 416, 425, 429)
        raise _MirrorError(f"answered {error.code} {error.reason}", final=final) from error
    except urllib.error.URLError as error:
        raise _MirrorError(_describe(error.reason, timeout)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(_describe(error, timeout)) from error


def _receive(answer: Any, part: Path, have: int, whole: int | None, timeout: float, bar: tqdm[Any]) -> None:
    """Copy the body of ``answer`` to ``part`` after its first ``have`` bytes."""
    got = have
    mark_time, mark_bytes = time.monotonic(), got
    with _writing(part):
        file = part.open("ab")
        file.truncate(have)
    with file:
        # read1 hands over what has arrived; read would wait for a full chunk from a trickling server.
        while chunk := answer.read1(CHUNK):
            with _writing(part):
                file.write(chunk)
                file.flush()
            got += len(chunk)
            bar.update(len(chunk))
            if whole is not None and got > whole:
                break
            elapsed = time.monotonic() - mark_time
            if elapsed > timeout:
                if got - mark_bytes < SLOWEST * elapsed:
                    raise _MirrorError(f"stalled: less than {SLOWEST} bytes a second for {timeout:g} s")
                mark_time, mark_bytes = time.monotonic(), got
    if whole is not None and got != whole:
        if got > whole:
            part.unlink(missing_ok=True)
        raise _MirrorError(f"broke off after {got:,} of {whole:,} bytes")


@contextlib.contextmanager
def _writing(part: Path) -> Iterator[None]:
    """Tell a full disk from a failing mirror: both are OSErrors, and only one is worth a retry."""
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise _unwritable(part, error) from error


def _describe(error: object, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"timed out: nothing came for {timeout:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(error, ConnectionResetError | http.client.RemoteDisconnected):
        return "dropped the connection"
    return f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)


def _mismatch(path: Path, digests: dict[str, str]) -> str | None:
    """Return None if every digest fits, else a description of the first that doesn't."""
    for algorithm, expected in digests.items():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if not found.startswith(expected):
            return f"{algorithm} expected {expected}, found {found}"
    return None


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
