"""Draw a distribution of two bumps, and single bumps that are fitted to it by either KL divergence."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import GREY, PALETTE, listed, new_figure, set_alt_text, styled

_LOOKS = (("vermilion", "--"), ("blue", "-."), ("green", ":"))


def two_bumps(places: Tensor, target: Tensor, fitted: Mapping[str, Tensor]) -> Figure:
    """Draw a target's probabilities as a grey area, and up to three fitted distributions as lines.

    Args:
        places: the values on the horizontal axis, floating [V], increasing.
        target: probabilities [V].
        fitted: name -> probabilities [V].

    Raises:
        ArgumentError: shapes that differ, no fitted distribution or more than three.
    """
    if not 0 < len(fitted) <= len(_LOOKS):
        raise ArgumentError(f"There must be one to {len(_LOOKS)} fitted distributions; found {len(fitted)}.")
    for name, values in {"target": target, **fitted}.items():
        if places.ndim != 1 or values.shape != places.shape:
            raise ArgumentError(
                f"places and all probabilities must be [V] of one length; found {list(places.shape)}, and "
                f"{list(values.shape)} of {name!r}."
            )
    x = places.tolist()
    with styled():
        figure = new_figure(6.4, 3.1)
        axes = figure.subplots()
        axes.fill_between(x, target.tolist(), color="#D9D9D9", label="target")
        axes.plot(x, target.tolist(), color=GREY, linewidth=1.0)
        for (name, values), (colour, line) in zip(fitted.items(), _LOOKS, strict=False):
            axes.plot(x, values.tolist(), line, color=PALETTE[colour], label=name, linewidth=2.2)
        axes.set(xlabel="value", ylabel="probability", ylim=(0, None), xlim=(x[0], x[-1]))
        axes.legend(loc="upper left")
        said = [
            f"{name} is highest at {places[int(values.argmax())]:.1f}{_between(places, target, values)}."
            for name, values in fitted.items()
        ]
        set_alt_text(
            figure,
            f"A target with two bumps, and {listed(list(fitted))}, single bumps fitted to it. {' '.join(said)}",
        )
    return figure


def _between(places: Tensor, target: Tensor, values: Tensor) -> str:
    """Say how much of ``values`` lies between the target's bumps, where it is below a quarter of its maximum."""
    high = (target >= target.max() / 4).nonzero().flatten()
    low = (target < target.max() / 4).nonzero().flatten()
    inside = low[(low > high[0]) & (low < high[-1])]
    if len(inside) == 0:
        return ""
    first, last = places[inside[[0, -1]]].tolist()
    return f" and has {float(values[inside].sum()):.0%} between the bumps, from {first:.2f} to {last:.2f}"
