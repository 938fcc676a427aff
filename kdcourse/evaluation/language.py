"""Measure language models: bits per byte, agreement with a teacher, the quality and the speed of what they write."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdcourse.data import IGNORE_TOKEN, TextDataset, TokenSplit
from kdcourse.distillation import continued
from kdcourse.errors import ArgumentError
from kdcourse.evaluation.compare import Interval, t_quantile
from kdcourse.evaluation.metrics import Reliability, agreement, kl_to_teacher, reliability
from kdcourse.models.inputs import images_at_once, placement
from kdcourse.models.mode import evaluating
from kdcourse.training import TOKENS, autocast

_LOGITS = 2**24  # of one batch at most: 64 MiB
_POSITIONS = 20_000  # at which calibration and agreement are measured


@dataclass(frozen=True)
class LanguageScores:
    """Hold what `evaluate_language` measures.

    ``bits_per_byte`` with its interval over documents; ``accuracy``, the share of tokens that the model finds
    likeliest; ``calibration_error``, `expected_calibration_error` of the likeliest token; ``agreement`` with the
    teacher on it, and ``kl_to_teacher`` in nats per token, ``None`` without a teacher.
    """

    bits_per_byte: Interval
    accuracy: float
    calibration_error: float
    agreement: float | None = None
    kl_to_teacher: float | None = None


def evaluate_language(
    model: nn.Module,
    split: TokenSplit,
    teacher: nn.Module | None = None,
    *,
    precision: str = "float32",
) -> LanguageScores:
    """Measure a language model on a split, and how close it is to its teacher.

    Calibration, agreement and KL are measured at up to 20,000 positions, evenly spaced over the split.

    Args:
        model: int64 [B, T] -> logits [B, T, V].
        split: whole documents, such as ``data.test``.
        teacher: of the same vocabulary.
        precision: ``float32`` or ``bfloat16``, in which the networks compute.

    Raises:
        ArgumentError: a part of documents, fewer than two of them, a teacher of another vocabulary.
    """
    nats, right, count = torch.zeros(len(split.sizes), dtype=torch.float64), 0, 0
    every = max(1, -(-int((split.labels != IGNORE_TOKEN).sum()) // _POSITIONS))
    theirs = _each(teacher, split, precision) if teacher is not None else None
    calibrated: list[Reliability] = []
    near: list[tuple[int, float, float]] = []  # positions, agreement and KL
    for rows, logits, labels in _each(model, split, precision):
        _add_nats(nats, split.document[rows], logits, labels)
        kept = labels != IGNORE_TOKEN
        found, truth = logits[kept], labels[kept]
        right += int((found.argmax(1) == truth).sum())
        chosen = slice(-count % every, None, every)
        count += len(truth)
        some = found[chosen]
        if len(some):
            calibrated.append(reliability(some, truth[chosen]))
        if theirs is not None:
            _, other, _ = next(theirs)
            if other.shape != logits.shape:
                raise ArgumentError(
                    f"Token by token, only models of one vocabulary can be compared; the model has {logits.shape[-1]} "
                    f"tokens, the teacher {other.shape[-1]}. Leave teacher out, and compare bits per byte."
                )
            if len(some):
                expected = other[kept][chosen]
                near.append((len(some), agreement(some, expected), kl_to_teacher(some, expected)))

    def mean(of: int) -> float | None:
        total = sum(part[0] for part in near)
        return sum(part[0] * part[of] for part in near) / total if near else None

    return LanguageScores(
        _per_byte(nats, split), right / count, Reliability.of_all(calibrated).error, mean(1), mean(2)
    )


def bits_per_byte(
    model: nn.Module, split: TokenSplit, *, precision: str = "float32", confidence: float = 0.95
) -> Interval:
    """Compute the bits that a model needs per byte of text, with an interval over the documents.

    The sum over all documents of ``-log2 P(token)``, the end of each included, divided by their bytes in UTF-8. It
    doesn't depend on how a vocabulary cuts the text, so models of different vocabularies are comparable. The interval
    is that of a ratio of two sums over documents, drawn at random: its variance is
    ``n / (n - 1) * sum_i (b_i - r B_i)^2 / (sum_i B_i)^2`` for the ratio r of n documents with b_i bits and B_i bytes
    (Cochran 1977, "Sampling Techniques", section 6.4), with Student's t at n - 1 degrees of freedom.

    Raises:
        ArgumentError: a part of documents (`TokenSplit.subset`), fewer than two of them, confidence outside (0, 1).
    """
    nats = torch.zeros(len(split.sizes), dtype=torch.float64)
    for rows, logits, labels in _each(model, split, precision):
        _add_nats(nats, split.document[rows], logits, labels)
    return _per_byte(nats, split, confidence)


def _add_nats(nats: Tensor, document: Tensor, logits: Tensor, labels: Tensor) -> None:
    """Add to ``nats`` [documents] the cross-entropy of rows [B, T], each part of a document."""
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE_TOKEN, reduction="none"
    )
    nats.index_add_(0, document, loss.view_as(labels).double().sum(1))


def _per_byte(nats: Tensor, split: TokenSplit, confidence: float = 0.95) -> Interval:
    sizes, count = split.sizes.double(), len(split.sizes)
    if not bool((split.sizes > 0).all()):
        raise ArgumentError(
            "Bits per byte are defined for whole documents; this split holds rows chosen from some. Pass data.test, or "
            "make a data set of the documents that you want with kdcourse.data.text_dataset."
        )
    if count < 2:
        raise ArgumentError(f"An interval over documents needs at least two of them; found {count}.")
    bits = nats / math.log(2)
    ratio = float(bits.sum() / sizes.sum())
    variance = count / (count - 1) * float(((bits - ratio * sizes) ** 2).sum() / sizes.sum() ** 2)
    half = t_quantile(confidence, count - 1) * math.sqrt(variance)
    return Interval(ratio, ratio - half, ratio + half, count)


def perplexities(
    models: Mapping[str, tuple[nn.Module, TextDataset]], *, part: str = "test", precision: str = "float32"
) -> dict[str, float]:
    """Compute ``exp`` of the mean cross-entropy per token of models that share a vocabulary, by name.

    Args:
        models: each with the data set that its tokens are from.
        part: ``train``, ``validation`` or ``test``.
        precision: in which the networks compute.

    Raises:
        ArgumentError: vocabularies that differ, whose perplexities would count different things; other texts.
    """
    known = {data.vocabulary.digest: f"{name} has {data.vocabulary!r}" for name, (_, data) in models.items()}
    if len(known) > 1:
        raise ArgumentError(
            f"Perplexity per token can't be compared between vocabularies: {'; '.join(known.values())}. A longer "
            "token is harder to guess. Compare bits_per_byte."
        )
    if len({getattr(data, part).digest for _, data in models.values()}) > 1:
        raise ArgumentError(
            f"These models would be measured on different texts. Pass one data set's {part} for all."
        )
    found = {}
    for name, (model, data) in models.items():
        total, count = 0.0, 0
        for _, logits, labels in _each(model, getattr(data, part), precision):
            total += float(TOKENS.cross_entropy(logits, labels, "sum"))
            count += int(TOKENS.scored(labels).sum())
        found[name] = math.exp(total / count)
    return found


@dataclass(frozen=True)
class SampleScores:
    """Hold what `score_samples` measures: ``likelihood`` and ``repetition``."""

    likelihood: float
    repetition: float


def score_samples(samples: Tensor, prompt: int, teacher: nn.Module) -> SampleScores:
    """Judge what a model wrote: how likely the teacher finds it, and how much it repeats.

    Both belong together: a text that repeats itself can be likely.

    Args:
        samples: int64 [B, T], as `kdcourse.distillation.continued` returns them, T - 1 at most the teacher's context.
        prompt: the first tokens of each, which were given.
        teacher: int64 [B, T] -> logits [B, T, V], of the same vocabulary.

    Returns:
        ``likelihood``: the teacher's mean log-probability of the tokens written, in nats per token.
        ``repetition``: see `repetition`.

    Raises:
        ArgumentError: nothing written after the prompt, fewer than four tokens.
    """
    if samples.ndim != 2 or not 1 <= prompt < samples.shape[1]:
        raise ArgumentError(
            f"Samples must be [B, T] with more tokens than the prompt; found {list(samples.shape)} and prompt={prompt}."
        )
    labels = samples[:, 1:].clone()
    labels[:, : prompt - 1] = IGNORE_TOKEN
    with evaluating(teacher), torch.no_grad():
        logits = teacher(samples[:, :-1].to(placement(teacher)[0])).float().cpu()
    return SampleScores(-float(TOKENS.cross_entropy(logits, labels)), repetition(samples[:, prompt:]))


def repetition(samples: Tensor, n: int = 4) -> float:
    """Compute the share of n-grams, 0 to 1, that occurred before in the same row: ``1 - distinct / all``.

    Mean over the rows (Welleck, Kulikov, Roller, Dinan, Cho, Weston 2020, Neural Text Generation with Unlikelihood
    Training, https://arxiv.org/abs/1908.04319, section 6.1, seq-rep-n).

    Raises:
        ArgumentError: rows shorter than ``n``.
    """
    if samples.ndim != 2 or not len(samples) or not 1 <= n <= samples.shape[1]:
        raise ArgumentError(
            f"Samples must be rows [B, T] of at least n={n} tokens; found {list(samples.shape)}."
        )
    shares = [1 - len(torch.unique(grams, dim=0)) / len(grams) for grams in samples.unfold(1, n, 1)]
    return sum(shares) / len(shares)


def tokens_per_second(model: nn.Module, prompt: Tensor, count: int = 32, *, repeats: int = 5) -> float:
    """Measure how many tokens a model writes per second, all rows together: the median of ``repeats``, after a trial.

    Args:
        model: see `kdcourse.distillation.continued`.
        prompt: int64 [B, T]; one row is what a person who waits for an answer sees.
        count: tokens to add to each row.
        repeats: 1 or more.

    Raises:
        ArgumentError: count or repeats below 1.
    """
    if count < 1 or repeats < 1:
        raise ArgumentError(f"count and repeats must be at least 1; found count={count}, repeats={repeats}.")
    prompt = prompt.to(placement(model)[0])
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        continued(model, prompt, count, temperature=0).cpu()  # which waits for the device
        times.append(time.perf_counter() - start)
    return len(prompt) * count / statistics.median(times[1:])


@torch.no_grad()
def _each(
    model: nn.Module, split: TokenSplit, precision: str, batch_size: int = 1000
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield positions of a few rows, a model's logits for them, float32 [B, T, V], and their labels, on the CPU."""
    device, start, step = placement(model)[0], 0, 1  # the first row tells how many logits a row has
    most = images_at_once(batch_size, split.tokens)
    with evaluating(model):
        while start < len(split):
            rows = torch.arange(start, min(start + step, len(split)))
            with autocast(device, precision):
                logits = model(split.tokens[rows].to(device))
            start, step = start + len(rows), max(1, min(most, _LOGITS // logits[0].numel()))
            yield rows, logits.float().cpu(), split.labels[rows]
