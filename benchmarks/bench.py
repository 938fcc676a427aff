"""Run benchmarks, write their results, and print them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import registry, report
from benchmarks.harness import RESULTS, ROOT, Benchmark, Comparison, Run, Settings, call, run_all, settings_of
from kdcourse.errors import ArgumentError


def bench(
    names: Sequence[str] = (),
    *,
    quick: bool = False,
    repetitions: int | None = None,
    out: Path | None = None,
    changes: Settings | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run the benchmarks called ``names`` (without a name: all) and write ``NAME.json`` and ``NAME.png`` each.

    Args:
        names: names of benchmarks, or of files of benchmarks.
        quick: run each benchmark for seconds only, once unless ``repetitions`` is given.
        repetitions: number of runs of each side; by default each benchmark's own.
        out: folder of the results; by default benchmarks/results, or runs/benchmarks for quick runs and changed
            settings, which so never overwrite full results.
        changes: settings to replace in the benchmarks that have them.
        say: called with every line of output.

    Returns:
        0, or 1 if a side failed or accuracies don't agree within noise.

    Raises:
        ArgumentError: an unknown name or setting, fewer than one repetition, a folder that can't be written.
    """
    changes = changes or {}
    if repetitions is not None and repetitions < 1:
        raise ArgumentError(f"repetitions must be at least 1; found {repetitions}.")
    problems: list[str] = []
    entries = find(names, problems.append)
    unknown = set(changes) - {key for entry in entries for key in settings_of(entry.benchmark, quick, {})}
    if unknown:
        raise ArgumentError(f"None of these benchmarks has a setting {', '.join(sorted(unknown))}.")
    folder = Path(out).resolve() if out else ROOT / "runs" / "benchmarks" if quick or changes else RESULTS
    _prepare(folder)
    for line in problems:
        say(line)
    machine = measured_machine()
    say(f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['threads']} threads.")
    results = []
    for entry in entries:
        benchmark = entry.benchmark
        settings = settings_of(benchmark, quick, changes)
        times = repetitions or (1 if quick else benchmark.repetitions)
        runs = run_all(benchmark, entry.module, settings, times, say=say)
        result = assemble(benchmark, runs, settings, machine, times, quick)
        report.write(result, folder)
        results.append(result)
        problems += problems_of(result)
    for result in results:
        say("\n" + report.table(result))
    say(f"\nResults: {folder}")
    if problems:
        say("\nProblems:\n" + "\n".join(f"  {line}" for line in problems))
    return 1 if problems else 0


def find(names: Sequence[str], problem: Callable[[str], None] = print) -> list[registry.Entry]:
    """Call `registry.find`; an unknown name raises an ArgumentError."""
    try:
        return registry.find(names, problem)
    except registry.UnknownBenchmarkError as error:
        raise ArgumentError(str(error)) from error


def parse(changes: Sequence[str]) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` texts as settings; a value is JSON if it can be read as JSON, else text.

    Raises:
        ArgumentError: a text has no key or no ``=``.
    """
    parsed: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not key or not equals:
            raise ArgumentError(f"A setting is written KEY=VALUE, such as epochs=2; found {change!r}.")
        try:
            parsed[key] = json.loads(value)
        except json.JSONDecodeError:
            parsed[key] = value
    return parsed


def listing() -> str:
    """Return every benchmark with its question, one per line."""
    entries = find(())
    width = max((len(entry.benchmark.name) for entry in entries), default=0)
    return "\n".join(f"{entry.benchmark.name:<{width}}  {entry.benchmark.question}" for entry in entries)


def assemble(
    benchmark: Benchmark,
    runs: Sequence[Run],
    settings: Settings,
    machine: Settings,
    repetitions: int,
    quick: bool,
) -> dict[str, Any]:
    """Return the content of one benchmark's result file."""
    from benchmarks.summary import summarise
    from kdcourse import __version__

    return {
        "name": benchmark.name,
        "question": benchmark.question,
        "kind": "comparison" if isinstance(benchmark, Comparison) else "growth",
        "quick": quick,
        "date": time.strftime("%Y-%m-%d"),
        "kdcourse": __version__,
        "machine": dict(machine),
        "settings": dict(settings),
        "repetitions": repetitions,
        **summarise(benchmark, runs, settings),
        "runs": [asdict(run) for run in runs],
    }


def problems_of(result: report.Result) -> list[str]:
    """Return the reasons for exit code 1: sides that failed, accuracies that differ."""
    lines = [
        f"{result['name']}: {run['side']} failed: {run['message']}"
        for run in result["runs"]
        if run["status"] == "failed"
    ]
    if result.get("accuracies_agree") is False:
        lines.append(f"{result['name']}: the sides' accuracies differ by more than noise.")
    return lines


def measured_machine() -> dict[str, Any]:
    """Call `benchmarks.machine.describe` in another process, so that this one stays small."""
    code, out, err = call([sys.executable, "-m", "benchmarks.machine"])
    if code:
        raise ArgumentError(
            f"The machine could not be measured: {(err.strip().splitlines() or ['no message'])[-1]}"
        )
    return dict(json.loads(out.strip().splitlines()[-1]))


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(
            f"Results can't be written to {folder}: {error}. Choose another folder with --out."
        ) from error
