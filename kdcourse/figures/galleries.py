"""Draw images beside models' predictions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from kdcourse.distillation import softened
from kdcourse.errors import ArgumentError
from kdcourse.figures.masks import rgb, show
from kdcourse.figures.style import (
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

RIGHT, WRONG = "✓", "✗"


def soft_target_gallery(
    images: Tensor,
    logits: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    temperatures: Sequence[float] = (1, 4),
    *,
    top: int = 4,
) -> Figure:
    """Draw images beside the teacher's soft targets at several temperatures, one row per image.

    A row shows the teacher's ``top`` most likely classes in order, and always the label's class, in bold and darker;
    the values are printed. Pass only a few images.

    Args:
        images: uint8 [K, 1 or 3, H, W].
        logits: the teacher's, floating [K, C].
        labels: whole numbers [K].
        classes: C names.
        temperatures: one column of bars per temperature.
        top: bars per image.

    Raises:
        ArgumentError: shapes that don't match, labels out of range, no or bad temperatures,
            ``top`` below 1.
    """
    _check_images(images, labels, classes)
    _check_logits(logits, images, classes, "logits")
    if not temperatures or top < 1:
        raise ArgumentError(
            f"The gallery needs at least one temperature and one bar; found {list(temperatures)} and top={top}. "
            "Use temperatures=(1, 4) and top=4."
        )
    shares = [softened(logits.detach().cpu().float(), temperature) for temperature in temperatures]
    top, count = min(top, len(classes)), len(images)
    with styled():
        figure = new_figure(3.0 + 2.6 * len(shares), (0.24 * top + 0.62) * count + 0.75)
        ratios = [1.25] + [2.0] * len(shares)
        grid = figure.subplots(count, len(ratios), squeeze=False, width_ratios=ratios)
        for row in range(count):
            label = int(labels[row])
            order = [int(index) for index in shares[0][row].argsort(descending=True, stable=True)[:top]]
            if label not in order:
                order[-1] = label
            show(grid[row, 0], rgb(images[row]))
            grid[row, 0].set_xlabel(shorten(classes[label], 15), fontweight="bold", fontsize=9.5)
            for column, share in enumerate(shares, 1):
                axes = grid[row, column]
                values = [float(share[row, index]) for index in order]
                colours = [PALETTE["blue"] if index == label else PALETTE["sky"] for index in order]
                axes.barh(
                    range(top), values, height=0.72, color=colours, edgecolor=PALETTE["blue"], linewidth=0.8
                )
                for position, value in enumerate(values):
                    axes.text(value + 0.02, position, _probability(value), va="center", fontsize=9)
                axes.set(xlim=(0, 1.2), ylim=(top - 0.45, -0.55))
                axes.grid(False)
                names = [shorten(classes[index], 18) for index in order] if column == 1 else [""] * top
                axes.set_yticks(range(top), names)
                for text, index in zip(axes.get_yticklabels(), order, strict=True):
                    text.set_fontweight("bold" if index == label else "normal")
                axes.tick_params(axis="y", length=0)
                last = row == count - 1
                axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"] if last else ["", "", ""])
                if last:
                    axes.set_xlabel("probability")
        grid[0, 0].set_title("image\nand its label")
        for column, temperature in enumerate(temperatures, 1):
            grid[0, column].set_title(f"soft targets\nat T = {temperature:g}")
        set_alt_text(figure, _describe_gallery(shares, labels, classes, temperatures))
        freeze(figure)
    return figure


def disagreements(
    images: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    classes: Sequence[str],
    *,
    limit: int = 12,
    names: tuple[str, str] = ("teacher", "student"),
) -> Figure:
    """Draw images for which teacher and student predict different classes, with both predictions and the label.

    Pass a whole split: all disagreements are counted, and the first ``limit`` are shown without selection. Each
    prediction has its confidence (the model's probability at temperature 1) and is marked ✓ right or ✗ wrong.

    Args:
        images: uint8 [N, 1 or 3, H, W].
        labels: whole numbers [N].
        teacher_logits: floating [N, C].
        student_logits: floating [N, C].
        classes: C names.
        limit: largest number of images shown.
        names: of the two models, where they are others, such as ``("plain student", "distilled student")``. Below an
            image stands the first word of each.

    Raises:
        ArgumentError: shapes that don't match, labels out of range, ``limit`` below 1.
    """
    _check_images(images, labels, classes)
    _check_logits(teacher_logits, images, classes, "teacher_logits")
    _check_logits(student_logits, images, classes, "student_logits")
    if limit < 1:
        raise ArgumentError(f"limit must be at least 1; found {limit}. 12 fits a page.")
    labels = labels.detach().cpu()
    confidences, said = zip(
        *(
            softened(logits.detach().cpu().float(), 1).max(dim=1)
            for logits in (teacher_logits, student_logits)
        ),
        strict=True,
    )
    where = (said[0] != said[1]).nonzero()[:, 0]
    teacher_right = int((said[0] == labels)[where].sum())
    student_right = int((said[1] == labels)[where].sum())
    neither = len(where) - teacher_right - student_right
    shown = [int(index) for index in where[:limit]]
    one, other = names
    both = f"{one[:1].upper()}{one[1:]} and {other}"
    if shown:
        tally = (
            f"{both} differ on {len(where):,} of {len(images):,} images: the {one} is right on "
            f"{teacher_right:,}, the {other} on {student_right:,}, neither on {neither:,}."
        )
    else:
        tally = f"{both} predict the same class for all {len(images):,} images."
    words = []
    with styled():
        columns = min(4, max(2, len(shown)))
        rows = max(1, math.ceil(len(shown) / columns))
        figure = new_figure(2.35 * columns, 2.3 * rows + 0.5)
        cells = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in cells[len(shown) :]:
            axes.axis("off")
        for axes, index in zip(cells, shown, strict=False):
            show(axes, rgb(images[index]))
            truth = int(labels[index])
            lines = []
            for who, guess, confidence in zip(
                (one.split()[0], other.split()[0]), said, confidences, strict=True
            ):
                name, right = classes[int(guess[index])], int(guess[index]) == truth
                lines.append(
                    f"{RIGHT if right else WRONG} {who}: {shorten(name, 13)} {percent(float(confidence[index]), 0)}"
                )
                words.append(
                    f"{who} {name} {percent(float(confidence[index]), 0)} ({'right' if right else 'wrong'})"
                )
            axes.set_title(f"truth: {shorten(classes[truth], 18)}", fontsize=9.5)
            axes.set_xlabel("\n".join(lines), fontsize=9, linespacing=1.35)
            words[-2:] = [f"Truth {classes[truth]}: {words[-2]}, {words[-1]}."]
        figure.suptitle("\n".join(textwrap.wrap(tally, 27 * columns)))
        first = f" The first {count_word(len(shown))} shown." if 0 < len(shown) < len(where) else ""
        set_alt_text(figure, f"{tally}{first} {' '.join(words)}")
        freeze(figure)
    return figure


# -- shared ----------------------------------------------------------------------------------


def _check_images(images: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ArgumentError(
            "Images must be uint8 [K, 1 or 3, H, W], at least one; found "
            f"{images.dtype} {list(images.shape)}. Take them from a Split, before normalise."
        )
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise ArgumentError(
            f"labels must be whole numbers [{len(images)}], one per image; found {labels.dtype} "
            f"{list(labels.shape)}. Index both with the same positions."
        )
    low, high = int(labels.min()), int(labels.max())
    if len(classes) < 2 or low < 0 or high >= len(classes):
        raise ArgumentError(
            f"labels must lie in 0..{len(classes) - 1}, the positions of at least two class names; found "
            f"{low} to {high} for {len(classes)} names. Pass the data set's own classes."
        )


def _check_logits(logits: Tensor, images: Tensor, classes: Sequence[str], name: str) -> None:
    if logits.shape != (len(images), len(classes)) or not logits.is_floating_point():
        raise ArgumentError(
            f"{name} must be floating [{len(images)}, {len(classes)}], a row per image and a column per class; "
            f"found {logits.dtype} {list(logits.shape)}. Pass the logits of the same images."
        )
    if not bool(logits.isfinite().all()):
        raise ArgumentError(f"{name} must be finite; found NaN or infinity. Look for a run that diverged.")


def _probability(value: float) -> str:
    # 0.9996 is not 1, and what is left of it is what the student learns from.
    if value > 0.9995 and value < 1:
        return ">0.999"
    return "<0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def _describe_gallery(
    shares: Sequence[Tensor], labels: Tensor, classes: Sequence[str], temperatures: Sequence[float]
) -> str:
    warm = listed([f"{temperature:g}" for temperature in temperatures])
    parts = [
        f"{count_word(len(labels)).capitalize()} image{'s' * (len(labels) != 1)} with the teacher's soft targets "
        f"at temperature {warm}."
    ]
    for row, label in enumerate(labels.tolist()):
        said = []
        for temperature, share in zip(temperatures, shares, strict=True):
            values, order = share[row].sort(descending=True, stable=True)
            best = [
                f"{classes[int(i)]} {_probability(float(v))}"
                for v, i in zip(values[:3], order[:3], strict=True)
            ]
            said.append(f"at T = {temperature:g} {', '.join(best)}")
        parts.append(f"{classes[label]}: {'; '.join(said)}.")
    return " ".join(parts)
