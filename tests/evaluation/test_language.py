"""Measures of language models: bits per byte over documents, agreement, samples, and what can't be compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from kdcourse.data import IGNORE_TOKEN, TextDataset, text_dataset
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import (
    bits_per_byte,
    evaluate_language,
    expected_calibration_error,
    kl_to_teacher,
    language,
    perplexities,
    repetition,
    score_samples,
    tokens_per_second,
)
from kdcourse.models import GPT

TEXTS = [f"the cat no {n} sat on a grüne mat; " * (2 + n % 4) for n in range(60)]


def _gpt(data: TextDataset, seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    model = GPT(len(data.classes), context=data.context, width=16, depth=1, heads=1)
    with torch.no_grad():
        model.token.weight.mul_(20)
    return model


@pytest.fixture(scope="module")
def data() -> TextDataset:
    return text_dataset("cats", TEXTS, context=16)


@torch.no_grad()
def test_bits_per_byte_and_its_interval(data: TextDataset) -> None:
    model = _gpt(data)
    bits, sizes = [], []
    for number, text in enumerate(data.documents["test"]):
        rows = data.test.document == number
        p = model(data.test.tokens[rows]).double().softmax(-1)
        labels = data.test.labels[rows]
        kept = labels != IGNORE_TOKEN
        bits.append(-float(p[kept].gather(1, labels[kept][:, None]).log2().sum()))
        sizes.append(len(text.encode()))
    b, s = np.array(bits), np.array(sizes)
    ratio = b.sum() / s.sum()
    half = stats.t.ppf(0.975, len(b) - 1) * math.sqrt(len(b) * (b - ratio * s).var(ddof=1)) / s.sum()
    # The residuals' mean is 0, so their variance is the sum of squares over n - 1.
    found = bits_per_byte(model, data.test)
    assert found.n == len(b) == 3 and found.mean == pytest.approx(ratio, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((ratio - half, ratio + half), rel=1e-5)
    with pytest.raises(ArgumentError, match="whole documents"):
        bits_per_byte(model, data.test.subset(torch.arange(2)))


@torch.no_grad()
def test_scores_beside_a_teacher(data: TextDataset) -> None:
    model, teacher = _gpt(data), _gpt(data, 1)
    kept = data.test.labels != IGNORE_TOKEN
    z, v, y = model(data.test.tokens)[kept], teacher(data.test.tokens)[kept], data.test.labels[kept]
    scores = evaluate_language(model, data.test, teacher)
    assert scores.bits_per_byte == bits_per_byte(model, data.test)
    assert scores.accuracy == pytest.approx(float((z.argmax(1) == y).double().mean()))
    assert scores.agreement == pytest.approx(float((z.argmax(1) == v.argmax(1)).double().mean()))
    kl = (v.double().softmax(1) * (v.double().log_softmax(1) - z.double().log_softmax(1))).sum(1).mean()
    assert scores.kl_to_teacher == pytest.approx(float(kl), rel=1e-5)
    assert scores.calibration_error == pytest.approx(expected_calibration_error(z, y), rel=1e-6)
    alone = evaluate_language(model, data.test)
    assert alone.agreement is None and alone.accuracy == scores.accuracy
    other = GPT(300, context=16, width=8, depth=1, heads=1)
    with pytest.raises(ArgumentError, match="the model has 257 tokens, the teacher 300"):
        evaluate_language(model, data.test, other)


@torch.no_grad()
@pytest.mark.parametrize("logits", [1, 40_000])
def test_a_few_rows_at_a_time_give_the_same_scores(
    data: TextDataset, monkeypatch: pytest.MonkeyPatch, logits: int
) -> None:
    model, teacher = _gpt(data), _gpt(data, 1)
    seen: list[int] = []
    model.register_forward_hook(lambda *call: seen.append(len(call[1][0])))
    whole = bits_per_byte(model, data.test)
    kept = data.test.labels != IGNORE_TOKEN
    every = -(-int(kept.sum()) // 50)
    z, v, y = (
        of[kept][::every] for of in (model(data.test.tokens), teacher(data.test.tokens), data.test.labels)
    )
    seen.clear()
    monkeypatch.setattr(language, "_LOGITS", logits)
    monkeypatch.setattr(language, "_POSITIONS", 50)
    scores = evaluate_language(model, data.test, teacher)
    assert max(seen) == max(1, logits // (16 * 257)) and sum(seen) == len(data.test)
    assert scores.bits_per_byte.mean == pytest.approx(whole.mean, rel=1e-6)
    assert scores.calibration_error == pytest.approx(expected_calibration_error(z, y), rel=1e-6)
    assert scores.agreement == pytest.approx(float((z.argmax(1) == v.argmax(1)).double().mean()))
    assert scores.kl_to_teacher == pytest.approx(kl_to_teacher(z, v), rel=1e-6)


@torch.no_grad()
def test_perplexities_only_of_one_vocabulary(data: TextDataset) -> None:
    model = _gpt(data)
    kept = data.test.labels != IGNORE_TOKEN
    nats = torch.nn.functional.cross_entropy(model(data.test.tokens)[kept].double(), data.test.labels[kept])
    found = perplexities({"a": (model, data), "b": (_gpt(data, 1), data)})
    assert found["a"] == pytest.approx(math.exp(float(nats)), rel=1e-5) and found["b"] != found["a"]
    pairs = text_dataset("cats", TEXTS, vocabulary=300, context=16)
    with pytest.raises(
        ArgumentError, match=r"a has ByteVocabulary.*b has BytePairVocabulary.*Compare bits_per_byte"
    ):
        perplexities({"a": (model, data), "b": (_gpt(pairs), pairs)})
    longer = text_dataset("cats", TEXTS[1:], context=16)
    with pytest.raises(ArgumentError, match="measured on different texts"):
        perplexities({"a": (model, data), "b": (model, longer)})


@torch.no_grad()
def test_samples_are_judged(data: TextDataset) -> None:
    rows = torch.tensor([[1, 2, 3, 1, 2, 3, 1, 2], [1, 2, 3, 4, 5, 6, 7, 8]])
    assert repetition(rows[:1], 2) == pytest.approx(1 - 3 / 7) and repetition(rows, 2) == pytest.approx(
        (1 - 3 / 7) / 2
    )
    assert repetition(rows[1:]) == 0
    teacher = _gpt(data, 1)
    log_p = teacher(rows[:, :-1]).log_softmax(-1).gather(2, rows[:, 1:, None])[:, 2:, 0]
    scores = score_samples(rows, 3, teacher)
    assert scores.likelihood == pytest.approx(float(log_p.mean()), rel=1e-5)
    assert scores.repetition == repetition(rows[:, 3:])
    with pytest.raises(ArgumentError, match="more tokens than the prompt"):
        score_samples(rows, 8, teacher)
    with pytest.raises(ArgumentError, match="at least n=9 tokens"):
        repetition(rows, 9)
    assert tokens_per_second(teacher, rows[:, :2], 3, repeats=1) > 0
