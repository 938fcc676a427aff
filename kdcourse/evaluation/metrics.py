"""Score a classifier: accuracy, calibration, and how closely it follows its teacher.

Every metric takes logits [N, C] (any floating type, any device) and works in float64 on the CPU:
there a confidence is exactly 1 only at logit gaps above 36 (float32: 17), and a mean over
10,000 images carries no rounding that a table would show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.data.multilabel import MultiLabelDataset, MultiLabelSplit
from kdcourse.data.splits import Dataset, Split
from kdcourse.errors import ArgumentError
from kdcourse.models.inputs import call_keeping_input, images_at_once, placement
from kdcourse.models.mode import evaluating
from kdcourse.models.stored import check_not_lazy
from kdcourse.training.precision import Precision, autocast

# -- from images to logits --------------------------------------------------------------------


def predict(
    model: nn.Module,
    split: Split | MultiLabelSplit | Tensor,
    dataset: Dataset | MultiLabelDataset,
    *,
    batch_size: int = 512,
    precision: Precision = "float32",
) -> Tensor:
    """Compute the model's logits for every image, in order; the model is left exactly as it was.

    Runs where the model's weights are, in eval mode, without gradients.

    Args:
        model: takes float [B, C, H, W], returns logits [B, classes].
        split: a `Split` or `MultiLabelSplit`, or its images alone: uint8 [N, C, H, W]. A floating tensor is taken
            as normalised already.
        dataset: gives ``normalise``; use the data set that the model was trained on.
        batch_size: images of 28x28 pixels at a time, of larger ones fewer, so that memory stays the same; the
            result doesn't depend on it beyond rounding.
        precision: "float32" or "bfloat16", through `torch.autocast`.

    Returns:
        float32 [N, classes] on the CPU, an ordinary tensor that later losses may use.

    Raises:
        ArgumentError: no images, wrong shape or type, a bad ``batch_size`` or ``precision``, or a
            model that returns something other than one logit per class for each image.
    """
    images = split.images if isinstance(split, Split | MultiLabelSplit) else split
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) == 0:
        found = f"{list(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ArgumentError(
            f"predict needs at least one image in a tensor [N, C, H, W]; found {found}. "
            "Pass a Split such as dataset.test, or add the missing axes with images[None]."
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ArgumentError(
            f"Images must be uint8 (0..255) or floating (normalised already); found {images.dtype}. "
            "Convert with .to(torch.uint8)."
        )
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1; found {batch_size}. 512 suits most machines.")
    check_not_lazy(model)
    device, dtype = placement(model)
    batch_size, classes = images_at_once(batch_size, images), len(dataset.classes)
    parts = []
    # no_grad rather than inference_mode: what a model keeps of a batch stays usable in training.
    with evaluating(model), torch.no_grad(), autocast(device, precision):
        for chunk in images.split(batch_size):
            chunk = chunk.to(device)
            batch = dataset.normalise(chunk) if chunk.dtype == torch.uint8 else chunk
            logits = call_keeping_input(model, batch.to(dtype))
            if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(batch):
                found = f"{list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
                raise ArgumentError(
                    f"The model must return logits [{len(batch)}, classes] for {len(batch)} images; "
                    f"found {found}. Wrap it in a module that returns the logits alone."
                )
            if logits.shape[1] != classes:
                raise ArgumentError(
                    f"The model returns {logits.shape[1]} logits per image, and {dataset.name!r} has {classes} "
                    f"classes. Build it with num_classes={classes}, or select the classes' logits in a module."
                )
            parts.append(logits.float().cpu())
    return torch.cat(parts)


# -- what goes in is checked once, here ---------------------------------------------------------


def _logits(value: Tensor, name: str = "logits") -> Tensor:
    """Return ``value`` as float64 on the CPU, or raise ArgumentError that says what is wrong with it."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        found = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise ArgumentError(
            f"{name} must be a floating tensor [N, C]; found {found}. "
            "Pass the model's raw outputs, for example those of predict()."
        )
    if value.ndim != 2 or value.shape[0] == 0 or value.shape[1] < 2:
        raise ArgumentError(
            f"{name} must have shape [N, C] with at least one image and two classes; found "
            f"{list(value.shape)}. One row per image, one column per class."
        )
    # MPS has no float64, so the move comes first.
    value = value.detach().cpu().double()
    bad = ~value.isfinite()
    if bad.any():
        row = int(bad.any(dim=1).nonzero()[0])
        raise ArgumentError(
            f"{name} must be finite; found {int(bad.sum())} NaN or infinite values, the first in row {row}. "
            "Look for a training run that diverged, or a float16 overflow (try precision='bfloat16')."
        )
    return value


def _logits_and_labels(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits = _logits(logits)
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        found = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise ArgumentError(
            f"labels must be a tensor of whole numbers [N]; found {found}. "
            "Pass class indices; turn one-hot rows into them with .argmax(1)."
        )
    if labels.ndim != 1 or len(labels) != len(logits):
        raise ArgumentError(
            f"labels must have shape [{len(logits)}], one for each row of the logits {list(logits.shape)}; "
            f"found {list(labels.shape)}. Check that both come from the same split."
        )
    labels = labels.detach().cpu().long()
    low, high, classes = int(labels.min()), int(labels.max()), logits.shape[1]
    if low < 0 or high >= classes:
        raise ArgumentError(
            f"labels must lie in 0..{classes - 1} ({classes} columns of logits); found {low} to {high}. "
            "Number the classes from 0 and give the model one output per class."
        )
    return logits, labels


def _two_logits(first: Tensor, second: Tensor, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
    first, second = _logits(first, names[0]), _logits(second, names[1])
    if first.shape != second.shape:
        raise ArgumentError(
            f"{names[0]} and {names[1]} must have one shape; found {list(first.shape)} and "
            f"{list(second.shape)}. Predict the same split with both models."
        )
    return first, second


# -- against the labels -------------------------------------------------------------------------


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Compute the share of images, 0 to 1, whose largest logit is that of the label.

    logits [N, C], labels [N]. Where logits tie, the lowest class index is the prediction.

    Raises:
        ArgumentError: shapes that differ, nothing inside, labels out of range, NaN or infinity.
    """
    logits, labels = _logits_and_labels(logits, labels)
    return int((logits.argmax(dim=1) == labels).sum()) / len(labels)


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Compute the mean of -log p(label), in nats (divide by log 2 for bits).

    logits [N, C], labels [N]. A proper score: only the true probabilities minimise it
    (Gneiting and Raftery 2007, section 4).

    Raises:
        ArgumentError: as `accuracy`.
    """
    logits, labels = _logits_and_labels(logits, labels)
    return float(nn.functional.cross_entropy(logits, labels))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Hold what a reliability diagram shows, bin by bin; made by `reliability`.

    ``edges`` float64 [bins + 1]; ``confidence`` and ``accuracy`` float64 [bins], means over the
    bin's images, NaN where it has none; ``count`` int64 [bins].
    """

    edges: Tensor
    confidence: Tensor
    accuracy: Tensor
    count: Tensor

    @property
    def error(self) -> float:
        """Return the expected calibration error: |accuracy - confidence| averaged over the images."""
        gap = (self.accuracy - self.confidence).abs().nan_to_num(0.0)
        return float((gap * self.count).sum() / self.count.sum())

    @classmethod
    def of_all(cls, parts: Sequence[Reliability]) -> Reliability:
        """Return the reliability of the images of several parts together, whose bins are the same."""
        count = torch.stack([part.count for part in parts]).sum(0)

        def mean(values: Sequence[Tensor]) -> Tensor:
            sums = [(of.nan_to_num(0.0) * part.count) for of, part in zip(values, parts, strict=True)]
            return torch.stack(sums).sum(0) / count

        confidence, accuracy = [part.confidence for part in parts], [part.accuracy for part in parts]
        return cls(parts[0].edges, mean(confidence), mean(accuracy), count)


def reliability(logits: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Compute confidence and accuracy of the top prediction, in equal-width bins of confidence.

    logits [N, C], labels [N]. Bin m of M holds confidences in ((m - 1)/M, m/M], as in Guo et
    al. 2017 ("On Calibration of Modern Neural Networks", section 2).

    Raises:
        ArgumentError: as `accuracy`; ``bins`` below 1.
    """
    logits, labels = _logits_and_labels(logits, labels)
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ArgumentError(f"bins must be a whole number of at least 1; found {bins!r}. Guo et al. use 15.")
    # 1 / sum(exp(logit - largest)) keeps an exact tie exactly on its edge, where exp(log_softmax) may not.
    top = logits.max(dim=1, keepdim=True)
    confidence = 1 / (logits - top.values).exp().sum(dim=1)
    correct = (top.indices[:, 0] == labels).double()
    edges = torch.arange(bins + 1, dtype=torch.float64) / bins
    # Inner edges alone: bucketize then puts a confidence of exactly 1 into the last bin.
    where = torch.bucketize(confidence, edges[1:-1])
    count = torch.bincount(where, minlength=bins)
    return Reliability(
        edges=edges,
        confidence=torch.bincount(where, weights=confidence, minlength=bins) / count,
        accuracy=torch.bincount(where, weights=correct, minlength=bins) / count,
        count=count,
    )


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Compute how far confidence is from accuracy, 0 to 1, averaged over the images.

    ECE = sum over bins of (images in the bin / N) * |accuracy - confidence|, Guo et al. 2017,
    equation 3. torchmetrics closes its bins on the left and gives a confidence of exactly 1 a bin
    of its own, so its figure can differ where a confidence lies exactly on an edge.

    Raises:
        ArgumentError: as `reliability`.
    """
    return reliability(logits, labels, bins).error


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Count images by label (row) and prediction (column), int64 [C, C] on the CPU.

    Raises:
        ArgumentError: as `accuracy`.
    """
    logits, labels = _logits_and_labels(logits, labels)
    classes = logits.shape[1]
    cell = labels * classes + logits.argmax(dim=1)
    return torch.bincount(cell, minlength=classes**2).view(classes, classes)


# -- against the teacher ------------------------------------------------------------------------


def agreement(logits_a: Tensor, logits_b: Tensor) -> float:
    """Compute the share of images, 0 to 1, for which both models predict the same class, right or wrong.

    logits_a, logits_b [N, C]. Top-1 agreement of Stanton et al. 2021 ("Does Knowledge
    Distillation Really Work?", section 3).

    Raises:
        ArgumentError: shapes that differ, nothing inside, NaN or infinity.
    """
    first, second = _two_logits(logits_a, logits_b, ("logits_a", "logits_b"))
    return int((first.argmax(dim=1) == second.argmax(dim=1)).sum()) / len(first)


def kl_to_teacher(student_logits: Tensor, teacher_logits: Tensor) -> float:
    """Compute the mean KL(teacher || student) in nats, at temperature 1; 0 for equal predictions.

    student_logits, teacher_logits [N, C]. KL = sum over classes of p * (log p - log q), p the
    teacher's probability, q the student's, with 0 * log 0 = 0.

    Raises:
        ArgumentError: as `agreement`.
    """
    student, teacher = _two_logits(student_logits, teacher_logits, ("student_logits", "teacher_logits"))
    log_p, log_q = teacher.log_softmax(dim=1), student.log_softmax(dim=1)
    p = log_p.exp()
    terms = torch.where(p > 0, p * (log_p - log_q), 0.0)
    # Rounding can leave -1e-17 where the two are equal.
    return max(0.0, float(terms.sum(dim=1).mean()))


# -- all at once --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scores:
    """Hold everything `evaluate` found: rates 0 to 1, likelihood and KL in nats.

    ``agreement`` and ``kl_to_teacher`` are None without a teacher. ``confusion`` int64 [C, C] has a
    row a label and a column a prediction.
    """

    n: int
    accuracy: float
    negative_log_likelihood: float
    expected_calibration_error: float
    agreement: float | None
    kl_to_teacher: float | None
    reliability: Reliability
    confusion: Tensor

    def as_dict(self) -> dict[str, Any]:
        """Return numbers and lists alone, ready for JSON: NaN and infinity become None."""
        return {name: plain(value) for name, value in vars(self).items()}


def plain(value: Any) -> Any:
    """Convert a score to numbers and lists, which JSON can hold: NaN and infinity become None."""
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, Reliability):
        return {name: plain(part) for name, part in vars(value).items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evaluate(
    logits: Tensor, labels: Tensor, teacher_logits: Tensor | None = None, *, bins: int = 15
) -> Scores:
    """Compute all metrics of one model on one split.

    logits [N, C], labels [N], teacher_logits [N, C] for the same images.

    Raises:
        ArgumentError: as `accuracy`, `reliability` and `agreement`.
    """
    curve = reliability(logits, labels, bins)
    return Scores(
        n=len(labels),
        accuracy=accuracy(logits, labels),
        negative_log_likelihood=negative_log_likelihood(logits, labels),
        expected_calibration_error=curve.error,
        agreement=None if teacher_logits is None else agreement(logits, teacher_logits),
        kl_to_teacher=None if teacher_logits is None else kl_to_teacher(logits, teacher_logits),
        reliability=curve,
        confusion=confusion(logits, labels),
    )
