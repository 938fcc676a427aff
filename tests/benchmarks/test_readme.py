"""The numbers in benchmarks/README.md are those of benchmarks/results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bench as room
from benchmarks.harness import RESULTS, run_all, settings_of
from benchmarks.readme import BEGIN, END, README, results, with_results
from benchmarks.report import write
from tests.benchmarks import fake
from tests.benchmarks.test_bench import MACHINE


def test_the_readmes_results_are_those_on_disk() -> None:
    text = README.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert text == with_results(text, RESULTS), "write it anew: python -m benchmarks.readme"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks") / "results"
    for benchmark in fake.BENCHMARKS:
        if benchmark.name in ("broken", "growing"):
            settings = settings_of(benchmark, False, {})
            runs = run_all(benchmark, "tests.benchmarks.fake", settings, 2, say=lambda line: None)
            write(room.assemble(benchmark, runs, settings, MACHINE, 2, False), folder)
    return folder


def test_every_result_has_its_table_verdicts_circumstances_and_plot(folder: Path) -> None:
    text = results(folder)
    assert text.index("### broken") < text.index("### growing")
    assert "| theirs | 2.000 | 2.000 to 2.000 | 2.00 (2.00 to 2.00) | 90.00% |" in text
    assert "- bad: failed: last line" in text
    assert "- absent: not installed: pip install no-such-peer==1.0" in text
    assert "- grows with the number of pictures to the power 1.00" in text
    assert "0.10 in float32, 0.50 in bfloat16 TFLOP/s; repetitions: 2." in text
    assert "](results/broken.png)" in text


def test_writing_twice_changes_nothing_and_a_changed_number_is_noticed(folder: Path) -> None:
    once = with_results(f"head\n{BEGIN}\n{END}\ntail\n", folder)
    assert with_results(once, folder) == once
    assert once.startswith("head\n") and once.endswith("\ntail\n")
    changed = once.replace("| 2.000 |", "| 2.001 |", 1)
    assert changed != once == with_results(changed, folder)


def test_no_results_are_no_error(tmp_path: Path) -> None:
    assert results(tmp_path) == "None yet: `kdcourse bench` writes them."
