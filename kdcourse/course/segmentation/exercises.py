"""Define the exercises of A class for every pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.outcomes import GRADIENT
from kdcourse.checks.probes import Draw, huge, numbers, share
from kdcourse.course.segmentation import fixtures
from kdcourse.data import IGNORE

NAN = float("nan")

# -- class_iou ----------------------------------------------------------------------------------


def class_iou(prediction: torch.Tensor, truth: torch.Tensor, label: int) -> float:
    """Return the intersection over union of one class; NaN where it is in neither mask."""
    counts = truth != IGNORE
    ### BEGIN SOLUTION
    predicted = prediction[counts] == label
    ### END SOLUTION
    ### BEGIN SOLUTION
    true = truth[counts] == label
    ### END SOLUTION
    either = (predicted | true).sum().item()
    if either == 0:
        return float("nan")
    ### BEGIN SOLUTION
    return (predicted & true).sum().item() / either
    ### END SOLUTION


def _pixels(
    score: Callable[[Tensor, Tensor], Any], *, absent: float | None = NAN, ignored: bool = False
) -> Callable[[Tensor, Tensor, int], Any]:
    """Make an answer from ``score(predicted, true)``, two bool [M]; ``ignored``: whether ignored pixels count."""

    def answer(prediction: Tensor, truth: Tensor, label: int) -> Any:
        counts = torch.ones_like(truth, dtype=torch.bool) if ignored else truth != IGNORE
        predicted, true = prediction[counts] == label, truth[counts] == label
        if absent is not None and not (predicted | true).any():
            return absent
        return score(predicted, true)

    return answer


def _over(part: Tensor, whole: Tensor) -> float:
    """Return the share of two counts or masks; NaN or infinity where the whole is 0."""
    return (part.sum().double() / whole.sum()).item()


def _iou(predicted: Tensor, true: Tensor) -> float:
    return _over(predicted & true, predicted | true)


def _right_share(prediction: Tensor, truth: Tensor, label: int) -> float:
    return _over((prediction == truth)[truth != IGNORE], truth != IGNORE)


def _right_of_any_class(prediction: Tensor, truth: Tensor, label: int) -> float:
    counts = truth != IGNORE
    either = ((prediction == label) | (truth == label))[counts]
    return _over((prediction == truth)[counts], either)


def _image_by_image(prediction: Tensor, truth: Tensor, label: int) -> float:
    each = torch.tensor([class_iou(p, t, label) for p, t in zip(prediction, truth, strict=True)])
    return each.double().nanmean().item()


def _anything_but_0(prediction: Tensor, truth: Tensor, label: int) -> float:
    return class_iou((prediction > 0).long(), torch.where(truth == IGNORE, truth, (truth > 0).to(truth)), 1)


def _mean_of_all(prediction: Tensor, truth: Tensor, label: int) -> float:
    labels = set(prediction[truth != IGNORE].tolist()) | set(truth[truth != IGNORE].tolist())
    return sum(class_iou(prediction, truth, one) for one in labels) / len(labels) if labels else NAN


def _bits(prediction: Tensor, truth: Tensor, label: int) -> float:
    """Apply & and | to the class numbers themselves, which combine their bits."""
    counts = truth != IGNORE
    predicted, true = prediction[counts].to(truth.dtype), truth[counts]
    return _over(predicted & true, predicted | true)


def _times_counts(prediction: Tensor, truth: Tensor, label: int) -> float:
    counts = truth != IGNORE
    predicted, true = prediction * counts == label, truth * counts == label
    return _over(predicted & true, predicted | true)


def _ground_cut(prediction: Tensor, truth: Tensor, label: int) -> float:
    return class_iou(prediction, truth.masked_fill(truth == 0, IGNORE), label)


def _nan_or_share(expected: float, found: float) -> str | None:
    if math.isnan(expected):
        return "gives a number where the union is 0; it should give NaN, float('nan')."
    return share(expected, found)


def _masks(seed: int, classes: int, *shape: int, ignored: float = 0.0) -> tuple[Tensor, Tensor]:
    """Make a true mask, a share of it ignored, and a predicted one that mostly agrees; uint8 as in a split."""
    truth = numbers(seed, classes, *shape).argmax(0)
    prediction = torch.where(numbers(seed + 100, *shape) > 1.0, (truth + 1) % classes, truth)
    left_out = numbers(seed + 200, *shape, spread=1.0).sigmoid() > 1 - ignored
    return prediction.to(torch.uint8), truth.masked_fill(left_out, IGNORE).to(torch.uint8)


def _mask(*rows: str) -> Tensor:
    """Make one mask [1, H, W]: digits are classes, a dash is an ignored pixel."""
    return torch.tensor([[[IGNORE if sign == "-" else int(sign) for sign in row] for row in rows]])


CLASS_IOU = Exercise(
    id="class_iou",
    title="Intersection over union of one class",
    solution=class_iou,
    vary=lambda draw, prediction, truth, label: (*draw.columns(prediction, truth), label),
    tell=_nan_or_share,
    probes=(
        Probe((*_masks(1, 3, 2, 4, 5), 1), "for two images, class 1"),
        Probe((*_masks(2, 4, 3, 4, 4, ignored=0.4), 2), "with pixels to be left out"),
        Probe((*_masks(3, 3, 1, 5, 4, ignored=0.3), 0), "for class 0"),
        Probe((_mask("0110", "0110"), _mask("0110", "0110"), 1), "for a perfect prediction"),
        Probe(
            (_mask("0110", "0002"), _mask("1010", "1012"), 1),
            "where truth has more pixels than the prediction",
        ),
        Probe((_mask("0000", "0220"), _mask("0110", "0220"), 1), "for a class never predicted"),
        Probe((_mask("0110", "0220"), _mask("0000", "0220"), 1), "for a class that isn't there"),
        Probe((_mask("0022", "0022"), _mask("0222", "0002"), 1), "for a class in neither mask", extreme=True),
        Probe(
            (_mask("0110", "0220"), _mask("0--0", "0222"), 1),
            "for a class predicted only where pixels are left out",
            extreme=True,
        ),
    ),
    mistakes=(
        Mistake(
            "intersection counted twice",
            example=_pixels(lambda p, t: (p & t).sum().item() / (p.sum() + t.sum()).item()),
            hint="a pixel of both masks is in the sum of their pixels twice, but in the union once.",
        ),
        Mistake(
            "Dice for IoU",
            example=_pixels(lambda p, t: 2 * (p & t).sum().item() / (p.sum() + t.sum()).item()),
            hint="that divides by the mean of both sizes. IoU divides by the union, the pixels of either.",
        ),
        Mistake(
            "recall for IoU",
            example=_pixels(lambda p, t: _over(p & t, t) if t.any() else 0.0),
            hint="that is the share of the true pixels that were found. False alarms must lower the score, too.",
        ),
        Mistake(
            "precision for IoU",
            example=_pixels(lambda p, t: _over(p & t, p) if p.any() else 0.0),
            hint="that is the share of the predicted pixels that are true. Misses must lower the score, too.",
        ),
        Mistake(
            "pixel accuracy for IoU",
            example=_right_share,
            hint="that counts right pixels of every class, background included. Count only those of this class.",
        ),
        Mistake(
            "accuracy of one class for IoU",
            example=_pixels(lambda p, t: _over(p == t, torch.ones_like(t)), absent=None),
            hint="that also counts the many pixels that rightly lack the class. They make any mask look good.",
        ),
        Mistake(
            "right pixels of any class",
            example=_right_of_any_class,
            hint="prediction == truth holds for every class. The intersection has pixels of this class alone.",
        ),
        Mistake(
            "ignored pixels counted",
            example=_pixels(_iou, ignored=True),
            hint="where truth is IGNORE, a prediction is neither right nor wrong: remove these pixels from both masks.",
        ),
        Mistake(
            "absent class counted as 0",
            example=_pixels(_iou, absent=0.0),
            hint="a class in neither mask isn't a failure of the prediction. What is 0 divided by 0?",
        ),
        Mistake(
            "absent class counted as 1",
            example=_pixels(_iou, absent=1.0),
            hint="a class in neither mask isn't a success of the prediction either. What is 0 divided by 0?",
        ),
        Mistake(
            "NaN where truth lacks the class",
            example=_pixels(lambda p, t: _iou(p, t) if t.any() else NAN),
            hint="a class predicted without being there is a mistake of the model, and scores 0. NaN is for a class "
            "in neither mask.",
        ),
        Mistake(
            "NaN where no pixel is right",
            example=_pixels(lambda p, t: _iou(p, t) if (p & t).any() else NAN),
            hint="a class of which no pixel is right scores 0. NaN is for a class in neither mask.",
        ),
        Mistake(
            "label not compared with",
            example=_bits,
            hint="& and | of class numbers work on their bits. Turn both masks into True and False first: where is "
            "the class label?",
        ),
        Mistake(
            "ignored pixels made background",
            example=_times_counts,
            hint="multiplied by 0, the pixels to leave out become class 0 and still count. Remove them: mask[counts].",
        ),
        Mistake(
            "background left out",
            example=_ground_cut,
            hint="only pixels whose truth is IGNORE are left out. On background (0) a prediction may be a false alarm.",
        ),
        Mistake(
            "rounded down",
            example=_pixels(lambda p, t: float((p & t).sum() // (p | t).sum())),
            hint="// drops everything after the decimal point. Use / to divide.",
        ),
        Mistake(
            "mean over the images",
            example=_image_by_image,
            hint="count pixels over all images together, and divide once.",
        ),
        Mistake(
            "divided by all pixels",
            example=_pixels(lambda p, t: _over(p & t, torch.ones_like(t)), absent=None),
            hint="pixels in neither mask say nothing about this class: divide by those of either.",
        ),
        Mistake(
            "only where one of both holds",
            example=_pixels(lambda p, t: _over(p & t, p ^ t)),
            hint="the union has the pixels of both masks too: | is 'or', ^ is 'either, but not both'.",
        ),
        Mistake(
            "differing pixels for common ones",
            example=_pixels(lambda p, t: _over(p ^ t, p | t)),
            hint="that is the share on which the masks differ: 0 for a perfect prediction, which should score 1.",
        ),
        Mistake(
            "upside down",
            example=_pixels(lambda p, t: _over(p | t, p & t)),
            hint="intersection over union: the smaller one is the numerator.",
        ),
        Mistake(
            "count for share",
            example=_pixels(lambda p, t: float((p & t).sum()), absent=None),
            hint="that is how many pixels are in both masks; on which share of the union?",
        ),
        Mistake(
            "percent for share",
            example=_pixels(lambda p, t: 100 * _iou(p, t)),
            hint="a share lies between 0 and 1.",
        ),
        Mistake(
            "any class but 0",
            example=_anything_but_0,
            hint="return the IoU of one class: compare both masks with label.",
        ),
        Mistake(
            "mean over all classes",
            example=_mean_of_all,
            hint="that is the mean IoU; return the IoU of the one class that label names.",
        ),
    ),
)

# -- iou_over_classes ---------------------------------------------------------------------------


def iou_over_classes(confusion: torch.Tensor) -> float:
    """Return the mean IoU of an integer confusion matrix [C, C] (rows are true classes), absent classes left out."""
    ### BEGIN SOLUTION
    right = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - right
    occurs = union > 0
    return (right[occurs] / union[occurs]).mean().item()
    ### END SOLUTION


def _counts(confusion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count correct, true and predicted pixels, float64 [C] each."""
    numbers = confusion.double()
    return numbers.diagonal(), numbers.sum(1), numbers.sum(0)


def _mean_over(
    ratio: Callable[[Tensor, Tensor, Tensor], Tensor],
    keep: Callable[[Tensor, Tensor], Tensor] = lambda true, called: true + called > 0,
) -> Callable[[Tensor], float]:
    """Make an answer: the mean of ``ratio(right, true, called)``; classes left out unless ``keep(true, called)``."""

    def answer(confusion: Tensor) -> float:
        right, true, called = _counts(confusion)
        return ratio(right, true, called)[keep(true, called)].mean().item()

    return answer


def _ious(right: Tensor, true: Tensor, called: Tensor) -> Tensor:
    return right / (true + called - right)


def _all(true: Tensor, called: Tensor) -> Tensor:
    return torch.ones_like(true, dtype=torch.bool)


def _rows_with_columns(confusion: Tensor) -> float:
    right, true, called = _counts(confusion)
    return (right / (true[:, None] + called - right)).nanmean().item()


def _without_the_first(confusion: Tensor) -> float:
    return _ious(*_counts(confusion))[1:].nanmean().item()


def _mean_over_right(confusion: Tensor) -> float:
    right, true, called = _counts(confusion)
    return _ious(right, true, called)[right > 0].mean().item()


def _by_size(confusion: Tensor) -> float:
    right, true, called = _counts(confusion)
    return ((true * _ious(right, true, called)).nansum() / true.sum()).item()


def _pooled(confusion: Tensor) -> float:
    right, true, called = _counts(confusion)
    return (right.sum() / (true + called - right).sum()).item()


def _rows_as_shares(confusion: Tensor) -> float:
    numbers = confusion.double()
    return _ious(*_counts(numbers / numbers.sum(1, keepdim=True).clamp(min=1))).nanmean().item()


def _other_counts(draw: Draw, confusion: Tensor) -> tuple[Tensor]:
    """Draw other counts where there are any."""
    factors = draw.noise(confusion).sigmoid() + 0.6
    return (torch.where(confusion > 0, (confusion * factors).long().clamp(min=1), confusion),)


IOU_OVER_CLASSES = Exercise(
    id="iou_over_classes",
    title="Mean IoU from a confusion matrix",
    solution=iou_over_classes,
    vary=_other_counts,
    tell=share,
    probes=(
        Probe((torch.tensor([[50, 3, 2], [6, 20, 1], [0, 4, 9]]),), "for three classes"),
        Probe(
            (torch.tensor([[90, 5, 0, 1], [2, 30, 0, 8], [0, 0, 0, 0], [4, 6, 0, 12]]),),
            "where a class is in neither truth nor prediction",
        ),
        Probe(
            (torch.tensor([[40, 0, 7, 3], [0, 0, 0, 0], [5, 2, 11, 0], [1, 0, 0, 6]]),),
            "where a class is predicted that isn't there",
        ),
        Probe((torch.tensor([[30, 2, 0], [9, 14, 0], [3, 5, 0]]),), "where a class is never predicted"),
        Probe((torch.tensor([[0, 0, 0], [0, 8, 0], [0, 0, 5]]),), "for a perfect prediction of two classes"),
        Probe((torch.tensor([[0, 7], [4, 0]]),), "where no pixel is right"),
    ),
    mistakes=(
        Mistake(
            "0 / 0 in the mean",
            example=_mean_over(_ious, _all),
            hint="a class that occurs nowhere has a union of 0. NaN in one place makes the whole mean NaN.",
        ),
        Mistake(
            "absent class counted as 0",
            example=_mean_over(lambda r, t, c: _ious(r, t, c).nan_to_num(0.0), _all),
            hint="a class that occurs nowhere would punish a perfect prediction: take the mean over those that occur.",
        ),
        Mistake(
            "absent class counted as 1",
            example=_mean_over(lambda r, t, c: _ious(r, t, c).nan_to_num(1.0), _all),
            hint="a class that occurs nowhere would reward a poor prediction: take the mean over those that occur.",
        ),
        Mistake(
            "false alarms of absent classes left out",
            example=_mean_over(_ious, lambda true, called: true > 0),
            hint="a class that was predicted without being there is a mistake of the model: it occurs, and scores 0.",
        ),
        Mistake(
            "classes never predicted left out",
            example=_mean_over(_ious, lambda true, called: called > 0),
            hint="a class that is there and never predicted is missed altogether: it occurs, and scores 0.",
        ),
        Mistake(
            "only classes in truth and prediction",
            example=_mean_over(_ious, lambda true, called: (true > 0) & (called > 0)),
            hint="a class occurs if it is in either of both, not only if it is in both.",
        ),
        Mistake(
            "classes without a right pixel left out",
            example=_mean_over_right,
            hint="a class of which no pixel is right scores 0; left out, it would cost nothing.",
        ),
        Mistake(
            "recall for IoU",
            example=_mean_over(lambda r, t, c: (r / t).nan_to_num(0.0)),
            hint="that divides by the row, the true pixels, alone. False alarms of the class are in its column.",
        ),
        Mistake(
            "precision for IoU",
            example=_mean_over(lambda r, t, c: (r / c).nan_to_num(0.0)),
            hint="that divides by the column, the predicted pixels, alone. Missed pixels of the class are in its row.",
        ),
        Mistake(
            "recall of the classes that are there",
            example=_mean_over(lambda r, t, c: r / t, lambda true, called: true > 0),
            hint="that divides by the row, the true pixels, alone. False alarms of the class are in its column.",
        ),
        Mistake(
            "precision of the classes predicted",
            example=_mean_over(lambda r, t, c: r / c, lambda true, called: called > 0),
            hint="that divides by the column, the predicted pixels, alone. Missed pixels of the class are in its row.",
        ),
        Mistake(
            "intersection counted twice",
            example=_mean_over(lambda r, t, c: r / (t + c)),
            hint="the right pixels are in the row and in the column, but in the union once.",
        ),
        Mistake(
            "Dice for IoU",
            example=_mean_over(lambda r, t, c: 2 * r / (t + c)),
            hint="that divides by the mean of row and column. IoU divides by the union.",
        ),
        Mistake(
            "every row with every column",
            example=_rows_with_columns,
            hint="[C, 1] and [C] together give [C, C], the row of each class with the column of each other. Sum "
            "without keepdim.",
        ),
        Mistake(
            "wrong pixels for the union",
            example=_mean_over(lambda r, t, c: r / (t + c - 2 * r)),
            hint="the right pixels are in the union too: subtract them once, not twice.",
        ),
        Mistake(
            "pixel accuracy for mean IoU",
            example=lambda confusion: (confusion.trace().double() / confusion.sum()).item(),
            hint="that is the share of right pixels, and large classes dominate it. Here every class counts the same.",
        ),
        Mistake(
            "divided by all pixels",
            example=_mean_over(lambda r, t, c: r / t.sum()),
            hint="divide each class by its own union.",
        ),
        Mistake(
            "one division for all classes",
            example=_pooled,
            hint="large classes dominate pooled counts. Divide class by class, then take the mean.",
        ),
        Mistake(
            "weighted by the pixels",
            example=_by_size,
            hint="every class counts the same in a mean IoU, however many pixels it has.",
        ),
        Mistake(
            "rows made shares first",
            example=_rows_as_shares,
            hint="with every row divided by its sum, a false alarm weighs less if it comes from a large class. Count "
            "pixels.",
        ),
        Mistake(
            "all pixels but the right ones for the union",
            example=_mean_over(lambda r, t, c: r / (t.sum() - r)),
            hint="most of these pixels have nothing to do with the class. Its own row and column make its union.",
        ),
        Mistake(
            "background left out",
            example=_without_the_first,
            hint="class 0 is a class like the others.",
        ),
        Mistake(
            "sum for mean",
            example=lambda confusion: _ious(*_counts(confusion)).nansum().item(),
            hint="a sum grows with the number of classes; divide by how many occur.",
        ),
        Mistake(
            "percent for share",
            example=lambda confusion: 100 * iou_over_classes(confusion),
            hint="a share lies between 0 and 1.",
        ),
        Mistake(
            "no mean",
            example=lambda confusion: _ious(*_counts(confusion)),
            hint="that is one IoU per class, and a class may be NaN; return their mean, one number.",
        ),
        Mistake(
            "no mean, absent classes left out",
            example=lambda confusion: _ious(*_counts(confusion))[confusion.sum(0) + confusion.sum(1) > 0],
            hint="that is one IoU per class; return their mean, one number.",
        ),
    ),
)


# -- pixel_term ---------------------------------------------------------------------------------


def pixel_term(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, masks: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return T^2 KL(teacher || student), the mean over pixels whose mask isn't IGNORE. Logits [B, C, H, W]."""
    ### BEGIN SOLUTION
    log_q = torch.log_softmax(student_logits / temperature, dim=1)
    log_p = torch.log_softmax(teacher_logits.detach() / temperature, dim=1)
    kl = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * kl[masks != IGNORE].mean()
    ### END SOLUTION


def _trains_the_teacher(parts: Any) -> bool:
    gradient = parts.get(GRADIENT)
    return isinstance(gradient, tuple) and bool(gradient[1])


def _kl(z: Tensor, v: Tensor, t: float, dim: int = 1) -> Tensor:
    """Return KL(softmax(v / t) || softmax(z / t)) at every pixel, [B, H, W]; the softmax along ``dim``."""
    log_q, log_p = (z / t).log_softmax(dim), (v / t).log_softmax(dim)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _term(
    divergence: Callable[[Tensor, Tensor, float], Tensor] = _kl,
    mean: Callable[[Tensor, Tensor], Tensor] = lambda kl, counts: kl[counts].mean(),
    factor: Callable[[float], float] = lambda t: t**2,
) -> Callable[[Tensor, Tensor, Tensor, float], Tensor]:
    """Make an answer: ``factor(T) * mean(divergence(z, v, T) [B, H, W], which pixels count)``."""

    def answer(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
        return factor(t) * mean(divergence(z, v.detach(), t), masks != IGNORE)

    return answer


def _over_classes(
    mean: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor, Tensor, float], Tensor]:
    """Make the same answer, divided by the number of classes as well."""
    return lambda z, v, masks, t: _term(mean=mean)(z, v, masks, t) / z.shape[1]


def _over_places(z: Tensor, v: Tensor, t: float) -> Tensor:
    log_q, log_p = ((logits / t).flatten(2).log_softmax(2).view_as(z) for logits in (z, v))
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _from_probabilities(z: Tensor, v: Tensor, t: float) -> Tensor:
    p, q = (v / t).softmax(1), (z / t).softmax(1)
    return (p * (p / q).log()).sum(1)


def _reshaped(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    """Take rows of C numbers in memory order, which belong to one class rather than to one pixel."""
    log_q, log_p = ((logits.reshape(-1, z.shape[1]) / t).log_softmax(1) for logits in (z, v.detach()))
    return t**2 * (log_p.exp() * (log_p - log_q)).sum(1)[(masks != IGNORE).flatten()].mean()


def _not_summed(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    """Raise the IndexError that names both shapes, as every answer does that indexes [B, C, H, W]."""
    return t**2 * (z - v)[masks != IGNORE].mean()


def _softened_late(z: Tensor, v: Tensor, t: float) -> Tensor:
    log_q, log_p = z.log_softmax(1) / t, v.log_softmax(1) / t
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _with_labels(z: Tensor, v: Tensor, masks: Tensor, t: float) -> Tensor:
    return pixel_term(z, v, masks, t) + F.cross_entropy(z, masks, ignore_index=IGNORE)


def _each_image(kl: Tensor, counts: Tensor) -> Tensor:
    return torch.stack([one[some].mean() for one, some in zip(kl, counts, strict=True)]).mean()


def _scenes(
    seed: int, images: int, classes: int, height: int, width: int, ignored: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Make logits of student and teacher, and masks int64 with a share of ignored pixels."""
    shape = (images, classes, height, width)
    masks = numbers(seed + 1, *shape).argmax(1)
    left_out = numbers(seed + 2, *masks.shape, spread=1.0).sigmoid() > 1 - ignored
    return numbers(seed, *shape), numbers(seed + 3, *shape), masks.masked_fill(left_out, IGNORE)


def _at_places(*signs: list[int]) -> Tensor:
    """Make logits by `huge`, one row per pixel, as one image [1, C, 1, W]."""
    return huge(*signs).T[None, :, None]


_UNEVEN = _scenes(40, 3, 3, 2, 4, ignored=0.0)
_UNEVEN[2][1, :, 1:] = IGNORE

PIXEL_TERM = Exercise(
    id="pixel_term",
    title="The distillation term for pixels",
    solution=pixel_term,
    fixture=fixtures.watch_the_teacher,
    absolute=1e-5,
    probes=(
        Probe((*_scenes(10, 2, 3, 4, 5, ignored=0.4), 4.0), "at T = 4, with pixels to be left out"),
        Probe((*_scenes(20, 3, 4, 3, 2, ignored=0.0), 0.5), "at T = 0.5, where every pixel counts"),
        Probe((*_scenes(30, 1, 5, 2, 3, ignored=0.3), 2.0), "for a batch of one image"),
        Probe((*_UNEVEN, 3.0), "where few pixels of an image count"),
        Probe(
            (
                _at_places([1, 0, 0], [0, -1, 1], [1, 1, 0]),
                _at_places([0, 1, 0], [0, -1, 1], [0, 0, 1]),
                torch.tensor([[[0, 2, IGNORE]]]),
                2.0,
            ),
            "for logits of 10,000",
            extreme=True,
        ),
    ),
    mistakes=(
        Mistake(
            "classes not summed",
            example=_not_summed,
            hint="a divergence is a sum over the classes. Without .sum(dim=1) there is a number for every class of a "
            "pixel, [B, C, H, W], and masks [B, H, W] can't choose from that.",
        ),
        Mistake(
            "T squared missing",
            example=_term(factor=lambda t: 1.0),
            hint="softening makes the gradients smaller, by about 1 / T in two places. Which factor compensates for "
            "it?",
        ),
        Mistake(
            "T for T squared",
            example=_term(factor=lambda t: t),
            hint="one 1 / T comes from the chain rule; where does a second come from?",
        ),
        Mistake(
            "divided by T squared",
            example=_term(factor=lambda t: 1 / t**2),
            hint="softening already makes the gradients smaller. The factor must undo that.",
        ),
        Mistake(
            "divided by the images alone",
            example=_term(mean=lambda kl, counts: kl[counts].sum() / len(kl)),
            hint="divided by B, the loss grows with the size of the images. Here each pixel counts like an image of "
            "its own.",
        ),
        Mistake(
            "divided by the images alone, ignored pixels inside",
            example=_term(mean=lambda kl, counts: kl.sum() / len(kl)),
            hint='kl_div\'s "batchmean" divides by B alone, and ignores masks: use reduction="none".',
        ),
        Mistake(
            "divided by all pixels",
            example=_term(mean=lambda kl, counts: kl[counts].sum() / kl.numel()),
            hint="pixels left out of the sum must be left out of the count as well, or the loss becomes too small.",
        ),
        Mistake(
            "ignored pixels inside",
            example=_term(mean=lambda kl, counts: kl.mean()),
            hint="the class of the pixels whose mask is IGNORE is unclear: leave them out of the mean.",
        ),
        Mistake(
            "ignored pixels in the sum",
            example=_term(mean=lambda kl, counts: kl.sum() / counts.sum()),
            hint="you divide by the pixels that count, but the sum still contains all pixels.",
        ),
        Mistake(
            "ignored pixels alone",
            example=_term(mean=lambda kl, counts: kl[~counts].mean()),
            hint="leave out the pixels whose mask is IGNORE, and keep all others.",
        ),
        Mistake(
            "divided by the classes too",
            example=_over_classes(lambda kl, counts: kl[counts].mean()),
            hint="the divergence at a pixel is a sum over the classes; only pixels are averaged.",
        ),
        Mistake(
            "divided by the classes too, ignored pixels inside",
            example=_over_classes(lambda kl, counts: kl.mean()),
            hint='kl_div\'s "mean" divides by classes and pixels, and ignores masks: use reduction="none".',
        ),
        Mistake(
            "sum for mean",
            example=_term(mean=lambda kl, counts: kl[counts].sum()),
            hint="average over the pixels, so that the loss doesn't grow with the images.",
        ),
        Mistake(
            "sum for mean, ignored pixels inside",
            example=_term(mean=lambda kl, counts: kl.sum()),
            hint='kl_div\'s "sum" adds up all pixels, and ignores masks: use reduction="none", select, and average.',
        ),
        Mistake(
            "reshaped before the classes were moved",
            example=_reshaped,
            hint="in [B, C, H, W] neighbours in memory are places of one class, so reshape(-1, C) mixes pixels. Move "
            "the classes to the end first (permute), or keep the shape and work along dim=1.",
        ),
        Mistake(
            "softened after the softmax",
            example=_term(_softened_late),
            hint="the temperature divides logits. What a softmax has returned no longer sums to 1 after a division.",
        ),
        Mistake(
            "labels' term added",
            example=_with_labels,
            hint="return only the teacher's term of the objective; the masks say which pixels count.",
        ),
        Mistake(
            "background left out",
            example=lambda z, v, masks, t: pixel_term(z, v, masks.masked_fill(masks == 0, IGNORE), t),
            hint="background is a class like the others; only pixels whose mask is IGNORE are left out.",
        ),
        Mistake(
            "mean of the images' means",
            example=_term(mean=_each_image),
            hint="pixels of all images count the same: an image with few such pixels must have less weight.",
        ),
        Mistake(
            "KL sides swapped",
            example=_term(lambda z, v, t: _kl(v, z, t)),
            hint="KL isn't symmetric. Whose probabilities are the weights? kl_div takes them second.",
        ),
        Mistake(
            "softmax along the width",
            example=_term(lambda z, v, t: _kl(z, v, t, 3)),
            hint="logits are [B, C, H, W], and each pixel's probabilities must sum to 1 over the classes. Which "
            "dimension is that?",
        ),
        Mistake(
            "softmax along the height",
            example=_term(lambda z, v, t: _kl(z, v, t, 2)),
            hint="logits are [B, C, H, W], and each pixel's probabilities must sum to 1 over the classes. Which "
            "dimension is that?",
        ),
        Mistake(
            "softmax along the images",
            example=_term(lambda z, v, t: _kl(z, v, t, 0)),
            hint="logits are [B, C, H, W], and each pixel's probabilities must sum to 1 over the classes. Which "
            "dimension is that?",
        ),
        Mistake(
            "softmax over the places",
            example=_term(_over_places),
            hint="that compares where a class is strongest, as channelwise_loss does. Here each pixel's probabilities "
            "must sum to 1 over the classes.",
        ),
        Mistake(
            "teacher not softened",
            example=_term(lambda z, v, t: _kl(z, t * v, t)),
            hint="both sides are softened with the same temperature.",
        ),
        Mistake(
            "student not softened",
            example=_term(lambda z, v, t: _kl(t * z, v, t)),
            hint="both sides are softened with the same temperature.",
        ),
        Mistake(
            "nobody softened",
            example=_term(lambda z, v, t: _kl(z, v, 1.0)),
            hint="the temperature also divides the logits, before the softmax.",
        ),
        Mistake(
            "multiplied by the temperature",
            example=_term(lambda z, v, t: _kl(z, v, 1 / t)),
            hint="a high temperature brings the logits closer together: is that times T, or divided by T?",
        ),
        Mistake(
            "cross-entropy for KL",
            example=_term(lambda z, v, t: -((v / t).softmax(1) * (z / t).log_softmax(1)).sum(1)),
            hint="its gradient is the same, but a student that copies its teacher should have a loss of 0.",
        ),
        Mistake(
            "sign missing",
            example=_term(factor=lambda t: -(t**2)),
            hint="a divergence is never below 0.",
        ),
        Mistake(
            "KL on raw logits",
            example=_term(lambda z, v, t: F.kl_div(z / t, (v / t).softmax(1), reduction="none").sum(1)),
            hint="kl_div takes log-probabilities first and doesn't check them. The student's logits aren't "
            "log-probabilities yet.",
        ),
        Mistake(
            "probabilities where logs belong",
            example=_term(
                lambda z, v, t: F.kl_div((z / t).softmax(1), (v / t).softmax(1), reduction="none").sum(1)
            ),
            hint="kl_div takes the student's side as log-probabilities: which softmax gives those?",
        ),
        Mistake(
            "logs for a target of probabilities",
            example=_term(
                lambda z, v, t: F.kl_div(
                    (z / t).log_softmax(1), (v / t).log_softmax(1), reduction="none"
                ).sum(1)
            ),
            hint="kl_div takes the target as probabilities, unless log_target=True.",
        ),
        Mistake(
            "probabilities for a target of logs",
            example=_term(
                lambda z, v, t: F.kl_div(
                    (z / t).log_softmax(1), (v / t).softmax(1), reduction="none", log_target=True
                ).sum(1)
            ),
            hint="log_target=True means that the target is log-probabilities, but these are probabilities.",
        ),
        Mistake(
            "squared distance of logits",
            example=_term(lambda z, v, t: (z - v).square().mean(1), factor=lambda t: 1.0),
            hint="matching logits is the limit at high T. Here, compare probabilities.",
        ),
        Mistake(
            "masks for the teacher",
            example=lambda z, v, masks, t: F.cross_entropy(z, masks, ignore_index=IGNORE),
            hint="that is the labels' term. Here the masks only say which pixels count; the teacher gives the targets.",
        ),
        Mistake(
            "log of a probability that is 0",
            example=_term(_from_probabilities),
            hint="right for ordinary logits, but a softmax may round to 0, whose log is minus infinity. Stay in log "
            "space from the start: which function gives log-probabilities?",
        ),
        Mistake(
            "teacher trained as well",
            sign=_trains_the_teacher,
            example=lambda z, v, masks, t: t**2 * _kl(z, v, t)[masks != IGNORE].mean(),
            only_if_right=True,
            hint="the value is right, but a gradient flows to the teacher too, and would train it. Which method of a "
            "tensor stops the gradient?",
        ),
    ),
)

# -- precision_recall_at ------------------------------------------------------------------------


def precision_recall_at(
    probability: torch.Tensor, positive: torch.Tensor, threshold: float
) -> tuple[float, float]:
    """Return precision and recall of ``probability >= threshold``; float [N], bool [N] with at least one True."""
    called = probability >= threshold
    ### BEGIN SOLUTION
    both = (called & positive).sum().item()
    precision = both / called.sum().item() if called.any() else 1.0
    recall = both / positive.sum().item()
    return precision, recall
    ### END SOLUTION


def _shares(called: Tensor, positive: Tensor, nothing: float = 1.0) -> tuple[float, float]:
    """Return precision and recall; precision is ``nothing`` where nothing is called."""
    both = called & positive
    return (_over(both, called) if called.any() else nothing), _over(both, positive)


def _called(
    shares: Callable[[Tensor, Tensor], tuple[float, float]],
) -> Callable[[Tensor, Tensor, float], tuple[float, float]]:
    """Make an answer from ``shares(called, positive)``, two bool [N]."""
    return lambda probability, positive, threshold: shares(probability >= threshold, positive)


def _right_ones(called: Tensor, positive: Tensor) -> float:
    return (called == positive).double().mean().item()


def _complement(called: Tensor, positive: Tensor) -> tuple[float, float]:
    precision, recall = _shares(called, positive)
    return 1 - precision, 1 - recall


def _which(expected: tuple[float, float], found: tuple[float, float]) -> str | None:
    """Say which of the two is off, and in which direction."""
    outside = [told for one, other in zip(expected, found, strict=True) if (told := share(one, other))]
    if outside:
        return outside[0]
    wrong = [
        f"too {'large' if other > one else 'small'} a {name}"
        for name, one, other in zip(("precision", "recall"), expected, found, strict=True)
        if abs(other - one) > 1e-6
    ]
    return f"gives {' and '.join(wrong)}{'; the other one is right' if len(wrong) == 1 else ''}."


def _sixteenths(*counts: float) -> Tensor:
    """Return probabilities that every floating-point type holds exactly."""
    return torch.tensor(counts, dtype=torch.float32) / 16


def _flags(text: str) -> Tensor:
    return torch.tensor([letter == "+" for letter in text])


def _together(
    draw: Draw, probability: Tensor, positive: Tensor, threshold: float
) -> tuple[Tensor, Tensor, float]:
    """Draw other probabilities on the same side of the threshold, in another order; each keeps its truth."""
    order, called = draw.order(len(probability)), probability >= threshold
    moved = (
        torch.where(called, (probability + threshold) / 2, probability / 2)
        if draw.whole(0, 1)
        else probability
    )
    return moved[order], positive[order], threshold


PRECISION_RECALL_AT = Exercise(
    id="precision_recall_at",
    title="One point of the precision-recall curve",
    solution=precision_recall_at,
    vary=lambda draw, probability, positive, threshold: (
        draw.permuted(probability),
        draw.permuted(positive),
        threshold,
    ),
    tell=_which,
    probes=(
        Probe(
            # One probability just below the threshold; shares of 6 and of 7, which no rounding leaves as they are.
            (_sixteenths(15, 14, 12, 11, 10, 9, 8, 7.9375, 6, 5, 3, 2, 1), _flags("++-+--+-+-+--"), 0.5),
            "for 13 pixels at a threshold of 0.5",
        ),
        Probe((_sixteenths(4, 9, 2, 12, 4, 1, 6), _flags("++-----"), 0.25), "at a threshold of 0.25"),
        Probe((_sixteenths(13, 12, 15, 11, 3, 12), _flags("-+++++"), 0.75), "at a threshold of 0.75"),
        Probe((_sixteenths(1, 5, 9, 0, 13), _flags("-+--+"), 0.0), "at a threshold of 0"),
        Probe(
            (
                _sixteenths(
                    6,
                ),
                _flags("+"),
                0.375,
            ),
            "for a single pixel",
        ),
        Probe(
            (_sixteenths(3, 12, 5, 10, 1), _flags("+-+--"), 0.5),
            "where no pixel called positive is positive",
            vary=_together,
        ),
        Probe(
            (_sixteenths(1, 5, 9, 3), _flags("-++-"), 0.875), "where nothing is called positive", extreme=True
        ),
    ),
    mistakes=(
        Mistake(
            "> for >=",
            example=lambda p, y, t: _shares(p > t, y),
            hint="a pixel whose probability equals the threshold is called positive too.",
        ),
        Mistake(
            "below the threshold",
            example=lambda p, y, t: _shares(p < t, y),
            hint="those are the pixels that are not called positive.",
        ),
        Mistake(
            "at most the threshold",
            example=lambda p, y, t: _shares(p <= t, y),
            hint="pixels are called positive at the threshold and above.",
        ),
        Mistake(
            "threshold ignored",
            example=lambda p, y, t: _shares(p >= 0.5, y),
            hint="0.5 is one threshold of many: use the argument threshold.",
        ),
        Mistake(
            "precision and recall swapped",
            example=_called(lambda c, y: (_shares(c, y)[1], _shares(c, y)[0])),
            hint="precision comes first: of the pixels called positive, the share that is.",
        ),
        Mistake(
            "recall for precision",
            example=_called(lambda c, y: (_shares(c, y)[1],) * 2),
            hint="false alarms are called positive and aren't: ~ belongs before positive, not before called. Both "
            "numbers are the recall now.",
        ),
        Mistake(
            "precision for recall",
            example=_called(lambda c, y: (_shares(c, y)[0],) * 2),
            hint="misses are positive and aren't called so: ~ belongs before called, not before positive. Both "
            "numbers are the precision now.",
        ),
        Mistake(
            "precision 0 where nothing is called",
            example=_called(lambda c, y: _shares(c, y, nothing=0.0)),
            hint="where nothing is called positive, no such call is wrong: precision is then 1.",
        ),
        Mistake(
            "0 / 0 where nothing is called",
            example=_called(lambda c, y: _shares(c, y, nothing=NAN)),
            hint="where nothing is called positive, there is nothing to divide by: precision is then 1.",
        ),
        Mistake(
            "precision 1 where nothing called is right",
            example=_called(lambda c, y: _shares(c, y) if (c & y).any() else (1.0, 0.0)),
            hint="precision is 1 where nothing is called positive. Where pixels are called and none is right, it is 0.",
        ),
        Mistake(
            "recall 1 where nothing is called",
            example=_called(lambda c, y: _shares(c, y) if c.any() else (1.0, 1.0)),
            hint="where nothing is called positive, none of the positive pixels is found. What share is that?",
        ),
        Mistake(
            "all that were called for recall",
            example=_called(lambda c, y: (_shares(c, y)[0], _over(c, y))),
            hint="recall counts only called pixels that are positive, no false alarms.",
        ),
        Mistake(
            "rightly left pixels counted too",
            example=_called(lambda c, y: (_over(c == y, c) if c.any() else 1.0, _over(c == y, y))),
            hint="== also holds where a pixel is neither called nor positive. The numerator counts those that are "
            "both.",
        ),
        Mistake(
            "accuracy for precision",
            example=_called(lambda c, y: (_right_ones(c, y), _shares(c, y)[1])),
            hint="accuracy also counts what is rightly not called. Precision is a share of the pixels called.",
        ),
        Mistake(
            "accuracy for recall",
            example=_called(lambda c, y: (_shares(c, y)[0], _right_ones(c, y))),
            hint="accuracy also counts what is rightly not called. Recall is a share of the positive pixels.",
        ),
        Mistake(
            "false alarms and misses",
            example=_called(_complement),
            hint="those are the shares that are wrong; return the shares that are right.",
        ),
        Mistake(
            "false alarms of the negatives for precision",
            example=_called(lambda c, y: (_over(c & ~y, ~y) if (~y).any() else 0.0, _shares(c, y)[1])),
            hint="that is the false positive rate, of another curve (ROC). Precision looks at the pixels called.",
        ),
        Mistake(
            "divided by all pixels",
            example=_called(lambda c, y: (_over(c & y, torch.ones_like(y)),) * 2),
            hint="precision divides by the pixels called positive, recall by the positive ones.",
        ),
        Mistake(
            "shares called and positive",
            example=_called(lambda c, y: (c.double().mean().item(), y.double().mean().item())),
            hint="the numerator of both shares counts the pixels that are called positive and are so.",
        ),
        Mistake(
            "IoU for both",
            example=_called(lambda c, y: (_over(c & y, c | y),) * 2),
            hint="IoU divides by the union. Precision divides by the pixels called positive, recall by the positive "
            "ones.",
        ),
        Mistake(
            "counts for shares",
            example=_called(lambda c, y: (float((c & y).sum()),) * 2),
            hint="that is how many are called positive and are so; of how many called, and of how many positive?",
        ),
        Mistake(
            "percent for share",
            example=_called(lambda c, y: (100 * _shares(c, y)[0], 100 * _shares(c, y)[1])),
            hint="a share lies between 0 and 1.",
        ),
    ),
)

EXERCISES = (CLASS_IOU, IOU_OVER_CLASSES, PIXEL_TERM, PRECISION_RECALL_AT)
