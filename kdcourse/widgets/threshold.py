"""Show one class's mask at a threshold, its overlap with the true mask, and its point on the curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ipywidgets
import torch
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import PrecisionRecall, PrecisionRecallCurve, precision_recall
from kdcourse.training.task import confusion_counts, iou_per_class
from kdcourse.widgets.base import WIDE, CourseWidget, button, image_slider, pixels, row, slider_layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# -- the numbers, without a widget ----------------------------------------------------------------


@dataclass(frozen=True)
class ThresholdPoint:
    """Hold precision, recall and IoU at one threshold over all images, and the IoU in one of them; all 0 to 1.

    ``image_iou`` is NaN where the class is neither in the image nor predicted.
    """

    precision: float
    recall: float
    iou: float
    image_iou: float


def class_probability(logits: Tensor, label: int) -> Tensor:
    """Return the probability of one class at every pixel: floating [C, H, W] -> float64 [H, W]."""
    # In float32 a probability near 1 rounds to 1, and a threshold of 1 would predict all such pixels.
    return logits.double().softmax(0)[label]


def point_at(
    threshold: float, curve: PrecisionRecallCurve, probability: Tensor, mask: Tensor, label: int
) -> ThresholdPoint:
    """Return the point of ``threshold`` on the curve of class ``label``, and the IoU of that class in one image.

    Args:
        threshold: pixels with at least this probability are predicted, 0 to 1.
        curve: precision and recall of the class over all images.
        probability: of the class at each pixel, floating [H, W].
        mask: true classes, integers [H, W]; pixels with `kdcourse.data.IGNORE` are left out.
        label: index of the class.
    """
    precision, recall = curve.at(threshold)
    there = torch.where(mask == IGNORE, mask.long(), (mask == label).long())
    here = iou_per_class(confusion_counts(probability >= threshold, there, 2))[1]
    # |A and B| / |A or B| from precision |A and B| / |A| and recall |A and B| / |B|.
    overlap = precision * recall / (precision + recall - precision * recall) if recall else 0.0
    return ThresholdPoint(precision, recall, overlap, float(here))


def first_foreground(masks: Tensor, classes: Sequence[str]) -> tuple[int, int]:
    """Return the first image (of masks [K, H, W]) that shows more than background, and its largest class."""
    labels = [label for label, name in enumerate(classes) if name.lower() not in ("background", "ground")]
    for position, mask in enumerate(masks):
        sizes = [int((mask == label).sum()) for label in labels]
        if any(sizes):
            return position, labels[sizes.index(max(sizes))]
    return 0, min(int(label) for label in masks.unique() if label != IGNORE)


# -- the widget ---------------------------------------------------------------------------------


class ThresholdExplorer(CourseWidget):
    """Show a mask at a threshold; see `threshold_explorer`.

    Controls: ``model``, ``label``, ``index``, ``before``, ``after``, ``threshold``.
    """

    front = "threshold"

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
        first, label = first_foreground(self._masks, classes)
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
        self.index = image_slider(len(images), first)
        self.before = button("◀ Previous", "Show the previous image")
        self.after = button("Next ▶", "Show the next image")
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

    def state(self) -> dict[str, Any]:
        labels = [label for _, label in self.label.options]
        return {
            "images": pixels(self._images),
            "masks": pixels(self._masks.to(torch.uint8)),
            "size": list(self._images.shape[2:]),
            "classes": self._classes,
            "names": list(self._logits),
            "offered": [[label, len(self._showing(label))] for label in labels],
            "first": [self.index.value, self.label.value],
            "start": self.threshold.value,
            "areas": [
                [curves.per_class[label].average_precision for label in labels]
                for curves in self._curves.values()
            ],
            "levels": [pixels(_levels(logits, labels)) for logits in self._logits.values()],
        }

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
            title=f"{shorten(model, 16)}, over all images",
        )
        figures.set_alt_text(drawn, f"{model}, image {at}: {figures.alt_text(drawn)}")
        return drawn

    def draw(self) -> None:
        super().draw()
        self._describe()

    def _chosen(self) -> tuple[float, int, int, str]:
        at = min(self.index.value, len(self._images) - 1)
        return self.threshold.value, at, self.label.value, self.model.value

    def _seen(self, at: int, label: int, model: str) -> tuple[Tensor, PrecisionRecallCurve]:
        return class_probability(self._logits[model][at], label), self._curves[model].per_class[label]

    def _offered(self) -> list[tuple[str, int]]:
        """Return the classes to offer: those with pixels in some image, since others have no curve."""
        counts = [len(self._showing(label)) for label in range(len(self._classes))]
        total = len(self._masks)
        return [
            (f"{name} (in {count} of {total} images)", label)
            for label, (name, count) in enumerate(zip(self._classes, counts, strict=True))
            if count
        ]

    def _find(self, _change: object) -> None:
        """Show the next image that contains the class, unless the current one does."""
        shown = self._showing(self.label.value)
        at = self.index.value
        self.index.value = next((position for position in shown if position >= at), shown[0])

    def _showing(self, label: int) -> list[int]:
        """Return the images with pixels of a class."""
        return (self._masks == label).flatten(1).any(1).nonzero()[:, 0].tolist()

    def _step(self, by: int) -> None:
        self.index.value = (self.index.value + by) % len(self._images)

    def _describe(self) -> None:
        threshold, at, label, model = self._chosen()
        probability, curve = self._seen(at, label, model)
        point = point_at(threshold, curve, probability, self._masks[at], label)
        here = (
            "the class is neither there nor predicted"
            if math.isnan(point.image_iou)
            else _percent(point.image_iou)
        )
        count = len(self._images)
        self.say(
            f"{model}, {self._classes[label]} at threshold {threshold:.2f}: precision {point.precision:.3f}, recall "
            f"{point.recall:.3f}, IoU {_percent(point.iou)} over {'all ' * (count > 1)}{count} "
            f"image{'s' * (count > 1)}; IoU in this image: {here}."
        )


def threshold_explorer(
    images: Tensor,
    masks: Tensor,
    logits_by_name: Mapping[str, Tensor],
    classes: Sequence[str],
    *,
    start: float = 0.5,
) -> ThresholdExplorer:
    """Return a widget that shows one class's mask at a threshold that the learner chooses.

    The mask, its IoU, and the point on the precision-recall curve of these images change together. It starts with the
    largest garment (or other foreground class) of the first image that has one. Choosing a class that the image lacks
    shows the next image that has it.

    Args:
        images: uint8 [K, 1 or 3, H, W]; a few dozen at most, since all logits stay in memory.
        masks: true classes, integers [K, H, W]; `kdcourse.data.IGNORE` for pixels to leave out.
        logits_by_name: such as ``{"teachers": ..., "plain": ..., "distilled": ...}``; each floating
            [K, C, H, W].
        classes: C names; those without a pixel in ``masks`` are not offered.
        start: first threshold, 0 to 1.

    Raises:
        ArgumentError: shapes that don't fit together, classes out of range, logits that aren't finite, no model,
            only ignored pixels, a threshold outside 0 to 1.
    """
    return ThresholdExplorer(images, masks, logits_by_name, classes, start)


def _checked_curves(
    images: Tensor, masks: Tensor, logits_by_name: Mapping[str, Tensor], classes: Sequence[str], start: float
) -> dict[str, PrecisionRecall]:
    """Return every model's curves over these images; raise ArgumentError if something doesn't fit."""
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
                f"The logits of {name!r} must be {wanted} (images, classes, height, width); found {found}. "
                "Compute them with predict_logits for these images."
            )
        try:
            curves[name] = precision_recall(logits, masks)
        except ArgumentError as error:
            raise ArgumentError(f"The logits of {name!r} can't be used. {error}") from error
    return curves


def _levels(logits: Tensor, labels: Sequence[int]) -> Tensor:
    """Return the highest threshold, in hundredths, that pixels reach: logits [K, C, H, W] -> uint8 [K, L, H, W]."""
    thresholds = torch.arange(101, dtype=torch.float64) / 100
    probabilities = logits.double().softmax(1)[:, labels]  # in float32 those near 1 would round to 1
    return (torch.bucketize(probabilities, thresholds, right=True) - 1).to(torch.uint8)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
