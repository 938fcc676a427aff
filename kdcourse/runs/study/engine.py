"""Run a study: search settings on the validation split, then train fresh seeds and evaluate the test split once."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

import kdcourse
from kdcourse import cluster, evaluation, training
from kdcourse.data import Dataset, fashion_mnist
from kdcourse.errors import ArgumentError, DivergedError
from kdcourse.runs import table
from kdcourse.runs.machine import machine
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study.rows import Row, Rows, identity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASES = ("search", "test", "further")
Say = Callable[[str], None]
_WAIT = 2.0  # seconds until rows that other processes train are looked for again


@dataclass(frozen=True)
class Cell:
    """Hold one combination of a study: what is compared, and how the student is trained.

    Cells of the search with the same ``about``, such as ``{"kind": "labels", "images": 550}``, are candidates for the
    same place: the one with the best validation accuracy takes it.
    """

    about: dict[str, Any]
    recipe: StudentRecipe

    @property
    def settings(self) -> dict[str, Any]:
        """Return what a row keeps of the cell."""
        return {"about": self.about, "recipe": self.recipe.settings}

    @property
    def label(self) -> str:
        """Return the cell in a few words, for lines of progress."""
        return ", ".join(f"{name} {value}" for name, value in self.about.items())


@dataclass(frozen=True)
class Curves:
    """Hold a study's result as lines: accuracies 0 to 1 against a number such as the images', on a logarithmic axis.

    Attributes:
        title, x: of the figure and its horizontal axis.
        lines: name -> entries with ``x``, ``accuracy``, ``low``, ``high`` and ``seeds``, by increasing ``x``.
        teacher: accuracy of the teachers' ensemble.
        finding: what the study found, in one or two sentences.
        command: that trains or continues the study.
        score: what the accuracies are.
    """

    title: str
    x: str
    lines: dict[str, list[dict[str, Any]]]
    teacher: float
    finding: str
    command: str
    score: str = "accuracy"


class Study(ABC):
    """Define a study; a subclass is one file of this folder. Its data are read when they are first needed.

    Attributes:
        name: of the command and of the file of rows.
        question: answered by the study, in one sentence.
        search_seeds, test_seeds: different ones, so that no student that was chosen by is counted in the result.
        criterion: the column of rows, of the validation split, whose highest mean wins a place.
        files: patterns of the files in the folder that trainings read, which other machines are sent.
        reads: returns the course's own data for the study.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    search_seeds: Sequence[int] = (0, 1, 2)
    test_seeds: Sequence[int] = (10, 11, 12, 13, 14)
    criterion: ClassVar[str] = "validation_accuracy"
    files: ClassVar[Sequence[str]] = ("*.safetensors",)
    reads: ClassVar[Callable[[], Any]] = staticmethod(fashion_mnist)

    def __init__(self, data: Callable[[], Dataset], folder: Path) -> None:
        self.read, self.folder = data, folder
        self._data: Dataset | None = None

    @property
    def data(self) -> Dataset:
        """Return the whole data set, whose validation and test split every student is evaluated on."""
        if self._data is None:
            self._data = self.read()
        return self._data

    def prepare(self, say: Say) -> None:
        """Make what the trainings need and the folder lacks, such as teachers' answers; by default nothing."""
        return None

    @abstractmethod
    def candidates(self) -> Sequence[Cell]:
        """Return the cells of the search, in the order in which they are trained."""

    @abstractmethod
    def chosen(self, best: Callable[[dict[str, Any]], StudentRecipe]) -> Sequence[Cell]:
        """Return the cells to evaluate on the test split; ``best`` gives the recipe that won an ``about``."""

    def further(self, best: Callable[[dict[str, Any]], StudentRecipe], rows: Sequence[Row]) -> Sequence[Cell]:
        """Return cells to evaluate on the test split as well, given the rows of the test phase; by default none.

        For questions that depend on what the test phase found, such as whether its best hold for another student. Such
        rows have a phase of their own, and change nothing in the results of the test phase.
        """
        return []

    @abstractmethod
    def digests(self, cell: Cell) -> dict[str, str | None]:
        """Return the digests of the images (``data``) and of the teacher's answers (``answers``), if any are used."""

    @abstractmethod
    def train(self, cell: Cell, seed: int, precision: str) -> tuple[nn.Module, training.History]:
        """Train a student."""

    def seeds(self, cell: Cell, seeds: Sequence[int]) -> Sequence[int]:
        """Return the seeds of a cell out of those of its phase, for cells that take too long for all of them."""
        return seeds

    def measures(self, model: nn.Module, cell: Cell, phase: str) -> dict[str, Any]:
        """Return further columns of a row: in the search about the validation split, then also about the test split."""
        return {}

    def scores(self, model: nn.Module) -> dict[str, float | None]:
        """Return the columns of a row about the test split: of a classifier accuracy, loss and calibration."""
        data = self.data
        found = table.scores(evaluation.predict(model, data.test, data), data.test.labels, None)
        return {f"test_{name}": found[name] for name in ("accuracy", "nll", "ece")}

    @abstractmethod
    def summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the study's figures, derived from its rows."""

    @abstractmethod
    def text(self, rows: Sequence[Row]) -> str:
        """Return the summary as a table in plain text."""

    def figure(self, rows: Sequence[Row]) -> Figure | None:
        """Return the summary as a figure for the page of the studies, or ``None`` if the rows don't suffice."""
        return None

    def curves(self, rows: Sequence[Row]) -> Curves | None:
        """Return the summary as lines of a figure, or ``None`` if the rows don't suffice or it isn't of that kind."""
        return None


@dataclass(frozen=True)
class Options:
    """Hold how a study is run.

    Args:
        phases: some of `PHASES`.
        seeds: how many of the study's test seeds; all of them unless told.
        precision: for every student; by default that of the rows there are, or the usual one of this machine.
        jobs: processes that train side by side, each with its share of the cores.
        ray: address of a Ray cluster that trains, see `kdcourse.cluster.joined`.
    """

    phases: Sequence[str] = PHASES
    seeds: int | None = None
    precision: str | None = None
    jobs: int = 1
    threads: int | None = field(default=None, repr=False)
    ray: str | None = None


def run(study: Study, options: Options, say: Say = print) -> list[Row]:
    """Train what a study's rows lack, each row stored as soon as its training is done; return all rows.

    The same call resumes after an interruption. Several processes, also of several calls, share the work: what one of
    them trains, no other does.

    Raises:
        ArgumentError: a phase, precision or number that doesn't exist; the test phase of an incomplete search.
        CheckpointError: rows or answers that are missing or damaged.
        ClusterError: a Ray cluster that can't be joined, or whose workers fail.
    """
    rows = Rows(study.folder, study.name)
    precision = _precision(rows.read(), options.precision)
    seeds = _check(study, options)
    study.prepare(say)
    if options.jobs > 1:
        _side_by_side(study, options, precision, say)
        return rows.read()
    with ExitStack() as stack:
        train: Train = _here
        if options.ray is not None:
            from kdcourse.runs.study import remote

            train = partial(remote.train, stack.enter_context(cluster.joined(options.ray)))
            say = remote.beside_a_bar(say)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        if "search" in options.phases:
            _work(study, rows, searched(study, precision), "search", say, train)
        if "test" in options.phases:
            _work(study, rows, tested(study, rows.read(), precision, seeds), "test", say, train)
        if "further" in options.phases:
            _work(study, rows, extended(study, rows.read(), precision, seeds), "further", say, train)
    return rows.read()


Job = tuple[Cell, dict[str, Any]]  # a cell, and the part of its row that is known beforehand
Train = Callable[[Study, Rows, Sequence[Job], str], Generator[tuple[Cell, Row], None, None]]


def searched(study: Study, precision: str) -> list[Job]:
    """Return the trainings of the search."""
    return _jobs(study, study.candidates(), study.search_seeds, precision)


def tested(study: Study, rows: Sequence[Row], precision: str, seeds: Sequence[int]) -> list[Job]:
    """Return the trainings whose students are evaluated on the test split.

    Raises:
        ArgumentError: rows of the search are missing.
    """
    search = _complete(study, rows, searched(study, precision), "search", "test")
    return _jobs(study, study.chosen(_best(study, search)), seeds, precision)


def extended(study: Study, rows: Sequence[Row], precision: str, seeds: Sequence[int]) -> list[Job]:
    """Return the trainings that follow from the test phase.

    Raises:
        ArgumentError: rows of the search or of the test phase are missing.
    """
    search = _complete(study, rows, searched(study, precision), "search", "test")
    tests = _complete(study, rows, tested(study, rows, precision, seeds), "test", "further")
    return _jobs(study, study.further(_best(study, search), tests), seeds, precision)


def _complete(
    study: Study, rows: Sequence[Row], jobs: Sequence[Job], phase: str, following: str
) -> list[Row]:
    """Return the rows of all ``jobs``, which are those of a phase that the following one needs."""
    found = {identity(row): row for row in rows}
    there = [found[key] for _, known in jobs if (key := identity(known)) in found]
    if len(there) < len(jobs):
        raise ArgumentError(
            f"The {following} phase of {study.name} begins when the {phase} phase is complete; "
            f"{len(jobs) - len(there)} of {len(jobs)} trainings are missing. Run them first: kdcourse study "
            f"{study.name} --phase {phase}"
        )
    return there


def results(study: Study, rows: Sequence[Row], phase: str = "test") -> list[Row]:
    """Return the rows of the test phase that were trained with what the search chose; none while it is incomplete.

    Rows of earlier recipes stay in the file and are left out here.

    Args:
        study: the study.
        rows: of one state of the data and of the teachers' answers.
        phase: "further" for the rows that follow from those.
    """
    wanted = {
        (_key(cell.settings), seed)
        for cell in study.candidates()
        for seed in study.seeds(cell, study.search_seeds)
    }
    search = {
        key: row for row in rows if row["phase"] == "search" and (key := (_key(row), row["seed"])) in wanted
    }
    if len(search) < len(wanted):
        return []
    best = _best(study, list(search.values()))
    found = _of_cells(rows, "test", study.chosen(best))
    return found if phase == "test" else _of_cells(rows, phase, study.further(best, found))


def _of_cells(rows: Sequence[Row], phase: str, cells: Sequence[Cell]) -> list[Row]:
    wanted = {_key(cell.settings) for cell in cells}
    return [row for row in rows if row["phase"] == phase and _key(row) in wanted]


def _best(study: Study, search: Sequence[Row]) -> Callable[[dict[str, Any]], StudentRecipe]:
    """Return what gives the recipe that won an ``about``, by the rows of a complete search."""
    found: dict[str, list[float]] = {}
    for row in search:
        found.setdefault(_key(row), []).append(row[study.criterion])

    def best(about: dict[str, Any]) -> StudentRecipe:
        def validation(cell: Cell) -> float:
            values = found[_key(cell.settings)]
            return sum(values) / len(values)

        return max((cell for cell in study.candidates() if cell.about == about), key=validation).recipe

    return best


def _key(settings: Mapping[str, Any]) -> str:
    return json.dumps([settings["about"], settings["recipe"]], sort_keys=True)


def _jobs(study: Study, cells: Iterable[Cell], seeds: Sequence[int], precision: str) -> list[Job]:
    """Return trainings in order of their seeds: what is stopped early has compared all cells, with fewer seeds."""
    cells = list(cells)
    return [
        (cell, {**cell.settings, "seed": seed, "precision": precision, **study.digests(cell)})
        for seed in seeds
        for cell in cells
        if seed in study.seeds(cell, seeds)
    ]


def _work(study: Study, rows: Rows, jobs: Sequence[Job], phase: str, say: Say, train: Train) -> None:
    """Train what is missing of ``jobs``; what another process is training is waited for."""
    while True:
        there = set(map(identity, rows.read()))
        left = [(cell, known) for cell, known in jobs if identity(known) not in there]
        if not left:
            return
        added = False
        with closing(train(study, rows, left, phase)) as done:
            for cell, row in done:
                rows.add(row)
                added = True
                there = set(map(identity, rows.read()))
                say(_told(row, cell, sum(identity(each) in there for _, each in jobs), len(jobs)))
        if not added:
            time.sleep(_WAIT)


def _here(
    study: Study, rows: Rows, left: Sequence[Job], phase: str
) -> Generator[tuple[Cell, Row], None, None]:
    """Yield each cell with its row, trained in this process; what another process claims is left out."""
    for cell, known in left:
        with rows.claimed(known) as mine:
            # Another process may have added it since.
            if mine and identity(known) not in set(map(identity, rows.read())):
                yield cell, trained(study, cell, known, phase)


def _told(row: Row, cell: Cell, done: int, total: int) -> str:
    part = "test" if "test_accuracy" in row else "validation"
    figure = row.get(f"{part}_iou", row[f"{part}_accuracy"])
    return f"{row['phase']} {done}/{total}: {cell.label}, seed {row['seed']}: {figure:.2%} ({row['seconds']:.0f} s)"


def trained(study: Study, cell: Cell, known: dict[str, Any], phase: str) -> Row:
    """Train and evaluate a student; return its row, whose identity is ``known``.

    A candidate of the search whose training diverges is the worst: its row says so and gives 0 as its figure.
    """
    began, busy = time.perf_counter(), time.process_time()
    row: Row = {"study": study.name, "phase": phase, **known}

    def took(device: torch.device, precision: str) -> Row:
        return {
            "seconds": round(time.perf_counter() - began, 1),
            "cpu_seconds": round(time.process_time() - busy, 1),
            "machine": machine(device, precision),
            "kdcourse": kdcourse.__version__,
        }

    try:
        model, history = study.train(cell, known["seed"], known["precision"])
    except DivergedError:
        if phase != "search":
            raise
        figures = {"diverged": True, "validation_accuracy": 0.0, study.criterion: 0.0}
        return row | figures | took(training.placement.Placement().device, known["precision"])
    last = history.last
    row |= {
        "parameters": sum(p.numel() for p in model.parameters()),
        "validation_accuracy": last.validation_accuracy,
        "validation_loss": last.validation_loss,
        "train_loss": last.train_loss,
    }
    if last.validation_iou is not None:
        row["validation_iou"] = last.validation_iou
    if phase != "search":
        row |= study.scores(model)
    device = torch.device(history.settings["device"])
    return row | study.measures(model, cell, phase) | took(device, history.settings["precision"])


def _precision(rows: Sequence[Row], wanted: str | None) -> str:
    found = sorted({row["precision"] for row in rows})
    if wanted is not None:
        training.precision.check_precision(wanted)
    if not found:
        return wanted or training.usual_precision(training.placement.Placement().device)
    if len(found) > 1 or (wanted is not None and wanted != found[0]):
        raise ArgumentError(
            f"All students of a study are trained in one precision; the rows there are have {', '.join(found)}"
            f"{'' if wanted is None else f', and --precision is {wanted}'}. Take another folder: --out FOLDER."
        )
    return str(found[0])


def _check(study: Study, options: Options) -> Sequence[int]:
    for phase in options.phases:
        if phase not in PHASES:
            raise ArgumentError(f"There is no phase {phase!r}; choose {' or '.join(PHASES)}.")
    if options.jobs < 1:
        raise ArgumentError(f"--jobs must be at least 1; found {options.jobs}.")
    if options.jobs > 1 and options.ray is not None:
        raise ArgumentError(
            f"--jobs {options.jobs} is for this machine alone, and --ray uses every core of its cluster. Give one of "
            "them."
        )
    count = len(study.test_seeds) if options.seeds is None else options.seeds
    if not 2 <= count <= len(study.test_seeds):
        raise ArgumentError(f"--seeds must lie in 2..{len(study.test_seeds)}; found {count}.")
    return study.test_seeds[:count]


def _side_by_side(study: Study, options: Options, precision: str, say: Say) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    one = Options(options.phases, options.seeds, precision, 1, max(1, cores // options.jobs))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context, initializer=_end_with_the_parent) as pool:
        for done in [pool.submit(run, study, one, say) for _ in range(options.jobs)]:
            done.result()


def _end_with_the_parent() -> None:
    """Watch the parent from a thread: one that is killed can't stop its workers, which would train on unseen."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
