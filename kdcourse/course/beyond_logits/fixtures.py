"""Call an answer, and look at three gradients.

This file contains no solution, because it runs together with untrusted answers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdcourse.checks.exercise import Answer
from kdcourse.checks.outcomes import ANSWER, GRADIENT


def watch_the_gradients(
    answer: Answer, student_map: Tensor, teacher_map: Tensor, weight: Tensor
) -> dict[str, Any]:
    """Return the result, the gradients of the student and of the weight, and whether one flows to the teacher."""
    leaves = [given.clone().requires_grad_() for given in (student_map, teacher_map, weight)]
    # Copied back, so that the answer gets the same tensors that are checked for changes afterwards.
    given = [one.copy_(leaf) for one, leaf in zip((student_map, teacher_map, weight), leaves, strict=True)]
    result = answer(*given)
    if not isinstance(result, Tensor) or not result.requires_grad:
        return {ANSWER: result, GRADIENT: None}
    student, teacher, mixed = torch.autograd.grad(result.sum(), leaves, allow_unused=True)
    found = None if student is None else (student, mixed, teacher is not None)
    return {ANSWER: result, GRADIENT: found}
