"""The stored margins of the tests' comparisons, and the command that measures them."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import closeness

# -- what is stored --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(closeness.RUNS.read_text(encoding="utf-8"))
    return stored


def test_no_stored_comparison_is_near_its_bound(content: dict[str, Any]) -> None:
    assert closeness.faults(content) == []
    assert len(content["settings"]) >= 5 and content["same"] > 100 and len(content["apart"]) > 20


def test_the_table_is_that_of_the_runs(content: dict[str, Any]) -> None:
    assert closeness.TABLE.read_text(encoding="utf-8") == closeness.table(content)


# -- how it is measured ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("explained", "apart"),
    [
        ("0.93 > 0.85", [0.08]),
        ("0.85 >= 0.93", [-0.08]),
        ("tensor(0.0012) < 0.01", [0.0088]),
        ("tensor(0.5000, dtype=torch.float64) <= 1", [0.5]),
        ("0.5003 == 0.5 ± 5.0e-04", [0.0002]),
        ("(0.5 < 0.6 and np.float64(7.5) > 4)", [0.1, 3.5]),
        ("3 > 2", []),
        ("0.5 == 0.5", []),
        ("'v0.5 < 0.6' == 1", []),
        ("(38221.5 - 38220.25) < 20", []),
        ("0.5 < 0.25 + 0.5", []),
    ],
)
def test_what_pytest_explains_is_read(explained: str, apart: list[float]) -> None:
    assert list(closeness.compared(explained)) == pytest.approx(apart)


def test_the_links_of_a_chain_are_computed_again() -> None:
    share: Any = [0.45]  # what the chains read
    calls = list[int]()

    def counted() -> float:
        calls.append(1)
        return 0.5

    assert list(closeness.chained("0.4 < share[0] < 0.8", sys._getframe())) == pytest.approx([0.05, 0.35])
    assert list(closeness.chained("1.5 >= abs(share[0]) > 0", sys._getframe())) == pytest.approx([1.05, 0.45])
    assert list(closeness.chained("share[0] - 0.05 < 0.8", sys._getframe())) == pytest.approx([0.4])
    for left_out in ("0.4 < counted() < 0.8", "0 < len(share) < 3", "0.1 < absent < 0.8", "share[0] < 0.8"):
        assert list(closeness.chained(left_out, sys._getframe())) == []
    assert calls == [] and counted() > share[0]


TESTS = """
import os
import pytest

@pytest.mark.parametrize("n", [pytest.param(1, id="one: a"), pytest.param(2, id="two")])
def test_near(n):
    for value in (0.9, 0.6 + n / 100):
        assert value > 0.5
    assert 0.25 < value < 2.5

def test_varies():
    assert float(os.environ["OMP_NUM_THREADS"]) / 8 == pytest.approx(0.2, abs=0.1)

def test_counts():
    assert 3 > 2

def test_is_timed():
    seconds = 0.25
    assert seconds < 1.5
"""


@pytest.mark.slow
def test_tests_are_run_and_their_comparisons_noted(tmp_path: Path) -> None:
    path, scratch = tmp_path / "test_tiny.py", tmp_path / "scratch"
    path.write_text(TESTS, encoding="utf-8")
    runs = {}
    for setting in ("1 thread", "2 threads", "4 threads"):
        (scratch / setting).mkdir(parents=True)
        runs[setting] = closeness.run(setting, [str(path)], scratch / setting)
    assert next(iter(runs["4 threads"]["failed"])).endswith("::test_varies")
    assert not runs["1 thread"]["failed"]
    near = {name.rpartition("::")[2]: apart for name, apart in runs["1 thread"]["apart"].items()}
    assert near == {
        "test_near[one: a]\nvalue > 0.5": pytest.approx(0.11),
        "test_near[two]\nvalue > 0.5": pytest.approx(0.12),
        "test_near[one: a]\n0.25 < value < 2.5": pytest.approx(0.36),
        "test_near[two]\n0.25 < value < 2.5": pytest.approx(0.37),
        'test_varies\nfloat(os.environ["OMP_NUM_THREADS"]) / 8 == pytest.approx(0.2, abs=0.1)': 0.025,
    }
    content = closeness.varying(runs)
    assert content["same"] == 4 and len(content["apart"]) == 1
    failed, close = closeness.faults(content)
    assert "test_varies failed under 4 threads" in failed
    assert "lies 1.4 standard deviations from failing" in close  # 0.025 and 0.05
    # What fails in the same way again stays; what only wanted a quiet machine is repeated alone.
    content["failed"] = {"4 threads": {f"{path}::test_varies": "0.5"}}
    assert closeness.again(content)["failed"].keys() == {"4 threads"}
    path.write_text(TESTS.replace('float(os.environ["OMP_NUM_THREADS"]) / 8', "0.25"), encoding="utf-8")
    repeated = closeness.again(content)
    assert repeated["failed"] == {} and list(content["failed"]) == ["4 threads"]
    # A test that was changed is run under all settings, and what was stored of it is forgotten.
    changed, known = f"{path}::test_varies", next(iter(runs["4 threads"]["failed"]))
    content["apart"] = {name.replace(known, changed): values for name, values in content["apart"].items()}
    repeated = closeness.again(content, [changed])
    assert repeated["failed"] == repeated["apart"] == {} and len(content["apart"]) == 1
    with pytest.raises(SystemExit, match="pytest stopped with status 4 under 1 thread"):
        closeness.run("1 thread", [f"{path}::absent"], scratch)


def test_deviations_are_of_distinct_numbers() -> None:
    apart = {"tests/test_a.py::b\nc > 1": {"1 thread": 1.0, "2 threads": 1.0, "4 threads": 1.5}}
    (margin,) = closeness.margins({"apart": apart})
    assert (margin.lesson, margin.sentence) == ("tests/test_a.py::b", "c > 1")
    assert margin.deviations == pytest.approx(1.0 / math.sqrt(0.125))
    made = {"settings": ["1 thread"], "failed": {}, "same": 7, "apart": apart}
    assert closeness.faults(made) == ["tests/test_a.py::b: `c > 1` lies 2.8 standard deviations from failing"]
    assert "| tests/test_a.py::b | `c > 1` | 1 | 0.35 | 2.8 |" in closeness.table(made)
