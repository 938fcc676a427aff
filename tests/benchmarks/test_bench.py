"""``python -m benchmarks`` from its arguments to files, table and exit code, on fake sides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import bench as room
from benchmarks import registry, report
from benchmarks.harness import Task
from kdcourse.errors import ArgumentError
from tests.benchmarks import fake

MACHINE = {
    "processor": "A", "cores": 2, "threads": 1, "torch": "2", "peak_tflops": {"float32": 0.1, "bfloat16": 0.5},
}  # fmt: skip


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake benchmarks in place of the real ones; a machine that needs no measuring."""

    def find(names: Any, problem: Callable[[str], None] = print) -> list[registry.Entry]:
        every = [
            registry.Entry("tests.benchmarks.fake", each)
            for each in fake.BENCHMARKS
            if each.name != "hanging"
        ]
        return [entry for entry in every if not names or entry.benchmark.name in names]

    monkeypatch.setattr(room, "find", find)
    monkeypatch.setattr(room, "measured_machine", lambda: dict(MACHINE))


@pytest.mark.slow
@pytest.mark.usefixtures("entries")
def test_results_are_written_and_told(tmp_path: Path) -> None:
    lines: list[str] = []
    assert room.bench(["fake", "growing"], repetitions=2, out=tmp_path, say=lines.append) == 0
    found = json.loads((tmp_path / "fake.json").read_text())
    assert found["machine"] == MACHINE and found["settings"] == {"seed": 0, "seconds": 1.0, "note": ""}
    assert (found["kind"], found["quick"], found["repetitions"], len(found["runs"])) == (
        "comparison",
        False,
        2,
        4,
    )
    assert found["sides"]["theirs"]["ratio"] == {"median": 2.0, "min": 2.0, "max": 2.0}
    assert found["accuracies_agree"] is True
    with Image.open(tmp_path / "fake.png") as plot:
        assert plot.text["Description"] == found["alt_text"]  # type: ignore[attr-defined]
        assert "2.00 times those of ours" in found["alt_text"]
    growing = json.loads((tmp_path / "growing.json").read_text())
    assert growing["fit"]["exponent"] == pytest.approx(1) and (tmp_path / "growing.png").is_file()
    text = "\n".join(lines)
    assert "Machine: A, 2 cores, 1 threads." in text
    [row] = [line for line in text.splitlines() if line.split()[:1] == ["theirs"]]
    assert row.split()[1:] == [
        "2.000",
        "2.000",
        "to",
        "2.000",
        "2.00",
        "(2.00",
        "to",
        "2.00)",
        "90.00%",
        *row.split()[-2:],
    ]
    assert "to the power 1.00" in text


@pytest.mark.usefixtures("entries")
def test_quick_runs_once_with_its_own_settings(tmp_path: Path) -> None:
    assert room.bench(["fake"], quick=True, out=tmp_path, say=lambda line: None) == 0
    found = json.loads((tmp_path / "fake.json").read_text())
    assert (found["quick"], found["repetitions"], found["settings"]["seconds"]) == (True, 1, 0.5)


@pytest.mark.slow
@pytest.mark.usefixtures("entries")
def test_where_results_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RESULTS", tmp_path / "full")
    monkeypatch.setattr(room, "ROOT", tmp_path)
    room.bench(["fake"], repetitions=1, say=lambda line: None)
    room.bench(["growing"], quick=True, say=lambda line: None)
    room.bench(["growing"], changes={"sizes": [1, 2]}, say=lambda line: None)
    assert [path.name for path in sorted((tmp_path / "full").iterdir())] == ["fake.json", "fake.png"]
    assert (tmp_path / "runs" / "benchmarks" / "growing.json").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("entries")
def test_a_failing_side_makes_the_exit_code_1_and_the_rest_still_runs(tmp_path: Path) -> None:
    lines: list[str] = []
    assert room.bench(["ours_broken", "broken", "fake"], repetitions=1, out=tmp_path, say=lines.append) == 1
    assert {path.name for path in tmp_path.iterdir()} >= {
        "ours_broken.json",
        "broken.json",
        "fake.json",
        "fake.png",
    }
    told = lines[-1].splitlines()
    assert any("broken: bad failed: last line" in line for line in told)
    assert any("ours_broken: ours failed: last line" in line for line in told)
    assert not any("absent" in line for line in told)  # a missing peer is no failure
    assert any(
        "absent: not installed: pip install no-such-peer==1.0" in line
        for line in "\n".join(lines).splitlines()
    )


@pytest.mark.usefixtures("entries")
def test_accuracies_that_differ_make_the_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(task: Task) -> dict[str, Any]:
        return {"status": "measured", "seconds": 1.0, "accuracy": 0.9 if task.side == "ours" else 0.8}

    monkeypatch.setattr("benchmarks.harness.run_in_child", run)
    lines: list[str] = []
    assert room.bench(["fake"], repetitions=3, out=tmp_path, say=lines.append) == 1
    assert "differ by more than noise" in lines[-1]
    assert any("NOT within noise" in line for line in lines)


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repetitions": 0}, "repetitions must be at least 1"),
        ({"changes": {"epohcs": 2}}, "has a setting epohcs"),
        ({"out": Path("/dev/null/results")}, "Choose another folder with --out"),
    ],
)
def test_wrong_arguments_are_named_before_anything_runs(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        room.bench(["fake"], say=lambda line: None, **options)


def test_settings_from_the_command_line() -> None:
    assert room.parse(["epochs=2", "rate=0.5", "student=mlp_25k", "x=a=b"]) == {
        "epochs": 2, "rate": 0.5, "student": "mlp_25k", "x": "a=b",
    }  # fmt: skip
    for wrong in ("epochs", "=2"):
        with pytest.raises(ArgumentError, match="KEY=VALUE"):
            room.parse([wrong])


@pytest.mark.usefixtures("entries")
def test_the_command_passes_everything_on(tmp_path: Path) -> None:
    asked = ["fake", "--repetitions", "1", "--set", "seconds=3", "--out", str(tmp_path)]
    told = CliRunner().invoke(command.app, asked)
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "fake.json").read_text())["settings"]["seconds"] == 3
    assert CliRunner().invoke(command.app, ["ours_broken", "--quick", "--out", str(tmp_path)]).exit_code == 1
    listed = CliRunner().invoke(command.app, ["--list"])
    assert listed.exit_code == 0 and "How does it grow?" in listed.output


def test_the_registry_finds_files_and_benchmarks_and_survives_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {"startup", "bare_pytorch", "tutorial_loop"} <= set(registry.files())
    assert not {"harness", "worker", "task"} & set(registry.files())
    assert [entry.benchmark.name for entry in registry.find(["startup"], print)] == [
        "startup",
        "startup_rooms",
    ]
    (tmp_path / "works.py").write_text("BENCHMARKS = ()\n")
    (tmp_path / "broken.py").write_text("BENCHMARKS = ()\nimport no_such_module\n")
    monkeypatch.setattr(registry, "HERE", tmp_path)
    monkeypatch.setattr("benchmarks.__path__", [str(tmp_path)])
    problems: list[str] = []
    assert registry.find([], problems.append) == []
    assert problems == ["broken: FAILED: ModuleNotFoundError: No module named 'no_such_module'"]
    with pytest.raises(registry.UnknownBenchmarkError, match="There is no benchmark 'nonesuch'"):
        registry.find(["nonesuch"], problems.append)


def test_names_of_real_benchmarks_are_unique_and_complete() -> None:
    problems: list[str] = []
    entries = registry.find([], problems.append)
    names = [entry.benchmark.name for entry in entries]
    assert not problems and len(names) == len(set(names)) > 5
    assert all(entry.benchmark.question for entry in entries)


def test_nothing_measured_is_nothing_drawn(tmp_path: Path) -> None:
    result = {"name": "n", "question": "q?", "kind": "comparison", "sides": {"ours": {"seconds": None}}}
    report.write(result, tmp_path)
    assert json.loads((tmp_path / "n.json").read_text())["alt_text"] is None
    assert not (tmp_path / "n.png").exists()
