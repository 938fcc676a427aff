"""Studies and grading on a Ray cluster of this machine's cores, whose workers die, fail or take too long."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch import nn
from typer.testing import CliRunner

from kdcourse import cli, cluster, training
from kdcourse.coursework import batch as batch_module
from kdcourse.coursework import remote
from kdcourse.coursework.batch import JOURNAL, grade
from kdcourse.coursework.notebooks import read
from kdcourse.coursework.records import Handed, Submission
from kdcourse.errors import ArgumentError, ClusterError, DataError
from kdcourse.files import CHECKSUMS, read_checksums, write_atomically
from kdcourse.runs.study import engine, half
from kdcourse.runs.study import remote as remote_study
from kdcourse.runs.study.engine import Cell, Options
from kdcourse.runs.study.rows import Row, Rows, identity, write_checksums
from tests import errands
from tests.coursework import fakes
from tests.coursework.conftest import empty_gradebook  # noqa: F401
from tests.coursework.fakes import RIGHT, WRONG, grade_class, hand_in, notebook
from tests.runs import tiny
from tests.runs.study.test_labels import Miniature, small  # noqa: F401


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(errands.LOG, str(tmp_path_factory.mktemp("log")))
        patched.setenv("RAY_AUTH_TOKEN", "0" * 64)  # otherwise Ray keeps one in the user's home
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        with ExitStack() as stack:
            yield _joined(stack)


@pytest.fixture(autouse=True)
def _own_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray puts a ``print`` of its own in the place of Python's, for all of the process."""
    monkeypatch.setattr("builtins.print", print)


def _joined(stack: ExitStack) -> cluster.Cluster:
    """Start a cluster; on a machine with much other work, Ray's own limit of 15 s for its processes may pass."""
    for _ in range(2):
        with suppress(ClusterError):
            return stack.enter_context(cluster.joined("local"))
    return stack.enter_context(cluster.joined("local"))


# -- a study ------------------------------------------------------------------------------------


class Killed(Miniature):
    """Three candidates; on a cluster the process of one training is killed on its way, the first time."""

    name = "killed"
    search_seeds = (0, 1)

    def candidates(self) -> Sequence[Cell]:
        cells = super().candidates()
        answers = [cell for cell in cells if cell.about["kind"] == "answers"]
        return [cells[0], answers[0], answers[2]]

    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        if errands.LOG in os.environ:
            log = Path(os.environ[errands.LOG], "study")
            with log.open("a") as file:
                file.write(f"{cell.label}, T {cell.recipe.settings['temperature']}, seed {seed}\n")
            if cell.about["kind"] == "answers" and log.read_text().count("answers") == 1:
                super().train(cell, seed, precision)
                os.kill(os.getpid(), errands.KILL)
        return super().train(cell, seed, precision)


def results(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return rows by what was trained, without what differs from one run to the next."""
    varies = ("seconds", "cpu_seconds", "machine")
    return {identity(row): {name: row[name] for name in row if name not in varies} for row in rows}


@pytest.mark.slow(seconds=20)
def test_a_cluster_trains_the_rows_of_one_machine_though_a_worker_is_killed(
    workers: cluster.Cluster,
    small: Miniature,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, said = tmp_path / "cluster", list[str]()
    there.mkdir()
    for name in (half.FILE, CHECKSUMS):
        shutil.copy(tmp_path / name, there)
    options = Options(("search",), precision="float32", ray="local")
    rows = engine.run(Killed(tiny.dataset, there), options, said.append)
    log = Path(os.environ[errands.LOG], "study")
    tries = Counter(log.read_text().splitlines())
    assert sorted(tries.values()) == [1, 1, 1, 1, 1, 2], tries
    assert len(said) == 6 and said[-1].startswith("search 6/6: ")
    assert rows == Rows(there, "killed").checked()

    monkeypatch.delenv(errands.LOG)
    alone = engine.run(
        Killed(tiny.dataset, tmp_path), Options(("search",), precision="float32"), lambda _: None
    )
    assert len(rows) == 6 and results(rows) == results(alone)

    # A machine whose data differ trains nothing.
    with pytest.raises(
        DataError, match=r"^On .*: this machine would train something else: data is .* here, and "
    ):
        engine.run(OtherData(tiny.dataset, there), options, said.append)
    assert len(said) == 6


class OtherData(Killed):
    """Sees other images on the workers, where stored files are in a folder of their own."""

    name = "other"
    search_seeds = (0,)

    def candidates(self) -> Sequence[Cell]:
        return super().candidates()[:1]

    def digests(self, cell: Cell) -> dict[str, str | None]:
        return super().digests(cell) | ({"data": "others"} if self.folder.parent.name == "cluster" else {})


def test_workers_read_what_a_study_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deep(Killed):
        files = ("*.safetensors", "teachers/*.safetensors")

    here, content = (
        tmp_path / "here",
        {"a.safetensors": b"a", "teachers/b.safetensors": b"b", "log.txt": b"c"},
    )
    for name, each in content.items():
        write_atomically(here / name, each)
    write_checksums(here)
    monkeypatch.setattr(remote_study, "shipped", lambda name: tmp_path / name)
    monkeypatch.setattr(remote_study, "cache_folder", lambda: tmp_path / "cache")
    sent = remote_study._stored(Deep(tiny.dataset, here))
    assert sent.keys() == {"a.safetensors", "teachers/b.safetensors", CHECKSUMS}
    there = remote_study._unpacked(sent)
    (there / "a.safetensors").write_bytes(b"damaged")
    assert remote_study._unpacked(sent) == there
    assert (there / "a.safetensors").read_bytes() == b"a" and (
        there / "teachers/b.safetensors"
    ).read_bytes() == b"b"
    assert read_checksums(there) == read_checksums(here)
    assert remote_study._unpacked(sent | {"a.safetensors": b"other"}) != there


# -- grading ------------------------------------------------------------------------------------


@pytest.mark.slow(seconds=20)
def test_a_class_is_graded_on_a_cluster(
    workers: cluster.Cluster,
    tmp_path: Path,
    empty_gradebook: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_module, "_ATTEMPTS", 1)
    folder, out = tmp_path / "handed in", tmp_path / "graded"
    out.mkdir()
    shutil.copy(empty_gradebook, out / "gradebook.db")
    hand_in(folder, "a_dies", notebook(RIGHT, orders="die"))
    hand_in(folder, "b_raises", notebook(RIGHT, orders="raise"))
    hand_in(folder, "c", notebook(RIGHT, orders=f"log:{tmp_path / 'c'}"))
    path = hand_in(folder, "d", notebook(WRONG))
    with zipfile.ZipFile(path.with_name("handed in.zip"), "w") as archive:
        archive.write(path, path.name)
    path.unlink()
    batch = grade_class(folder, out, ray="local", jobs=None)
    found = {graded.student: graded for graded in batch.class_}
    assert batch.graded_now == 4 and [found[name].points for name in "cd"] == [3, 0]
    assert (tmp_path / "c").read_text().split() == ["tried"]
    problems = {name: " ".join(graded.problems) for name, graded in found.items()}
    assert (
        "ended unexpectedly, at each of 1 attempts" in problems["a_dies"]
        and "a mistake of ours" in problems["b_raises"]
    )
    hand_in(folder, "a_dies", notebook(RIGHT))
    assert grade_class(folder, out).graded_now == 2, "what was graded on the cluster is known here"


def test_a_file_is_sent_with_its_content_or_its_error(tmp_path: Path) -> None:
    path = hand_in(tmp_path, "ann", notebook(RIGHT))
    whole = Handed(path, None, path.name, path.stat().st_size)
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.write(path, "a.ipynb")
    packed = Handed(tmp_path / "one.zip", "a.ipynb", "a.ipynb", 1)
    lost = Handed(tmp_path / "one.zip", "b.ipynb", "b.ipynb", 1)
    expected = [read(each) for each in (whole, packed, lost)]
    assert len(expected[0].cells) == 2 and "can't be read" in expected[2].problems[0]
    sent = remote._sent(Submission("ann", "Ann", {"1": whole, "2": packed, "3": lost}))
    path.unlink()
    (tmp_path / "one.zip").unlink()
    assert [read(each) for each in sent.notebooks.values()] == expected


# -- any tasks ----------------------------------------------------------------------------------


@pytest.mark.slow(seconds=20)
def test_tasks_end_with_a_result_a_reason_or_an_error(
    workers: cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Path(os.environ[errands.LOG])

    def serving() -> list[int]:
        return [int(path.name.split()[1]) for path in log.glob("serving *")]

    wanted = lambda task: None if task == 2 else task  # noqa: E731
    done = dict(
        workers.run(
            errands.serving, 10, ["too long", "dies once", 1, 2, 3], prepare=wanted, seconds=1, closing=60
        )
    )
    assert done == {
        "too long": cluster.GivenUp("it took more than 0 minutes"),
        "dies once": "done",
        1: 11,
        3: 13,
    }
    assert len(serving()) == 2, "all but the two that were ended have left their context"

    with pytest.raises(DataError, match=r"^On .+: no such thing\.$"):
        list(workers.run(errands.serving, 10, ["too long", "wrong"]))
    assert len(serving()) > 2
    until = time.monotonic() + 60
    while any(map(psutil.pid_exists, serving())):
        assert time.monotonic() < until, "a worker goes on though nobody waits"
        time.sleep(0.1)

    monkeypatch.setattr(cluster, "_STARTS", 1)
    with pytest.raises(ClusterError, match="Workers end before they can begin"):
        list(workers.run(errands.dying, 10, [1]))
    with pytest.raises(
        ClusterError, match=r"1 of the cluster's 1 machines .* nothing was begun\..* a spoon is missing"
    ):
        workers.check("tests.errands:lacking")


# -- what is refused ----------------------------------------------------------------------------


def test_without_ray_the_error_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    told = CliRunner().invoke(cli.app, ["study", "labels", "--ray", "auto", "--out", str(tmp_path)])
    assert told.exit_code == 2 and 'pip install "kdcourse[cluster]"' in told.output
    hand_in(tmp_path / "class", "ann", notebook(RIGHT))
    with pytest.raises(ClusterError, match="Ray, which isn't installed here"):
        grade(tmp_path / "class", fakes.ASSIGNMENT, tmp_path / "out", ray="auto", progress=False)
    assert not (tmp_path / "out" / JOURNAL).exists()


def test_jobs_are_for_one_machine(tmp_path: Path) -> None:
    told = CliRunner().invoke(
        cli.app, ["study", "labels", "--ray", "auto", "--jobs", "2", "--out", str(tmp_path)]
    )
    assert told.exit_code == 2 and "--jobs 2 is for this machine alone" in told.output
    with pytest.raises(ArgumentError, match="--jobs 1 is for this machine alone"):
        grade(tmp_path, fakes.ASSIGNMENT, tmp_path / "out", ray="auto", jobs=1)


@pytest.mark.parametrize(
    ("address", "set_to", "clusters", "expected"),
    [
        ("auto", None, False, ["auto", "local"]),
        ("auto", None, True, ["auto"]),
        ("auto", "lab-1:6379", True, ["lab-1:6379"]),
        ("auto", "lab-1:6379", False, []),
        ("lab-2:6379", "lab-1:6379", True, ["lab-2:6379"]),
    ],
)
def test_auto_joins_a_cluster_or_starts_one(
    address: str, set_to: str | None, clusters: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    class Ray:
        def init(self, where: str, **settings: object) -> None:
            tried.append(where)
            if not clusters and where == "auto":
                raise ConnectionError("none here")

        def shutdown(self) -> None:
            pass

    def connect(place: tuple[str, int], timeout: float) -> Any:
        if not clusters:
            raise TimeoutError("timed out")
        return io.BytesIO()

    monkeypatch.setattr(cluster.socket, "create_connection", connect)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if set_to is not None:
        monkeypatch.setenv("RAY_ADDRESS", set_to)
    if expected:
        cluster._connect(Ray(), address)
    else:
        with pytest.raises(
            ClusterError, match=r"No Ray cluster at 'lab-1:6379': timed out\. Is Ray running there"
        ):
            cluster._connect(Ray(), address)
    assert tried == expected


@pytest.mark.parametrize("address", ["lab-1", "lab-1:ray", ":6379"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ClusterError, match=f"--ray takes HOST:PORT, 'auto' or 'local'; found '{address}'"):
        cluster._connect(None, address)
