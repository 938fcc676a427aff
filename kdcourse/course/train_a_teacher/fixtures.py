"""Build the tiny model on which this lesson's answers are tested.

This file holds no solution, since it runs in the same process as untrusted answers.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kdcourse.checks.exercise import Answer
from kdcourse.checks.fixtures import Remembering, statistics
from kdcourse.checks.outcomes import ANSWER


def validate(answer: Answer, mode: str, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return the accuracy, and the model's state during and after the forward pass."""
    model = Remembering(seed=1).train(mode == "train")
    result = answer(model, images, labels)
    return {
        ANSWER: result,
        "the mode in which it called the model": model.modes_in_words,
        "gradients recorded": any(model.recorded),
        "the model's mode afterwards": "train" if model.training else "eval",
        "the model's BatchNorm statistics": statistics(model),
    }
