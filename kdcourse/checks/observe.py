"""Call an answer on the probes of an exercise without letting it disturb anything.

An answer is somebody's first attempt: it may loop for ever, raise, print, change its inputs or the global
random numbers, or return anything at all. What it did comes back as plain values, so that another process
may judge them.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import ctypes
import inspect
import io
import linecache
import random
import re
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdcourse.checks.exercise import Answer, Exercise, Probe
from kdcourse.checks.outcomes import ANSWER, GRADIENT, RECORDING, Foreign, Observed, Outcome, Raised

# How long a thread that was told to stop may take, in seconds, and how often it is told.
_GRACE, _PAUSE = 1.0, 0.02


def observe(exercise: Exercise, answer: Any, *, limit: float = 10.0) -> Observed:
    """Return what ``answer`` does on every probe of ``exercise``.

    Args:
        exercise: whose probes it is called on.
        answer: the learner's function.
        limit: seconds for all probes together.
    """
    if not callable(answer):
        return Observed(blank=answer is Ellipsis, misfit=_not_a_function(exercise, answer))
    misfit = _arguments_misfit(exercise, answer)
    seen = Observed(misfit=misfit) if misfit else _watch(exercise, answer, limit, rounds=2)
    return replace(seen, blank=has_blank(answer))


@lru_cache(maxsize=4096)  # every mistake of every exercise, and of varied ones
def observe_ours(exercise: Exercise, implementation: Answer) -> tuple[Outcome, ...]:
    """Return what an implementation of ours, right or wrong, does on every probe; computed once, always the same."""
    return _watch(exercise, implementation, limit=60.0, rounds=1).outcomes


def _watch(exercise: Exercise, call: Answer, limit: float, rounds: int) -> Observed:
    tail = _Tail()
    seen: tuple[list[Outcome], list[Outcome]] = ([], [])

    def work(abandoned: threading.Event) -> None:
        for number in range(rounds):
            for probe in exercise.probes:
                if abandoned.is_set():
                    return
                tail.forget()
                seen[number].append(_try(exercise, call, probe, tail, seed=number))

    with _undisturbed(tail):
        stuck = _run(work, limit)
    if stuck:
        # The call that never ended: what it printed may tell where it hangs.
        seen[1 if len(seen[0]) == len(exercise.probes) else 0].append(Outcome(printed=tail.last()))
    return Observed(tuple(seen[0]), tuple(seen[1]), stuck)


# -- one probe ----------------------------------------------------------------------------------


def _try(exercise: Exercise, answer: Answer, probe: Probe, tail: _Tail, seed: int) -> Outcome:
    def called(*inputs: Any) -> Any:
        _seed(seed)  # here, so that what a fixture builds is the same in every round
        return answer(*inputs)

    _seed(0)
    torch.set_grad_enabled(True)
    given = [_fresh(value) for value in probe.inputs]
    leaf: Tensor | None = None
    if exercise.gradient is not None:
        leaf = given[exercise.gradient].requires_grad_()
        # A clone, so that an answer that works in place is told so in our words.
        given[exercise.gradient] = leaf.clone()
    fixture = exercise.fixture or _just_call
    try:
        found = dict(fixture(called, *given))
        parts = {name: _plain(value) for name, value in found.items()}
        parts[RECORDING] = torch.is_grad_enabled()
        if leaf is not None:
            parts[GRADIENT] = _gradient(found.get(ANSWER), leaf)
    except _TimeUp:
        raise
    except BaseException as error:
        return Outcome(error=_describe(error, answer), printed=tail.last())
    changed = tuple(
        place
        for place, (now, before) in enumerate(zip(given, probe.inputs, strict=True))
        if not _unchanged(now, before)
    )
    return Outcome(parts, changed=changed, printed=tail.last())


def _fresh(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else copy.copy(value)


def _just_call(answer: Answer, *inputs: Any) -> dict[str, Any]:
    return {ANSWER: answer(*inputs)}


def _gradient(result: Any, leaf: Tensor) -> Tensor | None:
    """Return the gradient of the result's sum; None where none flows."""
    if not isinstance(result, Tensor) or not result.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(result.sum(), leaf, allow_unused=True)
    return None if gradient is None else gradient.detach()


def _plain(value: Any) -> Any:
    """Return ``value`` as data of exactly the built-in types; what isn't data becomes `Foreign`."""
    if value is None or value is Ellipsis:
        return value
    if isinstance(value, Tensor):
        return torch.Tensor.detach(value).as_subclass(torch.Tensor).cpu().clone()
    if isinstance(value, np.ndarray):
        return np.array(value) if value.dtype.kind in "bifu" else Foreign("NumPy array of objects")
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple | list):
        items = [_plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return Foreign(type(value).__name__)


def _unchanged(now: Any, before: Any) -> bool:
    if isinstance(before, Tensor):
        same_kind = now.shape == before.shape and now.dtype == before.dtype
        return bool(same_kind and torch.equal(now.detach(), before))
    try:
        return bool(now == before)
    except (RuntimeError, ValueError):  # tensors or arrays put into a list of numbers
        return False


def _describe(error: BaseException, answer: Answer) -> Raised:
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error))
    text = text.strip().splitlines()[0] if text.strip() else ""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    line, trace = None, error.__traceback__
    while trace is not None and code is not None:
        # The innermost frame of the learner's own file or cell: another function of theirs, called on the way, counts.
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    source = "" if line is None or code is None else linecache.getline(code.co_filename, line).strip()
    return Raised(type(error).__name__, textwrap.shorten(text, 200, placeholder=" ..."), line, source)


# -- before it is called ------------------------------------------------------------------------


def has_blank(answer: Any) -> bool:
    """Return whether ``...`` still stands where a learner is to write something (``x[..., 0]`` is no blank)."""
    if answer is Ellipsis:
        return True
    code = getattr(answer, "__code__", None)
    if code is None:
        return False
    if code.co_filename == "<string>":  # made by `exec`; Python 3.13 would show what `python -c` was given
        return Ellipsis in code.co_consts
    try:
        return blank_in(textwrap.dedent(inspect.getsource(answer)))
    except (OSError, TypeError, SyntaxError):
        return Ellipsis in code.co_consts


def blank_in(source: str) -> bool:
    """Return whether a blank still stands in this code.

    Raises:
        SyntaxError: it isn't Python.
    """
    tree = ast.parse(source)
    indices = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.Subscript) for part in ast.walk(node)
    }
    return any(
        isinstance(node, ast.Constant) and node.value is Ellipsis and id(node) not in indices
        for node in ast.walk(tree)
    )


def _not_a_function(exercise: Exercise, answer: Any) -> str:
    what = "None" if answer is None else f"a {_kind(answer)}"
    name = exercise.id
    return f"the check needs the function itself, but got {what}: pass {name}, without calling it."


def _kind(value: Any) -> str:
    return "tensor" if isinstance(value, Tensor) else type(value).__name__


def _arguments_misfit(exercise: Exercise, answer: Answer) -> str:
    try:
        mine = inspect.signature(answer)
    except (TypeError, ValueError):
        return ""
    asked = inspect.signature(exercise.solution).parameters
    # With a fixture, the answer gets what the solution gets rather than the probe's own inputs.
    calls = [probe.inputs for probe in exercise.probes] if exercise.fixture is None else [tuple(asked)]
    try:
        for inputs in calls:
            mine.bind(*inputs)
    except TypeError:
        return f"it is called as {exercise.id}({', '.join(asked)}), but yours takes ({', '.join(mine.parameters)})."
    return ""


# -- leaving everything as it was ---------------------------------------------------------------


class _Tail(io.TextIOBase):
    """Take what is printed and keep only the end, however much it is."""

    def __init__(self) -> None:
        self._text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._text = (self._text + text)[-2000:]
        return len(text)

    def forget(self) -> None:
        self._text = ""

    def last(self) -> str:
        """Return the last two lines as one."""
        lines = [line.strip() for line in self._text.splitlines() if line.strip()]
        return re.sub(r" at 0x[0-9a-fA-F]+", "", " / ".join(lines[-2:]))[-160:]


@contextlib.contextmanager
def _undisturbed(tail: _Tail) -> Iterator[None]:
    """Restore random numbers, the default type, output streams and warnings afterwards.

    Grad mode and the default device are each thread's own, so that an answer can't reach ours.
    """
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    states = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    gpu_states = torch.cuda.get_rng_state_all() if on_gpu else []
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.set_default_dtype(torch.float32)
        with contextlib.redirect_stdout(tail), contextlib.redirect_stderr(tail), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            # Asked first: setting it, even to what it is, imports torch's compiler, which takes seconds.
            torch.use_deterministic_algorithms(deterministic, warn_only=only_warn)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if on_gpu:
            torch.cuda.set_rng_state_all(gpu_states)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


# -- the time limit -----------------------------------------------------------------------------


class _TimeUp(BaseException):
    """Stop an answer whose time is up; not an Exception, so that ``except Exception`` lets it pass."""


def _run(work: Callable[[threading.Event], None], limit: float) -> str:
    """Run ``work`` in a thread of its own: "" when it ended, else "ended" or "running" after a time-out.

    A thread on every platform rather than a signal where there is one: an answer that swallows the
    exception, or hangs outside Python, can be left behind, and its grad mode is its own. ``work`` gets an
    event that is set once it is left behind.
    """
    trouble: list[BaseException] = []
    abandoned, busy = threading.Event(), threading.Lock()

    def guarded() -> None:
        try:
            work(abandoned)
        except _TimeUp:
            pass
        except BaseException as error:
            trouble.append(error)
        finally:
            busy.release()

    worker = threading.Thread(target=guarded, name="kdcourse-check", daemon=True)
    busy.acquire()
    worker.start()
    try:
        ended = busy.acquire(timeout=limit)
    except BaseException:  # Ctrl-C: the answer ends too
        _stop(worker, busy, abandoned)
        raise
    if not ended:
        return _stop(worker, busy, abandoned)
    worker.join()
    if trouble:
        raise trouble[0]
    return ""


def _stop(worker: threading.Thread, busy: threading.Lock, abandoned: threading.Event) -> str:
    """Raise `_TimeUp` inside ``worker``, which holds ``busy`` as long as it works.

    Between telling the worker and its hearing of it, nothing written in Python is called here: in Python 3.11
    such a call waits until the exception is delivered wherever calls are traced (a debugger, coverage), and to
    a worker that sleeps outside Python that may be never.
    """
    tell, free = ctypes.pythonapi.PyThreadState_SetAsyncExc, busy.acquire
    its, mine = ctypes.c_ulong(worker.ident or 0), ctypes.c_ulong(threading.get_ident())
    time_up, nothing = ctypes.py_object(_TimeUp), ctypes.py_object()
    abandoned.set()
    # Told again and again: a bare `except` swallows one, but hardly one at every place of its loop.
    for _ in range(int(_GRACE / _PAUSE)):
        tell(its, time_up)
        if free(True, _PAUSE):
            worker.join()
            return "ended"
    tell(its, nothing)  # takes back what it hasn't heard yet
    # The interpreter notes only that some thread is to be told, and forgets it when one hears: here, this one.
    try:
        tell(mine, time_up)
        while True:
            pass
    except _TimeUp:
        pass
    return "running"
