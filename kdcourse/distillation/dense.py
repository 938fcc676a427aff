"""What a student for segmentation is trained to do: imitate a teacher's pixels, pairs of places, or channels.

The functions are pure (maps in, number out); the two classes beneath them fit them into the training
loop. All leave out the pixels that are marked to be ignored, as if they weren't there, and all
average over what is left, so that neither the size of the pictures nor the batch changes a loss's scale.

Where not a single pixel is left, a loss is 0 and so is its gradient: such a batch teaches nothing.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import IGNORE, Batch, View
from kdcourse.distillation.ensemble import freeze
from kdcourse.distillation.objectives import check_alpha, check_sides, is_cheap_to_read
from kdcourse.distillation.soft_targets import SoftTargets, teacher_digest
from kdcourse.distillation.softening import at_least_float32, check_temperature
from kdcourse.errors import ArgumentError
from kdcourse.training import cross_entropy

_NO_LENGTH = 1e-8  # a vector shorter than this has no direction worth comparing


@runtime_checkable
class DenseSource(Protocol):
    """A teacher's logits that are already there, looked up by view and position; `DenseTargets` are such."""

    teacher: str  # names whom they come from

    def logits(self, view: View, index: Tensor) -> Tensor:
        """The logits [B, C, H, W] for the pictures at ``index``, int64 [B], as ``view`` shows them."""

    def check_labels(self, view: View, index: Tensor, labels: Tensor) -> None:
        """Raise ArgumentError unless ``labels`` [B, H, W] are the masks of those pictures in that view."""


def pixelwise_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None,
    *,
    temperature: float,
    alpha: float,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Hinton's objective at every pixel, averaged over the valid pixels of all pictures together.

    ``alpha * T^2 * KL(softmax(v / T) || softmax(z / T)) + (1 - alpha) * cross_entropy(z, labels)``, the
    softmax over the classes of a pixel. Pixels count alike, as if each were a picture of its own:
    for one pixel a picture this is `hinton_loss`.

    Args:
        student_logits: z, floating point [B, C, H, W]; gradients flow here.
        teacher_logits: v, floating point [B, C, H, W]; detached.
        labels: int64 [B, H, W] in 0..C-1, or ``ignore_index`` where a pixel is left out, of both terms. With
            ``alpha=1`` a bool mask, True where a pixel counts, will do, or ``None`` where all do.
        temperature: T > 0.
        alpha: weight of the distillation term, 0 (labels alone) to 1 (teacher alone).
        ignore_index: the label that says 'leave out'.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits. 0, with gradient 0, where no
        pixel is valid.

    Raises:
        ArgumentError: T or alpha out of range; logits that aren't two floating-point tensors of one shape
            [B, C, H, W] on one device; one trainable tensor passed as both; labels missing, of another
            shape or type, or outside the classes.

    Gradient at a valid pixel, of P in all:
    ``alpha * T / P * (softmax(z / T) - softmax(v / T)) + (1 - alpha) / P * (softmax(z) - onehot)``.

    Source: Hinton, Vinyals, Dean 2015 (https://arxiv.org/abs/1503.02531), section 2, for a picture; for
    pixels, Liu et al. 2019 (https://arxiv.org/abs/1903.04197), section 3, who print the sides of KL the other way
    round and have no temperature.
    """
    check_temperature(temperature)
    check_alpha(alpha)
    _check_maps(student_logits, teacher_logits, "logits")
    if labels is not None or alpha < 1:
        _check_labels(student_logits, labels, ignore_index, classes=alpha < 1)
    return _pixelwise(student_logits, teacher_logits, labels, temperature, alpha, ignore_index)


def pairwise_loss(
    student_features: Tensor,
    teacher_features: Tensor,
    labels: Tensor | None = None,
    *,
    patch: int,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Which places of a picture look alike to the teacher shall look alike to the student.

    A node is a patch of ``patch`` x ``patch`` pixels, its feature f the mean over the patch's valid pixels. Two
    nodes i and j of one picture have the similarity ``a_ij = f_i . f_j / (|f_i| |f_j|)``, and the
    loss is ``(a_ij of the student - a_ij of the teacher)^2``, averaged over all pairs (i, j) of all pictures,
    i = j included. Nodes without a valid pixel are left out. Patches at the right and lower edge may be smaller.
    A node whose f is 0 has no direction: its similarities count as 0 and give it no gradient.

    It takes memory for a few times B * N^2 numbers, where N is the number of nodes of a picture.

    Args:
        student_features: floating point [B, K, H, W]; gradients flow here.
        teacher_features: floating point [B, K', H, W], channels of its own; detached.
        labels: int64 [B, H, W], of which only ``ignore_index`` matters, or a bool mask, True where a pixel
            counts; ``None`` where all do. Shrink it to the features' height and width by nearest neighbour.
        patch: side of a node in pixels of the feature map. The paper finds 2 best for maps of 65 x 65.
        ignore_index: the label that says 'leave out'.

    Returns:
        Scalar from 0 to 4, float32, or float64 for float64 student features.

    Raises:
        ArgumentError: features that aren't two floating-point maps of one batch, height and width on one
            device; one trainable tensor passed as both; a patch that is no whole number of at least 1
            or leaves a single node; a mask of another shape or type.

    Source: Liu et al. 2019, Structured Knowledge Distillation for Semantic Segmentation
    (https://arxiv.org/abs/1903.04197), section 3, pair-wise distillation, every node connected to every other,
    which they find best. Departures: ignored pixels are left out, of which they say nothing; the divisor is
    the number of pairs (for granularity beta and connection range alpha the version of Liu, Shu, Wang, Shen
    2020 divides by W' H' alpha / beta). The authors' published program takes the maximum over patches in place
    of the mean that the paper describes, and holds |f| constant in the gradient; here both follow the paper.
    """
    _check_maps(student_features, teacher_features, "features")
    if labels is not None:
        _check_labels(student_features, labels, ignore_index, classes=False)
    _check_patch(patch, student_features)
    dtype, valid = at_least_float32(student_features), _valid(labels, ignore_index)
    with torch.autocast(student_features.device.type, enabled=False):  # it would multiply in half precision
        student = _nodes(student_features.to(dtype), valid, patch)  # [B, K, N]
        teacher = _nodes(teacher_features.detach().to(dtype), valid, patch)
        gap = student.transpose(1, 2) @ student - teacher.transpose(1, 2) @ teacher  # [B, N, N]
    if valid is None:
        return gap.square().mean()
    nodes = F.max_pool2d(valid[:, None].to(dtype), patch, ceil_mode=True).flatten(1).sum(1)  # [B]
    return gap.square().sum() / nodes.square().sum().clamp(min=1)


def channelwise_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Where a channel is strongest in the teacher, it shall be strongest in the student.

    The softmax at temperature T goes over the valid places of a picture, a channel at a time, so that a
    channel becomes a distribution over places: ``T^2 * KL(teacher's || student's)``, averaged over
    channels and over the pictures that have a valid pixel.

    Args:
        student_logits: logits or features, floating point [B, C, H, W]; gradients flow here.
        teacher_logits: floating point [B, C, H, W]; detached.
        labels: int64 [B, H, W], of which only ``ignore_index`` matters, or a bool mask, True where a pixel
            counts; ``None`` where all do.
        temperature: T > 0; 4 in the paper.
        ignore_index: the label that says 'leave out'.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits.

    Raises:
        ArgumentError: T out of range; logits as in `pixelwise_loss`; a mask of another shape or type.

    Gradient at a valid place: ``T / (C * pictures) * (student's probability of the place - teacher's)``. The
    probabilities of a picture's places sum to 1, so a gradient gets smaller the more places there are,
    while the loss does not: beside a loss per pixel, choose its weight on pictures of the size that you train on.

    Source: Shu, Liu, Gao, Yan, Shen 2021, Channel-wise Knowledge Distillation for Dense Prediction
    (https://arxiv.org/abs/2011.13256), section 3: T^2 / C times the sum over channels and places, for a picture.
    The mean over the batch and the mask are ours.
    """
    check_temperature(temperature)
    _check_maps(student_logits, teacher_logits, "logits")
    if labels is not None:
        _check_labels(student_logits, labels, ignore_index, classes=False)
    dtype, valid = at_least_float32(student_logits), _valid(labels, ignore_index)
    log_q = _log_over_places(student_logits.to(dtype) / temperature, valid)
    log_p = _log_over_places(teacher_logits.detach().to(dtype) / temperature, valid)
    total = temperature**2 * F.kl_div(log_q, log_p, reduction="sum", log_target=True)
    batch, channels = student_logits.shape[:2]
    pictures = batch if valid is None else valid.flatten(1).any(1).sum().clamp(min=1)
    return total / (channels * pictures)


def pixel_cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """The plain student's objective: `kdcourse.training.cross_entropy` with the masks, its arguments checked.

    Args:
        logits: floating point [B, C, H, W].
        batch: its ``labels`` are the masks, int64 [B, H, W], `kdcourse.data.IGNORE` where a pixel is left out.

    Returns:
        Scalar in nats, the mean over the valid pixels: float32, or float64 for float64 logits. 0, with gradient 0,
        where no pixel is valid.

    Raises:
        ArgumentError: masks of another shape or type or, where reading them costs no wait for a device,
            outside the classes.
    """
    _check_labels(logits, batch.labels, IGNORE, classes=is_cheap_to_read(batch.labels))
    valid = _valid(batch.labels, IGNORE)
    return cross_entropy(_scored(logits.to(at_least_float32(logits)), valid), batch)


class DenseObjective:
    """`pixelwise_loss` for the training loop, and on top of it, each with a weight, the two other losses.

    ``pixelwise_loss + pairwise * pairwise_loss + channelwise * channelwise_loss``, all of them on the logits.
    (Liu et al. take the features before the last layer; a loss on those is called with the features of both.)

    Args:
        targets: where the teacher's logits come from. Stored ones (`DenseSource`) are looked up by the
            batch's view and positions. A teacher is asked on the batch's own pictures, so that it sees the very
            view that the student sees; it is copied and frozen first (see `freeze`).
        temperature: T > 0, of the pixel-wise and the channel-wise loss.
        alpha: weight of the distillation term within `pixelwise_loss`, 0 to 1.
        pairwise, channelwise: weights of the further terms, 0 or more; with 0 a term isn't computed, and
            if alpha is 0 as well, the teacher isn't asked.
        patch: side in pixels of the nodes that `pairwise_loss` compares.

    Raises:
        ArgumentError: a setting out of range, targets of another kind; when called, what the losses raise,
            and what stored targets say of a view or of pictures that they weren't computed for.
    """

    def __init__(
        self,
        targets: DenseSource | nn.Module,
        *,
        temperature: float,
        alpha: float,
        pairwise: float = 0.0,
        channelwise: float = 0.0,
        patch: int = 4,
    ) -> None:
        check_temperature(temperature)
        check_alpha(alpha)
        _check_weight("pairwise", pairwise)
        _check_weight("channelwise", channelwise)
        _check_patch(patch)
        if not isinstance(targets, nn.Module | DenseSource) or isinstance(targets, SoftTargets):
            raise ArgumentError(
                "targets must be a teacher (nn.Module) or its stored logits (from dense_targets); "
                f"found {type(targets).__name__}."
            )
        self.targets = freeze(targets) if isinstance(targets, nn.Module) else targets
        self.teacher = teacher_digest(targets) if isinstance(targets, nn.Module) else targets.teacher
        self.temperature, self.alpha = temperature, alpha
        self.pairwise, self.channelwise, self.patch = pairwise, channelwise, patch

    @property
    def name(self) -> str:
        """What this objective is called in records: its settings, and whose predictions are the targets."""
        return f"dense({self._settings()}, teacher={self.teacher[:16]})"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings()})"

    def _settings(self) -> str:
        text = f"temperature={self.temperature:g}, alpha={self.alpha:g}"
        if self.pairwise:
            text += f", pairwise={self.pairwise:g}, patch={self.patch}"
        return text + (f", channelwise={self.channelwise:g}" if self.channelwise else "")

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Student's logits [B, C, H, W] and their batch -> scalar."""
        if self.alpha == self.pairwise == self.channelwise == 0:
            return pixel_cross_entropy(logits, batch)
        labels = batch.labels
        _check_labels(logits, labels, IGNORE, classes=self.alpha < 1 and is_cheap_to_read(labels))
        teacher_logits = self._ask_teacher(batch)
        _check_maps(logits, teacher_logits, "logits")
        loss = _pixelwise(logits, teacher_logits, labels, self.temperature, self.alpha, IGNORE)
        if self.pairwise:
            loss = loss + self.pairwise * pairwise_loss(logits, teacher_logits, labels, patch=self.patch)
        if self.channelwise:
            loss = loss + self.channelwise * channelwise_loss(
                logits, teacher_logits, labels, temperature=self.temperature
            )
        return loss

    def _ask_teacher(self, batch: Batch) -> Tensor:
        if isinstance(self.targets, nn.Module):
            self.targets.to(batch.images.device)  # our own copy; free when it is there already
            teacher_logits: Tensor = self.targets(batch.images)
            return teacher_logits
        self.targets.check_labels(batch.view, batch.index, batch.labels)
        return self.targets.logits(batch.view, batch.index)


class PixelwiseObjective(DenseObjective):
    """`pixelwise_loss` for the training loop: `HintonObjective` for masks.

    Args and errors as `DenseObjective`.
    """

    def __init__(self, targets: DenseSource | nn.Module, *, temperature: float, alpha: float) -> None:
        super().__init__(targets, temperature=temperature, alpha=alpha)

    @property
    def name(self) -> str:
        """What this objective is called in records: its settings, and whose predictions are the targets."""
        return f"pixelwise({self._settings()}, teacher={self.teacher[:16]})"


def _pixelwise(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None,
    temperature: float,
    alpha: float,
    ignore_index: int,
) -> Tensor:
    dtype, valid = at_least_float32(student_logits), _valid(labels, ignore_index)
    z = _scored(student_logits.to(dtype), valid)
    total = z.new_zeros(())
    if alpha > 0:  # a term of weight 0 is left out: one that is infinite can't turn the sum into NaN
        v = _scored(teacher_logits.detach().to(dtype), valid)
        log_q, log_p = F.log_softmax(z / temperature, dim=1), F.log_softmax(v / temperature, dim=1)
        # Where a pixel is left out both are uniform, so that it adds exactly 0.
        total = alpha * temperature**2 * F.kl_div(log_q, log_p, reduction="sum", log_target=True)
    if alpha < 1 and labels is not None:
        # Summed here, divided below: "mean" would be 0 / 0 where no pixel is valid.
        hard = F.cross_entropy(z, labels, ignore_index=ignore_index, reduction="sum")
        total = total + (1 - alpha) * hard
    return total / _pixels(z, valid)


def _log_over_places(logits: Tensor, valid: Tensor | None) -> Tensor:
    """Log probabilities [B, C, H * W] of the places, a channel at a time; about 0 in probability where not valid."""
    if valid is not None:
        # Not minus infinity, of which the difference of two logarithms would be NaN.
        logits = logits.masked_fill(~valid[:, None], torch.finfo(logits.dtype).min)
    return F.log_softmax(logits.flatten(2), dim=-1)


def _nodes(features: Tensor, valid: Tensor | None, patch: int) -> Tensor:
    """The direction of every patch's mean feature, [B, K, N]: unit vectors, or 0 where there is no direction."""
    # Zeros for pixels left out shorten a mean but don't turn it, and nothing but its direction is used.
    means = F.avg_pool2d(_scored(features, valid), patch, ceil_mode=True).flatten(2)
    length = means.norm(dim=1, keepdim=True)
    short = length < _NO_LENGTH
    return (means / length.masked_fill(short, 1)).masked_fill(short, 0)


def _valid(labels: Tensor | None, ignore_index: int) -> Tensor | None:
    """bool [B, H, W], True where a pixel counts; ``None`` where all do."""
    return labels if labels is None or labels.dtype == torch.bool else labels != ignore_index


def _scored(maps: Tensor, valid: Tensor | None) -> Tensor:
    """``maps`` [B, C, H, W] with 0 in place of what is left out: not even a NaN gets through, nor a gradient."""
    return maps if valid is None else maps.masked_fill(~valid[:, None], 0)


def _pixels(maps: Tensor, valid: Tensor | None) -> Tensor | int:
    """How many pixels a mean goes over; 1 where there is none."""
    return maps[:, 0].numel() if valid is None else valid.sum().clamp(min=1)


def _check_maps(student: Tensor, teacher: Tensor, what: str) -> None:
    check_sides(student, teacher, what)
    alike, axes = student.shape == teacher.shape, "batch, classes, height, width"
    if what == "features":  # whose channels may differ in number
        alike = student.ndim == teacher.ndim and student.shape[2:] == teacher.shape[2:]
        alike, axes = alike and len(student) == len(teacher), "batch, channels, height, width"
    if student.ndim != 4 or not alike:
        raise ArgumentError(
            f"student_{what} and teacher_{what} must be [{axes}], of the same pictures and of one size; found "
            f"{list(student.shape)} and {list(teacher.shape)}. Bring maps of another size to the student's "
            "with torch.nn.functional.interpolate."
        )
    if student.numel() == 0 or teacher.numel() == 0:
        raise ArgumentError(f"There is nothing to compare: {what} are {list(student.shape)}. Leave it out.")


def _check_labels(maps: Tensor, labels: Tensor | None, ignore_index: int, *, classes: bool) -> None:
    """Raise ArgumentError unless ``labels`` fit ``maps`` and, if asked to look, name its classes."""
    if labels is None:
        raise ArgumentError(
            "labels are needed as long as alpha is below 1; found None. "
            "Pass int64 masks, or take alpha=1 for pictures without masks."
        )
    if maps.ndim != 4 or maps.numel() == 0 or not maps.is_floating_point():
        raise ArgumentError(
            "logits must be floating point [batch, classes, height, width] with at least one pixel and one class; "
            f"found {maps.dtype} {list(maps.shape)}."
        )
    wanted = maps[:, 0].shape
    if labels.shape != wanted or labels.dtype not in (torch.int64, torch.bool):
        raise ArgumentError(
            f"labels must be int64 {list(wanted)}, one class index a pixel; found {labels.dtype} "
            f"{list(labels.shape)}. Convert with .long(); take every n-th pixel of a mask for maps n times as coarse."
        )
    if not classes:
        return
    if labels.dtype == torch.bool:
        raise ArgumentError(
            "A bool mask says which pixels count, not what they show. Pass int64 labels, or take alpha=1."
        )
    low, high = (int(end) for end in torch.aminmax(labels.masked_fill(labels == ignore_index, 0)))
    if low < 0 or high >= maps.shape[1]:
        raise ArgumentError(
            f"labels must lie in 0..{maps.shape[1] - 1} for logits of {maps.shape[1]} classes, or be {ignore_index} "
            f"where a pixel is left out; found labels from {low} to {high}. Check the number of classes the network "
            "was built with."
        )


def _check_patch(patch: int, features: Tensor | None = None) -> None:
    if not isinstance(patch, int) or patch < 1:
        raise ArgumentError(f"patch is a side in pixels, a whole number of at least 1; found {patch!r}.")
    if features is not None and patch >= max(features.shape[2:]):
        raise ArgumentError(
            f"With patch={patch} a map of {features.shape[2]}x{features.shape[3]} is a single node, which has no other "
            "to be compared with. Take a smaller patch."
        )


def _check_weight(name: str, weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise ArgumentError(f"{name} is the weight of a loss, a number of at least 0; found {weight}.")
