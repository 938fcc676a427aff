from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from kdcourse import cluster, training
from kdcourse.errors import ArgumentError, ClusterError
from kdcourse.files import CHECKSUMS
from kdcourse.runs.study import engine, half, remote
from kdcourse.runs.study import rows as rows_module
from kdcourse.runs.study.engine import Cell, Options
from kdcourse.runs.study.rows import Row, Rows, identity
from tests.runs import tiny
from tests.runs.study.test_labels import Miniature, small  # noqa: F401

LOG = "KDCOURSE_TESTS_LOG"  # names the file in which workers note what they train


class Killed(Miniature):
    """Three candidates, and on a cluster one training that is killed on its way the first time."""

    name = "killed"
    search_seeds = (0, 1)

    def candidates(self) -> Sequence[Cell]:
        cells = super().candidates()
        return [cells[0], cells[6], cells[8]]

    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        if LOG in os.environ:
            log = Path(os.environ[LOG])
            mark = f"{cell.label}, T {cell.recipe.settings['temperature']}, seed {seed}\n"
            with log.open("a") as file:
                file.write(mark)
            if cell.about["kind"] == "answers" and log.read_text().count("answers") == 1:
                super().train(cell, seed, precision)
                os.kill(os.getpid(), signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        return super().train(cell, seed, precision)


def results(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Rows by what was trained, without what differs from one run to the next."""
    return {
        identity(row): {name: value for name, value in row.items() if "seconds" not in name and name != "machine"}
        for row in rows
    }  # fmt: skip


@pytest.mark.slow
def test_a_cluster_trains_the_rows_of_one_machine_though_a_worker_is_killed(
    small: Miniature,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ray")
    log, said = tmp_path / "log", list[str]()
    search = Options(("search",), precision="float32")
    alone = engine.run(Killed(tiny.dataset, tmp_path), search, lambda _: None)

    monkeypatch.setenv(LOG, str(log))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)  # Ray would store one in the user's home
    there = tmp_path / "cluster"
    there.mkdir()
    for name in (half.FILE, CHECKSUMS):
        (there / name).write_bytes((tmp_path / name).read_bytes())
    study = Killed(tiny.dataset, there)
    rows = engine.run(study, Options(("search",), precision="float32", ray="local"), said.append)

    assert len(rows) == 6 and results(rows) == results(alone)
    assert rows == Rows(there, "killed").checked()
    tries = Counter(log.read_text().splitlines())
    assert sorted(tries.values()) == [1, 1, 1, 1, 1, 2], tries
    assert len(said) == 6 and said[-1].startswith("search 6/6: ")
