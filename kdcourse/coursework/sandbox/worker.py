"""Run answers inside the sandbox: one process imports torch once, and forks a child for every answer.

    grader -- pieces of source and inputs --> zygote -- fork --> guard -- fork --> answer
    grader <-- plain values, bounded -------- zygote <---------------- pipe ---------'

The zygote runs no code of a student and reads no request: every later answer is its copy, and could find in memory what
an earlier request held. A guard only waits: if the kernel allows it, it opens new namespaces in which the
answer is the first process, so that everything that it starts ends with it. The process of an answer sees an empty
folder of its own and no other process, can open no socket and start no program, and is killed by the zygote when it
takes too long or uses too much.

Nothing here can keep an answer from forging its report, since both share a process. The grading process therefore
trusts no report and compares results, so that a forged report must contain the correct results. See
`kdcourse.coursework.sandbox.sandbox`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import importlib.machinery
import inspect
import linecache
import mmap
import os
import platform
import select
import signal
import struct
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NoReturn

_TICK = 0.05  # seconds between two checks of an answer's processes
_GRACE = 2.0  # seconds after the limit before an answer is killed
_NOBODY = 65534
_NEEDED = (
    "kdcourse.checks.fixtures",
    "kdcourse.distillation",
    "kdcourse.evaluation",
    "kdcourse.models",
    "collections",
    "itertools",
    "statistics",
)


@dataclass(frozen=True)
class Bounds:
    """Limit the resources of one answer: see `kdcourse.coursework.sandbox.Limits`."""

    seconds: float
    memory: int
    processes: int
    file_bytes: int
    returned: int


def main(bounds: Bounds, isolate: bool, folder: str) -> None:
    """Serve requests from standard input until it is closed.

    Args:
        bounds: for each answer.
        isolate: whether the answers get namespaces of their own (inside bubblewrap).
        folder: where answers may write.
    """
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    _prepare()
    from kdcourse.coursework.sandbox.messages import decode, encode, framed

    isolation = "nested" if isolate and _can_isolate(folder) else "shared" if isolate else "none"
    _send(replies, framed(encode({"isolation": isolation})))
    left = False
    while not left and _is_waiting(requests):
        # Unmapped after each answer, so that the next one can't find what a correct answer returned.
        with mmap.mmap(-1, bounds.returned + 1) as buffer:

            def work() -> bytes:
                request = decode(_received(requests))
                os.close(requests)
                return encode(_report(request, bounds.seconds))

            status, length = _run_guarded(work, bounds, isolation, folder, buffer, requests)
            left = _is_waiting(requests, now=True)  # an answer ended before it had read its request
            _send(replies, framed(encode({"status": status, "size": length, "left": left})))
            _send(replies, memoryview(buffer)[:length])


def _is_waiting(requests: int, now: bool = False) -> bool:
    """Wait until there is something to read, and tell whether there is (or the other side has closed)."""
    waiting = select.poll()
    waiting.register(requests, select.POLLIN)
    found = waiting.poll(0 if now else None)
    return bool(found) and bool(found[0][1] & select.POLLIN)


def _received(requests: int) -> bytes:
    """Read one request."""
    size = int.from_bytes(_exactly(requests, 8), "big")
    return bytes(_exactly(requests, size))


def _exactly(descriptor: int, count: int) -> bytearray:
    data = bytearray()
    while len(data) < count:
        piece = os.read(descriptor, min(count - len(data), 2**20))
        if not piece:
            raise EOFError
        data += piece
    return data


def _prepare() -> None:
    """Import and use once what answers need, so that no child process has to."""
    import torch

    torch.set_num_threads(1)
    for name in _NEEDED:
        importlib.import_module(name)
    with torch.no_grad():
        torch.randn(2, 3).softmax(1).log().mean().item()
    gc.collect()
    gc.freeze()


def _send(descriptor: int, data: bytes | memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


# -- the zygote watches -------------------------------------------------------------------------


def _run_guarded(
    work: Any, bounds: Bounds, isolation: str, folder: str, buffer: mmap.mmap, requests: int = -1
) -> tuple[str, int]:
    """Run one answer; return "done" and the length of its report in ``buffer``, or why there is no report.

    ``work`` returns the report, in the answer's process, which keeps the descriptor ``requests`` open.
    """
    reader, writer = os.pipe()
    guard = os.fork()
    if guard == 0:
        os.close(reader)
        _guard(writer, isolation, folder, bounds, work, requests)
    os.close(writer)
    try:
        status, length = _watch(guard, reader, bounds, buffer)
    finally:
        os.close(reader)
        code = _end(guard)
    return ("refused", 0) if code == _REFUSED else (status, length)


def _watch(guard: int, reader: int, bounds: Bounds, buffer: mmap.mmap) -> tuple[str, int]:
    length = 0
    deadline, looked = time.monotonic() + bounds.seconds + _GRACE, time.monotonic()
    usual = _own_memory(os.getpid())
    while True:
        ready, _, _ = select.select([reader], [], [], _TICK)
        if ready:
            with memoryview(buffer) as view, view[length:] as rest:
                count = os.readv(reader, [rest])
            if not count:
                return ("done" if length else "died"), length
            length += count
            if length > bounds.returned:
                return "output", 0
        now = time.monotonic()
        if now > deadline:
            return "time", 0
        if now - looked >= _TICK:
            looked = now
            family = _descendants(guard)
            if len(family) > bounds.processes:
                return "processes", 0
            if sum(max(0, _own_memory(one) - usual) for one in family) > bounds.memory:
                return "memory", 0


def _end(guard: int) -> int:
    """Kill the answer and everything that it started, then wait for its guard and return the guard's exit status."""
    while True:
        for one in _descendants(guard):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)
        done, status = os.waitpid(guard, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)


def _descendants(pid: int) -> list[int]:
    """Return all descendants of process ``pid``; none without /proc (macOS)."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, ahead = [], [pid]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def _own_memory(pid: int) -> int:
    """Return the memory of a process that no file backs, in bytes."""
    total = 0
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith((b"RssAnon:", b"RssShmem:")):
                total += 1024 * int(line.split()[1])
    return total


# -- the guard opens namespaces and waits -------------------------------------------------------

_REFUSED = 3  # a guard's exit status if the kernel refuses namespaces that it allowed at the start
_NEW_NAMESPACES = 0x10000000 | 0x20000000 | 0x00020000 | 0x08000000  # user, pid, mount, ipc
_libc = ctypes.CDLL(None, use_errno=True)


def _guard(writer: int, isolation: str, folder: str, bounds: Bounds, work: Any, requests: int) -> NoReturn:
    try:
        if isolation == "nested":
            try:
                _unshare()
            except OSError:
                os._exit(_REFUSED)
        elif sys.platform == "linux":
            _libc.prctl(
                36, 1, 0, 0, 0
            )  # PR_SET_CHILD_SUBREAPER: orphans of an answer stay below this process
        if os.fork() == 0:
            _answer(writer, isolation, folder, bounds, work, requests)
        _close_all_but()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
    finally:
        os._exit(0)


def _unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(_NEW_NAMESPACES):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_NOBODY} {uid} 1"),
        ("gid_map", f"{_NOBODY} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _can_isolate(folder: str) -> bool:
    """Tell whether nested namespaces are allowed here, by trying it in a child process."""
    child = os.fork()
    if child == 0:
        try:
            _unshare()
            inner = os.fork()
            if inner == 0:
                _mount_empty(folder, 2**20)
                _mount_empty("/proc", 2**12)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) and 1)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


# -- the answer's process -----------------------------------------------------------------------


def _answer(writer: int, isolation: str, folder: str, bounds: Bounds, work: Any, requests: int) -> NoReturn:
    try:
        os.setsid()  # otherwise a signal to its process group would reach the zygote, even across namespaces
        _close_all_but(writer, requests)
        size = _address_space()
        if isolation == "nested":
            _mount_empty(folder, bounds.file_bytes)
            _mount_empty("/proc", 2**12)
        os.chdir(folder)
        _limit(bounds, size, count=isolation != "none")
        if sys.platform == "linux":
            _give_up_rights()
        report: bytes = work()
        _send(writer, report)
    finally:
        os._exit(0)


def _close_all_but(*descriptors: int) -> None:
    start = 3
    for descriptor in sorted(one for one in descriptors if one >= start):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, 4096)


def _address_space() -> int:
    with contextlib.suppress(OSError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 2**33


def _limit(bounds: Bounds, size: int, count: bool) -> None:
    """Set resource limits; ``count`` also limits the number of processes of this user."""
    import resource

    most = {
        "RLIMIT_AS": size + bounds.memory,
        "RLIMIT_FSIZE": bounds.file_bytes,
        "RLIMIT_CPU": int(bounds.seconds + _GRACE) + 1,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
    }
    if count:
        most["RLIMIT_NPROC"] = bounds.processes  # has no effect for root: then the zygote counts
    for name, limit in most.items():
        with contextlib.suppress(ValueError, OSError, AttributeError):
            resource.setrlimit(getattr(resource, name), (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that is too large raises OSError instead


def _mount_empty(folder: str, size: int) -> None:
    """Mount an empty folder in memory of at most ``size`` bytes over ``folder``."""
    options = f"size={size},nr_inodes=1000,mode=0777".encode()
    if _libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0x2 | 0x4 | 0x8, options):  # nosuid, nodev, noexec
        raise OSError(ctypes.get_errno(), f"mount {folder}")


def _give_up_rights() -> None:
    """Drop all capabilities, forbid new ones and tracing, and allow only the system calls that computing needs."""
    _libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    _libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    header = struct.pack("Ii", 0x20080522, 0)  # version 3, this thread
    _libc.capset(header, bytes(24))
    _filter_calls()


# Numbers of system calls, which differ by processor: those that start programs or processes, trace, mount, open sockets
# or change the kernel. `clone` may start threads; the filter can't see the flags of `clone3`.
_CALLS: dict[str, tuple[int, int, int, tuple[int, ...]]] = {
    # machine: (audit number, clone, clone3, denied)
    "x86_64": (
        0xC000003E, 56, 435,
        (41, 53, 57, 58, 59, 101, 155, 161, 165, 166, 248, 249, 250, 272, 298, 304, 308, 310, 311, 321, 322, 323, 425,
         428, 429, 430, 442),
    ),
    "aarch64": (
        0xC00000B7, 220, 435,
        (198, 199, 221, 117, 41, 51, 40, 39, 217, 218, 219, 97, 241, 265, 268, 270, 271, 280, 281, 282, 425,
         428, 429, 430, 442),
    ),
}  # fmt: skip
_THREAD = 0x10000  # CLONE_THREAD
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def _filter_calls() -> None:
    """Set a seccomp filter (seccomp(2), classic BPF); if it can't be set, namespaces and limits remain."""
    if platform.machine() not in _CALLS:
        return
    audit, clone, clone3, denied = _CALLS[platform.machine()]
    load, equal, above, has, give = 0x20, 0x15, 0x35, 0x45, 0x06
    deny = (give, 0, 0, _ERROR | errno.EPERM)
    program = [(load, 0, 0, 4), (equal, 1, 0, audit), deny, (load, 0, 0, 0)]
    program += [(above, 0, 1, 0x40000000), deny]  # system calls of the x32 ABI, which have other numbers
    for number in denied:
        program += [(equal, 0, 1, number), deny]
    program += [
        (equal, 0, 1, clone3),
        (give, 0, 0, _ERROR | errno.ENOSYS),
    ]  # the C library then tries `clone`
    program += [(equal, 0, 3, clone), (load, 0, 0, 16), (has, 1, 0, _THREAD), deny, (give, 0, 0, _ALLOW)]
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code)
    pointer = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    _libc.prctl(22, 2, ctypes.c_char_p(pointer), 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


# -- running an answer --------------------------------------------------------------------------


def _report(request: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Run the pieces, call the function with the inputs, and report the observations in plain values."""
    from kdcourse.checks import observe

    try:
        sys.meta_path.insert(0, _Handed(request["modules"]))
        answer = _defined(request["pieces"], request["function"])
    except BaseException as error:
        text = " ".join(str(error).split())[:200]
        return {"broken": f"{type(error).__name__}{': ' if text else ''}{text}"}
    seen = observe(_stand_in(request), answer, limit=seconds)
    return {
        "outcomes": [_outcome(one) for one in seen.outcomes],
        "again": [_outcome(one) for one in seen.again],
        "stuck": seen.stuck,
        "misfit": seen.misfit,
    }


class _Handed:
    """Find the modules that a student handed in."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return how to import a module, or None if it isn't one of these."""
        return importlib.machinery.ModuleSpec(name, self) if name in self._sources else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None:
        """Leave it to Python to make an empty module."""

    def exec_module(self, module: Any) -> None:
        """Fill the module."""
        code = compile(self._sources[module.__name__], f"{module.__name__}.py", "exec", dont_inherit=True)
        exec(code, module.__dict__)


def _defined(pieces: list[str], function: str) -> Any:
    scope: dict[str, Any] = {"__name__": "answer", "__builtins__": __builtins__}
    for number, piece in enumerate(pieces):
        name = f"<answer, piece {number + 1}>"
        # inspect and the checks look up lines of source here.
        linecache.cache[name] = (len(piece), None, piece.splitlines(keepends=True), name)
        exec(compile(piece, name, "exec", dont_inherit=True), scope)
    return scope[function]


def _stand_in(request: dict[str, Any]) -> Any:
    """Return the parts of the exercise that observing needs: no solution, no mistakes."""

    def asked() -> None:
        """Carry the parameters that the answer must have."""

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    asked.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind) for name in request["parameters"]]
    )
    probes = tuple(SimpleNamespace(inputs=tuple(inputs)) for inputs in request["inputs"])
    module, _, name = request["fixture"].partition(":")
    fixture = getattr(importlib.import_module(module), name) if name else None
    return SimpleNamespace(
        id=request["id"],
        gradient=request["gradient"],
        solution=asked,
        fixture=fixture,
        probes=probes,
    )


def _outcome(outcome: Any) -> dict[str, Any]:
    error = outcome.error
    return {
        "parts": dict(outcome.parts),
        "error": None if error is None else [error.kind, error.text, error.line, error.code],
        "changed": list(outcome.changed),
        "printed": outcome.printed,
    }


if __name__ == "__main__":
    main(
        Bounds(float(sys.argv[3]), *map(int, sys.argv[4:8])),
        isolate=sys.argv[1] == "isolate",
        folder=sys.argv[2],
    )
