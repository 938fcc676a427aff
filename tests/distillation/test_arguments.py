"""Lists and NumPy arrays in place of tensors are named, with the conversion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from kdcourse.distillation import (
    dkd_loss,
    hinton_loss,
    kd_divergence,
    mean_softened,
    pixelwise_loss,
    soft_targets,
    softened,
)
from kdcourse.errors import ArgumentError
from tests.distillation import tiny

ARRAY, LISTED = np.zeros((2, 3), np.float32), [[0.0, 1.0, 2.0]]
LOGITS = torch.zeros(2, 3)
CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "student": (
        lambda: kd_divergence(ARRAY, LOGITS, 2.0),
        r"student_logits must be a tensor; found a NumPy array float32 \[2, 3\].*torch.from_numpy\(student_logits\)",
    ),
    "teacher": (
        lambda: kd_divergence(LOGITS, LISTED, 2.0),
        "teacher_logits must be a tensor; found a list.*torch.as_tensor",
    ),
    "labels": (
        lambda: hinton_loss(LOGITS, LOGITS + 1, [0, 1], temperature=2.0, alpha=0.5),
        "labels must be a tensor; found a list",
    ),
    "dkd": (lambda: dkd_loss(LOGITS, ARRAY, torch.tensor([0, 1])), "teacher_logits must be a tensor"),
    "maps": (
        lambda: pixelwise_loss(ARRAY, LOGITS, None, temperature=2.0, alpha=1.0),
        "student_logits must be a tensor",
    ),
    "softened": (lambda: softened(LISTED, 2.0), "logits must be a tensor; found a list"),
    "members": (
        lambda: mean_softened([LOGITS, LOGITS], 2.0),
        r"found a list of tensors.*torch.stack\(member_logits\)",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_tensor_is_named_with_the_conversion(name: str) -> None:
    call, message = CALLS[name]
    with pytest.raises(ArgumentError, match=message):
        call()


def test_an_index_that_is_a_list() -> None:
    data = tiny.dataset()
    targets = soft_targets(tiny.quarter_reader(), data.train, data, cache=False, progress=False)
    with pytest.raises(ArgumentError, match="index must be a tensor; found a list"):
        targets.logits(targets.views[0], [0, 1])  # type: ignore[arg-type]
