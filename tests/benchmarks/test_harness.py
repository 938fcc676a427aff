"""Sides take turns, each run in a process of its own; what fails is told and left out; nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.harness import (
    ROOT,
    NotInstalledError,
    Task,
    need,
    plan,
    run_all,
    run_in_child,
    settings_of,
    written,
)
from benchmarks.worker import peak_memory
from tests.benchmarks import fake

MODULE = "tests.benchmarks.fake"
BY_NAME = {each.name: each for each in fake.BENCHMARKS}


def instant(task: Task) -> dict[str, Any]:
    return {"status": "measured", "seconds": 1.0 if task.side == "ours" else 3.0}


def test_sides_take_turns_in_alternating_order_with_the_seed_of_the_repetition() -> None:
    benchmark = BY_NAME["fake"]
    order = [
        (at, task.side, task.settings["seed"])
        for at, task in plan(benchmark, MODULE, {"seed": 5, "seconds": 1}, 3)
    ]
    assert order == [
        (0, "ours", 5), (0, "theirs", 5), (1, "theirs", 6), (1, "ours", 6), (2, "ours", 7), (2, "theirs", 7),
    ]  # fmt: skip


def test_sizes_go_up_and_down_in_turn() -> None:
    benchmark = BY_NAME["growing"]
    settings = settings_of(benchmark, quick=False, changes={})
    assert [task.size for _, task in plan(benchmark, MODULE, settings, 2)] == [1, 10, 100, 100, 10, 1]
    assert all("sizes" not in task.settings for _, task in plan(benchmark, MODULE, settings, 1))


def test_settings_quick_ones_and_changes_that_the_benchmark_knows() -> None:
    benchmark = BY_NAME["fake"]
    assert settings_of(benchmark, False, {})["seconds"] == 1.0
    assert settings_of(benchmark, True, {})["seconds"] == 0.5
    assert settings_of(benchmark, True, {"seconds": 9, "unknown": 1}) == {"seed": 0, "seconds": 9, "note": ""}
    assert settings_of(BY_NAME["growing"], True, {})["sizes"] == [1, 2]


def test_a_run_comes_back_from_its_own_process_whatever_the_side_prints() -> None:
    found = run_in_child(Task(MODULE, "fake", "ours", {"seconds": 1.5, "seed": 4}))
    assert (found["status"], found["seconds"], found["accuracy"]) == ("measured", 1.5, 0.9)
    assert found["details"] == {"part_seconds": 0.25, "seed": 4.0}
    assert found["peak_memory"] > 1_000_000


def test_memory_is_that_of_the_side_alone(tmp_path: Path) -> None:
    hoard = bytearray(os.urandom(1)) * 300_000_000  # resident here, not in the worker
    here = peak_memory()
    there = run_in_child(Task(MODULE, "fake", "ours", {"seconds": 1.0, "seed": 0}))["peak_memory"]
    assert here > len(hoard) > there


def test_failed_and_missing_sides_are_told_once_and_the_others_go_on() -> None:
    lines: list[str] = []
    runs = run_all(BY_NAME["broken"], MODULE, {"seed": 0, "seconds": 1.0}, 2, say=lines.append)
    status = {side: [run.status for run in runs if run.side == side] for side in BY_NAME["broken"].sides}
    assert status == {
        "ours": ["measured"] * 2, "bad": ["failed"], "dead": ["failed"], "absent": ["not installed"],
        "theirs": ["measured"] * 2,
    }  # fmt: skip
    assert len(lines) == len(runs)
    [bad] = [line for line in lines if "bad:" in line]
    assert bad.endswith("FAILED: last line")
    assert any(
        "dead: FAILED" in line and "exit code 3" in line and "the end is near" in line for line in lines
    )
    assert any("absent: left out, not installed: pip install no-such-peer==1.0" in line for line in lines)


def test_without_ours_there_is_nothing_to_compare() -> None:
    runs = run_all(BY_NAME["ours_broken"], MODULE, {"seed": 0, "seconds": 1.0}, 3, say=lambda line: None)
    assert [(run.side, run.status) for run in runs] == [("ours", "failed")]


def test_need_names_pips_command() -> None:
    need("json", "nothing")
    with pytest.raises(NotInstalledError, match=r"pip install some-peer>=2"):
        need("no_such_module_here", "some-peer>=2")


def test_peers_seconds_are_paired_by_repetition() -> None:
    runs = run_all(BY_NAME["fake"], MODULE, {"seed": 0}, 2, run=instant, say=lambda line: None)
    assert [(run.side, run.repetition, run.seconds) for run in runs] == [
        ("ours", 0, 1.0), ("theirs", 0, 3.0), ("theirs", 1, 3.0), ("ours", 1, 1.0),
    ]  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_behind(how: signal.Signals, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    code = (
        # Tests that were started in the background may have been told to ignore Ctrl-C.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from benchmarks.harness import run_all; from tests.benchmarks import fake;"
        "benchmark = next(each for each in fake.BENCHMARKS if each.name == 'hanging');"
        f"run_all(benchmark, {MODULE!r}, {{'seed': 0, 'note': {str(note)!r}}}, 1)"
    )
    harness = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        _until(note.exists)
        family = [psutil.Process(int(pid)) for pid in note.read_text().split()]
        assert all(process.is_running() for process in family)
        harness.send_signal(how)
        assert harness.wait(30) != 0
        _until(lambda: not any(_alive(process) for process in family))
    finally:
        harness.kill()
        harness.wait()


def test_numbers_are_written_without_exponents() -> None:
    assert [written(value) for value in (265.1234, 0.0223719, 1.0, 12345.678, 0.0, -0.051)] == [
        "265.1", "0.02237", "1.000", "12,346", "0", "-0.05100",
    ]  # fmt: skip


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
