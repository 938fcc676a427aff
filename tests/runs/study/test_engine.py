from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch import nn
from typer.testing import CliRunner

from kdcourse import cli, training
from kdcourse.errors import ArgumentError, DivergedError
from kdcourse.runs.students import StudentRecipe, train_student
from kdcourse.runs.study import STUDIES, engine
from kdcourse.runs.study import rows as rows_module
from kdcourse.runs.study.engine import Cell, Options, Study
from kdcourse.runs.study.rows import Row, Rows
from tests.runs import tiny

QUICK = StudentRecipe(model="pocket_2k").changed(epochs=3, batch_size=16)


class Tiny(Study):
    """One place with two candidates, and a cell that takes the winner over for longer."""

    name = "tiny"
    question = "Which?"
    reads = staticmethod(tiny.dataset)
    search_seeds = (0, 1)
    test_seeds = (5, 6, 7)
    slow = QUICK.changed(learning_rate=1e-6)

    def candidates(self) -> Sequence[Cell]:
        return [Cell({"kind": "plain"}, self.slow), Cell({"kind": "plain"}, QUICK)]

    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        return [Cell({"kind": "plain"}, best({"kind": "plain"})), Cell({"kind": "other"}, self.slow)]

    def digests(self, cell: Cell) -> dict[str, str | None]:
        return {"data": self.data.train.digest[:16], "answers": None}

    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        trained.append((cell.about["kind"], seed))
        return train_student(cell.recipe, self.data, None, seed=seed, precision=precision, progress=False)

    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {}

    def text(self, rows: Sequence[Row]) -> str:
        return f"{len(rows)} rows"


trained: list[tuple[str, int]] = []


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    monkeypatch.setattr(rows_module, "cache_folder", lambda: tmp_path / "cache")
    trained.clear()
    return Tiny(tiny.dataset, tmp_path)


def test_settings_are_chosen_on_validation_and_fresh_seeds_are_tested_once(study: Tiny) -> None:
    said: list[str] = []
    with pytest.raises(ArgumentError, match=r"4 of 4 trainings are missing.*--phase search"):
        engine.run(study, Options(("test",)), said.append)
    rows = engine.run(study, Options(("search",)), said.append)
    assert [row["seed"] for row in rows] == [0, 0, 1, 1] and len(said) == 4
    assert not any(name.startswith("test") for row in rows for name in row)
    means = [sum(row["validation_accuracy"] for row in pair) for pair in (rows[::2], rows[1::2])]
    assert means[1] > means[0], "or the test below couldn't tell which candidate was chosen"

    rows = engine.run(study, Options(seeds=2), said.append)
    test = rows[4:]
    assert [(row["about"]["kind"], row["seed"]) for row in test] == [
        ("plain", 5), ("other", 5), ("plain", 6), ("other", 6),
    ]  # fmt: skip
    assert {row["recipe"]["learning_rate"] for row in test[::2]} == {0.05}
    assert all(0 <= row["test_accuracy"] <= 1 and row["phase"] == "test" for row in test)
    assert all(row["precision"] == row["machine"]["precision"] for row in rows)
    assert said[-1].startswith("test 4/4: kind other, seed 6: ")

    count = len(trained)
    assert engine.run(study, Options(seeds=2), said.append) == rows and len(trained) == count
    assert len(engine.run(study, Options(), said.append)) == 10


def test_a_candidate_that_diverges_is_the_worst_and_a_result_never_does_so_in_silence(
    study: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains = study.train

    def diverging(cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        if cell.recipe.training.learning_rate == bad:
            raise DivergedError("The loss became nan.")
        return trains(cell, seed, precision)

    bad = 0.05  # what wins otherwise
    monkeypatch.setattr(study, "train", diverging)
    rows = engine.run(study, Options(), lambda _: None)
    lost = [row for row in rows if row.get("diverged")]
    assert [row["seed"] for row in lost] == [0, 1] and {row["validation_accuracy"] for row in lost} == {0.0}
    assert all(row["cpu_seconds"] >= 0 and row["machine"]["precision"] == row["precision"] for row in lost)
    assert {row["recipe"]["learning_rate"] for row in rows if row["phase"] == "test"} == {1e-6}
    bad = 1e-6
    with pytest.raises(DivergedError):
        engine.trained(study, study.candidates()[0], engine.searched(study, "float32")[0][1], "test")


def test_what_another_process_trains_is_waited_for(study: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its claim is refused once, and by then it has stored the row."""
    rows, other = Rows(study.folder, study.name), study.candidates()[1]
    (known,) = [job for cell, job in engine.searched(study, "float32") if cell == other and job["seed"] == 1]
    claimed, waits = rows_module._lock, []

    def lock(file: int, byte: int) -> bool:
        theirs = byte == 1 + int(rows_module.identity(known)[:7], 16)
        return claimed(file, byte) and not theirs

    def wait(seconds: float) -> None:
        waits.append(seconds)
        row = engine.trained(study, other, known, "search")
        rows.add(row | {"kdcourse": "of another"})

    monkeypatch.setattr(rows_module, "_lock", lock)
    monkeypatch.setattr(engine.time, "sleep", wait)
    found = engine.run(study, Options(("search",), precision="float32"), lambda _: None)
    assert len(waits) == 1 and len(found) == 4 and found[-1]["kdcourse"] == "of another"


def test_all_students_of_a_study_have_one_precision(study: Tiny) -> None:
    quiet: Callable[[str], None] = lambda _: None  # noqa: E731
    engine.run(study, Options(("search",), precision="float32"), quiet)
    rows = engine.run(study, Options(seeds=2), quiet)
    assert {row["precision"] for row in rows} == {"float32"}
    with pytest.raises(ArgumentError, match=r"have float32, and --precision is bfloat16.*--out"):
        engine.run(study, Options(precision="bfloat16"), quiet)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(("guess",)), "no phase 'guess'"),
        (Options(jobs=0), "--jobs must be at least 1"),
        (Options(seeds=1), r"--seeds must lie in 2\.\.3; found 1"),
        (Options(seeds=4), r"--seeds must lie in 2\.\.3; found 4"),
        (Options(precision="float8"), "precision must be one of"),
    ],
)
def test_options_that_make_no_sense_are_refused(study: Tiny, options: Options, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        engine.run(study, options)
    assert not trained


def test_a_study_runs_by_command_and_its_table_needs_no_training(
    study: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STUDIES, "tiny", Tiny)
    command = ["study", "tiny", "--out", str(study.folder)]
    told = CliRunner().invoke(cli.app, [*command, "--table"])
    assert told.exit_code == 2 and "no rows" in told.output
    told = CliRunner().invoke(cli.app, [*command, "--seeds", "2"])
    assert told.exit_code == 0, told.output
    assert "search 4/4: kind plain, seed 1: " in told.output and told.output.endswith("8 rows\n")
    count = len(trained)
    told = CliRunner().invoke(cli.app, [*command, "--table"])
    assert told.output == "8 rows\n" and len(trained) == count
    told = CliRunner().invoke(cli.app, ["study", "poetry"])
    assert told.exit_code == 2 and "no study 'poetry'; choose one of labels, " in told.output
    told = CliRunner().invoke(cli.app, ["study"])
    assert told.exit_code == 0
    assert [line.split()[0] for line in told.output.splitlines()] == list(STUDIES)
    assert told.output.endswith("tiny         Which?\n")


@pytest.mark.slow
def test_several_processes_share_the_work_and_do_nothing_twice(tmp_path: Path) -> None:
    rows = engine.run(Tiny(tiny.dataset, tmp_path), Options(seeds=2, jobs=2))
    assert len(rows) == 8


def _parent_of_a_worker(tell: Any) -> None:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, initializer=engine._end_with_the_parent)
    tell.send(pool.submit(os.getpid).result())
    pool.submit(time.sleep, 60)
    time.sleep(60)


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed() -> None:
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    parent = context.Process(target=_parent_of_a_worker, args=(tell,))
    parent.start()
    worker = psutil.Process(told.recv())
    assert worker.is_running()
    parent.kill()
    parent.join()
    assert psutil.wait_procs([worker], timeout=10)[1] == []
