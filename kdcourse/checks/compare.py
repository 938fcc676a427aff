"""Compare what an answer gave with what was expected, and say how they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdcourse.checks.outcomes import Foreign

Tell = Callable[[Any, Any], str | None]


@dataclass(frozen=True)
class Difference:
    """Hold a difference: ``name`` for faults of form (a wrong shape, say), else None; ``says`` continues 'it ...'."""

    name: str | None
    says: str


def same(expected: Any, found: Any, relative: float, absolute: float) -> bool:
    """Return whether the values are the same, whatever their form: NaN equals NaN, a tensor may hold a number."""
    if isinstance(expected, np.ndarray):  # one of two answers compared with each other
        expected = torch.from_numpy(expected)
    if isinstance(expected, Tensor):
        expected, found = expected.double(), _as_tensor(found)
        if found is None or found.shape != expected.shape:
            return False
        scale = _largest(expected)
        return torch.allclose(found, expected, rtol=0, atol=relative * scale + absolute, equal_nan=True)
    if _is_number(expected):
        if isinstance(found, float) and isinstance(expected, float):
            # The same as below, a hundred times as fast; most answers are numbers.
            scale = abs(expected) if math.isfinite(expected) else 0.0
            equal = expected == found or (math.isnan(expected) and math.isnan(found))
            return equal or abs(found - expected) <= relative * scale + absolute
        found = _as_tensor(found)
        if found is None or found.numel() != 1:
            return False
        return same(torch.tensor(expected, dtype=torch.float64), found.reshape(()), relative, absolute)
    if isinstance(expected, tuple | list):
        if not isinstance(found, tuple | list | Tensor) or (isinstance(found, Tensor) and found.ndim == 0):
            return False
        if len(found) != len(expected):
            return False
        if all(_is_number(item) for item in expected):
            # Numbers of one answer share a scale, as those of a tensor do.
            row = _as_tensor([_number_in(item) for item in found])
            return same(torch.tensor(expected, dtype=torch.float64), row, relative, absolute)
        return all(same(one, other, relative, absolute) for one, other in zip(expected, found, strict=True))
    return type(expected) is type(found) and bool(expected == found)


def form(expected: Any, found: Any) -> Difference | None:
    """Return what is wrong with the form of ``found`` (type, length, shape, dtype, a NaN in it), or None."""
    if found is None:
        return Difference("nothing returned", "gives None: does every path through it end in a return?")
    if isinstance(expected, Tensor):
        return _tensor_form(expected, found)
    if isinstance(expected, bool | str):
        return None if type(found) is type(expected) else _type(expected, found)
    if _is_number(expected):
        return _number_form(expected, found)
    if isinstance(expected, tuple | list):
        if not isinstance(found, tuple | list):
            return Difference(
                "wrong type", f"gives {_a(found)} where {len(expected)} values are asked for, in one tuple."
            )
        if len(found) != len(expected):
            return Difference(
                "wrong length", f"gives {len(found)} values where {len(expected)} are asked for."
            )
        faults = (form(one, other) for one, other in zip(expected, found, strict=True))
        return next((fault for fault in faults if fault is not None), None)
    return None


def difference(
    expected: Any, found: Any, relative: float, absolute: float, tell: Tell | None
) -> Difference | None:
    """Return what is wrong with ``found``, or None if it is right in form and value."""
    fault = form(expected, found)
    if fault is not None or same(expected, found, relative, absolute):
        return fault
    words = None if tell is None else tell(expected, found)
    return Difference(None, words or _direction(expected, found, relative, absolute))


def _tensor_form(expected: Tensor, found: Any) -> Difference | None:
    if not isinstance(found, Tensor):
        advice = "" if isinstance(found, Foreign) else " Turn it into one with torch.as_tensor(...)."
        if expected.ndim == 0 and _is_number(
            found
        ):  # a loss, which as_tensor would cut off from its gradient
            advice = " Leave out .item() or float(): the gradient needs the tensor."
        return Difference("wrong type", f"gives {_a(found)} where a torch tensor is asked for.{advice}")
    if found.shape != expected.shape:
        return Difference(
            "wrong shape",
            f"gives a tensor of shape {list(found.shape)} where {list(expected.shape)} is asked for.",
        )
    if found.is_floating_point() != expected.is_floating_point():
        kind = "floating-point" if expected.is_floating_point() else "whole"
        return Difference("wrong dtype", f"gives {_dtype(found)} where {kind} numbers are asked for.")
    if found.is_floating_point() and found.dtype.itemsize < min(4, expected.dtype.itemsize):
        return Difference("wrong dtype", f"gives {_dtype(found)}, which rounds too much: keep float32.")
    return _finite_form(expected, found)


def _number_form(expected: float, found: Any) -> Difference | None:
    whole = isinstance(expected, int)
    wanted = "a whole number (int)" if whole else "a plain number (float)"
    if isinstance(found, Tensor | np.ndarray) and math.prod(found.shape) == 1:
        out = "int(...)" if whole else ".item()"
        return Difference(
            "number left in a tensor", f"gives a tensor where {wanted} is asked for: {out} takes it out."
        )
    if isinstance(found, bool) or not _is_number(found) or (whole and isinstance(found, float)):
        return Difference("wrong type", f"gives {_a(found)} where {wanted} is asked for.")
    return _finite_form(torch.tensor(float(expected)), torch.tensor(float(found)))


def _finite_form(expected: Tensor, found: Tensor) -> Difference | None:
    if not found.is_floating_point() or not bool(expected.isfinite().all()):
        return None
    if bool(found.isnan().any()):
        return Difference(
            "not a number", "gives NaN: 0 / 0, infinity - infinity or 0 * infinity happens on the way."
        )
    if bool(found.isinf().any()):
        return Difference("infinite", "gives infinity: exp of a large number, log of 0 or a division by 0.")
    return None


def _direction(expected: Any, found: Any, relative: float, absolute: float) -> str:
    if isinstance(expected, tuple | list):
        pairs = zip(expected, found, strict=True)
        wrong = [n for n, (one, other) in enumerate(pairs) if not same(one, other, relative, absolute)]
        places = " and ".join(("first", "second", "third", "fourth")[n] for n in wrong if n < 4)
        if places and len(wrong) < len(expected):
            return f"gives a wrong {places} value; the rest is right."
        return "gives other values (their number and types are right)."
    if _is_number(expected):
        return f"gives too {'large' if found > expected else 'small'} a number."
    if isinstance(expected, str):
        return f"gives {found[:40]!r}."
    if isinstance(expected, Tensor) and expected.ndim == 0:
        return f"gives too {'large' if found > expected else 'small'} a number."
    if isinstance(expected, Tensor):
        return f"gives other numbers (the form is right: {list(expected.shape)})."
    return f"gives {found}."


def decimals(pairs: Sequence[tuple[Any, Any]], most: int = 5) -> int | None:
    """Return to how many decimal places all second values are the first ones, rounded or all cut off; or None.

    ``pairs`` holds results (expected, found); ``most`` is the largest number of places looked for.
    """
    rows = [(_as_tensor(expected), _as_tensor(found)) for expected, found in pairs]
    for places in range(most + 1):
        for shorten in (torch.round, torch.trunc):
            step = 10.0**-places
            if all(
                one is not None
                and other is not None
                and one.shape == other.shape
                and torch.allclose(other, shorten(one / step) * step, rtol=1e-6, atol=1e-9, equal_nan=True)
                for one, other in rows
            ):
                return places
    return None


def brief(value: Any, digits: int = 4, most: int = 12) -> str:
    """Return a value in a few words; of a long list or large tensor only the beginning."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        if value.numel() <= most:
            return brief(value.tolist(), digits)
        begin = ", ".join(brief(item, digits) for item in value.flatten()[:4].tolist())
        return f"{begin}, ... {list(value.shape)}"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, tuple | list):
        inside = ", ".join(brief(item, digits) for item in value[:most]) + (
            ", ..." if len(value) > most else ""
        )
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    return str(value)[:40]


def side_by_side(expected: Any, found: Any) -> tuple[str, str, str]:
    """Return where two values of one form differ most (in large tensors, else ""), and both in a few words."""
    where = ""
    if isinstance(expected, Tensor) and isinstance(found, Tensor) and expected.numel() > 12:
        worst = (found.double() - expected.double()).abs().nan_to_num(math.inf).argmax()
        place = [int(axis) for axis in torch.unravel_index(worst, expected.shape)]
        where, expected, found = f" at {place}", expected[tuple(place)], found[tuple(place)]
    for digits in (4, 6, 9):
        words = brief(expected, digits), brief(found, digits)
        if words[0] != words[1]:
            break
    return where, *words


def _type(expected: Any, found: Any) -> Difference:
    wanted = {"str": "a word (str)", "bool": "True or False"}[type(expected).__name__]
    return Difference("wrong type", f"gives {_a(found)} where {wanted} is asked for.")


def _as_tensor(value: Any) -> Tensor | None:
    """float64, or None where there are no numbers in a regular shape."""
    try:
        if isinstance(value, Tensor):
            return value.double()
        if isinstance(value, np.ndarray | list | tuple) or _is_number(value):
            return torch.as_tensor(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass
    return None


def _number_in(value: Any) -> Any:
    """A number that stands in a tensor of one element, taken out; anything else as it is."""
    return value.item() if isinstance(value, Tensor | np.ndarray) and math.prod(value.shape) == 1 else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _largest(tensor: Tensor) -> float:
    finite = tensor[tensor.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _a(value: Any) -> str:
    if value is Ellipsis:
        return "a blank (...)"
    if isinstance(value, Foreign):
        return f"an object of type {value.kind}"
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    names = {"str": "a string", "int": "an int", "Tensor": "a tensor"}
    kind = type(value).__name__
    if isinstance(value, Tensor) and value.ndim:
        return f"a tensor of shape {list(value.shape)}"
    return names.get(kind, f"a {kind}")
