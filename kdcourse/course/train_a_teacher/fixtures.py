"""Build the tiny models on which this lesson's answers are tested.

This file holds no solution, since it runs in the same process as untrusted answers.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.checks.exercise import Answer
from kdcourse.checks.fixtures import Descent, Remembering, statistics, weights
from kdcourse.checks.outcomes import ANSWER


def train(answer: Answer, images: Tensor, labels: Tensor, smoothing: float) -> dict[str, Any]:
    """Return the loss, and the model's state after the step."""
    # No dropout, so that answers don't depend on how often the model was called.
    model = Remembering(seed=1, dropout=0.0).train()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.3)  # left over from an earlier step
    optimizer = Descent(model)

    def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)

    loss = answer(model, images, labels, optimizer, loss_of)
    return {
        ANSWER: loss,
        "the mode in which it called the model": model.modes_in_words,
        "the number of steps": optimizer.steps,
        "the model's weights after the step": weights(model),
        "the model's BatchNorm statistics": statistics(model),
    }


def validate(answer: Answer, mode: str, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return the accuracy, and the model's state during and after the forward pass."""
    model = Remembering(seed=1).train(mode == "train")
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)  # frozen by its owner
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.3)  # of a training step that isn't finished
    for buffer in model.buffers():
        buffer += 2  # statistics of a network that was trained
    result = answer(model, images, labels)
    grads = [torch.zeros(1) if one.grad is None else one.grad.flatten() for one in parameters]
    return {
        ANSWER: result,
        "the mode in which it called the model": model.modes_in_words,
        "gradients recorded": any(model.recorded),
        "the model's mode afterwards": "train" if model.training else "eval",
        "the model's BatchNorm statistics": statistics(model),
        "the model's weights": weights(model),
        "the gradients that the model had": torch.cat(grads),
        "whether its parameters require gradients": [one.requires_grad for one in parameters],
    }
