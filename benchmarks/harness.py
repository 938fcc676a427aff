"""Define benchmarks and run their sides in turn, each run in a new process."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """Hold the result of one run of one side.

    ``seconds`` is the wall-clock time of the compared part (without imports and reading data), ``accuracy`` is that on
    the test split (0 to 1), ``details`` are named parts, such as ``{"teacher_seconds": 3.1}``.
    """

    seconds: float
    accuracy: float | None = None
    details: dict[str, float] = field(default_factory=dict)


Side = Callable[[Settings], Measured]


@dataclass(frozen=True)
class Comparison:
    """Compare our side with others.

    Args:
        name: name of the result's files.
        question: what is compared, in a sentence.
        sides: functions by the name that readers see; the first is ours.
        settings: passed to every side; ``seed`` grows by one with each repetition.
        quick: settings for a run of seconds.
        repetitions: number of runs of each side.
        same_accuracy: the sides' accuracies must agree within noise.
        floor: the other sides are the least work possible; our overhead over them is reported.
    """

    name: str
    question: str
    sides: dict[str, Side]
    settings: dict[str, Any]
    quick: dict[str, Any]
    repetitions: int = 3
    same_accuracy: bool = True
    floor: bool = False


@dataclass(frozen=True)
class Growth:
    """Measure how the cost grows with one size.

    ``side(settings, size)`` is run for each of ``sizes``, whose ``unit`` is a plural noun, such as "students";
    ``quick`` may hold other ``sizes``. The rest is as in `Comparison`.
    """

    name: str
    question: str
    unit: str
    side: Callable[[Settings, int], Measured]
    sizes: tuple[int, ...]
    settings: dict[str, Any]
    quick: dict[str, Any]
    repetitions: int = 3


Benchmark = Comparison | Growth


@dataclass(frozen=True)
class Task:
    """Name what one worker process runs."""

    module: str  # where BENCHMARKS is, such as "benchmarks.startup"
    benchmark: str
    side: str
    settings: dict[str, Any]
    size: int | None = None


@dataclass(frozen=True)
class Run:
    """Hold the outcome of one `Task`: ``status`` is "measured", "failed" or "not installed"."""

    side: str
    repetition: int
    status: str
    size: int | None = None
    seconds: float | None = None
    accuracy: float | None = None
    details: dict[str, float] = field(default_factory=dict)
    peak_memory: int | None = None  # bytes resident, of the process that ran the side
    message: str = ""


class NotInstalledError(Exception):
    """Signal that a side's peer isn't installed; the message is the command that installs it."""


def need(module: str, requirement: str) -> None:
    """Raise `NotInstalledError` unless ``module`` can be imported; ``requirement`` is what pip installs."""
    if importlib.util.find_spec(module) is None:
        raise NotInstalledError(f"pip install {requirement}")


def settings_of(benchmark: Benchmark, quick: bool, changes: Settings) -> dict[str, Any]:
    """Return the benchmark's settings, with the quick ones if asked, and with the ``changes`` that it knows."""
    settings = {"seed": 0} | benchmark.settings | (benchmark.quick if quick else {})
    if isinstance(benchmark, Growth):
        settings.setdefault("sizes", list(benchmark.sizes))
    return settings | {key: value for key, value in changes.items() if key in settings}


def plan(
    benchmark: Benchmark, module: str, settings: dict[str, Any], repetitions: int
) -> Iterator[tuple[int, Task]]:
    """Yield all runs in order: repetition by repetition, forwards and backwards in turn.

    So a temporary slow-down of the machine affects all sides alike, and no side always runs first.
    """
    given = {key: value for key, value in settings.items() if key != "sizes"}
    if isinstance(benchmark, Comparison):
        members: list[tuple[str, int | None]] = [(side, None) for side in benchmark.sides]
    else:
        members = [(f"{size:,} {benchmark.unit}", size) for size in settings["sizes"]]
    for repetition in range(repetitions):
        seeded = given | {"seed": given["seed"] + repetition}
        for side, size in members if repetition % 2 == 0 else members[::-1]:
            yield repetition, Task(module, benchmark.name, side, seeded, size)


def run_all(
    benchmark: Benchmark,
    module: str,
    settings: dict[str, Any],
    repetitions: int,
    *,
    run: Callable[[Task], dict[str, Any]] | None = None,
    say: Callable[[str], None] = print,
) -> list[Run]:
    """Run every side ``repetitions`` times and report each run in one line.

    A side that failed, or whose peer isn't installed, isn't run again. If our side fails, there is nothing to compare
    and the benchmark ends.
    """
    run = run or run_in_child
    runs: list[Run] = []
    dropped: set[str] = set()
    ours = next(iter(benchmark.sides)) if isinstance(benchmark, Comparison) else None
    for repetition, task in plan(benchmark, module, settings, repetitions):
        if task.side in dropped or ours in dropped:
            continue
        done = Run(side=task.side, repetition=repetition, size=task.size, **run(task))
        runs.append(done)
        if done.status != "measured":
            dropped.add(task.side)
        say(f"{benchmark.name} {repetition + 1}/{repetitions}  {told(done)}")
    return runs


def told(run: Run) -> str:
    """Return one run as one line."""
    if run.status == "failed":
        return f"{run.side}: FAILED: {run.message}"
    if run.status != "measured" or run.seconds is None:
        return f"{run.side}: left out, {run.status}: {run.message}"
    parts = [f"{run.side}: {written(run.seconds)} s"]
    if run.accuracy is not None:
        parts.append(f"accuracy {run.accuracy:.2%}")
    if run.peak_memory is not None:
        parts.append(f"{run.peak_memory / 1e6:.0f} MB")
    return ", ".join(parts)


def written(value: float, digits: int = 4) -> str:
    """Format a number with ``digits`` significant figures, never with an exponent: 265.1, 0.02237."""
    if value == 0:
        return "0"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def run_in_child(task: Task) -> dict[str, Any]:
    """Run ``task`` in a new process and return the fields of its `Run`."""
    fields = {
        "module": task.module, "benchmark": task.benchmark, "side": task.side, "settings": task.settings,
        "size": task.size,
    }  # fmt: skip
    code, out, err = call([sys.executable, "-m", "benchmarks.worker", json.dumps(fields)])
    lines = [line for line in out.splitlines() if line.strip()]
    if code == 0 and lines:
        return dict(json.loads(lines[-1]))
    last = ([line.strip() for line in err.splitlines() if line.strip()] or ["no message"])[-1]
    killed = " (killed: out of memory?)" if code in (-9, 137) else ""
    return {"status": "failed", "message": f"its process ended with exit code {code}{killed}: {last}"}


def call(command: list[str]) -> tuple[int, str, str]:
    """Run ``command`` in the repository's root: return exit code, stdout, stderr. Ctrl-C leaves no process behind.

    Its stdin is a pipe that is open as long as this process lives; a worker ends itself when the pipe closes.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # Not in the terminal's foreground group: Ctrl-C then reaches only this process, which can still find the
        # child's own children when it ends the child.
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=out, stderr=err, start_new_session=True
        )
        try:
            code = process.wait()
        finally:
            end(process)
        return code, _text(out), _text(err)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill ``process`` and all its descendants, if they still run."""
    import psutil

    try:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    except psutil.NoSuchProcess:
        family = []
    if process.poll() is None:
        process.kill()
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    if process.stdin is not None:
        process.stdin.close()
    process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
