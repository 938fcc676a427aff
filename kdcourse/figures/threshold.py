"""Draw the effect of a threshold: the mask, its IoU, and the point on the curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import PrecisionRecallCurve
from kdcourse.figures.masks import check_scenes, outline, rgb, show, texture
from kdcourse.figures.precision_recall import check_curves, draw_frame, drawn_points
from kdcourse.figures.style import PALETTE, new_figure, percent, set_alt_text, shorten, styled


def threshold_view(
    image: Tensor,
    mask: Tensor,
    probability: Tensor,
    threshold: float,
    curve: PrecisionRecallCurve,
    *,
    label: int,
    classes: Sequence[str],
    title: str = "over all images",
) -> Figure:
    """Draw one class of one image at a threshold, and the threshold's point on the precision-recall curve.

    Left: the image with the true border of the class. Middle: the pixels with at least this probability, filled if
    right, striped if wrong; missed pixels of the class are dotted. Right: the curve over all images with the
    threshold's point. Its precision P and recall R give the IoU over all images, P * R / (P + R - P * R).

    Args:
        image: uint8 [1 or 3, H, W].
        mask: whole numbers [H, W], the true classes, `kdcourse.data.IGNORE` for ignored pixels.
        probability: floating [H, W], 0 to 1, that a pixel is of class ``label``.
        threshold: 0 to 1.
        curve: of the same class and model, such as ``scores.precision_recall.per_class[label]``.
        label: index of the class in ``classes``.
        classes: C names.
        title: title of the curve, such as the model's name.

    Raises:
        ArgumentError: shapes that don't match, values out of range, a curve of a class that doesn't occur.
    """
    _check(image, mask, probability, threshold, curve, label, classes)
    mask, said = mask.cpu(), probability.detach().cpu() >= threshold
    counted, there = mask != IGNORE, mask == label
    parts = {
        "right": said & there,
        "too much": said & ~there & counted,
        "missed": ~said & there,
    }
    right, wrong, missed = (int(part.sum()) for part in parts.values())
    precision, recall = curve.at(threshold)
    name = shorten(classes[label], 20)
    with styled():
        figure = new_figure(10.2, 4.2)
        figure.set_layout_engine("none")  # drawn while a slider moves: every millisecond counts
        before, after, line = (figure.add_axes(edges) for edges in _PLACES)
        show(before, rgb(image))
        outline(before, torch.where(counted, there.int(), 2), colour="white", width=2.6)
        outline(before, torch.where(counted, there.int(), 2), width=1.2)
        before.set_title(f"{name}: its true border")
        show(after, _verdict(parts, counted))
        outline(after, torch.where(counted, there.int(), 2), width=0.8)
        after.set_title(f"pixels with p ≥ {_number(threshold)}")
        after.set_xlabel(f"IoU in this image {_iou(right, wrong, missed)}")
        _point(line, curve, precision, recall)
        line.set_title(title)
        figure.legend(
            handles=_legend(bool((~counted).any())), loc="lower left", bbox_to_anchor=(0.02, 0.0), ncols=4
        )
        figure.text(0.985, 0.035, _summary(precision, recall), ha="right", fontsize=9.5)
        set_alt_text(
            figure,
            f"{classes[label]} at threshold {_number(threshold)}: in this image {right:,} pixels are right, "
            f"{wrong:,} too much and {missed:,} missed, IoU {_iou(right, wrong, missed)}. Over all images "
            f"{_summary(precision, recall)}; average precision {curve.average_precision:.3f}.",
        )
    return figure


_PLACES = ((0.015, 0.17, 0.30, 0.73), (0.335, 0.17, 0.30, 0.73), (0.695, 0.215, 0.295, 0.69))
_RIGHT = PALETTE["blue"]


def _check(
    image: Tensor,
    mask: Tensor,
    probability: Tensor,
    threshold: float,
    curve: PrecisionRecallCurve,
    label: int,
    classes: Sequence[str],
) -> None:
    if image.ndim != 3:
        raise ArgumentError(f"Give one image, [1 or 3, H, W]; found {list(image.shape)}.")
    check_scenes(image[None], mask[None], classes)
    if probability.shape != mask.shape or not probability.is_floating_point():
        raise ArgumentError(
            f"probability must be floating {list(mask.shape)}, one per pixel; found {probability.dtype} "
            f"{list(probability.shape)}. Take one class's map: logits.softmax(1)[n, label]."
        )
    if not bool(((probability >= 0) & (probability <= 1)).all()):
        raise ArgumentError(
            "probability must lie in 0 to 1; found values outside, or NaN. Take the softmax of the logits first."
        )
    if not 0 <= threshold <= 1:
        raise ArgumentError(f"A threshold is a probability, 0 to 1; found {threshold}. Try 0.5.")
    if not 0 <= label < len(classes):
        raise ArgumentError(
            f"label must be the position of one of the {len(classes)} classes; found {label}."
        )
    check_curves({classes[label]: curve})


def _verdict(parts: dict[str, Tensor], counted: Tensor) -> np.ndarray:
    height, width = counted.shape
    drawn = np.full((height, width, 3), 0.93)
    for name, colour, pattern in (
        ("too much", PALETTE["vermilion"], "striped"),
        ("missed", PALETTE["black"], "dotted"),
    ):
        strength = texture(pattern, height, width)[..., None]
        dark = np.array(to_rgb(colour)) * 0.75
        painted = np.where(strength < 0.5, dark, 1.0)
        drawn = np.where(parts[name].numpy()[..., None], painted, drawn)
    drawn = np.where(parts["right"].numpy()[..., None], to_rgb(_RIGHT), drawn)
    left_out = texture("chequered", height, width)[..., None]
    return np.where(counted.numpy()[..., None], drawn, left_out)


def _legend(ignored: bool) -> list[Patch]:
    def patch(label: str, **look: object) -> Patch:
        return Patch(linewidth=0.6, label=label, **look)  # type: ignore[arg-type]

    return [
        patch("right", facecolor=_RIGHT, edgecolor="black"),
        patch("too much", facecolor="white", edgecolor=PALETTE["vermilion"], hatch="/////"),
        patch("missed", facecolor="white", edgecolor=PALETTE["black"], hatch="....."),
        *([patch("left out", facecolor="white", edgecolor="black", hatch="xxxx")] if ignored else []),
    ]


def _point(axes: Axes, curve: PrecisionRecallCurve, precision: float, recall: float) -> None:
    draw_frame(axes)
    axes.plot(*drawn_points(curve), color=PALETTE["black"], linewidth=1.5)
    axes.plot([recall, recall], [0, precision], color=_RIGHT, linestyle=":", linewidth=1.3)
    axes.plot([0, recall], [precision, precision], color=_RIGHT, linestyle=":", linewidth=1.3)
    axes.plot(
        recall, precision, "o", color=_RIGHT, markersize=9, markeredgecolor="white", clip_on=False, zorder=4
    )


def _number(threshold: float) -> str:
    """Write a threshold with enough digits to distinguish values near 0 and 1."""
    return f"{threshold:.2f}" if 0.01 <= threshold <= 0.99 else f"{threshold:.6g}"


def _iou(right: int, wrong: int, missed: int) -> str:
    union = right + wrong + missed
    return percent(right / union, 1) if union else "– (the class is neither there nor called)"


def _summary(precision: float, recall: float) -> str:
    overlap = precision * recall / (precision + recall - precision * recall) if recall else 0.0
    return f"precision {precision:.3f}, recall {recall:.3f}, IoU {percent(overlap, 1)}"
