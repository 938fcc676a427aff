"""Draw training curves of segmentation models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from kdcourse.errors import ArgumentError
from kdcourse.figures.curves import draw_curves
from kdcourse.training.history import History


def segmentation_curves(histories: Mapping[str, History | Sequence[History]]) -> Figure:
    """Draw loss and mean IoU of several models over their epochs, in training (dashed) and validation (solid).

    A line is the mean over a model's seeds; the band reaches from the lowest seed to the highest. Training losses are
    those of each model's own objective; validation losses are all cross-entropy, so only they can be compared.

    Args:
        histories: name of a model -> its history, or those of its seeds, all of equal length, from training on a
            `SegmentationDataset`.

    Raises:
        ArgumentError: no model, a model without histories or epochs, seeds of different lengths, histories that
            hold no IoU.
    """
    seeds = {
        name: [found] if isinstance(found, History) else list(found) for name, found in histories.items()
    }
    for name, runs in seeds.items():
        if any(value is None for run in runs for value in run.column("train_iou")):
            raise ArgumentError(
                f"The history of {name!r} holds no IoU: it was trained to classify images, not pixels. "
                "Use training_curves, or train on a SegmentationDataset."
            )
    return draw_curves(seeds, "iou", "Mean IoU", "mean IoU (%)", "Segmentation curves")
