"""Draw an ensemble of chosen members."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import MemberScores
from kdcourse.figures.style import (
    GREY,
    PALETTE,
    count_word,
    freeze,
    listed,
    new_figure,
    percent,
    set_alt_text,
    shorten,
    styled,
)


def ensemble_members(scores: MemberScores, names: Sequence[str] | None = None) -> Figure:
    """Draw accuracy and calibration error of each member and of the chosen members' ensemble, and their disagreement.

    Chosen members are filled, the others hollow. The accuracy axis doesn't begin at zero, because members are close to
    each other; every value is printed.

    Args:
        scores: the result of `kdcourse.evaluation.member_scores`.
        names: one per member; by default "member 1" and so on.

    Raises:
        ArgumentError: the numbers of names and members differ.
    """
    members = len(scores.member_accuracy)
    names = [f"member {n + 1}" for n in range(members)] if names is None else list(names)
    if len(names) != members:
        raise ArgumentError(f"names must be one for each of the {members} members; found {len(names)}.")
    labels = [*(shorten(name, 16) for name in names), "ensemble"]
    with styled():
        figure = new_figure(10.4, 0.36 * (members + 1) + 1.6)
        left, middle, right = figure.subplots(1, 3, width_ratios=[1.1, 1.0, 1.0])
        accuracies = 100 * np.array([*scores.member_accuracy, scores.accuracy])
        errors = 100 * np.array([*scores.member_calibration_error, scores.calibration_error])
        _rows(left, accuracies, scores.chosen, "{:.2f}")
        room = max(0.5, float(np.ptp(accuracies)))
        left.set_xlim(accuracies.min() - 0.35 * room, min(100.0, accuracies.max() + 0.45 * room))
        left.set(title="Accuracy", xlabel="accuracy (%), axis cut")
        left.set_yticks(range(len(labels)), labels)
        left.get_yticklabels()[-1].set_fontweight("bold")
        _rows(middle, errors, scores.chosen, "{:.2f}")
        middle.set_xlim(0, 1.3 * max(0.1, float(errors.max())))
        middle.set(title="Calibration error", xlabel="ECE (percentage points)")
        middle.set_yticks(range(len(labels)), [""] * len(labels))
        _matrix(right, 100 * scores.disagreement.numpy(), scores.chosen, labels[:-1])
        set_alt_text(figure, _describe(scores, names))
        freeze(figure)
    return figure


def _rows(axes: Axes, values: np.ndarray, chosen: Sequence[int], form: str) -> None:
    last = len(values) - 1
    bars = axes.barh(
        range(len(values)), values, height=0.66, linewidth=1.1, edgecolor=PALETTE["green"], color="white"
    )
    for position, bar in enumerate(bars):
        if position == last:
            bar.set(facecolor="#4D4D4D", edgecolor="white", hatch="xx")
        elif position in chosen:
            bar.set_facecolor("#7FCEB9")
        axes.annotate(
            form.format(values[position]), (values[position], position), (4, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_ylim(last + 0.6, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")


def _matrix(axes: Axes, apart: np.ndarray, chosen: Sequence[int], labels: Sequence[str]) -> None:
    members = len(apart)
    axes.imshow(apart, cmap="Blues", vmin=0, vmax=max(1e-9, 3 * float(apart.max())))
    for row in range(members):
        for column in range(members):
            votes = row in chosen and column in chosen
            axes.text(
                column,
                row,
                "–" if row == column else f"{apart[row, column]:.1f}",
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold" if votes and row != column else "normal",
                color="black" if votes else GREY,
            )
    axes.set(title="Disagreement", xlabel="images classified differently (%)")
    axes.set_xticks(range(members), [str(n + 1) for n in range(members)])
    axes.set_yticks(range(members), [str(n + 1) for n in range(members)])
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _describe(scores: MemberScores, names: Sequence[str]) -> str:
    voters = [names[position] for position in scores.chosen]
    apart = (
        "a single member, so no disagreement"
        if scores.mean_disagreement is None
        else f"pairs of them classify {percent(scores.mean_disagreement)} of the images differently"
    )
    alone = listed(
        [
            f"{name} {percent(accuracy)} (calibration error {100 * error:.2f} points)"
            for name, accuracy, error in zip(
                names, scores.member_accuracy, scores.member_calibration_error, strict=True
            )
        ]
    )
    return (
        f"Ensemble of {count_word(len(voters))}: {listed(voters)}, mean of {scores.average}. Accuracy "
        f"{percent(scores.accuracy)}, expected calibration error {100 * scores.calibration_error:.2f} points; {apart}. "
        f"Each alone: {alone}."
    )
