"""Start the sandbox, send it answers, and verify its reports: the trusted side, in the grading process.

Inside, an answer can read the Python installation and a copy of this package without solutions, lessons and
coursework; write a few bytes into an empty folder of its own; compute. It sends back a report in plain values
(`messages`) of limited size, which is strictly parsed and rebuilt here out of built-in types.

**What a forged report can achieve.** An answer shares its process with the code that observes it, so it can replace
the observer or write a report itself. Hence nothing in the sandbox knows a correct result: a report must contain the
correct results for inputs that were never shown before, and whoever can compute those has solved the exercise. An
answer can't find the results of other answers either: each process is forked from one that never runs any, and
reports are wiped. Only what the observer alone sees can be forged: that the inputs were not changed, that a second
run gave the same results, that there is a gradient (its numbers must be correct), and the modes in which exercises
about models record a forward pass ("eval", no gradients). For the latter, effects on numbers are compared too
(BatchNorm statistics, weights after the step, losses without dropout), and names and types of everything reported
must be those of the exercise. Whether a blank is left is decided here, from the source.
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
from kdcourse.coursework.sandbox.messages import MessageError, TooLargeError, decode, encode, framed
from kdcourse.errors import CourseworkError

BROKEN = "broken"  # a kind of `Lost`, the only one whose reason holds the student's own words
_START = 180.0  # seconds for importing torch on a busy machine
_SLACK = 10.0  # seconds for the sandbox to stop an answer, beyond the answer's own limit
# The sandbox's copy of the package leaves out solutions and everything that no answer needs.
_LEFT_OUT = (
    "coursework",
    "runs",
    "cli.py",
    "__pycache__",
)
_WORKER = ("worker.py", "messages.py")


@dataclass(frozen=True)
class Limits:
    """Limit the resources of one answer.

    Args:
        seconds: for all inputs together, as for the check in a notebook; two more until it is killed.
        memory: bytes beyond what torch itself takes.
        processes: its own and all that it starts, threads included.
        file_bytes: total size of the files that it may write.
        returned_bytes: largest size of its report.
    """

    seconds: float = 10.0
    memory: int = 2**30
    processes: int = 32
    file_bytes: int = 2**24
    returned_bytes: int = 2**22


@dataclass(frozen=True)
class Lost:
    """Say why an answer gave no report.

    ``kind``: "time", "memory", "processes", "output", "died", "broken" (its code failed before it could be called) or
    "forged". ``reason`` is a sentence for the student.
    """

    kind: str
    reason: str


_REASONS = {
    "time": "it took too long and was stopped. Does every loop end?",
    "memory": "it used too much memory and was stopped.",
    "processes": "it started too many processes and was stopped.",
    "output": "the values that it returns are far too large.",
    "died": "it ended the Python process that ran it.",
    "forged": "what it returned is not the result of a function.",
}


@lru_cache(maxsize=1)
def available() -> str:
    """Return why students' code can't be confined on this machine, in a sentence, or "" if it can."""
    if sys.platform != "linux":
        return "It needs Linux (on Windows, use WSL)."
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
        lines = tried.stderr.decode(errors="replace").strip().splitlines()
        return f"Bubblewrap doesn't run here: {lines[-1][:200] if lines else tried.returncode}."
    return ""


class Sandbox:
    """Run students' answers, one process each, and report what they did.

    Use it in a ``with`` statement. One sandbox serves one thread; parallel workers open one each.

    Args:
        limits: for each answer.
        unsafe: run answers as ordinary processes with all rights of this user.
        private: files and folders that no answer may see, even if they lie in a folder that Python needs.

    Raises:
        CourseworkError: on entry: answers can't be confined here, and ``unsafe`` is not set.
    """

    def __init__(
        self, *, limits: Limits = Limits(), unsafe: bool = False, private: Sequence[Path] = ()
    ) -> None:
        self._limits = limits
        self._private = tuple(private)
        self._unsafe = unsafe
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._isolation = ""

    def __enter__(self) -> Self:
        why = available()
        if self._unsafe:
            if not hasattr(os, "fork"):
                raise CourseworkError("Answers can't be run on this system: use Linux, or WSL on Windows.")
            warnings.warn(
                "Students' code runs without a sandbox: it can read and change everything that you can.",
                stacklevel=2,
            )
        elif why:
            raise CourseworkError(
                f"Students' code can't be confined here. {why} To run it anyway, with all your rights, pass "
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
        """Observe what the code answers of one submission do on the inputs of their exercises, by task.

        Args:
            answers: the answers of one submission; those without code to run are skipped.
            exercises: by task, as they are to be tried (see `kdcourse.checks.varied`).

        Raises:
            CourseworkError: the sandbox itself fails, which is not the answer's fault.
        """
        seen: dict[str, Observed | Lost] = {}
        for answer in answers:
            if answer.pieces and not answer.problem:
                seen[answer.task] = self._observe(answer, exercises[answer.task])
        if self._isolation == "shared":
            # Without nested namespaces an answer could reach the process from which the next ones are forked.
            self._stop()
        return seen

    def _observe(self, answer: Answer, exercise: Exercise) -> Observed | Lost:
        if self._process is None:
            self._start()
        try:
            status, report = self._exchange(_request(answer, exercise))
        except (OSError, EOFError, MessageError, TimeoutError) as error:
            self._stop()
            return _lost("time" if isinstance(error, TimeoutError) else "died")
        if status == "refused":
            raise CourseworkError(
                "The kernel refuses another namespace, so the answer was not run. Use fewer --jobs, or raise "
                "/proc/sys/user/max_user_namespaces."
            )
        if status != "done":
            return _lost(status if status in _REASONS else "forged")
        return rebuilt(report, answer, exercise)

    # -- the process ----------------------------------------------------------------------------

    def _start(self) -> None:
        assert self._folder is not None, "a sandbox must be used in a with statement"
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
                ),
                self._private,
            )
            package, folder = Path("/package"), "/scratch"
        else:
            command = []
        start = f"import runpy, sys; sys.path.insert(0, {str(package)!r}); "
        start += f"runpy.run_module({_MODULE!r}, run_name='__main__')"
        arguments = ["none" if self._unsafe else "isolate", folder, *map(str, bounds)]
        errors = self._folder / "errors"  # while starting; answers have no such output
        with errors.open("wb") as stderr:
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
            self._isolation = self._message(time.monotonic() + _START)["isolation"]
        except (OSError, EOFError, MessageError, TimeoutError, KeyError) as error:
            self._stop()
            lines = errors.read_text(errors="replace").strip().splitlines() or [type(error).__name__]
            raise CourseworkError(
                f"The sandbox didn't start: {lines[-1][:300]}. Is there enough memory for another Python with torch?"
            ) from None
        if self._isolation == "shared":
            warnings.warn(
                "Nested namespaces are refused here, so every submission starts its own Python, which takes "
                "seconds more.",
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
            process.kill()  # and, in bubblewrap, everything inside
            process.wait()

    def _exchange(self, request: bytes) -> tuple[str, bytes]:
        deadline = time.monotonic() + self._limits.seconds + _SLACK
        assert self._process is not None and self._process.stdin is not None
        data = memoryview(framed(request))
        while data:
            data = data[self._process.stdin.write(data) :]
        reply = self._message(deadline)
        size = reply.get("size")
        if (
            type(reply.get("status")) is not str
            or type(size) is not int
            or not 0 <= size <= self._limits.returned_bytes
        ):
            raise MessageError("no report")
        report = self._read(size, deadline)
        if reply.get("left"):  # part of the request; the zygote has ended, so that nobody else reads it
            self._stop()
        return reply["status"], report

    def _message(self, deadline: float) -> dict[str, Any]:
        """Read a message of the zygote itself."""
        size = int.from_bytes(self._read(8, deadline), "big")
        if size > 2**12:
            raise MessageError("the message is too long")
        reply = decode(self._read(size, deadline))
        if type(reply) is not dict:
            raise MessageError("the message is no dict")
        return reply

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


def _bubblewrap(more: Sequence[str], private: Sequence[Path] = ()) -> list[str]:
    """Return the bwrap command that shows only what Python needs; ``more`` precedes making everything read-only."""
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
    python = _python()
    shown = [one for one in python if not one.startswith("/usr/")]
    for one in shown:
        command += ["--ro-bind", one, one]
    for hidden in _hidden([_package_folder(), *private], ["/usr", *shown]):
        command += ["--tmpfs", hidden] if os.path.isdir(hidden) else ["--ro-bind", os.devnull, hidden]
        for one in python:  # a virtual environment in a private folder
            command += ["--ro-bind", one, one] if one.startswith(f"{hidden}/") else []
    command += ["--proc", "/proc", "--dev", "/dev", *more, "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*command, "--chdir", "/"]


# What Python needs of a folder that it is installed in, or of a virtual environment. Such a folder may be somebody's
# course, with submissions beside these.
_OF_PYTHON = ("bin", "lib", "lib32", "lib64", "libexec", "pyvenv.cfg")


def _python() -> list[str]:
    """Return the files and folders that the running Python needs, those of the system left out."""
    executables = {sys.executable, os.path.realpath(sys.executable)}
    found = {sys.prefix, sys.exec_prefix, sys.base_prefix} | {
        os.path.dirname(os.path.dirname(one)) for one in executables
    }
    found |= {os.path.realpath(one) for one in found}
    parts = [os.path.join(one, part) for one in sorted(found - {"/", "/usr"}) for part in _OF_PYTHON]
    return [one for one in parts if os.path.exists(one)]


def _package_folder() -> Path:
    """Return the folder of this package with its solutions."""
    package = Path(kdcourse.__file__).resolve().parent
    return package.parent if (package.parent / "pyproject.toml").exists() else package


def _hidden(private: Sequence[Path], shown: Sequence[str]) -> list[str]:
    """Return what is private and would be seen, because it lies in what is shown."""
    seen = [Path(one) for one in shown] + [Path(one).resolve() for one in shown]
    places = {place for one in private for place in (Path(os.path.abspath(one)), one.resolve())}
    return sorted(
        str(one) for one in places if one.exists() and any(one.is_relative_to(folder) for folder in seen)
    )


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
    target = to / "kdcourse" / "coursework" / "sandbox"
    target.mkdir(parents=True)
    for name in _WORKER:
        shutil.copy(Path(__file__).with_name(name), target / name)


# -- the request --------------------------------------------------------------------------------


def _request(answer: Answer, exercise: Exercise) -> bytes:
    import inspect

    fixture = exercise.fixture
    return encode(
        {
            "id": exercise.id,
            "gradient": exercise.gradient,
            "parameters": list(inspect.signature(exercise.solution).parameters),
            "fixture": "" if fixture is None else f"{fixture.__module__}:{fixture.__name__}",
            "inputs": [list(probe.inputs) for probe in exercise.probes],
            "pieces": list(answer.pieces),
            "modules": dict(answer.modules),
            "function": answer.function,
        }
    )


# -- the report ---------------------------------------------------------------------------------


def rebuilt(report: bytes, answer: Answer, exercise: Exercise) -> Observed | Lost:
    """Rebuild what was observed from a report that may be forged; `Lost` if it can't be a genuine one."""
    try:
        reply = decode(report)
        _require(type(reply) is dict)
        if "broken" in reply:
            return Lost(BROKEN, f"its code stopped before it could be called: {_line(reply['broken'])}.")
        expected = observe_ours(exercise, exercise.solution)
        outcomes = _outcomes(reply.get("outcomes"), expected)
        again = _outcomes(reply.get("again"), expected)
        stuck, misfit = reply.get("stuck"), _line(reply.get("misfit"))
        _require(stuck in ("", "ended", "running"))
        if not misfit:
            if stuck:
                _require(len(outcomes) > 0)
            else:
                _require(len(outcomes) == len(expected) and len(again) == len(expected))
                _require(all(one.parts or one.error for one in (*outcomes, *again)))
        return Observed(outcomes, again, stuck, _is_blank(answer), misfit)
    except TooLargeError:
        return _lost("output")
    except MessageError:
        return _lost("forged")


def _outcomes(reply: Any, expected: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    _require(type(reply) is list and len(reply) <= len(expected))
    return tuple(_outcome(one, other) for one, other in zip(reply, expected, strict=False))


def _outcome(reply: Any, expected: Outcome) -> Outcome:
    _require(type(reply) is dict and type(reply.get("parts")) is dict)
    parts, changed, error = reply["parts"], reply.get("changed"), reply.get("error")
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
    # A call that was stopped has neither parts nor error; it is never judged.
    return Outcome(parts, raised, tuple(changed), _line(reply.get("printed")))


def _alike(expected: Any, found: Any) -> bool:
    """Tell whether a value that only the observer writes has its usual type."""
    if isinstance(expected, tuple):
        return (
            type(found) is tuple
            and len(found) == len(expected)
            and all(_alike(one, other) for one, other in zip(expected, found, strict=True))
        )
    return isinstance(found, Tensor) if isinstance(expected, Tensor) else type(found) is type(expected)


def _require(condition: bool) -> None:
    if not condition:
        raise MessageError("no genuine report")


def _line(text: Any) -> str:
    """Return one line of printable characters."""
    _require(type(text) is str)
    return "".join(sign if sign.isprintable() else " " for sign in text[:400]).strip()


def _lost(kind: str) -> Lost:
    return Lost(kind, _REASONS[kind])


def _is_blank(answer: Answer) -> bool:
    """Tell whether the definition that counts, the last one of that name, still has a blank."""
    name = re.escape(answer.function)
    for piece in reversed(answer.pieces):
        if re.search(rf"^\s*(async\s+)?(def|class)\s+{name}\b|^{name}\b[^=\n]*=", piece, re.MULTILINE):
            try:
                return blank_in(piece)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return False
    return False
