"""What a benchmark is, and how its sides are run: in turn, each run in a fresh process of its own."""

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
    """What one run of one side returns.

    ``seconds`` is the wall-clock time of the part that is compared (imports and reading data left
    out), ``accuracy`` that of the test split (0 to 1), ``details`` named parts, such as
    ``{"teacher_seconds": 3.1}``.
    """

    seconds: float
    accuracy: float | None = None
    details: dict[str, float] = field(default_factory=dict)


Side = Callable[[Settings], Measured]


@dataclass(frozen=True)
class Comparison:
    """Ours against others'.

    Args:
        name: of the result's files.
        question: what is compared, in a sentence.
        sides: by the name that readers see; the first is ours.
        settings: what every side is given; ``seed`` grows by one with each repetition.
        quick: settings for a try of seconds.
        repetitions: how often each side is run.
        same_accuracy: the sides must end at one accuracy within noise.
        floor: the other sides are the least that the task can cost: our overhead over them is told.
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
    """How the cost grows with one size.

    ``side(settings, size)`` is run at every one of ``sizes``, whose ``unit`` is a plural noun, such
    as "pictures"; ``quick`` may hold other ``sizes``. The rest as in `Comparison`.
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
    """What one worker process is asked to run."""

    module: str  # where BENCHMARKS is, such as "benchmarks.startup"
    benchmark: str
    side: str
    settings: dict[str, Any]
    size: int | None = None


@dataclass(frozen=True)
class Run:
    """What came of one `Task`: ``status`` is "measured", "failed" or "not installed"."""

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
    """A peer that a side needs isn't installed; the message is the command that installs it."""


def need(module: str, requirement: str) -> None:
    """Raise `NotInstalledError` unless ``module`` can be imported; ``requirement`` is pip's name of it."""
    if importlib.util.find_spec(module) is None:
        raise NotInstalledError(f"pip install {requirement}")


def settings_of(benchmark: Benchmark, quick: bool, changes: Settings) -> dict[str, Any]:
    """The benchmark's settings, those of a quick try where asked, and those ``changes`` that it knows."""
    settings = {"seed": 0} | benchmark.settings | (benchmark.quick if quick else {})
    if isinstance(benchmark, Growth):
        settings.setdefault("sizes", list(benchmark.sizes))
    return settings | {key: value for key, value in changes.items() if key in settings}


def plan(
    benchmark: Benchmark, module: str, settings: dict[str, Any], repetitions: int
) -> Iterator[tuple[int, Task]]:
    """All runs in their order: repetition by repetition, forwards and backwards in turn.

    Whatever slows the machine down for a while so meets every side alike, and none always runs first.
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
    """Run every side ``repetitions`` times, telling of each run in a line.

    A side that failed, or whose peer isn't installed, isn't tried again; without ours there is
    nothing to compare, so that a failure of ours ends the benchmark.
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
    """One run in a line."""
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
    """So many significant figures, never with an exponent, and whole numbers in full: 265.1, 0.02237."""
    if value == 0:
        return "0"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def run_in_child(task: Task) -> dict[str, Any]:
    """Run ``task`` in a fresh process; what `Run` holds of it, as a dictionary."""
    fields = {
        "module": task.module, "benchmark": task.benchmark, "side": task.side, "settings": task.settings,
        "size": task.size,
    }  # fmt: skip
    code, out, err = call([sys.executable, "-m", "benchmarks.worker", json.dumps(fields)])
    lines = [line for line in out.splitlines() if line.strip()]
    if code == 0 and lines:
        return dict(json.loads(lines[-1]))
    last = ([line.strip() for line in err.splitlines() if line.strip()] or ["it said nothing"])[-1]
    killed = " (killed: out of memory?)" if code in (-9, 137) else ""
    return {"status": "failed", "message": f"its process ended with exit code {code}{killed}: {last}"}


def call(command: list[str]) -> tuple[int, str, str]:
    """Run ``command`` in the repository's root: exit code, stdout, stderr. Ctrl-C leaves nothing of it behind.

    Its stdin is a pipe that stays open while this process lives: a worker ends itself when it closes.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # Out of the terminal's foreground group, so that Ctrl-C reaches this process alone and the
        # child's own children can still be found when it is ended from here.
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
