"""Train a study's rows on a Ray cluster. This process hands out the trainings, and it alone writes the rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kdcourse import cluster, training
from kdcourse.data import Dataset
from kdcourse.data.fashion import cache_folder
from kdcourse.errors import ClusterError, DataError
from kdcourse.files import CHECKSUMS, read_checksums, shipped, write_atomically
from kdcourse.runs.study.engine import Cell, Job, Study, trained
from kdcourse.runs.study.rows import IDENTITY, Row, Rows, identity


@dataclass(frozen=True)
class _Shared:
    """Hold what a worker makes the study of: every machine reads the data from its own installation."""

    kind: type[Study]
    read: Callable[[], Dataset]
    files: dict[str, bytes]


def train(
    workers: cluster.Cluster, study: Study, rows: Rows, left: Sequence[Job], phase: str
) -> Generator[tuple[Cell, Row], None, None]:
    """Yield each cell with its row, as soon as a worker has trained it; what another process claims is left out.

    Raises:
        ClusterError: a training whose workers ended again and again.
    """
    from tqdm.auto import tqdm

    shared = _Shared(type(study), study.read, _stored(study))
    gpu = training.placement.Placement().device.type == "cuda"
    claims: dict[str, ExitStack] = {}

    def claimed(job: Job) -> tuple[Cell, dict[str, Any], str] | None:
        cell, known = job
        key = identity(known)
        if key not in claims:
            with ExitStack() as stack:
                mine = stack.enter_context(rows.claimed(known))
                # Another process may have added it since.
                if not mine or key in set(map(identity, rows.read())):
                    return None
                claims[key] = stack.pop_all()
        return cell, known, phase

    running = workers.run(_serving, shared, left, prepare=claimed, gpu=gpu)
    bar = tqdm(total=len(left), desc=phase, unit="training", disable=None)
    try:
        with bar, closing(running):
            for (cell, known), row in running:
                if isinstance(row, cluster.GivenUp):
                    raise ClusterError(f"{cell.label}, seed {known['seed']} wasn't trained: {row.reason}.")
                yield cell, row
                claims[identity(known)].close()
                bar.update()
    finally:
        for claim in claims.values():
            claim.close()


def beside_a_bar(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return ``say``, with the bar of progress out of its way while it prints."""
    from tqdm.auto import tqdm

    def told(line: str) -> None:
        with tqdm.external_write_mode():
            say(line)

    return told


@contextmanager
def _serving(shared: _Shared) -> Iterator[Callable[[tuple[Cell, dict[str, Any], str]], Row]]:
    """Give what trains a row, on a worker."""
    torch.set_num_threads(cluster.cores())
    study = shared.kind(shared.read, _unpacked(shared.files))

    def trained_here(task: tuple[Cell, dict[str, Any], str]) -> Row:
        cell, known, phase = task
        here = {**known, **cell.settings, **study.digests(cell)}
        differ = [name for name in IDENTITY if _plain(here[name]) != _plain(known[name])]
        if differ:
            raise DataError(
                "this machine would train something else: "
                + "; ".join(
                    f"{name} is {here[name]} here, and {known[name]} was asked for" for name in differ
                )
                + ". Install the same version of the course there, and its data."
            )
        return trained(study, cell, known, phase)

    yield trained_here


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _stored(study: Study) -> dict[str, bytes]:
    """Return the files that trainings read, such as teachers' answers, with their checksums: a few MB."""
    files, sums = {}, {}
    for place in (shipped("study"), study.folder):
        listed = read_checksums(place)
        for path in sorted(path for pattern in study.files for path in place.glob(pattern)):
            name = path.relative_to(place).as_posix()
            files[name] = path.read_bytes()
            if name in listed:
                sums[name] = listed[name]
    return files | {CHECKSUMS: "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()}


def _unpacked(files: dict[str, bytes]) -> Path:
    """Write files to a folder of this machine that is named after their content; those that are there are kept."""
    mark = hashlib.sha256()
    for name, content in sorted(files.items()):
        mark.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    folder = cache_folder() / "cluster" / mark.hexdigest()[:16]
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)
    return folder
