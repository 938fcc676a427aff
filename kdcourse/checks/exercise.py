"""What an exercise is: a solution, the tries it is put to, and the mistakes that learners make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Answer = Callable[..., Any]
Parts = Mapping[str, Any]
Vary = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class Probe:
    """One try: what an answer is given.

    Args:
        inputs: positional arguments: tensors, numbers, words, and lists of those. Every call gets fresh copies.
        where: names the try in a message, such as "at T = 4" or "for a batch of one picture".
        extreme: a nasty case that a wrong answer may fail in a way of its own (an overflow, say). An answer
            that is wrong on ordinary tries is likened to a mistake by those alone.
        vary: as in `Exercise`, for this try alone.
    """

    inputs: tuple[Any, ...]
    where: str
    extreme: bool = False
    vary: Vary | None = None


@dataclass(frozen=True, eq=False)
class Mistake:
    """A known way of getting an exercise wrong.

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
    """One exercise of one lesson.

    Args:
        id: what ``check`` calls it; for a function, the function's name.
        title: one line.
        solution: a right answer; its docstring says exactly what is asked.
        probes: what an answer is put to, in the order in which a message looks for the first difference.
        mistakes: in the order in which they are considered.
        fixture: calls ``answer(*inputs)`` and returns what there is to see, by name, as plain values; None sees
            what the answer returns. An exercise about models builds them here, so that a try stays plain.
        gradient: position of the argument through which a gradient must flow back from the result.
        relative, absolute: how far a number may be off: |found - expected| <= relative * largest expected
            number of its tensor + absolute.
        tell: ``(expected, found)`` of one part -> what is wrong with it in words, or None for nothing to say; for
            answers that look like no known mistake, and never with the right number in it.
        vary: ``(draw, *inputs)`` of a try -> inputs of the same sort with other values, where the rules of
            `kdcourse.checks.vary` for each kind of input don't know enough.
        shuffled: whether varied tries come in another order too; for answers of so few kinds that a table could know
            them by their order alone.
    """

    id: str
    title: str
    solution: Answer
    probes: tuple[Probe, ...]
    mistakes: tuple[Mistake, ...]
    fixture: Callable[..., Parts] | None = None
    gradient: int | None = None
    relative: float = 1e-4
    absolute: float = 1e-6
    tell: Callable[[Any, Any], str | None] | None = None
    vary: Vary | None = None
    shuffled: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    ``mistake`` names what it looks like; None for a right answer, one not attempted, and a wrong one
    without a name. ``message`` is one line or two, the same on every machine; it begins with Right, Not
    attempted yet or Not yet.
    """

    right: bool
    attempted: bool
    mistake: str | None
    message: str

    def __str__(self) -> str:
        return self.message

    def _ipython_display_(self) -> None:
        """Nothing more: ``check`` has printed it, and often is the last thing in a cell."""
