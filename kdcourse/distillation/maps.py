"""Select the pixels that count in losses on maps, and check maps and masks."""

from __future__ import annotations

import torch
from torch import Tensor

from kdcourse.distillation.arguments import check_sides, check_tensor
from kdcourse.errors import ArgumentError


def valid_pixels(labels: Tensor | None, ignore_index: int) -> Tensor | None:
    """Return bool [B, H, W], True where a pixel counts; ``None`` where all do."""
    return labels if labels is None or labels.dtype == torch.bool else labels != ignore_index


def scored(maps: Tensor, valid: Tensor | None) -> Tensor:
    """Return ``maps`` [B, C, H, W] with 0 in place of what is left out: not even a NaN gets through, nor a gradient."""
    return maps if valid is None else maps.masked_fill(~valid[:, None], 0)


def check_maps(student: Tensor, teacher: Tensor, what: str) -> None:
    """Raise ArgumentError unless these maps [B, C, H, W] are of one batch and size; features may differ in C."""
    check_sides(student, teacher, what)
    alike, axes = student.shape == teacher.shape, "batch, classes, height, width"
    if what == "features":  # whose channels may differ in number
        alike = student.ndim == teacher.ndim and student.shape[2:] == teacher.shape[2:]
        alike, axes = alike and len(student) == len(teacher), "batch, channels, height, width"
    if student.ndim != 4 or not alike:
        raise ArgumentError(
            f"student_{what} and teacher_{what} must be [{axes}], of the same images and of one size; found "
            f"{list(student.shape)} and {list(teacher.shape)}. Bring maps of another size to the student's "
            "with torch.nn.functional.interpolate."
        )
    if student.numel() == 0 or teacher.numel() == 0:
        raise ArgumentError(f"There is nothing to compare: {what} are {list(student.shape)}. Leave it out.")


def check_masks(maps: Tensor, labels: Tensor | None, ignore_index: int, *, classes: bool) -> None:
    """Raise ArgumentError unless ``labels`` fit ``maps`` and, if asked to look, name its classes."""
    if labels is None:
        raise ArgumentError(
            "labels are needed as long as alpha is below 1; found None. "
            "Pass int64 masks, or take alpha=1 for images without masks."
        )
    check_tensor(maps, "logits")
    check_tensor(labels, "labels")
    if maps.ndim != 4 or maps.numel() == 0 or not maps.is_floating_point():
        raise ArgumentError(
            "logits must be floating point [batch, classes, height, width] with at least one pixel and one class; "
            f"found {maps.dtype} {list(maps.shape)}."
        )
    wanted = maps[:, 0].shape
    if labels.shape != wanted or labels.dtype not in (torch.int64, torch.bool):
        raise ArgumentError(
            f"labels must be int64 {list(wanted)}, one class index per pixel; found {labels.dtype} "
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
