"""Test the tables of benchmarks/README.md on fake results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bench as room
from benchmarks.harness import run_all, settings_of
from benchmarks.report import write
from tests.benchmarks import fake
from tests.benchmarks.test_bench import MACHINE
from tools.readme.benchmarks import results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks") / "results"
    for benchmark in fake.BENCHMARKS:
        if benchmark.name in ("broken", "growing"):
            settings = settings_of(benchmark, False, {})
            runs = run_all(benchmark, "tests.benchmarks.fake", settings, 2, say=lambda line: None)
            write(room.assemble(benchmark, runs, settings, MACHINE, 2, False), folder)
    return folder


@pytest.mark.slow
def test_every_result_has_its_table_verdicts_circumstances_and_plot(folder: Path) -> None:
    text = results(folder)
    assert text.index("### broken") < text.index("### growing")
    assert "| theirs | 2.000 | 2.000 to 2.000 | 2.00 (2.00 to 2.00) | 90.00% |" in text
    assert "- bad: failed: last line" in text
    assert "- absent: not installed: pip install no-such-peer==1.0" in text
    assert "- grows with the number of pictures to the power 1.00" in text
    assert "0.10 in float32, 0.50 in bfloat16 TFLOP/s; repetitions: 2." in text
    assert "](results/broken.png)" in text


def test_no_results_are_no_error(tmp_path: Path) -> None:
    assert results(tmp_path) == "None yet: `python -m benchmarks` writes them."
