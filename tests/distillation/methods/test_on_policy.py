"""On-policy distillation: whose texts are learned from, that no gradient flows through them, and what is refused."""

from __future__ import annotations

import pytest
import torch

from kdcourse.data import IGNORE_TOKEN, Batch, TextDataset, View, text_dataset
from kdcourse.distillation import Outputs, continued, distil, methods, token_divergence
from kdcourse.errors import ArgumentError
from kdcourse.models import GPT

# Untrained teachers will do here.
pytestmark = pytest.mark.filterwarnings("ignore::kdcourse.errors.TeacherWarning")

RUN = {
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "optimizer": "adamw",
    "seed": 0,
    "progress": False,
}


def _data() -> TextDataset:
    return text_dataset("cats", [f"the cat sat on mat {n}; " * (2 + n % 3) for n in range(24)], context=12)


def _gpt(data: TextDataset, seed: int) -> GPT:
    torch.manual_seed(seed)
    return GPT(len(data.classes), context=data.context, width=16, depth=1, heads=1)


def test_the_student_continues_the_beginnings() -> None:
    data = _data()
    student = _gpt(data, 0).train()
    rows = torch.arange(len(data.train))
    batch = Batch(data.train.tokens, data.train.labels, rows, View())
    (method,) = methods.build("on_policy", share=1.0, prompt=6)
    torch.manual_seed(5)
    changed = method.rewrite(student, batch)
    assert (
        student.training and not changed.images.requires_grad and changed.images.shape == batch.images.shape
    )
    torch.manual_seed(5)
    torch.rand(())
    written = continued(student, batch.images[:, :6], 7)
    assert torch.equal(changed.images, written[:, :-1])
    short = batch.labels[:, 5] == IGNORE_TOKEN
    assert short.any() and bool((changed.labels[short] == IGNORE_TOKEN).all())
    assert bool((changed.labels[:, :5] == IGNORE_TOKEN).all())
    assert torch.equal(changed.labels[~short, 5:], written[~short, 6:])
    (never,) = methods.build("on_policy", share=0.0)
    assert never.rewrite(student, batch) is batch

    # The gradient is that of the divergence on a fixed text.
    student.zero_grad()
    teacher = torch.randn(*changed.images.shape, len(data.classes))
    outputs = Outputs(student(changed.images))
    sum(method(outputs, Outputs(teacher), changed).values()).backward()  # type: ignore[union-attr]
    found = student.token.weight.grad.clone()  # type: ignore[union-attr]
    student.zero_grad()
    text, labels = changed.images.clone(), changed.labels.clone()
    token_divergence(student(text), teacher, labels, beta=0.5).backward()
    torch.testing.assert_close(student.token.weight.grad, found)


def test_distil_learns_so_and_the_same_seed_gives_the_same_student() -> None:
    data = _data()
    teacher = _gpt(data, 1)
    found = []
    for _ in range(2):
        student = _gpt(data, 2)
        history = distil(student, teacher, data, method="on_policy", alpha=1.0, prompt=4, **RUN)
        found.append(torch.cat([p.detach().flatten() for p in student.parameters()]))
    assert torch.equal(*found) and history.part("on_policy")[0] > 0
    assert "on_policy(share=0.5, prompt=4" in history.settings["objective"]


def test_what_makes_no_sense_is_refused() -> None:
    data = _data()
    student, teacher = _gpt(data, 0), _gpt(data, 1)
    for changes in {"alpha": 0.5}, {"alpha": 1.0, "method": ["on_policy", "token_kl"]}:
        with pytest.raises(ArgumentError, match="on_policy learns from the student's own samples"):
            distil(student, teacher, data, **{"method": "on_policy", **changes}, **RUN)
    with pytest.raises(ArgumentError, match="Rows of 12 tokens leave nothing to write after a prompt of 16"):
        distil(student, teacher, data, method="on_policy", alpha=1.0, share=1.0, **RUN)
    for wrong, said in (
        ({"share": 2}, "share is a probability"),
        ({"prompt": 0}, "prompt is a number of tokens"),
    ):
        with pytest.raises(ArgumentError, match=said):
            methods.build("on_policy", **wrong)
