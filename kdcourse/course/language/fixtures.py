"""Call an answer, and look at two gradients.

This file contains no solution, because it runs together with untrusted answers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdcourse.checks.exercise import Answer
from kdcourse.checks.outcomes import ANSWER, GRADIENT


def watch_the_teacher(
    answer: Answer, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor
) -> dict[str, Any]:
    """Return the result, the student's gradient, and whether one flows to the teacher too."""
    student, teacher = (logits.clone().requires_grad_() for logits in (student_logits, teacher_logits))
    # Copied back, so that the answer gets the same tensors that are checked for changes afterwards.
    result = answer(student_logits.copy_(student), teacher_logits.copy_(teacher), labels)
    if not isinstance(result, Tensor) or not result.requires_grad:
        return {ANSWER: result, GRADIENT: None}
    gradient, taught = torch.autograd.grad(result.sum(), (student, teacher), allow_unused=True)
    return {ANSWER: result, GRADIENT: None if gradient is None else (gradient, taught is not None)}
