"""Distilling on text: teachers, ensembles and transfer sets through `distil` and `fit`."""

from __future__ import annotations

import math

import pytest
import torch

from kdcourse.data import IGNORE_TOKEN, TextDataset, text_dataset
from kdcourse.distillation import Ensemble, check_teacher, continued, distil, soft_targets, teacher_text
from kdcourse.errors import ArgumentError, TeacherWarning
from kdcourse.models import GPT
from kdcourse.training import cross_entropy, fit

RUN = {
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "optimizer": "adamw",
    "seed": 0,
    "progress": False,
}


def _gpt(data: TextDataset, seed: int, width: int = 16) -> GPT:
    torch.manual_seed(seed)
    return GPT(len(data.classes), context=data.context, width=width, depth=1, heads=1)


@pytest.fixture(scope="module")
def data() -> TextDataset:
    return text_dataset("cats", [f"the cat sat on mat {n}; " * (2 + n % 3) for n in range(24)], context=12)


@pytest.fixture(scope="module")
def teacher(data: TextDataset) -> GPT:
    model = _gpt(data, 9)
    fit(model, data, **RUN)
    return model


def test_a_student_comes_closer_to_its_teacher(data: TextDataset, teacher: GPT) -> None:
    before = [p.clone() for p in teacher.parameters()]
    history = distil(_gpt(data, 1), teacher, data, alpha=0.5, **RUN)
    assert "token_kl(temperature=1)" in history.settings["objective"]
    first, *_, last = history.part("token_kl")
    assert last < 0.5 * first
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.parameters(), strict=True))


def test_ensembles_average_at_every_position(data: TextDataset, teacher: GPT) -> None:
    other, tokens = _gpt(data, 4), data.test.tokens
    z = torch.stack([teacher(tokens), other(tokens)])
    torch.testing.assert_close(Ensemble([teacher, other])(tokens), z.mean(0))
    mixed = Ensemble([teacher, other], average="probabilities")(tokens).softmax(-1)
    torch.testing.assert_close(mixed, z.softmax(-1).mean(0))
    weighed = Ensemble([teacher, other], average="probabilities", weights=[3, 1])(tokens).softmax(-1)
    torch.testing.assert_close(weighed, 0.75 * z[0].softmax(-1) + 0.25 * z[1].softmax(-1))


def test_teachers_are_checked(data: TextDataset, teacher: GPT) -> None:
    assert check_teacher(teacher, data.train, data) > 0.2
    with pytest.warns(
        TeacherWarning, match=r"cross-entropy of 5\.\d+ nats per token .* uniform guess .* has 5.55"
    ):
        check_teacher(_gpt(data, 2), data.train, data)
    broken = _gpt(data, 2)
    with torch.no_grad():
        broken.norm.weight.fill_(math.nan)
    with pytest.raises(ArgumentError, match="NaN or infinity"):
        check_teacher(broken, data.train, data)
    with pytest.raises(ArgumentError, match="returns 300 logits, and there are 257 classes"):
        check_teacher(GPT(300, context=12, width=8, depth=1, heads=1), data.train, data)
    with pytest.raises(ArgumentError, match="too much room to be stored"):
        soft_targets(teacher, data.train, data)
    with pytest.raises(ArgumentError, match=r"kd is for labels, and 'cats' has a text's next tokens"):
        distil(_gpt(data, 1), teacher, data, method="kd", alpha=0.5, **RUN)


def test_a_transfer_set_holds_the_teachers_continuations(data: TextDataset, teacher: GPT) -> None:
    written = teacher_text(teacher, data, prompt=6, temperature=0, batch_size=7)
    begun = data.train.labels[:, 5] != IGNORE_TOKEN
    assert len(written.train) == int(begun.sum()) < len(data.train)
    tokens, labels = written.train.tokens, written.train.labels
    assert torch.equal(tokens[:, :6], data.train.tokens[begun, :6])
    assert torch.equal(labels[:, 5:-1], tokens[:, 6:]) and bool((labels[:, :5] == IGNORE_TOKEN).all())
    assert torch.equal(labels[:, 5:], teacher(tokens).argmax(-1)[:, 5:])
    sampled = [teacher_text(teacher, data, prompt=6, seed=seed).train for seed in (1, 1, 2)]
    assert sampled[0].digest == sampled[1].digest != sampled[2].digest
    assert written.test is data.test
    history = fit(_gpt(data, 3), written, objective=cross_entropy, **RUN)
    assert history.last.train_loss < history.epochs[0].train_loss
    with pytest.raises(ArgumentError, match="prompt must be 1 to 11 tokens"):
        teacher_text(teacher, data, prompt=12)


def test_any_network_can_continue_a_text(data: TextDataset, teacher: GPT) -> None:
    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = teacher

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.inner(tokens)

    begun, draws = data.test.tokens[:, :3], [torch.Generator().manual_seed(1) for _ in range(2)]
    fast, slow = (
        continued(model, begun, 6, generator=draw)
        for model, draw in zip((teacher, Wrapped()), draws, strict=True)
    )
    assert torch.equal(fast, slow)
