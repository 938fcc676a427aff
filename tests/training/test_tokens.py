"""The task of next tokens: its loss and rates, and the one loop on text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kdcourse import models
from kdcourse.data import IGNORE_TOKEN, Augmentation, Batch, TextDataset, View, text_dataset
from kdcourse.errors import ArgumentError
from kdcourse.models import GPT
from kdcourse.training import TOKENS, CrossEntropy, cross_entropy, evaluate_split, fit, task_of

TEXTS = [f"the cat sat on mat {number}; " * (2 + number % 3) for number in range(24)]


def _data() -> TextDataset:
    return text_dataset("cats", TEXTS, context=16)


def _tiny(data: TextDataset, **options: float) -> GPT:
    torch.manual_seed(0)
    return GPT(len(data.classes), context=data.context, width=16, depth=1, heads=1, **options)  # type: ignore[arg-type]


def test_the_loss_is_the_mean_over_the_tokens_that_count() -> None:
    logits = torch.randn(3, 5, 7, dtype=torch.float64)
    labels = torch.randint(7, (3, 5))
    labels[0, 3:] = labels[2] = IGNORE_TOKEN
    logits[0, 3:] = torch.nan
    z, y = logits.numpy(), labels.numpy()
    nats = [
        np.log(np.exp(z[b, t]).sum()) - z[b, t, y[b, t]] for b in range(3) for t in range(5) if y[b, t] >= 0
    ]
    batch = Batch(torch.zeros(3, 5, dtype=torch.int64), labels, torch.arange(3), View())
    assert task_of(batch) is TOKENS is task_of(_data()) is task_of(_data().train)
    assert float(cross_entropy(logits, batch)) == pytest.approx(np.mean(nats), abs=1e-12) and len(nats) == 8
    weights = [1.0, 2, 3, 4, 5, 6, 7]
    shares = np.array(weights)[y[y >= 0]]
    weighted = float(CrossEntropy(class_weights=weights)(logits, batch))
    assert weighted == pytest.approx((shares * nats).sum() / shares.sum(), abs=1e-12)
    right, count = TOKENS.count(logits, labels, 7).tolist()
    assert count == 8 and right == sum(
        z[b, t].argmax() == y[b, t] for b in range(2) for t in range(5) if y[b, t] >= 0
    )
    nothing = torch.full_like(labels, IGNORE_TOKEN)
    assert float(TOKENS.cross_entropy(logits, nothing)) == 0


def test_an_epochs_loss_is_the_mean_over_all_its_tokens() -> None:
    data = _data()
    data = replace(data, train=data.train.subset(torch.arange(len(data.train) // 4 * 4)))  # whole batches
    model = _tiny(data)
    start = evaluate_split(model, data.train, data)
    lengths = {int(n) for n in (data.train.labels != IGNORE_TOKEN).sum(1)}
    assert len(lengths) > 2  # rows of different lengths in a batch
    history = fit(
        model, data, epochs=1, batch_size=4, precision="float32", learning_rate=1e-12, seed=0, progress=False
    )
    assert history.last.train_loss == pytest.approx(start[0], abs=1e-5)
    assert history.last.train_accuracy == pytest.approx(start[1], abs=1e-9)


def test_it_learns_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    data = _data()
    recipe = {
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "optimizer": "adamw",
        "seed": 3,
        "progress": False,
    }
    whole = _tiny(data, dropout=0.1)
    history = fit(whole, data, **recipe)
    assert history.last.validation_loss < 0.7 * history.epochs[0].validation_loss

    class Stop(Exception):
        pass

    def stop(epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (1, 3):
            raise Stop

    broken, again = _tiny(data, dropout=0.1), _tiny(data, dropout=0.1)
    stored = {"checkpoint": tmp_path / "run", "checkpoint_every": 2}
    with pytest.raises(Stop):
        fit(broken, data, after_step=stop, **stored, **recipe)
    fit(again, data, **stored, **recipe)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_what_does_not_fit_is_refused() -> None:
    data = _data()
    run = {"epochs": 1, "learning_rate": 0.1, "seed": 0, "progress": False}
    with pytest.raises(ArgumentError, match="Text has no augmented views"):
        fit(_tiny(data), data, augmentation=Augmentation(), **run)
    with pytest.raises(ArgumentError, match=r"must return logits \[2, 16, 257\].*found \[2, 16, 512\]"):
        fit(models.build("gpt_50k"), data, **run)
