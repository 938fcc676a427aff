"""Draw accuracy against cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import Bbox

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import (
    GREY,
    LogTicks,
    Look,
    byte_size,
    count_word,
    freeze,
    looks_of_roles,
    new_figure,
    percent,
    set_alt_text,
    shorten,
    significant,
    styled,
)


@dataclass(frozen=True)
class CostPoint:
    """Hold one model in `accuracy_against_cost`.

    ``accuracy`` and its ``interval`` (low, high) are 0 to 1; ``bytes`` and ``latency_ms`` (milliseconds per image,
    None if not timed) are above 0; ``role`` is "teacher", "ensemble", "plain", "distilled" or a word of your own.
    """

    label: str
    accuracy: float
    bytes: float
    latency_ms: float | None = None
    interval: tuple[float, float] | None = None
    role: str = ""


def accuracy_against_cost(
    points: Sequence[CostPoint], *, score: str = "accuracy", size: str = "size of the weights"
) -> Figure:
    """Draw accuracy, or another score, against a size in bytes and against the time per image.

    Both costs have logarithmic axes; bars are the points' intervals. Every model is labelled at its point; models of
    one role at almost the same point share a label such as "five teachers". The second panel is omitted if no model was
    timed.

    Args:
        points: the models.
        score: name of the score in ``accuracy``, such as "mean IoU".
        size: what the points' ``bytes`` are.

    Raises:
        ArgumentError: no point, an accuracy or interval outside 0 to 1, a cost that isn't above 0.
    """
    _check(points)
    panels: list[tuple[str, Callable[[CostPoint], float | None], Callable[[float], str]]] = [
        (size, lambda point: point.bytes, _round_size)
    ]
    if any(point.latency_ms is not None for point in points):
        panels.append(("time per image", lambda point: point.latency_ms, _milliseconds))
    roles = list(dict.fromkeys(point.role for point in points))
    look_of = dict(zip(roles, looks_of_roles(roles), strict=True))
    with styled():
        figure = new_figure(4.6 * len(panels) + 0.2, 4.3)
        every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, cost, unit) in zip(every, panels, strict=True):
            _draw(axes, [(point, x) for point in points if (x := cost(point)) is not None], look_of)
            axes.set_title(f"{score[:1].upper()}{score[1:]} against {title}")
            axes.set_xlabel(f"{title} (logarithmic)")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _, unit=unit: unit(value)))
        every[0].set_ylabel(f"test {score} (%)")
        low, high = every[0].get_ylim()
        every[0].set_ylim(low - 0.08 * (high - low), high + 0.12 * (high - low))
        set_alt_text(figure, _describe(points, score, size))
        freeze(figure)
        # Pixels are known only now.
        for axes, (_, cost, _) in zip(every, panels, strict=True):
            _label(axes, [(point, x) for point in points if (x := cost(point)) is not None])
    return figure


def _check(points: Sequence[CostPoint]) -> None:
    if not points:
        raise ArgumentError("Accuracy against cost needs at least one model; found none. Pass CostPoints.")
    for point in points:
        if not all(0 <= value <= 1 for value in (point.accuracy, *(point.interval or ()))):
            raise ArgumentError(
                f"Accuracies are shares, 0 to 1; {point.label!r} has {point.accuracy} with interval "
                f"{point.interval}. Divide percentages by 100."
            )
        costs = [point.bytes] if point.latency_ms is None else [point.bytes, point.latency_ms]
        if not all(0 < value < math.inf for value in costs):
            raise ArgumentError(
                f"Costs on a logarithmic axis must be above 0; {point.label!r} has {costs} (bytes, milliseconds). "
                "Leave latency_ms out if the model wasn't timed."
            )


def _draw(axes: Axes, placed: Sequence[tuple[CostPoint, float]], look_of: Mapping[str, Look]) -> None:
    for point, x in placed:
        look, y = look_of[point.role], 100 * point.accuracy
        if point.interval is not None:
            axes.plot(
                [x, x],
                [100 * bound for bound in point.interval],
                color=look.colour,
                linewidth=1.3,
                marker="_",
                markersize=7,
            )
        axes.plot(
            x,
            y,
            color=look.colour,
            marker=look.marker,
            markersize=7.5,
            markerfacecolor="white" if point.role == "plain" else look.colour,
            markeredgewidth=1.6,
        )
    axes.set_xscale("log")
    costs = [x for _, x in placed]
    decades = math.log10(max(costs) / min(costs))
    # Room for the labels beside the outermost points.
    margin = 10 ** max(0.25, 0.22 * decades)
    axes.set_xlim(min(costs) / margin, max(costs) * margin)
    axes.xaxis.set_major_locator(LogTicks())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _groups(
    axes: Axes, placed: Sequence[tuple[CostPoint, float]]
) -> list[tuple[str, list[tuple[float, float]]]]:
    """Return labels with their points (data coordinates)."""
    groups: list[tuple[str, list[tuple[float, float]]]] = []
    by_role: dict[str, list[tuple[CostPoint, float]]] = {}
    for point, x in placed:
        by_role.setdefault(point.role or point.label, []).append((point, x))
    for role, members in by_role.items():
        spots = [(x, 100 * point.accuracy) for point, x in members]
        if len(members) > 1 and role in ("teacher", "student", "plain", "distilled"):
            pixels = Bbox.null()
            pixels.update_from_data_xy(axes.transData.transform(spots), ignore=True)
            box = axes.get_window_extent()
            if pixels.width < 0.25 * box.width and pixels.height < 0.25 * box.height:
                noun = role if role in ("teacher", "student") else f"{role} student"
                groups.append((f"{count_word(len(members))} {noun}s", spots))
                continue
        groups += [
            (shorten(point.label, 24), [spot]) for (point, _), spot in zip(members, spots, strict=True)
        ]
    return groups


def _label(axes: Axes, placed: Sequence[tuple[CostPoint, float]]) -> None:
    """Place every label where it overlaps least with labels, points and bars, inside the axes."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    scale = 72 / figure.dpi
    frame = axes.get_window_extent()
    taken = []
    for point, x in placed:
        low, high = point.interval or (point.accuracy, point.accuracy)
        (left, bottom), (right, top) = axes.transData.transform([(x, 100 * low), (x, 100 * high)])
        taken.append(Bbox.from_extents(left - 4, bottom - 3, right + 4, top + 3))
        centre = axes.transData.transform((x, 100 * point.accuracy))
        taken.append(Bbox.from_extents(centre[0] - 8, centre[1] - 8, centre[0] + 8, centre[1] + 8))
    for text, spots in _groups(axes, placed):
        around = Bbox.null()
        around.update_from_data_xy(axes.transData.transform(spots), ignore=True)
        around = around.padded(11)
        middle = ((around.x0 + around.x1) / 2, (around.y0 + around.y1) / 2)
        anchor = min(spots, key=lambda spot: math.dist(axes.transData.transform(spot), middle))
        origin = axes.transData.transform(anchor)
        note = axes.annotate(text, anchor, (0, 0), textcoords="offset points", fontsize=9.5, in_layout=False)
        best: tuple[float, Bbox, tuple[float, float], str, str] | None = None
        for far in (0, 14, 28, 44, 64):
            for across, up in ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1)):
                x = (around.x1 if across > 0 else around.x0 if across < 0 else middle[0]) + across * far
                y = (around.y1 if up > 0 else around.y0 if up < 0 else middle[1]) + up * far
                offset = ((x - origin[0]) * scale, (y - origin[1]) * scale)
                side = {1: "left", -1: "right", 0: "center"}[across]
                stand = {1: "bottom", -1: "top", 0: "center"}[up]
                note.set(position=offset, ha=side, va=stand)
                box = note.get_window_extent().padded(2)
                outside = box.width * box.height - _overlap(box, frame)
                cost = sum(_overlap(box, other) for other in taken) + 4 * outside + far
                if best is None or cost < best[0]:
                    best = cost, box, offset, side, stand
        assert best is not None
        _, box, offset, side, stand = best
        note.set(position=offset, ha=side, va=stand)
        taken.append(box)
        if math.dist(offset, (0, 0)) > 26 and len(spots) == 1:
            note.remove()
            axes.annotate(
                text,
                anchor,
                offset,
                textcoords="offset points",
                fontsize=9.5,
                in_layout=False,
                ha=side,
                va=stand,
                arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 6},
            )


def _overlap(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(0.0, width) * max(0.0, height))


def _round_size(value: float) -> str:
    number, unit = byte_size(value).split()
    return f"{float(number.replace(',', '')):g} {unit}"


def _milliseconds(value: float) -> str:
    return f"{value:,.10g} ms"


def _describe(points: Sequence[CostPoint], score: str, size: str) -> str:
    parts = [f"{score[:1].upper()}{score[1:]} on the test images against {size} and time per image."]
    for point in points:
        interval = ""
        if point.interval is not None:
            interval = f" (95 % interval {percent(point.interval[0])} to {percent(point.interval[1])})"
        time = "" if point.latency_ms is None else f" and {significant(point.latency_ms)} ms per image"
        parts.append(f"{point.label}: {percent(point.accuracy)}{interval}, {byte_size(point.bytes)}{time}.")
    return " ".join(parts)
