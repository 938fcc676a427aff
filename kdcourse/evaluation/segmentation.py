"""Score predicted masks: overlap, borders, ranking and calibration, pixel by pixel.

Masks hold one class index per pixel; `kdcourse.data.IGNORE` in the true mask leaves a pixel out of everything.
Every rate is of all pixels of all images together, not a mean over images. A class that occurs neither in
the truth nor in the predictions says nothing about a model: its own rate is NaN and means leave it out. A class
that is predicted without being there scores 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.data import IGNORE, MaskedSplit, SegmentationDataset
from kdcourse.errors import ArgumentError
from kdcourse.evaluation.boundary import SHARE, boundary_counts, boundary_width
from kdcourse.evaluation.metrics import Reliability, plain
from kdcourse.evaluation.precision_recall import (
    PrecisionRecall,
    PrecisionRecallTally,
    check_classes,
    check_masks,
    check_scores_and_masks,
    in_chunks,
    log_odds,
)
from kdcourse.models.inputs import call_keeping_input, images_at_once, placement
from kdcourse.models.mode import evaluating
from kdcourse.models.stored import check_not_lazy
from kdcourse.training import task
from kdcourse.training.precision import Precision, autocast

_SIDE = 64  # pixels, of the images that batch sizes here are meant for

# -- masks against masks ------------------------------------------------------------------------


def mean_iou(predictions: Tensor, masks: Tensor, classes: int) -> float:
    """Compute the mean over the classes of intersection over union, 0 to 1.

    IoU = true positives / (true positives + false positives + false negatives), counted over all pixels of all
    images (Everingham et al. 2015, "The PASCAL Visual Object Classes Challenge: A Retrospective", section 4.2).

    Args:
        predictions: whole numbers [N, H, W], classes 0 to C - 1; where ``masks`` is ignored, anything.
        masks: whole numbers [N, H, W], the truth.
        classes: C.

    Raises:
        ArgumentError: shapes or types that don't fit, classes out of range, nothing but ignored pixels.
    """
    return task.mean_iou_of(_confusion(predictions, masks, classes))


def iou_per_class(predictions: Tensor, masks: Tensor, classes: int) -> Tensor:
    """Compute intersection over union of each class, float64 [C]; arguments and errors as `mean_iou`."""
    return task.iou_per_class(_confusion(predictions, masks, classes))


def pixel_accuracy(predictions: Tensor, masks: Tensor) -> float:
    """Compute the share of pixels, 0 to 1, that are given their class; arguments and errors as `mean_iou`.

    Where most pixels are background, saying "background" everywhere scores high: read it beside mean IoU.
    """
    confusion = _confusion(predictions, masks, IGNORE)
    return int(confusion.trace()) / int(confusion.sum())


def dice(predictions: Tensor, masks: Tensor, classes: int) -> float:
    """Compute the mean over the classes of their Dice coefficient, 0 to 1; arguments and errors as `mean_iou`."""
    return float(dice_per_class(predictions, masks, classes).nanmean())


def dice_per_class(predictions: Tensor, masks: Tensor, classes: int) -> Tensor:
    """Compute the Dice coefficient of each class, float64 [C]; arguments and errors as `mean_iou`.

    Dice = 2 * |both| / (|true| + |predicted|) (Dice 1945). It is the F1 score of the class's pixels, and
    2 * IoU / (1 + IoU).
    """
    return _dice(_confusion(predictions, masks, classes))


def boundary_iou(predictions: Tensor, masks: Tensor, classes: int, *, share: float = SHARE) -> float:
    """Compute the mean over the classes of boundary IoU, 0 to 1; `kdcourse.evaluation.boundary` has the definition.

    Args:
        predictions: whole numbers [N, H, W], classes 0 to C - 1; where ``masks`` is ignored, anything.
        masks: whole numbers [N, H, W], the truth.
        classes: C.
        share: width of the boundary as a share of the image's diagonal; it is at least one pixel.

    Raises:
        ArgumentError: as `mean_iou`; a share outside (0, 1].
    """
    return float(boundary_iou_per_class(predictions, masks, classes, share=share).nanmean())


def boundary_iou_per_class(
    predictions: Tensor, masks: Tensor, classes: int, *, share: float = SHARE
) -> Tensor:
    """Compute boundary IoU of each class, float64 [C]; arguments and errors as `boundary_iou`."""
    _check_pair(predictions, masks, classes)
    both, either = boundary_counts(predictions, masks, classes, share)
    return both.double() / either


def mask_agreement(predictions_a: Tensor, predictions_b: Tensor, masks: Tensor | None = None) -> float:
    """Compute the share of pixels, 0 to 1, to which two models give the same class, right or wrong.

    predictions_a, predictions_b: whole numbers [N, H, W]. Where ``masks`` [N, H, W], if given, is ignored, pixels
    are left out.

    Raises:
        ArgumentError: shapes or types that don't fit, nothing but ignored pixels.
    """
    _check_labels(predictions_a, "predictions_a")
    _check_labels(predictions_b, "predictions_b")
    _check_shapes(predictions_a, predictions_b, ("predictions_a", "predictions_b"))
    same = predictions_a.cpu() == predictions_b.cpu()
    if masks is not None:
        _check_labels(masks, "masks")
        _check_shapes(predictions_a, masks, ("predictions_a", "masks"))
        same = same[masks.cpu() != IGNORE]
    if same.numel() == 0:
        raise ArgumentError(_NOTHING)
    return int(same.sum()) / same.numel()


_NOTHING = (
    f"There is nothing to score: there is no pixel, or every one is marked {IGNORE}, 'leave out'. "
    "Check the masks."
)


def _confusion(predictions: Tensor, masks: Tensor, classes: int) -> Tensor:
    _check_pair(predictions, masks, classes)
    return task.confusion_counts(predictions.cpu(), masks.cpu(), classes)


def _dice(confusion: Tensor) -> Tensor:
    return 2 * confusion.diagonal().double() / (confusion.sum(0) + confusion.sum(1))


def _check_labels(labels: Tensor, name: str) -> None:
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        found = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise ArgumentError(
            f"{name} must be a tensor of whole numbers, one class index per pixel; found {found}. "
            "Turn logits [N, C, H, W] into masks with .argmax(1), or use predict_masks."
        )
    if labels.ndim != 3:
        raise ArgumentError(
            f"{name} must have shape [N, H, W]; found {list(labels.shape)}. A single mask needs mask[None]."
        )


def _check_shapes(one: Tensor, other: Tensor, names: tuple[str, str]) -> None:
    if one.shape != other.shape:
        raise ArgumentError(
            f"{names[0]} and {names[1]} must have one shape; found {list(one.shape)} and {list(other.shape)}. "
            "Both must be of the very same images, at the same height and width."
        )


def _check_pair(predictions: Tensor, masks: Tensor, classes: int) -> None:
    check_classes(classes)
    _check_labels(predictions, "predictions")
    _check_labels(masks, "masks")
    _check_shapes(predictions, masks, ("predictions", "masks"))
    check_masks(masks, classes)
    scored = predictions.cpu()[masks.cpu() != IGNORE]
    if scored.numel() == 0:
        raise ArgumentError(_NOTHING)
    low, high = int(scored.min()), int(scored.max())
    if low < 0 or high >= classes:
        raise ArgumentError(
            f"predictions must lie in 0..{classes - 1} ({classes} classes); found {low} to {high}. Use a model with "
            "one output per class, numbered as the masks are."
        )


# -- everything at once, batch by batch ---------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """Hold everything that `SegmentationTally` counted; rates 0 to 1, likelihood in nats per pixel.

    Tensors [C] have one value per class, NaN for one that occurs nowhere; ``confusion`` int64 [C, C] counts pixels,
    one row per true class, one column per predicted one. ``pixels`` were scored, ignored ones are not among them.
    """

    images: int
    pixels: int
    mean_iou: float
    iou_per_class: Tensor
    pixel_accuracy: float
    dice: float
    dice_per_class: Tensor
    boundary_iou: float
    boundary_iou_per_class: Tensor
    negative_log_likelihood: float
    expected_calibration_error: float
    reliability: Reliability
    precision_recall: PrecisionRecall
    confusion: Tensor

    @property
    def average_precision(self) -> float:
        """Return average precision of all classes pooled, see `PrecisionRecall.micro`."""
        return self.precision_recall.micro.average_precision

    def as_dict(self) -> dict[str, Any]:
        """Return numbers and lists alone, for JSON: NaN becomes None, of the curves only average precision."""
        curves = self.precision_recall
        found = {name: value for name, value in vars(self).items() if name != "precision_recall"}
        found["average_precision"] = self.average_precision
        found["mean_average_precision"] = curves.mean_average_precision
        found["average_precision_per_class"] = curves.average_precision
        return {name: plain(value) for name, value in found.items()}


class SegmentationTally:
    """Count what `SegmentationScores` needs, batch by batch: memory doesn't grow with the images.

    Confidence and calibration are those of every pixel's likeliest class (Guo et al. 2017, section 2), as in
    `kdcourse.evaluation.reliability`.

    Args:
        classes: how many there are.
        share: width of boundaries as a share of the image's diagonal, see `boundary_iou`.
        bins: of confidence, for the calibration.

    Raises:
        ArgumentError: fewer than two classes, a share outside (0, 1], ``bins`` below 1.
    """

    def __init__(self, classes: int, *, share: float = SHARE, bins: int = 15) -> None:
        check_classes(classes)
        boundary_width(1, 1, share)
        if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
            raise ArgumentError(
                f"bins must be a whole number of at least 1; found {bins!r}. Guo et al. use 15."
            )
        self.classes, self.share, self.bins = classes, share, bins
        self._images = 0
        self._confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self._boundary = torch.zeros(2, classes, dtype=torch.int64)
        self._curves = PrecisionRecallTally(classes)
        self._bins = torch.zeros(3, bins, dtype=torch.float64)  # pixels, right ones, summed confidence
        self._log_loss = 0.0

    def update(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Count one batch: logits floating [B, C, H, W], masks whole numbers [B, H, W].

        Returns:
            The masks that the logits say, uint8 [B, H, W] on the CPU.

        Raises:
            ArgumentError: shapes or types that don't fit, classes out of range, NaN or infinity.
        """
        if isinstance(logits, Tensor) and logits.ndim != 4:
            raise ArgumentError(
                f"logits must have shape [B, C, H, W]; found {list(logits.shape)}. A single image needs logits[None]."
            )
        check_scores_and_masks(logits, masks, self.classes)
        said, truth = _masks(logits), masks.cpu()
        self._images += len(truth)
        self._confusion += task.confusion_counts(said, truth, self.classes)
        self._boundary += boundary_counts(said, truth, self.classes, self.share)
        for chunk, labels in in_chunks(logits, truth):
            self._curves.count(log_odds(chunk), labels)
            self._calibrate(chunk, labels)
        return said

    def _calibrate(self, logits: Tensor, labels: Tensor) -> None:
        top, said = logits.max(dim=0)
        total = (logits - top).exp().sum(dim=0)
        own = logits.gather(0, labels[None])[0]
        self._log_loss += float((total.log() - (own - top)).sum())
        confidence = 1 / total
        where = torch.bucketize(confidence, self._edges()[1:-1])
        for row, weights in enumerate((None, (said == labels).double(), confidence)):
            self._bins[row] += torch.bincount(where, weights, minlength=self.bins)

    def _edges(self) -> Tensor:
        return torch.arange(self.bins + 1, dtype=torch.float64) / self.bins

    def scores(self) -> SegmentationScores:
        """Convert the counts of all batches so far to metrics.

        Raises:
            ArgumentError: not a single pixel was counted.
        """
        pixels = int(self._confusion.sum())
        if pixels == 0:
            raise ArgumentError(_NOTHING)
        boundary = self._boundary[0].double() / self._boundary[1]
        overlap = _dice(self._confusion)
        count, right, confidence = self._bins
        reliability = Reliability(self._edges(), confidence / count, right / count, count.long())
        return SegmentationScores(
            images=self._images,
            pixels=pixels,
            mean_iou=task.mean_iou_of(self._confusion),
            iou_per_class=task.iou_per_class(self._confusion),
            pixel_accuracy=int(self._confusion.trace()) / pixels,
            dice=float(overlap.nanmean()),
            dice_per_class=overlap,
            boundary_iou=float(boundary.nanmean()),
            boundary_iou_per_class=boundary,
            negative_log_likelihood=self._log_loss / pixels,
            expected_calibration_error=reliability.error,
            reliability=reliability,
            precision_recall=self._curves.curves(),
            confusion=self._confusion.clone(),
        )


# -- from images to masks ---------------------------------------------------------------------


def evaluate_segmentation(
    model: nn.Module,
    split: MaskedSplit,
    dataset: SegmentationDataset,
    *,
    batch_size: int = 64,
    precision: Precision = "float32",
    share: float = SHARE,
    bins: int = 15,
) -> SegmentationScores:
    """Compute all metrics of one model on one split; the model is left exactly as it was.

    Runs where the model's weights are, in eval mode, without gradients; no more than a batch of logits is ever
    held. For the predicted masks as well, ask with `evaluate_with_masks`.

    Args:
        model: takes float [B, 3, H, W], returns logits [B, C, H, W].
        split: such as ``dataset.test``.
        dataset: gives ``normalise`` and the classes; use the one that the model was trained on.
        batch_size: images of 64x64 pixels at a time, of larger ones fewer, so that memory stays the same; the
            result doesn't depend on it beyond rounding.
        precision: "float32" or "bfloat16", through `torch.autocast`.
        share: see `boundary_iou`.
        bins: of confidence, for the calibration.

    Raises:
        ArgumentError: a model that returns something other than logits [B, C, H, W], one channel per class; NaN
            or infinity; a split without a pixel to score; a bad ``batch_size``, ``precision``, ``share``, ``bins``.
    """
    scores, _ = evaluate_with_masks(
        model, split, dataset, batch_size=batch_size, precision=precision, share=share, bins=bins
    )
    return scores


def evaluate_with_masks(
    model: nn.Module,
    split: MaskedSplit,
    dataset: SegmentationDataset,
    *,
    batch_size: int = 64,
    precision: Precision = "float32",
    share: float = SHARE,
    bins: int = 15,
) -> tuple[SegmentationScores, Tensor]:
    """Compute scores and masks with one forward pass per batch.

    Arguments and errors as `evaluate_segmentation`.

    Returns:
        The scores, and the predicted masks uint8 [N, H, W] on the CPU, a byte a pixel as the split's own.
    """
    counts = SegmentationTally(len(dataset.classes), share=share, bins=bins)
    _check_images(split.images, batch_size)
    truth = split.masks.split(images_at_once(batch_size, split.images, _SIDE))
    said = _each_batch(
        model, split, dataset, batch_size, precision, lambda n, logits: counts.update(logits, truth[n])
    )
    return counts.scores(), said


def predict_masks(
    model: nn.Module,
    images: MaskedSplit | Tensor,
    dataset: SegmentationDataset,
    *,
    batch_size: int = 64,
    precision: Precision = "float32",
) -> Tensor:
    """Predict the likeliest class of every pixel, uint8 [N, H, W] on the CPU; the model is left exactly as it was.

    Arguments and errors as `predict_logits`.
    """
    return _each_batch(model, images, dataset, batch_size, precision, lambda _, logits: _masks(logits))


def predict_logits(
    model: nn.Module,
    images: MaskedSplit | Tensor,
    dataset: SegmentationDataset,
    *,
    batch_size: int = 64,
    precision: Precision = "float32",
) -> Tensor:
    """Compute logits, float32 [N, C, H, W] on the CPU, of a few images: all logits are kept in memory.

    Args:
        model: takes float [B, 3, H, W], returns logits [B, C, H, W].
        images: a `MaskedSplit`, or its images alone: uint8 [N, 3, H, W].
        dataset: gives ``normalise`` and the classes; use the one that the model was trained on.
        batch_size: images of 64x64 pixels at a time, of larger ones fewer.
        precision: "float32" or "bfloat16", through `torch.autocast`.

    Raises:
        ArgumentError: no images, wrong shape or type, a bad ``batch_size`` or ``precision``, or a model
            that returns something other than logits [B, C, H, W], one channel per class.
    """
    return _each_batch(model, images, dataset, batch_size, precision, lambda _, logits: logits.cpu())


def _each_batch(
    model: nn.Module,
    images: MaskedSplit | Tensor,
    dataset: SegmentationDataset,
    batch_size: int,
    precision: Precision,
    use: Callable[[int, Tensor], Tensor],
) -> Tensor:
    """Apply ``use`` to each batch's number and logits float32 [B, C, H, W], and concatenate the results."""
    pictures = images.images if isinstance(images, MaskedSplit) else images
    _check_images(pictures, batch_size)
    check_not_lazy(model)
    device, dtype = placement(model)
    batch_size = images_at_once(batch_size, pictures, _SIDE)
    parts = []
    # no_grad rather than inference_mode: what a model keeps of a batch stays usable in training.
    with evaluating(model), torch.no_grad(), autocast(device, precision):
        for number, chunk in enumerate(pictures.split(batch_size)):
            logits = call_keeping_input(model, dataset.normalise(chunk.to(device)).to(dtype))
            wanted = [len(chunk), len(dataset.classes), *chunk.shape[2:]]
            if not isinstance(logits, Tensor) or list(logits.shape) != wanted:
                found = f"{list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
                raise ArgumentError(
                    f"The model must return logits {wanted} (images, classes, height, width); found {found}. "
                    "Wrap it in a module that returns the logits alone, at the images' own height and width."
                )
            parts.append(use(number, logits.float()))
    return torch.cat(parts)


def _masks(logits: Tensor) -> Tensor:
    """Return the class of the largest logit (the lowest of equals): [B, C, H, W] -> uint8 [B, H, W] on the CPU."""
    # Several times as fast as argmax, which finds the same.
    return logits.max(dim=1).indices.to(torch.uint8).cpu()


def _check_images(images: Tensor, batch_size: int) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or images.numel() == 0:
        found = f"{list(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ArgumentError(
            f"A prediction needs at least one image in a tensor [N, 3, H, W]; found {found}. "
            "Pass a split such as dataset.test, or add the missing axis with image[None]."
        )
    if images.dtype != torch.uint8:
        raise ArgumentError(
            f"Images must be uint8 (0..255), before normalise; found {images.dtype}. Take them from a split."
        )
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1; found {batch_size}. 64 suits most machines.")
