"""Define the exercises of Ship it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.probes import Draw, numbers

# -- scale_and_zero_point -----------------------------------------------------------------------


def scale_and_zero_point(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    """Return scale and zero point for the range low..high, widened to hold 0, and whole numbers of so many bits."""
    smallest, largest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    ### BEGIN SOLUTION
    low, high = min(low, 0.0), max(high, 0.0)
    ### END SOLUTION
    ### BEGIN SOLUTION
    scale = (high - low) / (largest - smallest)
    zero_point = round(smallest - low / scale)
    ### END SOLUTION
    return scale, zero_point


def _ends(bits: int) -> tuple[int, int]:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _range(
    zero: Callable[[float, float, float, int, int], float],
    step: Callable[[float, float, int, int], float] = lambda low, high, s, b: (high - low) / (b - s),
    *,
    widen: bool = True,
    bits_used: int | None = None,
) -> Callable[..., tuple[float, int]]:
    """Make an answer from ``zero(low, high, scale, smallest, largest)`` and ``step(low, high, smallest, largest)``."""

    def answer(low: float, high: float, bits: int = 8) -> tuple[float, int]:
        ends = _ends(bits_used or bits)
        if widen:
            low, high = min(low, 0.0), max(high, 0.0)
        scale = step(low, high, *ends)
        return scale, round(zero(low, high, scale, *ends))

    return answer


def _right_zero(low: float, high: float, scale: float, smallest: int, largest: int) -> float:
    return smallest - low / scale


def _which(expected: tuple[float, int], found: tuple[float, int]) -> str | None:
    """Say which of the two is off, and in which direction."""
    if not found[0] > 0:
        return f"gives the scale {found[0]:.4g}; a scale is above 0."
    if abs(found[0] / expected[0] - 1) > 1e-5:
        return f"gives too {'large' if found[0] > expected[0] else 'small'} a scale."
    return f"gives the right scale, and too {'large' if found[1] > expected[1] else 'small'} a zero point."


def _other_range(draw: Draw, low: float, high: float, bits: int) -> tuple[float, float, int]:
    """Draw other ends on the same sides of 0, in the same order."""
    factor = draw.between(0.6, 1.9)
    return low * factor * draw.between(0.95, 1.0), high * factor * draw.between(1.0, 1.05), bits


SCALE_AND_ZERO_POINT = Exercise(
    id="scale_and_zero_point",
    title="Scale and zero point",
    solution=scale_and_zero_point,
    # Both numbers share a tolerance, and a scale is small.
    relative=1e-9,
    absolute=1e-8,
    tell=_which,
    vary=_other_range,
    probes=(
        Probe((-1.37, 2.21, 8), "for -1.37 to 2.21 in 8 bits"),
        Probe((0.0, 6.3, 8), "for 0 to 6.3, after a ReLU"),
        Probe((-0.9, 0.23, 4), "for -0.9 to 0.23 in 4 bits"),
        Probe((-2.6, 1.7, 3), "for -2.6 to 1.7 in 3 bits"),
        Probe((0.83, 3.4, 8), "for 0.83 to 3.4, which doesn't hold 0"),
        Probe((-4.2, -1.1, 6), "for -4.2 to -1.1 in 6 bits, which doesn't hold 0"),
    ),
    mistakes=(
        Mistake(
            "0 not in the range",
            example=_range(_right_zero, widen=False),
            hint="right where low <= 0 <= high. Elsewhere widen the range first: a convolution pads with zeros, which "
            "must stay exact.",
        ),
        Mistake(
            "as many steps as numbers",
            example=_range(_right_zero, lambda low, high, s, b: (high - low) / (b - s + 1)),
            hint="count the steps between the smallest and the largest whole number: one fewer than there are numbers.",
        ),
        Mistake(
            "half of the numbers",
            example=_range(_right_zero, lambda low, high, s, b: (high - low) / b),
            hint="whole numbers below 0 count as well: the steps go from smallest to largest.",
        ),
        Mistake(
            "same range on both sides of 0",
            example=_range(lambda *_: 0, lambda low, high, s, b: max(-low, high) / b),
            hint="that is symmetric rounding, which suits weights. Here low and high may differ, and no whole number "
            "should be wasted.",
        ),
        Mistake(
            "zero point always 0",
            example=_range(lambda *_: 0),
            hint="the scale is right. Which whole number stands for 0, if smallest stands for low?",
        ),
        Mistake(
            "counted from 0",
            example=_range(lambda low, high, scale, s, b: -low / scale),
            hint="low is stored as the smallest whole number, which is below 0: begin to count there.",
        ),
        Mistake(
            "wrong direction from smallest",
            example=_range(lambda low, high, scale, s, b: s + low / scale),
            hint="0 lies above low, so its whole number lies above smallest. Mind the sign of low.",
        ),
        Mistake(
            "counted from the wrong end",
            example=_range(lambda low, high, scale, s, b: b - low / scale),
            hint="low is stored as the smallest whole number, high as the largest.",
        ),
        Mistake(
            "sign of the zero point",
            example=_range(lambda low, high, scale, s, b: low / scale - s),
            hint="check it with your own numbers: (smallest - zero_point) * scale must be about low.",
        ),
        Mistake(
            "zero point in the middle of the range",
            example=_range(lambda low, high, scale, s, b: -(low + high) / 2 / scale),
            hint="whole numbers aren't distributed evenly around 0: count the steps from low.",
        ),
        Mistake(
            "8 bits whatever is asked for",
            example=_range(_right_zero, bits_used=8),
            hint="right for 8 bits. Use smallest and largest, which depend on bits.",
        ),
        Mistake(
            "scale upside down",
            example=lambda low, high, bits=8: (
                1 / scale_and_zero_point(low, high, bits)[0],
                scale_and_zero_point(low, high, bits)[1],
            ),
            hint="the scale is the distance between two neighbouring values, in the unit of the values.",
        ),
        Mistake(
            "rounded down",
            example=lambda low, high, bits=8: (
                (scale := scale_and_zero_point(low, high, bits)[0]),
                math.floor(_ends(bits)[0] - min(low, 0.0) / scale),
            ),
            hint="int(...) and // drop what follows the decimal point; round(...) takes the nearest whole number.",
        ),
        Mistake(
            "width from high alone",
            example=_range(_right_zero, lambda low, high, s, b: max(abs(high), 1e-6) / (b - s)),
            hint="the steps must cover everything from low to high.",
        ),
    ),
)

# -- to_whole_numbers ---------------------------------------------------------------------------


def to_whole_numbers(values: torch.Tensor, scale: float, zero_point: int, bits: int = 8) -> torch.Tensor:
    """Return whole numbers q, int8, whose (q - zero_point) * scale is nearest to values; the shape stays."""
    smallest, largest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    ### BEGIN SOLUTION
    steps = (values / scale).round() + zero_point
    return steps.clamp(smallest, largest).to(torch.int8)
    ### END SOLUTION


def _wrapped(steps: Tensor) -> Tensor:
    """Convert to int8 as a byte overflows, the same way on every processor."""
    return ((steps.long() + 128) % 256 - 128).to(torch.int8)


def _rounded(
    steps: Callable[[Tensor, float, int], Tensor],
    ends: Callable[[int], tuple[int, int]] = _ends,
) -> Callable[..., Tensor]:
    """Make an answer from ``steps(values, scale, zero_point)``, which are then cut to ``ends(bits)``."""
    return lambda values, scale, zero_point, bits=8: (
        steps(values, scale, zero_point).clamp(*ends(bits)).to(torch.int8)
    )


def _cut_first(values: Tensor, scale: float, zero_point: int, bits: int = 8) -> Tensor:
    return _wrapped((values / scale).round().clamp(*_ends(bits)) + zero_point)


def _off(expected: Tensor, found: Tensor) -> str | None:
    wrong = int((expected != found).sum())
    return f"gives {wrong} of {expected.numel()} whole numbers wrong."


TO_WHOLE_NUMBERS = Exercise(
    id="to_whole_numbers",
    title="Values to whole numbers",
    solution=to_whole_numbers,
    tell=_off,
    probes=(
        Probe((numbers(1, 4, 6), 0.0403, 11, 8), "for 4 x 6 values in 8 bits"),
        Probe((numbers(2, 3, 2, 3, 3), 0.31, -2, 5), "for the weights of a convolution in 5 bits"),
        Probe((numbers(3, 40), 0.52, 1, 4), "for 40 values in 4 bits"),
        Probe((numbers(4, 5, 5), 0.019, -40, 8), "where some values lie outside of the range"),
    ),
    mistakes=(
        Mistake(
            "not cut to the range",
            example=lambda v, scale, zero, bits=8: _wrapped((v / scale).round() + zero),
            hint="a value outside of the range becomes a number that doesn't fit into the bits, and wraps around to "
            "the other end. Which method keeps numbers between two ends?",
        ),
        Mistake(
            "cut before the zero point",
            example=_cut_first,
            hint="cut last: after the zero point is added, numbers may leave the range again.",
        ),
        Mistake(
            "cut towards 0",
            example=_rounded(lambda v, scale, zero: (v / scale).trunc() + zero),
            hint="a conversion to whole numbers drops what follows the decimal point. Round to the nearest first.",
        ),
        Mistake(
            "rounded down",
            example=_rounded(lambda v, scale, zero: (v / scale).floor() + zero),
            hint="floor and // round down. The nearest whole number makes half the error.",
        ),
        Mistake(
            "rounded up",
            example=_rounded(lambda v, scale, zero: (v / scale).ceil() + zero),
            hint="ceil rounds up. The nearest whole number makes half the error.",
        ),
        Mistake(
            "zero point left out",
            example=_rounded(lambda v, scale, zero: (v / scale).round()),
            hint="the value 0 must become zero_point.",
        ),
        Mistake(
            "zero point subtracted",
            example=_rounded(lambda v, scale, zero: (v / scale).round() - zero),
            hint="q - zero_point is for the way back. What is the value 0 stored as?",
        ),
        Mistake(
            "zero point added to the values",
            example=_rounded(lambda v, scale, zero: ((v + zero) / scale).round()),
            hint="the zero point is a whole number of steps: add it after the division.",
        ),
        Mistake(
            "multiplied by the scale",
            example=_rounded(lambda v, scale, zero: (v * scale).round() + zero),
            hint="how many steps of the size scale is a value?",
        ),
        Mistake(
            "scale left out",
            example=_rounded(lambda v, scale, zero: v.round() + zero),
            hint="a step is as large as scale, not 1.",
        ),
        Mistake(
            "8 bits whatever is asked for",
            example=_rounded(
                lambda v, scale, zero: (v / scale).round() + zero, ends=lambda bits: (-128, 127)
            ),
            hint="with fewer bits there are fewer whole numbers: cut to smallest and largest.",
        ),
        Mistake(
            "numbers below 0 cut off",
            example=_rounded(
                lambda v, scale, zero: (v / scale).round() + zero, ends=lambda bits: (0, _ends(bits)[1])
            ),
            hint="the whole numbers begin at smallest, below 0.",
        ),
        Mistake(
            "smallest left out",
            example=_rounded(
                lambda v, scale, zero: (v / scale).round() + zero,
                ends=lambda bits: (-_ends(bits)[1], _ends(bits)[1]),
            ),
            hint="there is one whole number more below 0 than above: -128 to 127 in 8 bits.",
        ),
    ),
)

# -- keep_largest -------------------------------------------------------------------------------


def keep_largest(weights: torch.Tensor, share: float) -> torch.Tensor:
    """Return a mask, bool of the shape of weights: True for that share of them with the largest absolute values."""
    count = round(share * weights.numel())
    ### BEGIN SOLUTION
    largest = weights.abs().flatten().topk(count).indices
    ### END SOLUTION
    mask = torch.zeros(weights.numel(), dtype=torch.bool)
    ### BEGIN SOLUTION
    mask[largest] = True
    return mask.view_as(weights)
    ### END SOLUTION


def _top(values: Tensor, count: int) -> Tensor:
    mask = torch.zeros(values.numel(), dtype=torch.bool)
    mask[values.flatten().topk(count).indices] = True
    return mask.view_as(values)


def _of(size: Callable[[Tensor], Tensor]) -> Callable[[Tensor, float], Tensor]:
    """Make an answer that keeps the share of the largest ``size(weights)``."""
    return lambda weights, share: _top(size(weights), round(share * weights.numel()))


def _each_row(weights: Tensor, share: float) -> Tensor:
    return torch.stack([_top(row.abs(), round(share * row.numel())) for row in weights])


def _how_many(expected: Tensor, found: Tensor) -> str | None:
    if found.dtype is not torch.bool and not bool(((found == 0) | (found == 1)).all()):
        return "gives other numbers than True and False; return a mask."
    kept, wanted = int(found.sum()), int(expected.sum())
    if kept != wanted:
        return f"keeps {kept} of {expected.numel()} weights; {wanted} should be kept."
    return "keeps the right number of weights, but other ones."


KEEP_LARGEST = Exercise(
    id="keep_largest",
    title="The weights that stay",
    solution=keep_largest,
    tell=_how_many,
    probes=(
        Probe((numbers(1, 5, 8), 0.25), "for a quarter of 5 x 8 weights"),
        Probe((numbers(2, 4, 3, 3, 3), 0.5), "for half of the weights of a convolution"),
        Probe((numbers(3, 30), 0.1), "for a tenth of 30 weights"),
        Probe((numbers(4, 3, 6).abs(), 2 / 3), "for two thirds of 18 weights above 0"),
        Probe((-numbers(5, 2, 10).abs(), 0.4), "for 20 weights below 0"),
    ),
    mistakes=(
        Mistake(
            "sign counted",
            example=_of(lambda w: w),
            hint="a weight of -2 matters more than one of 0.1: compare absolute values.",
        ),
        Mistake(
            "smallest kept",
            example=_of(lambda w: -w.abs()),
            hint="those are the weights to remove. True marks the ones that stay.",
        ),
        Mistake(
            "share removed for share kept",
            example=lambda w, share: _top(w.abs(), w.numel() - round(share * w.numel())),
            hint="share is the part that stays.",
        ),
        Mistake(
            "the removed ones marked",
            example=lambda w, share: ~keep_largest(w, share),
            hint="True marks the weights that stay: your mask is the opposite.",
        ),
        Mistake(
            "row by row",
            example=lambda w, share: _each_row(w, share) if w.ndim > 1 else keep_largest(w, share),
            hint="compare all weights with one another, not only those of one row: flatten first.",
        ),
        Mistake(
            "share of the largest value",
            example=lambda w, share: w.abs() >= (1 - share) * w.abs().max(),
            hint="share counts weights. How large a weight must be to stay depends on all of them.",
        ),
        Mistake(
            "one too few",
            example=lambda w, share: _top(w.abs(), round(share * w.numel()) - 1),
            hint="the smallest weight that stays is kept, too: > leaves it out, >= doesn't.",
        ),
        Mistake(
            "one too many",
            example=lambda w, share: _top(w.abs(), round(share * w.numel()) + 1),
            hint="sorted from the largest, the last one that stays is number count - 1, since counting begins at 0.",
        ),
        Mistake(
            "above the mean",
            example=lambda w, share: w.abs() > w.abs().mean(),
            hint="the mean doesn't depend on share. Which count of weights stays?",
        ),
        Mistake(
            "the first ones",
            example=lambda w, share: (torch.arange(w.numel()) < round(share * w.numel())).view_as(w),
            hint="where a weight lies doesn't say how large it is.",
        ),
        Mistake(
            "distance from the mean",
            example=_of(lambda w: (w - w.mean()).abs()),
            hint="a removed weight becomes 0, not the mean: what matters is its distance from 0.",
        ),
    ),
)

EXERCISES = (SCALE_AND_ZERO_POINT, TO_WHOLE_NUMBERS, KEEP_LARGEST)
