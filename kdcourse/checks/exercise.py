"""Define an exercise: its solution, the probes that answers are compared on, and the mistakes that learners make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Answer = Callable[..., Any]
Parts = Mapping[str, Any]
Vary = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class Probe:
    """Hold one test case: the inputs that an answer is called with.

    Args:
        inputs: positional arguments: tensors, numbers, words, and lists of those. Every call gets fresh copies.
        where: names the test case in messages, such as "at T = 4" or "for a batch of one image".
        extreme: an extreme case, which wrong answers may fail in different ways (by an overflow, say). An answer
            that is wrong on ordinary probes is classified by those alone.
        vary: as in `Exercise`, for this probe alone.
    """

    inputs: tuple[Any, ...]
    where: str
    extreme: bool = False
    vary: Vary | None = None


@dataclass(frozen=True, eq=False)
class Mistake:
    """Describe a known way of getting an exercise wrong.

    Args:
        name: short, distinct within the exercise.
        example: an answer that makes this mistake. Any answer that gives the same results on the exercise's probes is
            taken to make it too.
        hint: what to think about; leads there without giving the solution.
        sign: recognises the mistake in the parts seen for one probe (see `Exercise.fixture`), where results alone
            don't tell, such as a teacher that was called in train mode.
        only_if_right: the sign counts only for a probe on which the answer itself is right.
    """

    name: str
    example: Answer
    hint: str
    sign: Callable[[Parts], bool] | None = None
    only_if_right: bool = False


@dataclass(frozen=True, eq=False)
class Exercise:
    """Describe one exercise of one lesson.

    Args:
        id: the name of the function that learners write.
        title: one line.
        solution: a right answer; its docstring says exactly what is asked.
        probes: the test cases, in the order in which messages look for the first difference.
        mistakes: in the order in which they are considered.
        fixture: builds what the answer needs from the probe's plain inputs (a tiny model, say), calls the answer, and
            returns what was observed by name, as plain values; a function of a module, since a sandbox imports it by
            name. None calls ``answer(*inputs)`` and observes what it returns.
        gradient: position of the argument through which a gradient must flow back from the result.
        relative, absolute: tolerances: |found - expected| <= relative * largest expected
            number of its tensor + absolute.
        tell: ``(expected, found)`` -> what is wrong with a result in words, or None; for answers that match no known
            mistake. The words never give the right number away.
        vary: ``(draw, *inputs)`` -> inputs of the same kind with other values, where the general rules of
            `kdcourse.checks.vary` aren't enough.
        shuffled: whether varied probes are shuffled too; needed where there are so few possible answers that a table
            could know them by their order.
        hidden: whether its probes are hidden ones, of which messages show no numbers.
    """

    id: str
    title: str
    solution: Answer
    probes: tuple[Probe, ...]
    mistakes: tuple[Mistake, ...]
    fixture: Callable[..., Parts] | None = None
    gradient: int | None = None
    relative: float = 1e-5
    absolute: float = 1e-6
    tell: Callable[[Any, Any], str | None] | None = None
    vary: Vary | None = None
    shuffled: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Verdict:
    """Hold the result of a check.

    Attributes:
        right: whether the answer is right.
        attempted: whether there is an answer: no blank is left.
        mistake: the known mistake that the answer makes; None for a right answer, one that wasn't attempted, and a
            wrong one that matches no known mistake.
        message: a few lines, the same on every machine; it begins with Right, Not attempted yet or Not yet.
    """

    right: bool
    attempted: bool
    mistake: str | None
    message: str

    def __str__(self) -> str:
        return self.message

    def _ipython_display_(self) -> None:
        """Show nothing, since ``check`` has printed the message already, and often ends a cell."""
