"""Measure how safely the tests' comparisons of numbers hold, on machines unlike this one.

    python -m tools.closeness              run the tests under all settings, then write the table
    python -m tools.closeness --settings "1 thread, SSE4"
    python -m tools.closeness --again      run what failed once more, one test after the other
    python -m tools.closeness --again tests/a.py::test_b tests/c.py    and these tests, which were changed
    python -m tools.closeness --table      write the table from the runs stored so far

A test that compares trained numbers may hold narrowly here and fail elsewhere, as a claim of a lesson may
(`tools.margins`, whose settings and whose measure, standard deviations of the distinct values, these are). So every
test that compares a fraction with another is run under each setting, and each comparison in an ``assert`` that holds
notes how far its sides are apart: ``a > b`` by a - b, ``a == approx(b)`` by what is left of the tolerance. Where one
``assert`` is met several times, the nearest counts. Numbers that are the same under all settings can't fail elsewhere
for that reason and are only counted. What is timed is left out: it differs from run to run under one setting, too.

The numbers that vary are stored in ``tools/closeness.json``; the table is ``tools/closeness.md``. Beside other
programs a test may fail for want of time or memory, which says nothing about its numbers: ``--again`` repeats it alone.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from _pytest.assertion import rewrite

from tools.margins import CHECKOUT, LEAST_DEVIATIONS, SETTINGS, Margin

RUNS, TABLE = CHECKOUT / "tools" / "closeness.json", CHECKOUT / "tools" / "closeness.md"
FOLDER = "KDCOURSE_CLOSENESS"  # the variable that says where the plugin writes

# What no other processor computes otherwise, or what is measured by `tools.margins`: no arithmetic, or whole lessons.
LEFT_OUT = ("notebooks", "browser", "website", "lab", "coursework", "tools")
_READS = {"float", "abs", "len", "min", "max", "sum", "mean", "std", "item", "norm", "log", "exp"}
_BETWEEN = "\n"  # of a test and its assertion: names of tests hold anything else
FIRST = "1 thread"  # under it all tests are run, under the others those that compare fractions

_NUMBER = r"-?(?:\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+|\d+)"
_VALUE = rf"(?:tensor\(|np\.float\d+\()?({_NUMBER})(?:, dtype=[\w.]+)?\)?"
# No side of it is a sum or another result of numbers that pytest shows: `chained` computes these again.
_COMPARED = re.compile(
    rf"(?<![\w.])(?<![-+*/%] ){_VALUE} (<=|>=|<|>|==) {_VALUE}(?: ± ({_NUMBER}))?(?![\w.])(?! [-+*/%])"
)
_TIMED = re.compile(r"latency|throughput|per_second|seconds|times|_ms\b|monotonic|measure\(")


# -- the plugin: what one assertion compares -----------------------------------------------------------------


def compared(explained: str) -> Iterator[float]:
    """Yield how far the sides are apart of each comparison of fractions that pytest explains in a line."""
    for left, sign, right, tolerance in _COMPARED.findall(explained):
        if not any(mark in left + right + tolerance for mark in ".e"):
            continue  # counts
        if sign == "==":
            if tolerance:
                yield float(tolerance) - abs(float(left) - float(right))
        else:
            apart = float(left) - float(right)
            yield apart if sign[0] == ">" else -apart


def chained(source: str, frame: FrameType) -> Iterator[float]:
    """Yield the same for ``a < b < c``, and for ``a - b < c``, whose sides can be computed again without effect.

    Pytest explains only the last link, and a sum by its numbers, so the sides are computed again where the assertion
    stands.
    """
    for node in ast.walk(ast.parse(source.strip(), mode="eval")):
        if not isinstance(node, ast.Compare) or not _harmless(node):
            continue
        if len(node.ops) < 2 and not any(
            isinstance(side, ast.BinOp) for side in (node.left, *node.comparators)
        ):
            continue
        try:
            code = [
                compile(ast.Expression(side), "<side>", "eval") for side in (node.left, *node.comparators)
            ]
            sides = [float(eval(side, frame.f_globals, frame.f_locals)) for side in code]
        except (NameError, TypeError, ValueError, RuntimeError):  # names of a comprehension, or no numbers
            continue
        if all(side.is_integer() for side in sides):
            continue  # counts
        for sign, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if isinstance(sign, (ast.Lt, ast.LtE)):
                yield right - left
            elif isinstance(sign, (ast.Gt, ast.GtE)):
                yield left - right


def _harmless(node: ast.expr) -> bool:
    """Return whether all that an expression calls only reads numbers."""
    calls = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
    return all(ast.unparse(call).rpartition(".")[2] in _READS for call in calls)


class Noting:
    """Note what the assertions of a run compare, one file for each process of it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"{os.getpid()}.jsonl"

    @pytest.hookimpl
    def pytest_assertion_pass(self, item: pytest.Item, lineno: int, orig: str, expl: str) -> None:
        """Write the nearest comparison of an assertion that held, if it compares fractions that nobody timed."""
        if _TIMED.search(orig):
            return
        apart = list(compared(expl.split("\n", 1)[0]))
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != str(item.path):
            frame = frame.f_back
        if frame is not None:
            apart += chained(orig, frame)
        if apart := [number for number in apart if math.isfinite(number)]:
            self._write({"test": item.nodeid, "assertion": " ".join(orig.split()), "apart": min(apart)})

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write which test failed."""
        if report.failed:
            self._write({"test": report.nodeid, "failed": report.longreprtext[-300:]})

    def _write(self, row: dict[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Make this module a plugin of pytest (``-p tools.closeness``) where the variable says so."""
    if folder := os.environ.get(FOLDER):
        rewrite.PYC_TAIL = "-closeness.pyc"  # the cached modules of other runs don't call the hook
        config.pluginmanager.register(Noting(Path(folder)), "closeness")


# -- running the tests under a setting -----------------------------------------------------------------------


def run(setting: str, tests: Sequence[str], scratch: Path, *options: str) -> dict[str, Any]:
    """Run tests under a setting; return ``failed``, by test, and ``apart``: the nearest comparison of each assertion.

    Args:
        setting: of `SETTINGS`.
        tests: paths or node ids.
        scratch: an empty folder for what is noted.
        options: further ones of pytest.
    """
    listed = scratch / "tests.txt"
    listed.write_text("\n".join(tests) + "\n", encoding="utf-8")
    own = SETTINGS[setting] | {FOLDER: str(scratch), "OMP_WAIT_POLICY": "passive"}
    command = [
        sys.executable, "-m", "pytest", "-q", "--no-cov", "-p", "tools.closeness", "-m", "not browser",
        "-o", "enable_assertion_pass_hook=true", "-p", "no:cacheprovider",
        *options, *(f"--ignore=tests/{folder}" for folder in LEFT_OUT), f"@{listed}",
    ]  # fmt: skip
    status = subprocess.run(command, cwd=CHECKOUT, env=os.environ | own, check=False).returncode
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"pytest stopped with status {status} under {setting}, so nothing was measured.")
    failed, apart = dict[str, str](), dict[str, float]()
    for path in sorted(scratch.glob("*.jsonl")):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if "failed" in row:
                failed[row["test"]] = row["failed"]
            else:
                name = row["test"] + _BETWEEN + row["assertion"]
                apart[name] = min(apart.get(name, math.inf), float(f"{row['apart']:.7g}"))
    return {"failed": failed, "apart": apart}


# -- what was found ------------------------------------------------------------------------------------------


def varying(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what is stored: failures, the numbers that differ between settings, and how many don't."""
    names = dict.fromkeys(name for run in runs.values() for name in run["apart"])
    values = {
        name: {setting: run["apart"][name] for setting, run in runs.items() if name in run["apart"]}
        for name in names
    }
    differ = {name: own for name, own in values.items() if len(set(own.values())) > 1}
    return {
        "settings": list(runs),
        "failed": {setting: run["failed"] for setting, run in runs.items() if run["failed"]},
        "same": len(values) - len(differ),
        "apart": differ,
    }


def again(content: dict[str, Any], changed: Sequence[str] = ()) -> dict[str, Any]:
    """Run the tests that failed, and those that were ``changed``, once more, alone; return the content as it is now."""
    runs = dict[str, dict[str, Any]]()
    for setting in content["settings"]:
        if tests := [*content["failed"].get(setting, {}), *changed]:
            with tempfile.TemporaryDirectory(prefix="kdcourse-closeness-") as scratch:
                runs[setting] = run(setting, tests, Path(scratch), "--numprocesses=0")
    apart = {
        name: dict(values)
        for name, values in content["apart"].items()
        if not name.partition(_BETWEEN)[0].startswith(tuple(changed))
    }
    for setting, found in runs.items():
        for name, value in found["apart"].items():
            # Of numbers that were the same under all other settings only their count is stored.
            if name in apart:
                apart[name][setting] = value
    fresh = varying(runs)["apart"] if len(runs) == len(content["settings"]) else {}
    failed = {setting: found["failed"] for setting, found in runs.items() if found["failed"]}
    return content | {"failed": failed, "apart": fresh | apart}


def margins(content: dict[str, Any]) -> list[Margin]:
    """Return each number that varies, nearest first; its bound is 0."""
    found = []
    for name, values in content["apart"].items():
        test, _, assertion = name.partition(_BETWEEN)
        found.append(Margin(test, assertion, "apart", 0.0, None, values))
    return sorted(found, key=lambda margin: margin.deviations)


def faults(content: dict[str, Any]) -> list[str]:
    """Return what is wrong, one sentence each: tests that failed, comparisons too near their bound."""
    found = [
        f"{test} failed under {setting}: {' '.join(told.split())[-200:]}"
        for setting, failed in content["failed"].items()
        for test, told in failed.items()
    ]
    return found + [
        f"{margin.lesson}: `{margin.sentence}` lies {margin.deviations:.1f} standard deviations from failing"
        for margin in margins(content)
        if margin.deviations < LEAST_DEVIATIONS
    ]


def table(content: dict[str, Any]) -> str:
    """Return the table that people read, in Markdown."""
    found = margins(content)
    lines = [
        "# Margins of the tests' comparisons",
        "",
        "Written by `python -m tools.closeness` from `closeness.json`. A row is an assertion that compares numbers",
        "which differ between settings. *Nearest* is how far its sides are apart at least; *SD* is the standard",
        "deviation of the distinct values; *distance* is how many of these that is, and "
        f"{LEAST_DEVIATIONS:g} are required.",
        f"{content['same']:,} further assertions compare the same numbers under all settings, and what is timed is "
        "left out.",
        "",
        f"Settings: {'; '.join(content['settings'])}.",
        "",
        "| test | assertion | nearest | SD | distance (SD) |",
        "|---|---|---|---|---|",
    ]
    for margin in found:
        assertion = margin.sentence.replace("|", "\\|")
        lines.append(
            f"| {margin.lesson} | `{assertion}` | {margin.distance:.3g} | {margin.deviation:.2g} "
            f"| {margin.deviations:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tests under the settings, write what varies and the table, and print what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.closeness", description=__doc__.split("\n")[0])
    parser.add_argument("tests", nargs="*", default=["tests"], help="folders, files or tests; none means all")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--again", action="store_true", help="run only what failed, and these tests, alone")
    parser.add_argument("--table", action="store_true", help="run nothing, only write the table")
    chosen = parser.parse_args(arguments)
    if chosen.again:
        changed = [] if chosen.tests == parser.get_default("tests") else chosen.tests
        content = again(json.loads(RUNS.read_text(encoding="utf-8")), changed)
        RUNS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    elif not chosen.table:
        runs, tests = dict[str, dict[str, Any]](), list(chosen.tests)
        for setting in dict.fromkeys([FIRST, *chosen.settings]):
            with tempfile.TemporaryDirectory(prefix="kdcourse-closeness-") as scratch:
                runs[setting] = run(setting, tests, Path(scratch))
            print(
                f"{setting}: {len(runs[setting]['apart'])} assertions, {len(runs[setting]['failed'])} failed"
            )
            if setting == FIRST:
                tests = list(dict.fromkeys(name.partition(_BETWEEN)[0] for name in runs[setting]["apart"]))
        RUNS.write_text(json.dumps(varying(runs), indent=1) + "\n", encoding="utf-8")
    content = json.loads(RUNS.read_text(encoding="utf-8"))
    TABLE.write_text(table(content), encoding="utf-8")
    print("\n".join(faults(content)) or f"All is well under {len(content['settings'])} settings.")


if __name__ == "__main__":
    main()
