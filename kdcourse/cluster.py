"""Run independent tasks on a Ray cluster: on several machines, or on all cores of this one.

    tasks -> this process hands them out -> one worker per core of the cluster -> each result as soon as it is done

Ray starts the workers, moves data to them and notices when one ends. A task whose worker ended is handed out again.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import kdcourse
from kdcourse.errors import ClusterError, KdcourseError

Do = Callable[[Any], Any]
Serve = Callable[[Any], AbstractContextManager[Do]]

_LOOK = 1.0  # seconds until machines that joined, and tasks that take too long, are looked for again
_ANSWER = 10.0  # seconds for a cluster's address to answer
_CHECK = 300.0  # seconds for each machine to start a worker and to check itself
_STARTS = 3  # failed starts of workers in a row after which no further one is tried
_STORE = (
    200 * 2**20
)  # bytes of a local cluster's object store, which a study's files and notebooks pass through
_INSTALL = 'pip install "kdcourse[cluster]"'


@dataclass(frozen=True)
class GivenUp:
    """Say why a task has no result: every worker that tried it ended, or it took too long."""

    reason: str


@contextmanager
def joined(address: str, needs: str = "") -> Iterator[Cluster]:
    """Join a Ray cluster for the length of the context; a cluster that was started for it ends with it.

    Args:
        address: ``HOST:PORT``; ``local``, which starts a cluster of this machine's cores; or ``auto``: the cluster of
            ``$RAY_ADDRESS``, else the one that this machine is part of, else a local one.
        needs: ``MODULE:FUNCTION`` to be called on every machine; it returns what is missing there, in a sentence, or
            nothing.

    Raises:
        ClusterError: Ray isn't installed, the cluster can't be joined, or a machine of it lacks something.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        cluster = Cluster(ray)
        cluster.check(needs)
        yield cluster
    finally:
        if ours:
            ray.shutdown()


def cores() -> int:
    """Return the number of cores that Ray gave to this worker."""
    given = _ray().get_runtime_context().get_assigned_resources()
    return max(1, int(given.get("CPU", 1)))


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ClusterError(f"--ray needs Ray, which isn't installed here. Install it: {_INSTALL}") from None
    return ray


def _connect(ray: Any, address: str) -> None:
    # Ray reports usage to its makers unless told otherwise; nothing of ours leaves the machines.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    wanted = os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address
    try:
        if wanted == "auto":
            try:
                ray.init("auto", **quiet)
                return
            except ConnectionError:  # this machine is part of no cluster
                wanted = "local"
        if wanted == "local":
            number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
            ray.init("local", num_cpus=number, include_dashboard=False, object_store_memory=_STORE, **quiet)
        else:
            _reach(wanted)
            ray.init(wanted, **quiet)
    except ClusterError:
        raise
    except Exception as error:  # Ray raises whatever was at hand, Exception itself among it
        ray.shutdown()
        said = " ".join(str(error).split())[:300] or type(error).__name__
        if wanted == "local":
            advice = "Is this machine very busy? Then wait, or run the command without --ray."
        else:
            advice = (
                "Is Ray running there (ray start --head) and on this machine (ray start --address=HOST:PORT), in the "
                "same version, with the same Python and token?"
            )
        raise ClusterError(f"No Ray cluster at {wanted!r}: {said.rstrip('.')}. {advice}") from error


def _reach(address: str) -> None:
    """Raise OSError if nobody answers at an address, for which Ray itself would look for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ClusterError(f"--ray takes HOST:PORT, 'auto' or 'local'; found {address!r}.")
    socket.create_connection((host, int(port)), timeout=_ANSWER).close()


class Cluster:
    """Hand tasks to the workers of a cluster; made by `joined`."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def check(self, needs: str = "") -> None:
        """Make sure that every machine has this version of kdcourse, and what ``needs`` looks for.

        Raises:
            ClusterError: a machine that doesn't, with its name and the reason; or no machine with a core.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        version = kdcourse.__version__

        # Defined here, so that Ray sends its code: the package it looks for may be missing.
        def missing() -> str:
            import importlib

            try:
                found = importlib.import_module("kdcourse").__version__
            except ImportError:
                return f"kdcourse isn't installed there (version {version} is needed)."
            if found != version:
                return f"it has version {found} of kdcourse, and {version} is needed."
            module, _, name = needs.partition(":")
            return str(getattr(importlib.import_module(module), name)()) if module else ""

        probe = self._ray.remote(num_cpus=0, max_retries=1)(missing)
        machines = {
            probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(): node
            for node in self._machines()
        }  # fmt: skip
        if not machines:
            raise ClusterError(
                "The Ray cluster has no machine with a core for tasks (ray start --num-cpus=N)."
            )
        reasons = []
        for ref, node in machines.items():
            try:
                why = self._ray.get(ref, timeout=_CHECK)
            except self._ray.exceptions.RayError as error:
                why = f"its check failed ({_short(error)})."
            if why:
                reasons.append(f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}): {why}")
        if reasons:
            raise ClusterError(
                f"{len(reasons)} of the cluster's {len(machines)} machines can't take part, and nothing was begun. "
                f"{' '.join(sorted(reasons))} Install there what is missing, or take the machine out (ray stop)."
            )

    def run(
        self,
        serve: Serve,
        shared: Any,
        tasks: Iterable[Any],
        *,
        prepare: Callable[[Any], Any] = lambda task: task,
        gpu: bool = False,
        attempts: int = 4,
        seconds: float | None = None,
        closing: float = 0.0,
    ) -> Generator[tuple[Any, Any], None, None]:
        """Yield each task with its result, or with `GivenUp`, as soon as it is done.

        Ended early, by Ctrl-C too, it ends the workers. Machines that join the cluster later take part.

        Args:
            serve: a function that Ray can import on every machine. Each worker calls it with ``shared`` and enters the
                context that it returns, which gives what does a task. A `KdcourseError` there ends everything.
            shared: what all workers need; sent to each machine once.
            tasks: in the order in which they are begun.
            prepare: called in this process when the turn of a task has come; returns what is sent to the worker, or
                None for a task that needn't be done any more. Called again if the task is handed out again.
            gpu: whether each worker needs a GPU of its own; others don't see any.
            attempts: at a task whose worker ends.
            seconds: after which a task's worker is ended and the task is given up.
            closing: seconds for workers to leave their context, after their task, when all of it ends.

        Raises:
            ClusterError: workers end before they begin.
            KdcourseError: of a worker, whose machine the message names.
        """
        ray, kept = self._ray, self._ray.put(shared)
        make = ray.remote(_Worker).options(num_cpus=1, num_gpus=int(gpu), max_restarts=0, max_task_retries=0)
        todo = deque(_Turn(task) for task in tasks)
        workers: dict[Any, _Busy] = {}  # by the reference to what each is doing
        failed = 0

        def turn() -> tuple[_Turn, Any] | None:
            while todo:
                chosen = todo.popleft()
                sent = prepare(chosen.task)
                if sent is not None:
                    return chosen, sent
            return None

        try:
            while todo or any(busy.turn for busy in workers.values()):
                active = sum(not busy.leaving for busy in workers.values())
                working = sum(busy.turn is not None for busy in workers.values())
                for _ in range(min(self._room(gpu), len(todo) + working) - active):
                    actor = make.remote(serve, kept, gpu)
                    workers[actor.begin.remote()] = _Busy(actor)
                if not workers:
                    raise ClusterError(
                        f"No machine of the Ray cluster has a core{' and a GPU' if gpu else ''} left."
                    )
                done, _ = ray.wait(list(workers), timeout=_LOOK)
                for ref in done:
                    busy = workers[ref]
                    try:
                        result = ray.get(ref)
                    except ray.exceptions.RayTaskError as error:
                        raise (error.cause if isinstance(error.cause, KdcourseError) else error) from None
                    except ray.exceptions.RayError as error:  # the worker has ended, or its machine
                        del workers[ref]
                        if busy.turn is not None:
                            gone = self._ended(busy, _short(error), attempts, seconds)
                            if gone is None:
                                todo.appendleft(busy.turn)
                            else:
                                yield busy.turn.task, gone
                        elif not busy.leaving:
                            failed += 1
                            if failed == _STARTS:
                                raise ClusterError(
                                    f"Workers end before they can begin: {_short(error)} Is there enough memory for "
                                    "one Python with torch per core?"
                                ) from None
                        continue
                    del workers[ref]
                    if busy.leaving:
                        ray.kill(busy.actor)
                        continue
                    failed = 0
                    following = turn()
                    if following is None:  # its core may be needed by a task that is handed out again
                        workers[busy.actor.close.remote()] = _Busy(busy.actor, leaving=True)
                    else:
                        workers[busy.actor.do.remote(following[1])] = _Busy(busy.actor, following[0])
                    if busy.turn is not None:
                        yield busy.turn.task, result
                self._stop_late(workers.values(), seconds)
        finally:
            self._end(list(workers.values()), closing)

    def _machines(self) -> list[Any]:
        return [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]

    def _room(self, gpu: bool) -> int:
        """Return how many workers the cluster has room for."""
        resources = [node["Resources"] for node in self._machines()]
        return sum(int(min(each["CPU"], each.get("GPU", 0)) if gpu else each["CPU"]) for each in resources)

    def _ended(self, busy: _Busy, reason: str, attempts: int, seconds: float | None) -> GivenUp | None:
        assert busy.turn is not None
        busy.turn.attempts += 1
        if busy.late:
            return GivenUp(f"it took more than {(seconds or 0) / 60:.0f} minutes")
        if busy.turn.attempts >= attempts:
            return GivenUp(f"its process ended unexpectedly, at each of {attempts} attempts ({reason})")
        return None

    def _stop_late(self, workers: Iterable[_Busy], seconds: float | None) -> None:
        for busy in workers:
            if seconds is not None and busy.turn is not None and time.monotonic() - busy.since > seconds:
                busy.late = True
                self._ray.kill(busy.actor)

    def _end(self, workers: list[_Busy], closing: float) -> None:
        with suppress(self._ray.exceptions.RayError):
            left = [busy.actor.close.remote() for busy in workers]
            if left:
                self._ray.wait(left, num_returns=len(left), timeout=closing)
        for busy in workers:
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(busy.actor)


@dataclass
class _Turn:
    task: Any
    attempts: int = 0


class _Busy:
    """Hold what a worker is doing: starting (no turn), a turn, or leaving."""

    def __init__(self, actor: Any, turn: _Turn | None = None, *, leaving: bool = False) -> None:
        self.actor, self.turn, self.leaving = actor, turn, leaving
        self.since, self.late = time.monotonic(), False


class _Worker:
    """Do tasks one after the other, in a process of its own on some machine."""

    def __init__(self, serve: Serve, shared: Any, gpu: bool) -> None:
        if not gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._serve, self._shared = serve, shared
        self._stack = ExitStack()
        self._do: Do | None = None

    def begin(self) -> None:
        with _named():
            self._do = self._stack.enter_context(self._serve(self._shared))

    def do(self, task: Any) -> Any:
        assert self._do is not None
        with _named():
            return self._do(task)

    def close(self) -> None:
        self._stack.close()


@contextmanager
def _named() -> Iterator[None]:
    """Add the machine's name to an error."""
    try:
        yield
    except KdcourseError as error:
        raise type(error)(f"On {platform.node()}: {error}") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
