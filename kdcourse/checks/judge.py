"""Turn what was observed of an answer into a verdict: right, not attempted, a known mistake, or wrong otherwise."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from kdcourse.checks.compare import Difference, brief, decimals, difference, same, side_by_side
from kdcourse.checks.exercise import Exercise, Mistake, Verdict
from kdcourse.checks.observe import observe_ours
from kdcourse.checks.outcomes import ANSWER, GRADIENT, RECORDING, Observed, Outcome

# The words say everything; the symbol repeats them, so that no colour is needed.
RIGHT, BLANK, WRONG = "Right ✓", "Not attempted yet ○", "Not yet ✗"
_LIKE = " looks like "
# Faults that need no numbers beside them.
_FORM = (
    "nothing returned",
    "wrong type",
    "wrong length",
    "wrong shape",
    "wrong dtype",
    "number left in a tensor",
)
# Error messages of common slips, and what causes them.
_ERRORS = {
    r"'(builtin_function_or_method|method|function)'": "something is named but not called: are its () missing?",
    r"operand type\(s\) for \^": "in Python, ** raises to a power.",
    r"'NoneType'": "something there is None. Methods that work in place, such as sort, return nothing.",
    r"'bool' object": "a comparison gave a single True or False. Is there a tensor on both of its sides?",
    r"size of tensor a .* must match": "the shapes of two tensors don't fit. After a sum, mean or max along an axis, "
    "keepdim=True keeps that axis with length 1.",
    r"numpy\(\) on Tensor that requires grad": "NumPy can't follow gradients: use torch's functions.",
    r"cannot be converted to Scalar|only one element tensors": "one number is needed there, and the tensor holds "
    "several: is a mean or sum missing?",
    r"Dimension out of range": "axes are counted from 0.",
}


def judge(exercise: Exercise, observed: Observed) -> Verdict:
    """Return the verdict on what `observe` saw of an answer."""
    if observed.misfit:
        return _not_attempted(exercise) if observed.blank else _wrong(exercise, None, observed.misfit)
    if observed.stuck:
        return _not_attempted(exercise) if observed.blank else _stuck(exercise, observed)
    expected = observe_ours(exercise, exercise.solution)
    faults = list(_faults(exercise, expected, observed.outcomes))
    if not faults and not any(outcome.changed for outcome in observed.outcomes):
        return _right(exercise)
    if faults and (observed.blank or _says_not_implemented(observed)):
        return _not_attempted(exercise)
    mistake = likely(exercise, observed.outcomes)
    if mistake is not None:
        return _wrong(exercise, mistake.name, f"Hint: {mistake.hint}")
    return _unnamed(exercise, observed, faults)


# -- right or wrong -----------------------------------------------------------------------------


def _faults(
    exercise: Exercise, expected: tuple[Outcome, ...], found: tuple[Outcome, ...]
) -> Iterator[tuple[int, str, Difference | None]]:
    """Yield where outcomes differ: number of the probe, part, how (None: the answer raised an error)."""
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        if other.error is not None:
            yield number, ANSWER, None
            continue
        for part, value in one.parts.items():
            told = exercise.tell if part == ANSWER else None
            got = other.parts.get(part)
            if part == GRADIENT and got is None:
                yield number, part, Difference("gradient cut", "")
                continue
            fault = difference(value, got, exercise.relative, exercise.absolute, told)
            if fault is not None:
                yield number, part, fault


def right(exercise: Exercise, found: tuple[Outcome, ...]) -> bool:
    """Return whether these outcomes, one per probe, are those of a right answer."""
    expected = observe_ours(exercise, exercise.solution)
    changed = any(outcome.changed for outcome in found)
    return not changed and next(_faults(exercise, expected, found), None) is None


def right_probes(exercise: Exercise, observed: Observed) -> frozenset[int]:
    """Return the numbers of the probes on which an answer is right; none if it is blank or didn't end."""
    if observed.misfit or observed.stuck or observed.blank:
        return frozenset()
    found = observed.outcomes
    expected = observe_ours(exercise, exercise.solution)
    wrong = {number for number, _, _ in _faults(exercise, expected, found)}
    wrong |= {number for number, outcome in enumerate(found) if outcome.changed}
    twice = zip(found, observed.again, strict=False)
    wrong |= {number for number, (one, other) in enumerate(twice) if not agree(exercise, one, other)}
    return frozenset(range(len(found))) - wrong


def agree(exercise: Exercise, one: Outcome, other: Outcome) -> bool:
    """Return whether two answers did the same on one probe; gradients are left out, since they follow from the rest."""
    if one.error is not None or other.error is not None:
        return _error(one) == _error(other)
    return all(
        same(value, other.parts.get(part), exercise.relative, exercise.absolute)
        for part, value in one.parts.items()
        if part != GRADIENT
    )


def _error(outcome: Outcome) -> tuple[str, str] | None:
    return None if outcome.error is None else (outcome.error.kind, outcome.error.text)


# -- which mistake it matches -------------------------------------------------------------------


def likely(exercise: Exercise, found: tuple[Outcome, ...]) -> Mistake | None:
    """Return the known mistake that wrong outcomes match, or None."""
    expected = observe_ours(exercise, exercise.solution)
    ordinary = [number for number, probe in enumerate(exercise.probes) if not probe.extreme]
    extreme = [number for number, probe in enumerate(exercise.probes) if probe.extreme]
    wrong = [not agree(exercise, one, other) for one, other in zip(expected, found, strict=True)]
    like: Mistake | None = None
    for mistake in exercise.mistakes:
        if mistake.sign is not None and any(
            _shows(exercise, mistake, one, other) for one, other in zip(expected, found, strict=True)
        ):
            return mistake
        if not any(wrong):
            continue
        theirs = observe_ours(exercise, mistake.example)
        if not all(agree(exercise, theirs[n], found[n]) for n in ordinary):
            continue
        if all(agree(exercise, theirs[n], found[n]) for n in extreme):
            return mistake
        if like is None and any(wrong[n] for n in ordinary):
            # The same except on extreme probes, where two ways of writing one mistake may differ.
            like = mistake
    return like


def _shows(exercise: Exercise, mistake: Mistake, expected: Outcome, found: Outcome) -> bool:
    """Return whether one outcome shows the mistake's sign."""
    if mistake.sign is None or found.error is not None or not mistake.sign(found.parts):
        return False
    return not mistake.only_if_right or agree(exercise, expected, found)


# -- wrong in an unknown way --------------------------------------------------------------------


def _unnamed(
    exercise: Exercise, observed: Observed, faults: list[tuple[int, str, Difference | None]]
) -> Verdict:
    changed = next((n for n, outcome in enumerate(observed.outcomes) if outcome.changed), None)
    if changed is not None:
        name = list(_parameters(exercise))[observed.outcomes[changed].changed[0]]
        return _wrong(
            exercise,
            "inputs changed",
            f"Hint: it changes {name}, which its caller still needs. Make a new one rather than work in place "
            "(operators such as += and methods that end in _ or sort in place do that).",
        )
    number, part, fault = faults[0]
    where, outcome = exercise.probes[number].where, observed.outcomes[number]
    passed = sum(1 for n in range(len(exercise.probes)) if all(n != at for at, _, _ in faults))
    if fault is None:
        return _raised(exercise, where, outcome)
    if _random(exercise, observed):
        return _wrong(
            exercise,
            "random from call to call",
            "Hint: the same inputs give other results each time. Nothing here is to be left to chance.",
        )
    off = any(at == ANSWER and how is not None and how.name is None for _, at, how in faults)
    places = _rounded(exercise, observed.outcomes) if off else None
    if places is not None:
        return _wrong(
            exercise,
            "rounded",
            f"Hint: the results are rounded or cut off to {places} decimal places. Return them as they are."
            if places
            else "Hint: the results are rounded or cut off to whole numbers. Return them as they are.",
        )
    if part == RECORDING:
        return _wrong(
            exercise,
            "gradients switched off",
            "Hint: the result is right, but torch records no gradients any more after the call. Use `with "
            "torch.no_grad():`, which ends with its block.",
        )
    if part == GRADIENT:
        if fault.name == "gradient cut":
            return _wrong(
                exercise,
                "gradient cut",
                f"Hint: the value is right, but no gradient flows back to {_gradient_argument(exercise)}, so nothing "
                "could be trained with it. Look for detach, no_grad, item or NumPy on the way.",
            )
        says = f"The value is right, but {where}, its gradient is not: it {fault.says}"
        return _wrong(exercise, None, says + _numbers(exercise, number, part, outcome))
    subject = "it" if part == ANSWER else f"{part}: it"
    printed = f" (It printed last: {outcome.printed})" if outcome.printed else ""
    share = f"Right on {passed} of {len(exercise.probes)} test cases; " if passed else ""
    shown = (
        "" if fault.name in _FORM else _numbers(exercise, number, part, outcome, results=fault.name is None)
    )
    return _wrong(exercise, fault.name, f"{share}{where}, {subject} {fault.says}{printed}{shown}", looks=": ")


def _numbers(exercise: Exercise, number: int, part: str, found: Outcome, results: bool = True) -> str:
    """Return lines that show the input of a visible probe, and with ``results`` the result and the right one."""
    if exercise.hidden:
        return ""
    lines = []
    if exercise.fixture is None:
        inputs = exercise.probes[number].inputs
        given = (
            f"{name} = {brief(value)}" for name, value in zip(_parameters(exercise), inputs, strict=False)
        )
        lines.append(f"Input: {', '.join(given)}")
    if results:
        right = observe_ours(exercise, exercise.solution)[number].parts[part]
        at, expected, given_back = side_by_side(right, found.parts.get(part))
        lines += [f"Your result{at}: {given_back}", f"Expected: {expected}"]
    return "".join(f"\n  {line}" for line in lines)


def _rounded(exercise: Exercise, found: tuple[Outcome, ...]) -> int | None:
    """Return to how many decimal places all results are those of a right answer, rounded or cut off; or None."""
    expected = observe_ours(exercise, exercise.solution)
    if any(outcome.error is not None for outcome in found):
        return None
    return decimals(
        [(one.parts[ANSWER], other.parts[ANSWER]) for one, other in zip(expected, found, strict=True)]
    )


def _parameters(exercise: Exercise) -> list[str]:
    return list(inspect.signature(exercise.solution).parameters)


def _gradient_argument(exercise: Exercise) -> str:
    return _parameters(exercise)[exercise.gradient or 0]


def _random(exercise: Exercise, observed: Observed) -> bool:
    return any(
        not agree(exercise, one, other) for one, other in zip(observed.outcomes, observed.again, strict=False)
    )


def _says_not_implemented(observed: Observed) -> bool:
    errors = [outcome.error for outcome in observed.outcomes if outcome.error is not None]
    # The learner's own `raise NotImplementedError`; torch raises such errors too, where a tensor's type doesn't fit.
    return any(
        error.kind == "NotImplementedError" and (not error.text or "NotImplementedError" in error.code)
        for error in errors
    ) or any(value is Ellipsis for outcome in observed.outcomes for value in outcome.parts.values())


# -- in words -----------------------------------------------------------------------------------


def _right(exercise: Exercise) -> Verdict:
    count = len(exercise.probes)
    return Verdict(True, True, None, f"{RIGHT} {exercise.id}: what was asked for on all {count} test cases.")


def _not_attempted(exercise: Exercise) -> Verdict:
    return Verdict(
        False,
        False,
        None,
        f"{BLANK} {exercise.id}: write your code where the three dots (...) stand, then run both cells.",
    )


def _wrong(exercise: Exercise, mistake: str | None, second_line: str, looks: str = _LIKE) -> Verdict:
    quoted = f"'{mistake}'" if looks == _LIKE else mistake
    looks = f"{looks}{quoted}." if mistake else " isn't what was asked for."
    second_line = second_line[:1].upper() + second_line[1:]
    return Verdict(False, True, mistake, f"{WRONG} {exercise.id}{looks}\n  {second_line}")


def _raised(exercise: Exercise, where: str, outcome: Outcome) -> Verdict:
    error = outcome.error
    assert error is not None
    text = f"{error.kind}: {error.text}" if error.text else error.kind
    line = f" In line {error.line} of your code: {error.code}" if error.code else ""
    line += next((f" Hint: {hint}" for sign, hint in _ERRORS.items() if re.search(sign, error.text)), "")
    printed = f" (It printed last: {outcome.printed})" if outcome.printed else ""
    message = f"{WRONG} {exercise.id} stopped with an error, {where}: {text}"
    return Verdict(False, True, None, f"{message}\n {line}{printed}" if line or printed else message)


def _stuck(exercise: Exercise, observed: Observed) -> Verdict:
    number = len(observed.again or observed.outcomes) - 1
    outcome = (observed.again or observed.outcomes)[number]
    where = exercise.probes[number].where
    printed = f" (It printed last: {outcome.printed})" if outcome.printed else ""
    if observed.stuck == "ended":
        stopped, advice = "was stopped", "Look at its loops: does each come nearer to its end?"
    else:
        stopped = "can't be stopped"
        advice = (
            "It swallows every exception, or waits for something, and still runs: restart the kernel, then look at "
            "its loops and at bare excepts."
        )
    message = f"{WRONG} {exercise.id} took too long, {where}, and {stopped}.\n  {advice}{printed}"
    return Verdict(False, True, None, message)
