"""The judge's side: starts the sandbox, hands it answers, and believes nothing that comes back.

What an answer can do inside: see the Python installation and a copy of this package without solutions, lessons and
coursework, read-only; write a few bytes into an empty folder of its own; compute. What comes back is a report in plain
values (`wire`), bounded, strictly read, and rebuilt here out of built-in types.

**What a forged report can achieve.** An answer shares its process with what observes it, so that it may replace the
observer, or write a report itself. Hence nothing in there knows a right result: a report must bring the right results
of inputs that were never seen before, and whoever can compute those has solved the exercise. Neither can an answer find
what others' answers gave: each process is forked from one that never runs any, and reports are wiped. What can be
forged is what only the observer sees: that the inputs were not changed, that a second round gave the same, that a
gradient flows (its numbers must be right), and the states in which exercises about models note that one was asked
("eval", nothing recorded). Against the last, what leaves traces in numbers is compared too (BatchNorm statistics,
weights after the step, losses without dropout), and names and types of everything reported must be those of the
exercise. Whether a blank is left is decided here, from the source.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

import kdcourse
from kdcourse.checks import Exercise
from kdcourse.checks.observe import blank_in, observe_ours
from kdcourse.checks.outcomes import ANSWER, GRADIENT, Observed, Outcome, Raised
from kdcourse.coursework.records import Answer
from kdcourse.coursework.sandbox.wire import WireError, decode, encode, framed
from kdcourse.errors import CourseworkError

_START = 180.0  # seconds for importing torch on a busy machine
_SLACK = 10.0  # seconds that the sandbox may take to end an answer, beyond the answer's own
# What the sandbox's copy of the package leaves out: solutions, and what no answer needs.
_LEFT_OUT = (
    "coursework",
    "experiments",
    "cli.py",
    "__pycache__",
)
_WORKER = ("worker.py", "wire.py")


@dataclass(frozen=True)
class Limits:
    """What one answer may use.

    Args:
        seconds: for all tries together; two more until it is ended by force.
        memory: bytes beyond what torch itself takes.
        processes: it and all it starts, threads included.
        file_bytes: that it may write, all files together.
        returned_bytes: that its report may have.
    """

    seconds: float = 5.0
    memory: int = 2**30
    processes: int = 32
    file_bytes: int = 2**24
    returned_bytes: int = 2**22


@dataclass(frozen=True)
class Lost:
    """An answer that gave no report.

    ``kind``: "time", "memory", "processes", "output", "died", "broken" (its code failed before it could be called) or
    "forged". ``reason`` is a sentence for the student.
    """

    kind: str
    reason: str


_REASONS = {
    "time": "it took too long and was stopped. Does each loop come nearer to its end?",
    "memory": "it took too much memory and was stopped.",
    "processes": "it started too many processes and was stopped.",
    "output": "what it gives back is far too large.",
    "died": "it ended the Python that ran it.",
    "forged": "what came back is no result of a function.",
}


@lru_cache(maxsize=1)
def available() -> str:
    """Why students' code can't be confined on this machine, in a sentence, or "" where it can."""
    if sys.platform != "linux":
        return "It needs Linux (on Windows, the Linux of WSL will do)."
    if shutil.which("bwrap") is None:
        return "Bubblewrap is missing: install the package bubblewrap (command bwrap)."
    try:
        tried = subprocess.run(
            [*_bubblewrap(()), sys.executable, "-I", "-c", ""],
            capture_output=True,
            timeout=60,
            check=False,
            env={},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"Bubblewrap doesn't run here ({type(error).__name__})."
    if tried.returncode:
        said = tried.stderr.decode(errors="replace").strip().splitlines()
        return f"Bubblewrap doesn't run here: {said[-1][:200] if said else tried.returncode}."
    return ""


class Sandbox:
    """Runs students' answers, one process each, and tells what they did.

    Used in a ``with`` statement. One sandbox serves one thread; parallel workers open one each.

    Args:
        limits: for each answer.
        unsafe: run answers as ordinary processes of this user, which may read and change all that the user may.

    Raises:
        CourseworkError: on entry: answers can't be confined here, and ``unsafe`` is not set.
    """

    def __init__(self, *, limits: Limits = Limits(), unsafe: bool = False) -> None:
        self._limits = limits
        self._unsafe = unsafe
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._walls = ""

    def __enter__(self) -> Self:
        why = available()
        if self._unsafe:
            if not hasattr(os, "fork"):
                raise CourseworkError(
                    "Answers can't be run on this system at all: use Linux, or WSL on Windows."
                )
            warnings.warn(
                "Students' code runs without a sandbox: it may read and change whatever you may.",
                stacklevel=2,
            )
        elif why:
            raise CourseworkError(
                f"Students' code can't be confined here. {why} To run it all the same, with all that you may do, say "
                "--unsafe (unsafe=True)."
            )
        self._folder = Path(tempfile.mkdtemp(prefix="kdcourse-"))
        _copy_package(self._folder / "package")
        (self._folder / "work").mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def observe(
        self, answers: Sequence[Answer], exercises: Mapping[str, Exercise]
    ) -> dict[str, Observed | Lost]:
        """What the code answers of one submission do on the tries of their exercises, by task.

        Args:
            answers: those that have something to run.
            exercises: by task, as they are to be tried (see `kdcourse.checks.varied`).

        Raises:
            CourseworkError: the sandbox itself doesn't work, which is no answer's fault.
        """
        seen: dict[str, Observed | Lost] = {}
        for answer in answers:
            if answer.pieces and not answer.problem:
                seen[answer.task] = self._observe(answer, exercises[answer.task])
        if self._walls == "shared":
            # Answers there could reach the process that the next ones are forked from.
            self._stop()
        return seen

    def _observe(self, answer: Answer, exercise: Exercise) -> Observed | Lost:
        if self._process is None:
            self._start()
        try:
            fate, report = self._ask(_request(answer, exercise))
        except (OSError, EOFError, WireError, TimeoutError) as error:
            self._stop()
            return _lost("time" if isinstance(error, TimeoutError) else "died")
        if fate == "refused":
            raise CourseworkError(
                "The kernel refuses another namespace, so that the answer was not run. Try fewer jobs, or raise "
                "/proc/sys/user/max_user_namespaces."
            )
        if fate != "done":
            return _lost(fate if fate in _REASONS else "forged")
        return rebuilt(report, answer, exercise)

    # -- the process ----------------------------------------------------------------------------

    def _start(self) -> None:
        assert self._folder is not None, "a sandbox is used in a with statement"
        limits = self._limits
        bounds = [limits.seconds, limits.memory, limits.processes, limits.file_bytes, limits.returned_bytes]
        package, folder = self._folder / "package", str(self._folder / "work")
        if not self._unsafe:
            command = _bubblewrap(
                (
                    "--size",
                    str(limits.file_bytes),
                    "--tmpfs",
                    "/scratch",
                    "--ro-bind",
                    str(package),
                    "/package",
                )
            )
            package, folder = Path("/package"), "/scratch"
        else:
            command = []
        start = f"import runpy, sys; sys.path.insert(0, {str(package)!r}); "
        start += f"runpy.run_module({_MODULE!r}, run_name='__main__')"
        arguments = ["none" if self._unsafe else "isolate", folder, *map(str, bounds)]
        complaints = self._folder / "complaints"  # of starting; answers have no such output
        with complaints.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*command, sys.executable, "-I", "-B", "-c", start, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=_environment(folder),
                bufsize=0,
                start_new_session=True,
            )
        try:
            self._walls = self._said(time.monotonic() + _START)["walls"]
        except (OSError, EOFError, WireError, TimeoutError, KeyError) as error:
            self._stop()
            said = complaints.read_text(errors="replace").strip().splitlines() or [type(error).__name__]
            raise CourseworkError(
                f"The sandbox didn't start: {said[-1][:300]}. Is there memory for another Python with torch?"
            ) from None
        if self._walls == "shared":
            warnings.warn(
                "Namespaces within namespaces are refused here, so every submission starts a Python of its own: "
                "seconds more each.",
                stacklevel=4,
            )

    def _stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            process.kill()  # and with it, in bubblewrap, all that it contains
            process.wait()

    def _ask(self, request: bytes) -> tuple[str, bytes]:
        deadline = time.monotonic() + self._limits.seconds + _SLACK
        assert self._process is not None and self._process.stdin is not None
        data = memoryview(framed(request))
        while data:
            data = data[self._process.stdin.write(data) :]
        said = self._said(deadline)
        size = said.get("size")
        if (
            type(said.get("fate")) is not str
            or type(size) is not int
            or not 0 <= size <= self._limits.returned_bytes
        ):
            raise WireError("no report")
        return said["fate"], self._read(size, deadline)

    def _said(self, deadline: float) -> dict[str, Any]:
        """What the zygote itself says."""
        size = int.from_bytes(self._read(8, deadline), "big")
        if size > 2**12:
            raise WireError("too much is said")
        said = decode(self._read(size, deadline))
        if type(said) is not dict:
            raise WireError("nothing is said")
        return said

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        data = bytearray()
        while len(data) < count:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            piece = os.read(descriptor, min(count - len(data), 2**20))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)


# -- how the sandbox is built -------------------------------------------------------------------

_MODULE = "kdcourse.coursework.sandbox.worker"


def _bubblewrap(more: Sequence[str]) -> list[str]:
    """bwrap with what Python needs and no more; ``more`` comes before everything becomes read-only."""
    command = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
    ]
    command += ["--uid", "65534", "--gid", "65534", "--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            command += ["--ro-bind", name, name]
    for prefix in _prefixes():
        command += ["--ro-bind", prefix, prefix]
    for hidden in _hidden():
        command += ["--tmpfs", hidden]
    command += ["--proc", "/proc", "--dev", "/dev", *more, "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*command, "--chdir", "/"]


def _prefixes() -> list[str]:
    """Folders of the Python that runs, outside /usr."""
    found = {sys.prefix, sys.exec_prefix, sys.base_prefix, os.path.dirname(os.path.dirname(sys.executable))}
    found |= {os.path.realpath(one) for one in found} | {
        os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))
    }
    return sorted(one for one in found if one != "/usr" and not one.startswith("/usr/") and one != "/")


def _hidden() -> list[str]:
    """Where this package with its solutions lies, if that is inside a folder that Python needs."""
    package = Path(kdcourse.__file__).resolve().parent
    folder = package.parent if (package.parent / "pyproject.toml").exists() else package
    shown = [Path("/usr"), *map(Path, _prefixes())]
    return [str(folder)] if any(folder.is_relative_to(one) for one in shown) else []


def _environment(folder: str) -> dict[str, str]:
    kept = {"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"}
    return {**kept, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def _copy_package(to: Path) -> None:
    source = Path(kdcourse.__file__).resolve().parent
    left_out = {path for pattern in _LEFT_OUT for path in source.glob(pattern)}
    lessons = (path for path in (source / "course").rglob("*") if path.is_file())
    left_out |= {path for path in lessons if path.name != "fixtures.py"}  # solutions stand beside them

    def ignored(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(folder, name) in left_out or name == "__pycache__"]

    shutil.copytree(source, to / "kdcourse", ignore=ignored)
    rooms = to / "kdcourse" / "coursework" / "sandbox"
    rooms.mkdir(parents=True)
    for name in _WORKER:
        shutil.copy(Path(__file__).with_name(name), rooms / name)


# -- what goes in -------------------------------------------------------------------------------


def _request(answer: Answer, exercise: Exercise) -> bytes:
    import inspect

    fixture = exercise.fixture
    return encode(
        {
            "id": exercise.id,
            "gradient": exercise.gradient,
            "parameters": list(inspect.signature(exercise.solution).parameters),
            "fixture": "" if fixture is None else f"{fixture.__module__}:{fixture.__name__}",
            "tries": [list(probe.inputs) for probe in exercise.probes],
            "pieces": list(answer.pieces),
            "function": answer.function,
        }
    )


# -- what comes out -----------------------------------------------------------------------------


def rebuilt(report: bytes, answer: Answer, exercise: Exercise) -> Observed | Lost:
    """What was observed, out of a report that may be a forgery; `Lost` where it can't be an honest one."""
    try:
        said = decode(report)
        _require(type(said) is dict)
        if "broken" in said:
            return Lost("broken", f"its code stopped before it could be tried: {_line(said['broken'])}.")
        expected = observe_ours(exercise, exercise.solution)
        outcomes = _outcomes(said.get("outcomes"), expected)
        again = _outcomes(said.get("again"), expected)
        stuck, misfit = said.get("stuck"), _line(said.get("misfit"))
        _require(stuck in ("", "ended", "running"))
        if not misfit:
            if stuck:
                _require(len(outcomes) > 0)
            else:
                _require(len(outcomes) == len(expected) and len(again) == len(expected))
                _require(all(one.parts or one.error for one in (*outcomes, *again)))
        return Observed(outcomes, again, stuck, _is_blank(answer), misfit)
    except WireError:
        return _lost("forged")


def _outcomes(said: Any, expected: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    _require(type(said) is list and len(said) <= len(expected))
    return tuple(_outcome(one, other) for one, other in zip(said, expected, strict=False))


def _outcome(said: Any, expected: Outcome) -> Outcome:
    _require(type(said) is dict and type(said.get("parts")) is dict)
    parts, changed, error = said["parts"], said.get("changed"), said.get("error")
    _require(type(changed) is list and all(type(place) is int and 0 <= place < 9 for place in changed))
    raised = None
    if error is not None:
        _require(type(error) is list and len(error) == 4)
        kind, text, line, code = error
        _require(line is None or type(line) is int)
        raised = Raised(_line(kind), _line(text), line, _line(code))
        parts = {}
    elif parts:
        _require(parts.keys() == expected.parts.keys())
        for name, value in expected.parts.items():
            _require(
                name == ANSWER or (name == GRADIENT and parts[name] is None) or _alike(value, parts[name])
            )
    # A try that was cut short has neither parts nor error; judging never looks into it.
    return Outcome(parts, raised, tuple(changed), _line(said.get("printed")))


def _alike(expected: Any, found: Any) -> bool:
    """Whether something that only the observer writes has the type that it always has."""
    if isinstance(expected, tuple):
        return (
            type(found) is tuple
            and len(found) == len(expected)
            and all(_alike(one, other) for one, other in zip(expected, found, strict=True))
        )
    return isinstance(found, Tensor) if isinstance(expected, Tensor) else type(found) is type(expected)


def _require(condition: bool) -> None:
    if not condition:
        raise WireError("no honest report")


def _line(text: Any) -> str:
    """One line of plain characters, whatever was said."""
    _require(type(text) is str)
    return "".join(sign if sign.isprintable() else " " for sign in text[:400]).strip()


def _lost(kind: str) -> Lost:
    return Lost(kind, _REASONS[kind])


def _is_blank(answer: Answer) -> bool:
    """Whether the definition that counts, the last one of that name, still has a blank."""
    name = re.escape(answer.function)
    for piece in reversed(answer.pieces):
        if re.search(rf"^\s*(async\s+)?(def|class)\s+{name}\b|^{name}\b[^=\n]*=", piece, re.MULTILINE):
            try:
                return blank_in(piece)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return False
    return False
