"""Checks of what losses are called with."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from kdcourse.errors import ArgumentError


def check_tensor(value: object, name: str) -> None:
    """Raise ArgumentError with the conversion to use unless ``value`` is a tensor."""
    if isinstance(value, Tensor):
        return
    if isinstance(value, np.ndarray):
        found, cure = f"a NumPy array {value.dtype} {list(value.shape)}", f"torch.from_numpy({name})"
    else:
        found, cure = f"a {type(value).__name__}", f"torch.as_tensor({name})"
        if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
            found, cure = f"{found} of tensors", f"torch.stack({name})"
    raise ArgumentError(f"{name} must be a tensor; found {found}. Convert with {cure}.")


def check_alpha(alpha: float) -> None:
    """Raise ArgumentError unless ``alpha`` lies in [0, 1]."""
    if not 0 <= alpha <= 1:
        raise ArgumentError(
            f"alpha, the weight of the distillation term, must lie in [0, 1]; found {alpha}. "
            "The labels get the weight 1 - alpha."
        )


def check_weight(weight: float, usual: str) -> None:
    """Raise ArgumentError unless the weight of a method's only term is a number above 0; ``usual`` is the paper's."""
    if not 0 < weight < math.inf:
        raise ArgumentError(f"weight must be a number above 0; found {weight}. The paper has {usual}.")


def check_weights(**weights: float) -> None:
    """Raise ArgumentError unless the weights of a method's terms are numbers of at least 0, one of them above it."""
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ArgumentError(f"{name} is the weight of a term, a number of at least 0; found {weight}.")
    if not any(weights.values()):
        raise ArgumentError(f"With {' and '.join(weights)} both 0 there is nothing to learn. Raise one.")


def check_sides(student: Tensor, teacher: Tensor, what: str) -> None:
    """Raise ArgumentError unless these are two floating-point tensors on one device; ``what`` names them."""
    check_tensor(student, f"student_{what}")
    check_tensor(teacher, f"teacher_{what}")
    if teacher is student and student.requires_grad:
        raise ArgumentError(
            f"One tensor was passed as student_{what} and teacher_{what}; a student that is its own "
            f"teacher learns nothing. Pass the teacher's {what} as teacher_{what}."
        )
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise ArgumentError(
            f"{what} must be floating point; found {student.dtype} and {teacher.dtype}. "
            "Pass the networks' outputs, not labels."
        )
    if student.device != teacher.device:
        raise ArgumentError(
            f"The student's {what} are on {student.device}, the teacher's on {teacher.device}. "
            "Move one with .to(device)."
        )


def check_logits(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Raise ArgumentError unless these are the logits [B, C] of one batch, both with B, C >= 1."""
    check_sides(student_logits, teacher_logits, "logits")
    if student_logits.ndim != 2 or student_logits.shape != teacher_logits.shape:
        raise ArgumentError(
            "student_logits and teacher_logits must both be [batch, classes] of one shape; found "
            f"{list(student_logits.shape)} and {list(teacher_logits.shape)}. Teacher and student need the "
            "same classes and the same images."
        )
    if student_logits.numel() == 0:
        raise ArgumentError(
            f"The batch is empty: logits are {list(student_logits.shape)}. Leave empty batches out."
        )


def check_labels(logits: Tensor, labels: Tensor | None, *, values: bool) -> None:
    """Raise ArgumentError unless ``labels`` [B] fit ``logits`` [B, C] and, if ``values``, lie in 0..C-1."""
    if labels is None:
        raise ArgumentError(
            "labels are needed as long as alpha is below 1; found None. "
            "Pass int64 labels, or take alpha=1 for a transfer set without labels."
        )
    check_tensor(logits, "logits")
    check_tensor(labels, "labels")
    if logits.ndim != 2 or logits.numel() == 0 or not logits.is_floating_point():
        raise ArgumentError(
            "logits must be floating point [batch, classes] with at least one image and one class; found "
            f"{logits.dtype} {list(logits.shape)}."
        )
    if labels.dtype != torch.int64 or labels.shape != logits.shape[:1]:
        raise ArgumentError(
            f"labels must be int64 [{len(logits)}], one class index per image; found {labels.dtype} "
            f"{list(labels.shape)}. Convert with .long(), and turn one-hot rows into indices with .argmax(1)."
        )
    if values:
        low, high = (int(end) for end in torch.aminmax(labels))
        if low < 0 or high >= logits.shape[1]:
            raise ArgumentError(
                f"labels must lie in 0..{logits.shape[1] - 1} for logits of {logits.shape[1]} classes; found "
                f"labels from {low} to {high}. Check the number of classes the network was built with."
            )
