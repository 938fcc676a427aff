"""Set the style of all figures: colours for colour-blind readers, sizes, alt text.

Nothing depends on colour alone: each series also has its own marker or hatch, and direct labels are used where
possible.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, MaxNLocator

from kdcourse.errors import ArgumentError

# Okabe and Ito 2008, "Color Universal Design", https://jfly.uni-koeln.de/color/
PALETTE: dict[str, str] = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
}
GREY = "#595959"  # 7:1 on white: text and thin lines

DPI = 100

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that a figure is the same everywhere
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "figure.titlesize": 11.0,
    "figure.facecolor": "white",
    "figure.dpi": DPI,
    "axes.facecolor": "white",
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "hatch.linewidth": 0.8,
    # Class names are data: a $ in one must not start a formula.
    "text.parse_math": False,
    "text.usetex": False,
    "savefig.facecolor": "white",
    "savefig.edgecolor": "none",
    "savefig.transparent": False,
    "savefig.bbox": None,
    # Letters as outlines: the figure doesn't depend on the fonts of whoever opens it.
    "svg.fonttype": "path",
    "svg.hashsalt": "kdcourse",
    "svg.image_inline": True,
    "path.simplify": True,
    "agg.path.chunksize": 0,
}

# A widget may draw in the background while a cell draws in front.
_one_thread = threading.RLock()


@dataclass(frozen=True)
class Look:
    """Describe how one series is drawn; each field distinguishes it without its colour."""

    colour: str
    marker: str
    hatch: str


# At least 3:1 on white each, as lines need; orange, sky and yellow are for fills only.
_ROLES = {
    "plain": Look(PALETTE["vermilion"], "o", "//"),
    "distilled": Look(PALETTE["blue"], "^", ""),
    "ensemble": Look(PALETTE["black"], "D", "xx"),
    "teacher": Look(PALETTE["green"], "s", ".."),
}
_NEUTRAL = (Look(PALETTE["purple"], "v", "--"), Look(GREY, "P", "++"), Look(PALETTE["black"], "X", "\\\\"))
_OTHERS = ("blue", "vermilion", "green", "black", "purple")
_MARKERS = "o^sDvP*X<>hp"
_HATCHES = ("", "//", "..", "xx", "\\\\", "--", "++")


def looks(names: Sequence[str]) -> list[Look]:
    """Return one look per name; plain, distilled, ensemble and teacher look the same in every figure.

    Further names of one role, such as several teachers, get looks that belong to no role.
    """
    roles = [_role(name) for name in names]
    known = {role: _ROLES[role] for role in roles if role is not None and roles.count(role) == 1}
    taken = {part for look in known.values() for part in (look.colour, look.marker, look.hatch)}
    colours = [PALETTE[name] for name in _OTHERS if PALETTE[name] not in taken]
    markers, hatches = ([part for part in parts if part not in taken] for parts in (_MARKERS, _HATCHES))
    free = (
        Look(colours[i % len(colours)], markers[i % len(markers)], hatches[i % len(hatches)])
        for i in range(len(names))
    )
    return [known[role] if role in known else next(free) for role in roles]


def _role(name: str) -> str | None:
    """Return the role that a name contains, in singular or plural."""
    words = name.lower().split()
    return next((role for role in _ROLES if role in words or f"{role}s" in words), None)


def looks_of_roles(roles: Sequence[str]) -> list[Look]:
    """Return the looks of teacher, ensemble, plain and distilled, and for others neutral ones, a few."""
    neutral = itertools.cycle(_NEUTRAL)
    return [_ROLES[role] if role in _ROLES else next(neutral) for role in roles]


@contextmanager
def styled() -> Iterator[None]:
    """Use this course's matplotlib settings inside the block, and restore the caller's afterwards.

    matplotlib's settings belong to the process, so only one thread at a time may be inside.
    """
    with _one_thread, matplotlib.rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of a size in inches, without a window or pyplot's state."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.09, h_pad=0.09)
    return figure


def freeze(figure: Figure) -> None:
    """Compute the figure's layout now and keep it.

    A layout that is computed at every drawing changes by fractions of a pixel, so two files of one figure would differ.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def set_alt_text(figure: Figure, text: str) -> None:
    """Set a figure's alt text.

    Raises:
        ArgumentError: an empty text.
    """
    words = " ".join(text.split())
    if not words:
        raise ArgumentError("Alt text must say what the figure shows; found none. Name the main numbers.")
    # An attribute of the object travels with copies and pickles of it.
    vars(figure)["kdcourse_alt_text"] = words


def alt_text(figure: Figure) -> str:
    """Return a figure's alt text: what it shows, with its main numbers.

    Raises:
        ArgumentError: the figure has none.
    """
    text = vars(figure).get("kdcourse_alt_text")
    if not isinstance(text, str):
        raise ArgumentError(
            "This figure carries no alt text; those made by kdcourse.figures do. "
            "Give it some with set_alt_text(figure, text)."
        )
    return text


# -- axes ------------------------------------------------------------------------------------


class LogTicks(Locator):
    """Place round numbers on a logarithmic axis: powers of ten, and a few more if fewer than two are visible."""

    def __init__(self, most: int = 5) -> None:
        self.most = most  # labels that have room beside one another

    def __call__(self) -> Sequence[float]:
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        low, high = sorted((vmin, vmax))
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
            ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
            inside = [tick for tick in ticks if low <= tick <= high]
            if len(inside) >= 2:
                return inside[:: math.ceil(len(inside) / self.most)]
        # Less than a decade by far: round numbers at equal distances are as good.
        return [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]


# -- words and numbers -----------------------------------------------------------------------


def shorten(text: str, length: int) -> str:
    """Shorten a text to ``length`` characters on one line, with an ellipsis for the rest."""
    text = " ".join(str(text).split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def count_word(count: int) -> str:
    """Write whole numbers up to twelve in words (``five``), larger ones in digits with commas."""
    words = [
        "no",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ]
    return words[count] if 0 <= count < len(words) else f"{count:,}"


def percent(share: float, digits: int = 2) -> str:
    """Write a share 0 to 1 as a percentage: ``91.23 %``."""
    return f"{100 * share:.{digits}f} %"


def byte_size(size: float) -> str:
    """Write bytes in decimal units with three significant figures: ``64.1 kB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        # 999.6 kB would round to 1000 kB.
        if size >= 0.9995 * scale:
            return f"{significant(size / scale)} {unit}"
    return f"{size:.0f} B"


def significant(value: float, digits: int = 3) -> str:
    """Write a number with a few significant figures, without an exponent: 272, 27.2, 0.272."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = int(f"{abs(rounded):e}".split("e")[1])
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}"


def listed(parts: Sequence[str]) -> str:
    """Join words: ``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
