"""What readers with a colour-vision deficiency see: colours that stay apart, and series that don't need them.

About 8 % of men of European descent have a red-green one (Birch 2012).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.figures.views import ViewsPoint, views_trade_off
from kdcourse import figures
from kdcourse.evaluation import member_scores
from kdcourse.figures.heat_map import _COLOURS as HEAT
from kdcourse.figures.masks import class_colours
from kdcourse.figures.style import _ROLES, PALETTE, looks
from tests.figures import test_figures, test_segmentation_figures, test_widget_figures

# Machado, Oliveira and Fernandes 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# table 1, severity 1.0; for linear light.
SEEN = {
    "all": np.eye(3),
    "protan": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deutan": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritan": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
WHITE = np.array([0.9505, 1, 1.0888])

# CIEDE2000 counts about 1 where two large patches that touch can just be told apart. What is compared with a legend
# is small, and doesn't touch it.
REGIONS = 15  # ten colours and a grey can't lie further apart than about 19 to everyone
LINES = 30  # the students, and their ensemble: their lines cross and cover one another
MARKED = 10  # other lines, which have marks of their own as well


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(colour: str, vision: str) -> np.ndarray:
    """CIELAB of a colour as somebody sees it."""
    ratio = XYZ @ np.clip(SEEN[vision] @ linear(colour), 0, 1) / WHITE
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """Difference of two colours in CIELAB; Sharma, Wu and Dalal 2005, equations 2 to 22."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * math.sqrt(mean**7 / (mean**7 + 25**7))
    c1, c2 = math.hypot(stretch * a1, b1), math.hypot(stretch * a2, b2)
    h1, h2 = math.atan2(b1, stretch * a1), math.atan2(b2, stretch * a2)
    turn = math.remainder(h2 - h1, math.tau) if c1 and c2 else 0.0
    hue = h1 + turn / 2 if c1 and c2 else h1 + h2
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * math.cos(hue - math.radians(30))
        + 0.24 * math.cos(2 * hue)
        + 0.32 * math.cos(3 * hue + math.radians(6))
        - 0.20 * math.cos(4 * hue - math.radians(63))
    )
    in_l = (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / math.sqrt(20 + (lightness - 50) ** 2))
    in_c = (c2 - c1) / (1 + 0.045 * chroma)
    in_h = 2 * math.sqrt(c1 * c2) * math.sin(turn / 2) / (1 + 0.015 * chroma * t)
    away = (math.degrees(hue) % 360 - 275) / 25
    rotation = -math.sin(math.radians(60 * math.exp(-(away**2))))
    rotation *= 2 * math.sqrt(chroma**7 / (chroma**7 + 25**7))
    return math.sqrt(in_l**2 + in_c**2 + in_h**2 + rotation * in_c * in_h)


def apart(one: str, other: str) -> float:
    """How far apart two colours are to whom they look most alike."""
    return min(ciede2000(lab(one, vision), lab(other, vision)) for vision in SEEN)


# -- the measure itself ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_difference_is_that_of_the_published_pairs(
    one: tuple[float, ...], other: tuple[float, ...], wanted: float
) -> None:
    """Sharma, Wu and Dalal 2005, table 1."""
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(wanted, abs=1e-4)
    assert ciede2000(np.array(other), np.array(one)) == pytest.approx(wanted, abs=1e-4)


def test_whoever_sees_fewer_colours_sees_grey_as_it_is_and_mixes_up_what_is_known_to_be() -> None:
    for vision in SEEN:
        np.testing.assert_allclose(SEEN[vision].sum(1), 1, atol=2e-6)
    # A red and a green of one lightness, and a blue and a green; no one else mixes these up.
    assert ciede2000(lab("#C05020", "protan"), lab("#6E6A1B", "protan")) < 12
    assert ciede2000(lab("#C05020", "all"), lab("#6E6A1B", "all")) > 30
    assert ciede2000(lab("#0072B2", "tritan"), lab("#009E73", "tritan")) < 15
    assert ciede2000(lab("#0072B2", "all"), lab("#009E73", "all")) > 30


# -- the palettes -------------------------------------------------------------------------------


def test_classes_painted_in_masks_are_told_apart_by_everyone() -> None:
    """Regions too small for a number have nothing but their colour."""
    colours = class_colours(["background", *"abcdefghij"])
    assert len(set(colours)) == 11
    for one, other in itertools.combinations(colours, 2):
        assert apart(one, other) > REGIONS, (one, other)
    # Most tasks have fewer classes, and see them better.
    for one, other in itertools.combinations(class_colours([*"abcd"]), 2):
        assert apart(one, other) > LINES, (one, other)


def test_students_and_their_ensemble_are_told_apart_by_their_colours_alone() -> None:
    for one, other in itertools.combinations(looks(["ensemble", "plain", "distilled"]), 2):
        assert apart(one.colour, other.colour) > LINES


@pytest.mark.parametrize("names", [list(_ROLES), [f"run {n}" for n in range(5)], ["distilled", *"abcd"]])
def test_series_are_told_apart_by_colour_and_without_it(names: list[str]) -> None:
    for one, other in itertools.combinations(looks(names), 2):
        assert apart(one.colour, other.colour) > MARKED
        assert one.marker != other.marker and one.hatch != other.hatch


def test_lines_and_fills_stand_out_from_white() -> None:
    for look in looks([f"run {n}" for n in range(5)]):
        assert apart(look.colour, "#FFFFFF") > REGIONS
    # Bars of the label and of the other classes, in which the label is bold, too.
    assert apart(PALETTE["blue"], PALETTE["sky"]) > REGIONS
    assert apart(PALETTE["sky"], "#FFFFFF") > REGIONS


def test_a_heat_map_rises_in_lightness_to_everyone() -> None:
    import matplotlib

    steps = [to_hex(matplotlib.colormaps[HEAT](x)) for x in np.linspace(0, 1, 9)]
    for vision in SEEN:
        lightness = [lab(colour, vision)[0] for colour in steps]
        assert all(np.diff(lightness) > 5), (vision, lightness)


# -- whole figures ------------------------------------------------------------------------------


def three_curves() -> Figure:
    curve = test_segmentation_figures.curve
    return figures.precision_recall_curves({"ensemble": curve(1), "plain": curve(2), "distilled": curve(2)})


def sizes() -> Figure:
    return figures.ensemble_sizes({"accuracy (%)": {1: [90, 91], 2: [92.0]}, "loss": {1: [0.3], 2: [0.2]}})


def temperatures() -> Figure:
    rows = {name: [n + 1.0, n + 2.0, n + 1.5] for n, name in enumerate("abcd")}
    return figures.against_temperature([1, 2, 4], rows, quantity="nats", title="Any")


def steps() -> Figure:
    rows = {name: [2.0 - 0.1 * n, 1.5, 1.0 + 0.1 * n] for n, name in enumerate("abcd")}
    return figures.step_curves(rows, title="Any", level=("guessing", 2.3), marks={"best": 2, "stop": 3})


def differences() -> Figure:
    return figures.paired_differences({"distilled - plain": ([0.5, 0.52, 0.51], [0.6, 0.61, 0.65])})


def views() -> Figure:
    return views_trade_off([ViewsPoint(1, 1, 0.9), ViewsPoint(2, 2, 0.91), ViewsPoint(None, 4, 0.92)])


def members() -> Figure:
    return figures.ensemble_members(
        member_scores(test_widget_figures.MEMBERS, test_widget_figures.LABELS, [0, 2])
    )


FIGURES: list[Callable[[], Figure]] = [
    *test_figures.ALL,
    *test_segmentation_figures.ALL,
    test_widget_figures.bars,
    test_widget_figures.FIGURES["runs"],
    three_curves,
    sizes,
    temperatures,
    steps,
    differences,
    views,
    members,
]


def colour_of(line: Line2D) -> str:
    """That of its marks where there is no line between them."""
    return to_hex(line.get_markeredgecolor() if line.get_linestyle() == "None" else line.get_color())


def without_colour(line: Line2D) -> tuple[object, ...]:
    """What is left of a line in grey: its mark, whether that is filled, how the line is broken and how thick it is."""
    hollow = to_hex(line.get_markerfacecolor()) == "#ffffff"
    return line.get_marker(), hollow, line.get_linestyle(), line.get_linewidth()


def alike(axes: Axes) -> Iterator[tuple[Line2D, Line2D]]:
    """Lines of different colours that differ in nothing else; whiskers belong to the mark that they go through."""
    series = [line for line in axes.get_lines() if line.get_marker() not in ("_", "|")]
    for one, other in itertools.combinations(series, 2):
        if colour_of(one) != colour_of(other) and without_colour(one) == without_colour(other):
            yield one, other


@pytest.mark.parametrize("make", FIGURES)
def test_no_line_is_told_from_another_by_its_colour_alone(make: Callable[[], Figure]) -> None:
    for axes in make().axes:
        assert not [(one.get_label(), other.get_label()) for one, other in alike(axes)]


def test_marks_of_curves_that_lie_on_one_another_are_all_seen() -> None:
    curve = test_segmentation_figures.curve(1)
    (axes,) = figures.precision_recall_curves({"plain": curve, "distilled": curve}).axes
    one, other = (line for line in axes.get_lines() if line.get_marker() in ("o", "^"))
    marks = [set(line.get_markevery()) for line in (one, other)]
    assert marks[0] and marks[1] and not marks[0] & marks[1]


def test_marks_of_training_curves_take_turns_where_there_are_many_epochs() -> None:
    curve = [test_figures.history(30, 0.9)]
    for axes in figures.training_curves({"plain": curve, "distilled": curve}).axes:
        marked = {line.get_marker(): line.get_markevery() for line in axes.get_lines()}
        (first, step), (other, same) = marked["o"], marked["^"]
        assert step == same > 1 and (first - other) % step


def test_a_line_that_only_its_colour_tells_is_found() -> None:
    axes = Figure().subplots()
    axes.plot([0, 1], color=PALETTE["blue"])
    axes.plot([1, 0], color=PALETTE["vermilion"])
    assert len(list(alike(axes))) == 1
    axes.get_lines()[1].set_linestyle("--")
    assert not list(alike(axes))
