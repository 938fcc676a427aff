"""Draw hidden probes for an exercise, so that a table of the visible ones is no answer.

What a probe is about stays: shapes, temperatures, which classes occur, who is better, a probability of exactly 0. There
is one rule per kind of input (`_anew`); where that isn't enough, an exercise or a probe brings its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from torch import Tensor

from kdcourse.checks.exercise import Exercise, Probe
from kdcourse.checks.judge import agree, likely, right
from kdcourse.checks.observe import observe_ours
from kdcourse.checks.probes import Draw
from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError

_ATTEMPTS = 50


@lru_cache(maxsize=1024)
def varied(exercise: Exercise, seed: int) -> Exercise:
    """Return ``exercise`` with probes drawn from ``seed``.

    Its solution is right on them, every known mistake is recognised by its name, and a table of the right results on
    the visible probes is wrong. Unsuitable draws are rejected.

    Raises:
        ArgumentError: the seed is no whole number.
    """
    if type(seed) is not int:
        raise ArgumentError(
            f"Hidden probes are drawn from a whole number, but seed is {seed!r}. Give it as an int."
        )
    for attempt in range(_ATTEMPTS):
        draw = Draw(exercise.id, seed, attempt)
        probes = [_varied_probe(draw, exercise, number) for number in range(len(exercise.probes))]
        if exercise.shuffled:
            probes = [probes[place] for place in draw.order(len(probes)).tolist()]
        other = replace(exercise, probes=tuple(probes), hidden=True)
        if _serves(exercise, other):
            return other
    raise AssertionError(f"no suitable probes for {exercise.id} and seed {seed} in {_ATTEMPTS} draws")


def _varied_probe(draw: Draw, exercise: Exercise, number: int) -> Probe:
    probe = exercise.probes[number]
    vary = probe.vary or exercise.vary
    where = probe.where
    if re.search(r"\d", where) and not any(isinstance(value, Tensor | list) for value in probe.inputs):
        where = f"on test case {number + 1}, whose numbers the lesson doesn't show"  # the text names the visible ones
    return replace(
        probe, inputs=_anew(draw, probe) if vary is None else vary(draw, *probe.inputs), where=where
    )


def _serves(visible: Exercise, other: Exercise) -> bool:
    """Return whether these probes tell a right answer from every known mistake and from a table of the visible ones."""
    before, now = observe_ours(visible, visible.solution), observe_ours(other, other.solution)
    if all(agree(visible, one, two) for one, two in zip(before, now, strict=True)):
        return False
    for mistake in other.mistakes:
        theirs = observe_ours(other, mistake.example)
        if right(other, theirs) or likely(other, theirs) is not mistake:
            return False
    return True


# -- one rule for each kind of input ------------------------------------------------------------


def _anew(draw: Draw, probe: Probe) -> tuple[Any, ...]:
    if any(isinstance(value, Tensor) for value in probe.inputs):
        # Numbers beside tensors are temperatures and places, which `where` names.
        return tuple(
            _tensor(draw, value, probe.extreme) if isinstance(value, Tensor) else value
            for value in probe.inputs
        )
    curve = _curve(draw, probe.inputs)
    return tuple(
        [curve(item) for item in value] if isinstance(value, list) else curve(value) for value in probe.inputs
    )


def _tensor(draw: Draw, tensor: Tensor, extreme: bool) -> Tensor:
    if not tensor.is_floating_point():
        # Labels, an order of images, rights and wrongs: the same ones elsewhere. Masks stay where they are.
        return tensor if extreme or bool((tensor == IGNORE).any()) else draw.permuted(tensor)
    if bool((tensor == tensor.flatten()[0]).all()):
        return tensor.clone()  # evenly spread probabilities, a velocity of 0
    if _are_shares(tensor):
        if tensor.ndim == 1:
            return tensor ** draw.between(0.7, 1.4)  # confidences: one of exactly 1 stays so
        return (tensor.log() + draw.noise(tensor, 0.7)).softmax(-1)  # rows that sum to 1: a 0 stays 0
    if extreme:
        return tensor + draw.noise(tensor)
    return 0.7 * tensor + draw.noise(tensor, 0.7 * float(tensor.std()))


def _are_shares(tensor: Tensor) -> bool:
    if not bool(((tensor >= 0) & (tensor <= 1)).all()):
        return False
    return tensor.ndim == 1 or bool((tensor.sum(-1) - 1).abs().max() < 1e-5)


def _curve(draw: Draw, inputs: Sequence[Any]) -> Callable[[float], float]:
    """Return one rising curve for all numbers of a probe: whatever was larger still is, and shares stay shares."""
    flat = [item for value in inputs for item in (value if isinstance(value, list) else [value])]
    if max(flat) <= 1:
        power, scale = draw.between(1.1, 1.4), 1.0
    else:  # losses, seconds: almost in proportion, for the sake of rules that speak of 10 %
        power, scale = draw.between(0.97, 1.03), draw.between(1.1, 1.8)
    return lambda value: scale * value**power
