"""Build the tiny student and teacher for the answers of this lesson.

This file contains no solution, because it runs together with untrusted answers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdcourse.checks.exercise import Answer
from kdcourse.checks.fixtures import Descent, Remembering, statistics, weights
from kdcourse.checks.outcomes import ANSWER


def step(
    answer: Answer, mode: str, images: Tensor, labels: Tensor, temperature: float, alpha: float
) -> dict[str, Any]:
    """Return the loss, how student and teacher changed, and in which state they were called."""
    # No dropout in the student, so that answers don't depend on how often it was called.
    student, teacher = Remembering(seed=1, dropout=0.0), Remembering(seed=2)
    student.train(mode == "train")
    for parameter in student.parameters():
        parameter.grad = torch.full_like(parameter, 0.3)  # left over from an earlier step
    optimizer = Descent(student)
    before = weights(teacher)
    loss = answer(student, teacher, images, labels, optimizer, temperature, alpha)
    return {
        ANSWER: loss,
        "the mode in which it called the teacher": teacher.modes_in_words,
        "the mode in which it called the student": student.modes_in_words,
        "whether the teacher's pass was recorded": any(teacher.recorded),
        "gradients in the teacher": any(parameter.grad is not None for parameter in teacher.parameters()),
        "the teacher's weights changed": not torch.equal(before, weights(teacher)),
        "the teacher's BatchNorm statistics": statistics(teacher),
        "the number of steps": optimizer.steps,
        "the student's weights after the step": weights(student),
        "the student's BatchNorm statistics": statistics(student),
    }
