"""A threshold under one's fingers: one class's mask, its overlap with the truth, its point on the curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ipywidgets
import torch
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import PrecisionRecall, PrecisionRecallCurve, precision_recall
from kdcourse.training.task import confusion_counts, iou_per_class
from kdcourse.widgets.base import WIDE, CourseWidget, button, picture_slider, row, slider_layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# -- what there is to see, without a widget -----------------------------------------------------


@dataclass(frozen=True)
class ThresholdPoint:
    """What one threshold amounts to: over all pictures, and the IoU in one of them. All 0 to 1.

    ``picture_iou`` is NaN where the class is neither in the picture nor called.
    """

    precision: float
    recall: float
    iou: float
    picture_iou: float


def class_probability(logits: Tensor, label: int) -> Tensor:
    """Probability of one class at every pixel: floating [C, H, W] -> float64 [H, W]."""
    # In float32 it would round to 1 for sure pixels, and a threshold of 1 would call them all.
    return logits.double().softmax(0)[label]


def point_at(
    threshold: float, curve: PrecisionRecallCurve, probability: Tensor, mask: Tensor, label: int
) -> ThresholdPoint:
    """Where ``threshold`` lies on the curve of class ``label``, and its IoU in one picture.

    probability: floating [H, W], of that class. mask: whole numbers [H, W], `kdcourse.data.IGNORE` left out.
    """
    precision, recall = curve.at(threshold)
    there = torch.where(mask == IGNORE, mask.long(), (mask == label).long())
    here = iou_per_class(confusion_counts(probability >= threshold, there, 2))[1]
    # With P of the called pixels right and R of the true ones found, the union follows from the common ones.
    overlap = precision * recall / (precision + recall - precision * recall) if recall else 0.0
    return ThresholdPoint(precision, recall, overlap, float(here))


def telling_start(masks: Tensor, classes: Sequence[str]) -> tuple[int, int]:
    """Position of the first picture with more than background in it, and its largest class: masks [K, H, W]."""
    labels = [label for label, name in enumerate(classes) if name.lower() not in ("background", "ground")]
    for position, mask in enumerate(masks):
        sizes = [int((mask == label).sum()) for label in labels]
        if any(sizes):
            return position, labels[sizes.index(max(sizes))]
    return 0, min(int(label) for label in masks.unique() if label != IGNORE)


# -- the widget ---------------------------------------------------------------------------------


class ThresholdExplorer(CourseWidget):
    """See `threshold_explorer`. Controls: ``model``, ``label``, ``index``, ``before``, ``after``, ``threshold``."""

    def __init__(
        self,
        images: Tensor,
        masks: Tensor,
        logits_by_name: Mapping[str, Tensor],
        classes: Sequence[str],
        start: float = 0.5,
    ) -> None:
        self._curves = _checked_curves(images, masks, logits_by_name, classes, start)
        self._images, self._masks, self._classes = images.cpu(), masks.cpu(), tuple(classes)
        self._logits = {name: logits.detach().cpu() for name, logits in logits_by_name.items()}
        first, label = telling_start(self._masks, classes)
        self.model = ipywidgets.Dropdown(
            options=list(self._logits),
            description="Model",
            style=WIDE,
            layout=ipywidgets.Layout(width="30em", max_width="100%"),
        )
        self.label = ipywidgets.Dropdown(
            options=self._offered(),
            value=label,
            description="Class",
            style=WIDE,
            layout=ipywidgets.Layout(width="30em", max_width="100%"),
        )
        self.index = picture_slider(len(images), first)
        self.before = button("◀ Previous", "Show the picture before this one")
        self.after = button("Next ▶", "Show the picture after this one")
        self.threshold = ipywidgets.FloatSlider(
            value=start,
            min=0.0,
            max=1.0,
            step=0.01,
            readout_format=".2f",
            description="Threshold",
            style=WIDE,
            layout=slider_layout(),
        )
        super().__init__(
            "Threshold explorer",
            "Threshold explorer: an interactive widget that shows which pixels have at least a probability you choose.",
            [self.model, self.label, row(self.index, self.before, self.after), self.threshold],
        )
        self.before.on_click(lambda _: self._step(-1))
        self.after.on_click(lambda _: self._step(1))
        self.label.observe(self._find, "value")
        for control in (self.model, self.label, self.index, self.threshold):
            control.observe(self.redraw, "value")

    def figure(self) -> Figure:
        from kdcourse import figures
        from kdcourse.figures.style import shorten

        threshold, at, label, model = self._chosen()
        probability, curve = self._seen(at, label, model)
        drawn = figures.threshold_view(
            self._images[at],
            self._masks[at],
            probability,
            threshold,
            curve,
            label=label,
            classes=self._classes,
            title=f"{shorten(model, 16)}, over all pictures",
        )
        figures.set_alt_text(drawn, f"{model}, picture {at}: {figures.alt_text(drawn)}")
        return drawn

    def draw(self) -> None:
        super().draw()
        self._tell()

    def _chosen(self) -> tuple[float, int, int, str]:
        at = min(self.index.value, len(self._images) - 1)
        return self.threshold.value, at, self.label.value, self.model.value

    def _seen(self, at: int, label: int, model: str) -> tuple[Tensor, PrecisionRecallCurve]:
        return class_probability(self._logits[model][at], label), self._curves[model].per_class[label]

    def _offered(self) -> list[tuple[str, int]]:
        """The classes that some picture shows: without a pixel of it, a class has no curve."""
        counts = [int((self._masks == label).flatten(1).any(1).sum()) for label in range(len(self._classes))]
        total = len(self._masks)
        return [
            (f"{name} (in {count} of {total} pictures)", label)
            for label, (name, count) in enumerate(zip(self._classes, counts, strict=True))
            if count
        ]

    def _find(self, _change: object) -> None:
        """Go on to a picture with the class, unless it is in the present one."""
        shown = (self._masks == self.label.value).flatten(1).any(1).nonzero()[:, 0].tolist()
        at = self.index.value
        self.index.value = next((position for position in shown if position >= at), shown[0])

    def _step(self, by: int) -> None:
        self.index.value = (self.index.value + by) % len(self._images)

    def _tell(self) -> None:
        threshold, at, label, model = self._chosen()
        probability, curve = self._seen(at, label, model)
        point = point_at(threshold, curve, probability, self._masks[at], label)
        here = (
            "it is neither there nor called" if math.isnan(point.picture_iou) else _percent(point.picture_iou)
        )
        count = len(self._images)
        self.say(
            f"{model}, {self._classes[label]} at threshold {threshold:.2f}: precision {point.precision:.3f}, recall "
            f"{point.recall:.3f}, IoU {_percent(point.iou)} over {'all ' * (count > 1)}{count} "
            f"picture{'s' * (count > 1)}; IoU in this picture: {here}."
        )


def threshold_explorer(
    images: Tensor,
    masks: Tensor,
    logits_by_name: Mapping[str, Tensor],
    classes: Sequence[str],
    *,
    start: float = 0.5,
) -> ThresholdExplorer:
    """Choose model, class and picture, and slide the threshold from which on a pixel is called of the class.

    The mask at that threshold, its IoU, and the point on the precision-recall curve of these pictures move together.
    It opens on the largest garment (or whatever isn't background) of the first picture that has one. Choosing a
    class that the picture lacks goes on to a picture that has it.

    Args:
        images: uint8 [K, 1 or 3, H, W]; a few dozen at most, since all logits are kept.
        masks: whole numbers [K, H, W], the truth; `kdcourse.data.IGNORE` for pixels to be left out.
        logits_by_name: such as ``{"teachers": ..., "plain": ..., "distilled": ...}``, floating [K, C, H, W] each.
        classes: C names; those that no mask shows are not offered.
        start: threshold to begin with, 0 to 1.

    Raises:
        ArgumentError: shapes that don't fit together, classes out of range, logits that aren't finite, no model,
            nothing but ignored pixels, a threshold outside 0 to 1.
    """
    return ThresholdExplorer(images, masks, logits_by_name, classes, start)


def _checked_curves(
    images: Tensor, masks: Tensor, logits_by_name: Mapping[str, Tensor], classes: Sequence[str], start: float
) -> dict[str, PrecisionRecall]:
    """Every model's curves over these pictures; raises ArgumentError where something doesn't fit."""
    from kdcourse.figures.masks import check_scenes

    check_scenes(images, masks, classes)
    if not logits_by_name:
        raise ArgumentError("Pass the logits of at least one model, {name: logits}; found none.")
    if not 0 <= start <= 1:
        raise ArgumentError(f"start is a threshold, a probability from 0 to 1; found {start}. Try 0.5.")
    curves = {}
    for name, logits in logits_by_name.items():
        wanted = [len(images), len(classes), *images.shape[2:]]
        if not isinstance(logits, Tensor) or list(logits.shape) != wanted:
            found = f"{list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise ArgumentError(
                f"The logits of {name!r} must be {wanted} (pictures, classes, height, width); found {found}. "
                "predict_logits gives them for these very pictures."
            )
        try:
            curves[name] = precision_recall(logits, masks)
        except ArgumentError as error:
            raise ArgumentError(f"The logits of {name!r} won't do. {error}") from error
    return curves


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
