"""State what a lesson says about its results, and check it there.

Notebooks are run again on other processors and their outputs compared to the letter. A claim therefore prints what
must hold on any machine, a bound. It prints what was measured as well where `at_least` and the others are given
``digits``; the comparison leaves these digits out (`MEASURED`).
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from kdcourse.errors import ArgumentError

# Set by the builder: claims then refuse numbers that another machine could round the other way.
BUILDING = "KDCOURSE_LESSON_BUILD"
RECORD = "KDCOURSE_CLAIMS"  # names a file: every claim appends one line of JSON to it, true or not
GO_ON = "KDCOURSE_CLAIMS_GO_ON"  # set as well: a false claim is printed and doesn't stop the lesson
_MARGIN = (
    0.1  # of a rounding step: this close to the border between two roundings, another machine may cross it
)
# What was measured, in a line such as "gain: +9.8 points over 3 seeds (+9.7, ...; at least 6 points on any machine)".
# It differs from machine to machine, so notebooks are compared without it (tests/notebooks/measured.cfg, for nbval).
MEASURED = re.compile(
    r"(?<=: )[^\n]*\d[^\n]*(?=(?: \(|; )(?:at least|at most|between) [^()\n]* on any machine\))"
)
_COLUMNS = 78  # what the website's column of text holds, and less than JupyterLab's


@dataclass(frozen=True)
class Bound:
    """Hold a number and what is said of it; made by `at_least`, `at_most` and `between`."""

    value: float
    holds: bool
    words: str
    low: float = -math.inf
    high: float = math.inf
    said: str = ""  # what is printed, if not ``words``: the measured value and the bound


def at_least(
    value: float | Sequence[float], bound: float, unit: str = "", digits: int | None = None
) -> Bound:
    """Return evidence that must be at least ``bound``.

    It prints ``at least BOUND``, or with ``digits`` the measured value, too.

    Args:
        value: a number, or one number per seed, whose mean is meant.
        bound: what must hold on any machine.
        unit: such as "%"; "points" are differences, printed with their sign.
        digits: of the measured value, after the decimal point. Without it, that value isn't printed.
    """
    return _bound(value, f"at least {_number(bound, unit)}", unit, digits, low=bound)


def at_most(value: float | Sequence[float], bound: float, unit: str = "", digits: int | None = None) -> Bound:
    """Return evidence that must be at most ``bound``; see `at_least`."""
    return _bound(value, f"at most {_number(bound, unit)}", unit, digits, high=bound)


def between(
    value: float | Sequence[float], low: float, high: float, unit: str = "", digits: int | None = None
) -> Bound:
    """Return evidence that must lie between ``low`` and ``high``; see `at_least`."""
    return _bound(value, f"between {low:g} and {_number(high, unit)}", unit, digits, low=low, high=high)


def _bound(
    value: float | Sequence[float],
    words: str,
    unit: str,
    digits: int | None,
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> Bound:
    """Return evidence; the mean of several values is compared with both ends."""
    values = [float(each) for each in value] if isinstance(value, Sequence) else [float(value)]
    if not values:
        raise ArgumentError("Evidence needs a value, or one per seed; found none.")
    mean, said = statistics.fmean(values), ""
    if digits is not None:
        sign = "+" if unit == "points" else ""
        each = [f"{one:{sign},.{digits}f}" for one in (mean, *values)]
        said = f"{each[0]} {unit}".rstrip()
        if isinstance(value, Sequence):
            said += f" over {len(values)} seeds ({', '.join(each[1:])}; {words} on any machine)"
        else:
            said += f" ({words} on any machine)"
    return Bound(mean, low <= mean <= high, words, low, high, said)


def claim(sentence: str, holds: bool, **evidence: float | str | Bound) -> None:
    """Print a sentence and its evidence if it is true; stop the lesson if it isn't.

    For example::

        claim("Five teachers together are better than the best of them", ensemble > best,
              lead=at_least(100 * (ensemble - best), 0.3, "points", digits=1))

    prints::

        Claim holds: Five teachers together are better than the best of them.
          lead: +0.6 points (at least 0.3 points on any machine)

    Args:
        sentence: what is claimed, one sentence.
        holds: whether it is so.
        evidence: the numbers behind it, by name. A whole number and a string are printed as they are, a `Bound`
            as its bound; any other number is rounded to one significant figure, since its further digits
            depend on the machine. Where the lesson is built, a number close to the border between two
            roundings is refused: elsewhere it would be rounded the other way.

    Raises:
        AssertionError: the sentence, or a bound among its evidence, isn't true; says the exact numbers.
        ArgumentError: no sentence; while building, a number that can't be rounded safely.
    """
    if not sentence.strip():
        raise ArgumentError("A claim needs a sentence that says what is true; found none.")
    exact = {name: part.value if isinstance(part, Bound) else part for name, part in evidence.items()}
    broken = [
        f"{_spoken(name)} is {part.value:g}, not {part.words}"
        for name, part in evidence.items()
        if isinstance(part, Bound) and not part.holds
    ]
    if os.environ.get(RECORD):
        _record(sentence, bool(holds), evidence)
    if broken or not holds:
        found = ", ".join(f"{_spoken(name)} = {_full(value)}" for name, value in exact.items())
        why = "; ".join(broken) or "its condition is false"
        message = f"This does not hold here: {sentence.strip()} ({why}; {found or 'no evidence given'})"
        if not os.environ.get(GO_ON):
            raise AssertionError(message)
        print(in_lines(message))
        return
    print(in_lines(f"Claim holds: {sentence.strip().rstrip('.')}."))
    for name, part in evidence.items():
        print(f"  {_spoken(name)}: {_words(name, part)}")


def _record(sentence: str, holds: bool, evidence: dict[str, float | str | Bound]) -> None:
    """Append a claim to the file that `RECORD` names; an end that a bound doesn't have is null."""
    found: dict[str, object] = {}
    for name, part in evidence.items():
        if isinstance(part, Bound):
            ends = {"low": part.low, "high": part.high}
            found[name] = {"value": part.value} | {
                end: float(bound) if math.isfinite(bound) else None for end, bound in ends.items()
            }
        else:
            found[name] = {"value": part if isinstance(part, str) else float(part)}
    line = json.dumps({"sentence": sentence.strip(), "holds": holds, "evidence": found})
    with open(os.environ[RECORD], "a", encoding="utf-8") as file:
        file.write(line + "\n")


def in_lines(text: str) -> str:
    """Wrap prose as lessons print it, later lines indented.

    JupyterLab would break long lines in the middle of a word, and a narrow page break each line twice.
    """
    return textwrap.fill(
        text, _COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _words(name: str, part: float | str | Bound) -> str:
    if isinstance(part, Bound):
        return part.said or part.words
    if isinstance(part, str):
        return part
    if float(part).is_integer() and not isinstance(part, float):
        return f"{part:,}"
    value = float(part)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    step = 10.0 ** math.floor(math.log10(abs(value)))
    if os.environ.get(BUILDING) and abs((abs(value) / step) % 1 - 0.5) < _MARGIN:
        raise ArgumentError(
            f"The evidence {name!r} is {value:g}, which another machine may round the other way. State it as "
            f"a bound: {name}=at_least(value, ...), at_most or between."
        )
    return f"about {round(value / step) * step:g}"


def _full(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _number(value: float, unit: str) -> str:
    return f"{value:g} {unit}".rstrip()


def _spoken(name: str) -> str:
    return name.replace("_", " ")
