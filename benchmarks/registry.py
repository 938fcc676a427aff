"""Find benchmarks by name; a file of this folder with ``BENCHMARKS`` holds some."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Benchmark

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entry:
    """Hold a benchmark and the name of its module."""

    module: str
    benchmark: Benchmark


class UnknownBenchmarkError(Exception):
    """Signal a name that is neither a benchmark nor a file of benchmarks."""


def files() -> list[str]:
    """Return the names of the files that hold benchmarks, without importing them."""
    return sorted(
        path.stem for path in HERE.glob("*.py") if re.search(r"^BENCHMARKS\b", path.read_text(), re.MULTILINE)
    )


def find(names: Sequence[str], problem: Callable[[str], None]) -> list[Entry]:
    """Return the benchmarks called ``names``, or in files of these names; without a name, all.

    Only the files needed are imported; ``problem`` is called with one line for each that can't be imported.

    Raises:
        UnknownBenchmarkError: there is no such name.
    """
    known = files()
    direct = bool(names) and all(name in known for name in names)
    entries = [
        Entry(f"benchmarks.{file}", each)
        for file in known
        if not direct or file in names
        for each in _open(file, problem)
    ]
    chosen: list[Entry] = []
    for name in names or known:
        found = [
            each for each in entries if name in (each.benchmark.name, each.module.removeprefix("benchmarks."))
        ]
        if not found and name not in known:
            every = ", ".join(each.benchmark.name for each in entries)
            raise UnknownBenchmarkError(f"There is no benchmark {name!r}. Choose one of: {every}.")
        chosen += [each for each in found if each not in chosen]
    return chosen


def _open(file: str, problem: Callable[[str], None]) -> tuple[Benchmark, ...]:
    try:
        found: tuple[Benchmark, ...] = importlib.import_module(f"benchmarks.{file}").BENCHMARKS
    except Exception as error:  # one broken file must not stop the others
        problem(
            f"{file}: FAILED: {type(error).__name__}: {str(error).splitlines()[-1] if str(error) else ''}"
        )
        return ()
    return found
