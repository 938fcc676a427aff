"""How exercises about models are played: a tiny model is built, the answer asked, and what there is to see reported.

Nothing here knows a solution, so that a play may run beside an answer that nobody trusts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.checks.exercise import Answer
from kdcourse.checks.observe import ANSWER, GRADIENT
from kdcourse.checks.tries import Remembering, statistics, weights

# -- count_parameters ---------------------------------------------------------------------------


def tiny_model(name: str, more: int = 0) -> nn.Module:
    """A network of one of five makes; ``more`` makes each of its layers wider by as much."""
    if name == "linear":
        return nn.Linear(7 + more, 3)
    if name == "batch norm":
        wide = 4 + more
        return nn.Sequential(
            nn.Conv2d(2, wide, 3), nn.BatchNorm2d(wide), nn.ReLU(), nn.Flatten(), nn.Linear(4 * wide, 5)
        )
    if name == "frozen":
        model = nn.Sequential(nn.Linear(5 + more, 4), nn.ReLU(), nn.Linear(4, 2 + more))
        model[0].requires_grad_(False)
        return model
    if name == "nested":
        return nn.Sequential(
            nn.Sequential(nn.Linear(3 + more, 9), nn.ReLU()), nn.Linear(9, 2 + more, bias=False)
        )
    layer = nn.Linear(6 + more, 6 + more)
    return nn.Sequential(layer, nn.ReLU(), layer)


def count(answer: Callable[[nn.Module], Any], name: str, more: int) -> dict[str, Any]:
    """What the answer makes of one tiny model."""
    return {ANSWER: answer(tiny_model(name, more))}


# -- validation_accuracy ------------------------------------------------------------------------


def validate(answer: Answer, mode: str, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """The accuracy, and in which state the model was asked and is left."""
    model = Remembering(seed=1).train(mode == "train")
    result = answer(model, images, labels)
    return {
        ANSWER: result,
        "the mode it asked the model in": model.asked,
        "gradients recorded": any(model.recorded),
        "the model's mode afterwards": "train" if model.training else "eval",
        "the model's BatchNorm statistics": statistics(model),
    }


# -- distil_step --------------------------------------------------------------------------------


class Descent:
    """Plain gradient descent that counts its steps.

    Not torch.optim's, whose first use imports torch's compiler: seconds that would count as the answer's.
    """

    def __init__(self, model: nn.Module) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(model.parameters()), "lr": 0.5}]
        self.steps = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None if set_to_none or parameter.grad is None else torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter -= self.param_groups[0]["lr"] * parameter.grad


def step(
    answer: Answer, mode: str, images: Tensor, labels: Tensor, temperature: float, alpha: float
) -> dict[str, Any]:
    """The loss, what became of student and teacher, and how both were asked."""
    # No dropout in the student, so that answers don't depend on how often it was asked.
    student, teacher = Remembering(seed=1, dropout=0.0), Remembering(seed=2)
    student.train(mode == "train")
    for parameter in student.parameters():
        parameter.grad = torch.full_like(parameter, 0.3)  # left over from an earlier step
    optimizer = Descent(student)
    before = weights(teacher)
    loss = answer(student, teacher, images, labels, optimizer, temperature, alpha)
    return {
        ANSWER: loss,
        "the mode it asked the teacher in": teacher.asked,
        "the mode it asked the student in": student.asked,
        "whether the teacher's pass was recorded": any(teacher.recorded),
        "gradients in the teacher": any(parameter.grad is not None for parameter in teacher.parameters()),
        "the teacher's weights changed": not torch.equal(before, weights(teacher)),
        "the teacher's BatchNorm statistics": statistics(teacher),
        "the number of steps": optimizer.steps,
        "the student's weights after the step": weights(student),
    }


# -- pixel_term ---------------------------------------------------------------------------------


def watch_the_teacher(
    answer: Answer, student_logits: Tensor, teacher_logits: Tensor, masks: Tensor, temperature: float
) -> dict[str, Any]:
    """The result, and beside the student's gradient whether one flows to the teacher too."""
    student, teacher = (logits.clone().requires_grad_() for logits in (student_logits, teacher_logits))
    # Copied back, so that the answer gets the very tensors that are looked at for changes afterwards.
    result = answer(student_logits.copy_(student), teacher_logits.copy_(teacher), masks, temperature)
    if not isinstance(result, Tensor) or not result.requires_grad:
        return {ANSWER: result, GRADIENT: None}
    gradient, taught = torch.autograd.grad(result.sum(), (student, teacher), allow_unused=True)
    return {ANSWER: result, GRADIENT: None if gradient is None else (gradient, taught is not None)}
