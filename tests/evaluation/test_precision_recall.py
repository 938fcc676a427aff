"""Precision-recall curves against scikit-learn: exact for scores on the grid, close for all others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve
from torch import Tensor
from torchmetrics.functional.classification import multiclass_average_precision

from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import PrecisionRecallCurve, PrecisionRecallTally, precision_recall
from kdcourse.evaluation.precision_recall import log_odds

STEP, LARGEST = 1 / 512, 20


def scene(
    seed: int, n: int, size: int, classes: int, scale: float, skill: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Logits [n, C, size, size] that know something of the masks [n, size, size], a tenth of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(classes, (n, size, size), generator=generator)
    logits = torch.randn(n, classes, size, size, generator=generator)
    logits.scatter_add_(1, masks[:, None], torch.full_like(logits[:, :1], skill))
    masks[torch.rand(masks.shape, generator=generator) < 0.1] = IGNORE
    masks[0, 0, 0] = 0
    return scale * logits, masks


def flat(logits: Tensor, masks: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that count: logits float64 [M, C] and one-hot truth [M, C]."""
    classes = logits.shape[1]
    rows = logits.double().movedim(1, -1).reshape(-1, classes)
    labels = masks.flatten()
    counted = labels != IGNORE
    return rows[counted].numpy(), np.eye(classes, dtype=int)[labels[counted].numpy()]


def odds_of(rows: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) [M, C], class by class, from the definition."""
    columns = []
    for of in range(rows.shape[1]):
        others = np.delete(rows, of, axis=1)
        top = others.max(1, keepdims=True)
        columns.append(rows[:, of] - top[:, 0] - np.log(np.exp(others - top).sum(1)))
    return np.stack(columns, axis=1)


def same_curve(found: PrecisionRecallCurve, truth: np.ndarray, scores: np.ndarray) -> None:
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    np.testing.assert_allclose(found.precision, precision, atol=1e-15)
    np.testing.assert_allclose(found.recall, recall, atol=1e-15)
    np.testing.assert_allclose(found.thresholds, 1 / (1 + np.exp(-thresholds)), rtol=1e-12)
    assert found.average_precision == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    assert (found.positives, found.n) == (truth.sum(), truth.size)


small = st.builds(
    scene,
    st.integers(0, 2**31),
    n=st.integers(1, 3),
    size=st.integers(2, 6),
    classes=st.integers(2, 5),
    scale=st.sampled_from([0.01, 1.0, 5.0, 100.0, 1e4]),
)


@settings(max_examples=30, deadline=None)
@given(small)
@pytest.mark.filterwarnings("ignore:No positive class")
def test_the_curve_is_that_of_the_rounded_scores(case: tuple[Tensor, Tensor]) -> None:
    """Exactly, whatever the scores: rounding is all that happens to them."""
    logits, masks = case
    rows, truth = flat(logits, masks)
    odds = odds_of(rows)
    cells = odds / STEP
    # Where float64 here and float32 there may round apart, there is nothing to compare.
    if (np.abs(cells - np.floor(cells) - 0.5) < 1e-2)[np.abs(odds) < LARGEST].any():
        return
    rounded = np.clip(np.round(cells) * STEP, -LARGEST, LARGEST)
    found = precision_recall(logits, masks)
    for of, curve in enumerate(found.per_class):
        if truth[:, of].any():
            same_curve(curve, truth[:, of], rounded[:, of])
        else:
            assert math.isnan(curve.average_precision) and curve.recall.isnan().all()
    same_curve(found.micro, truth.ravel(), rounded.ravel())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 300), st.integers(1, 10_240))
def test_exact_for_scores_on_the_grid(seed: int, n: int, spread: int) -> None:
    """Two classes whose log-odds are multiples of 1/512, given as logits, in float32, and as probabilities."""
    rng = np.random.default_rng(seed)
    odds = rng.integers(-spread, spread + 1, n) * STEP
    labels = rng.integers(0, 2, n)
    labels[0] = 1
    logits = torch.from_numpy(np.stack([np.zeros(n), odds], axis=1))[:, :, None, None]
    masks = torch.from_numpy(labels)[:, None, None]
    same_curve(precision_recall(logits, masks).per_class[1], labels, odds)
    same_curve(precision_recall(logits.float(), masks).per_class[1], labels, odds)
    found = precision_recall(logits.softmax(1), masks, probabilities=True)
    same_curve(found.per_class[1], labels, odds)


@settings(max_examples=25, deadline=None)
@given(small)
def test_average_precision_lies_between_the_best_and_the_worst_order_within_cells(
    case: tuple[Tensor, Tensor],
) -> None:
    """The only thing lost is the order inside a cell, so scikit-learn must lie between its two extremes."""
    logits, masks = case
    rows, truth = flat(logits, masks)
    odds, found = odds_of(rows).ravel(), precision_recall(logits, masks).micro
    cells, right = np.clip(np.round(odds / STEP), -LARGEST / STEP, LARGEST / STEP), truth.ravel()
    # Best: all of a cell's positives at once, then the others; worst: after the others, one by one.
    best = average_precision_score(right, cells + 0.25 * right)
    worst = average_precision_score(right, cells - 0.25 * right + np.linspace(0, 0.1, right.size))
    exact = average_precision_score(right, odds)
    slack = 2e-2 * (best - worst) + 1e-9  # a score on the edge of a cell
    assert worst - slack <= exact <= best + slack
    assert worst - slack <= found.average_precision <= best + slack


@pytest.mark.parametrize("skill", [0.0, 2.0, 5.0])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_smooth_scores_agree_within_the_tolerance_that_is_stated(skill: float, scale: float) -> None:
    logits, masks = scene(7, n=8, size=40, classes=6, scale=scale, skill=skill)
    # A model that is never sure has all its scores in few cells.
    close = 1e-3 if scale < 1 else 2e-4
    rows, truth = flat(logits, masks)
    odds = odds_of(rows)
    found = precision_recall(logits, masks)
    wanted = [average_precision_score(truth[:, of], odds[:, of]) for of in range(6)]
    np.testing.assert_allclose(found.average_precision, wanted, rtol=0, atol=close)
    assert found.mean_average_precision == pytest.approx(np.mean(wanted), abs=close)
    pooled = average_precision_score(truth, odds, average="micro")
    assert found.micro.average_precision == pytest.approx(pooled, abs=close)
    theirs = multiclass_average_precision(
        torch.from_numpy(rows), torch.from_numpy(truth.argmax(1)), num_classes=6, average=None
    )
    np.testing.assert_allclose(found.average_precision, theirs, rtol=0, atol=1e-3)
    # Precision and recall at thresholds of one's own choice, between the grid's.
    sure = 1 / (1 + np.exp(-odds[:, 2]))
    for threshold in (0.05, 0.3, 0.5, 0.9):
        said = sure >= threshold
        if said.sum() > 500:
            right = (said & (truth[:, 2] == 1)).sum()
            precision, recall = found.per_class[2].at(threshold)
            assert precision == pytest.approx(right / said.sum(), abs=2e-3)
            assert recall == pytest.approx(right / truth[:, 2].sum(), abs=2e-3)


def test_thresholds_are_fine_where_a_sure_model_needs_them() -> None:
    # 0.9999 and 0.99995 are apart, and so are 1e-5 and 2e-5: an even grid of 1,000 would have them all tied.
    p = torch.tensor([0.99995, 0.9999, 2e-5, 1e-5], dtype=torch.float64)
    scores = torch.stack([1 - p, p], dim=1)
    found = precision_recall(scores, torch.tensor([1, 0, 1, 0]), probabilities=True).per_class[1]
    np.testing.assert_allclose(found.thresholds, p.flip(0), rtol=2e-3)
    assert found.recall.tolist() == [1.0, 1.0, 0.5, 0.5, 0.0]
    np.testing.assert_allclose(found.precision, [0.5, 2 / 3, 0.5, 1, 1])


def test_at_a_threshold() -> None:
    p = torch.tensor([0.1, 0.4, 0.6, 0.9], dtype=torch.float64)
    scores = torch.stack([1 - p, p], dim=1)
    curve = precision_recall(scores, torch.tensor([0, 1, 0, 1]), probabilities=True).per_class[1]
    assert curve.at(0) == (0.5, 1.0)
    assert curve.at(0.4) == (2 / 3, 1.0), "at least the threshold, not above it"
    assert curve.at(0.41) == (0.5, 0.5) and curve.at(0.9) == (1.0, 0.5)
    assert curve.at(0.95) == (1.0, 0.0) and curve.at(1) == (1.0, 0.0)
    sure = precision_recall(torch.tensor([[1e4, 0.0], [0.0, 1e4]]), torch.tensor([0, 1])).per_class[1]
    assert sure.at(1) == (1.0, 1.0) and sure.average_precision == 1.0
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ArgumentError, match=f"found {bad}"):
            curve.at(bad)


def test_batches_add_up_and_memory_stays_the_same() -> None:
    logits, masks = scene(3, n=9, size=12, classes=4, scale=2.0)
    whole = precision_recall(logits, masks)
    tally = PrecisionRecallTally(4)
    held = sum(value.numel() for value in vars(tally).values() if isinstance(value, Tensor))
    for part in (slice(0, 1), slice(1, 5), slice(5, 9)):
        tally.update(logits[part], masks[part])
    assert sum(value.numel() for value in vars(tally).values() if isinstance(value, Tensor)) == held
    parts = tally.curves()
    for one, other in zip((*whole.per_class, whole.micro), (*parts.per_class, parts.micro), strict=True):
        assert torch.equal(one.thresholds, other.thresholds) and torch.equal(one.precision, other.precision)
    # Asking does not use anything up, and a batch without a pixel to score changes nothing.
    tally.update(logits[:1], torch.full_like(masks[:1], IGNORE))
    assert tally.curves().micro.n == whole.micro.n == 4 * int((masks != IGNORE).sum())


def test_log_odds_at_every_size_of_logits() -> None:
    rows = np.array([[0.0, 0.0, 0.0], [1e4, -1e4, 0.0], [30.0, 0.0, -30.0], [1e308, -1e308, 0.0]])
    found = log_odds(torch.from_numpy(rows).T).T
    assert not found.isnan().any()
    np.testing.assert_allclose(found[0], [-math.log(2)] * 3, rtol=1e-6)
    # exp(-1e4) is no number above 0 any more: surer than any threshold.
    np.testing.assert_allclose(found[1], [math.inf, -2e4, -1e4], rtol=1e-6)
    np.testing.assert_allclose(found[2], odds_of(rows[2:3])[0], rtol=1e-6)
    # Two that tie at the top share the probability: neither is better than even.
    np.testing.assert_allclose(
        log_odds(torch.tensor([[5.0], [5.0], [-90.0]])), [[0.0], [0.0], [-95.7]], atol=0.01
    )


def test_a_class_that_no_pixel_belongs_to_is_left_out_of_the_mean() -> None:
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    found = precision_recall(logits, torch.tensor([0, 1]))
    assert found.average_precision.tolist()[:2] == [1.0, 1.0] and found.average_precision[2].isnan()
    assert found.mean_average_precision == 1.0 and found.per_class[2].positives == 0


GOOD, MASKS = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8)


def broken(value: float) -> Tensor:
    scores = GOOD.clone()
    scores[1, 2, 0, 0] = value
    return scores


@pytest.mark.parametrize(
    ("scores", "masks", "words"),
    [
        (GOOD.int(), MASKS, "floating.*found torch.int32"),
        ([[0.0]], MASKS, "found list"),
        (GOOD[:, :1], MASKS, r"two classes; found \[2, 1, 4, 4\]"),
        (GOOD[:0], MASKS[:0], r"at least one pixel.*found \[0, 3, 4, 4\]"),
        (broken(math.nan), MASKS, "found 1 NaN.*in image 1"),
        (broken(-math.inf), MASKS, "found 1 NaN or infinite"),
        (GOOD, MASKS[:1], r"\[2, 4, 4\] to go with.*found \[1, 4, 4\]"),
        (GOOD, MASKS[:, ::2, ::2], r"found \[2, 2, 2\].*interpolate"),
        (GOOD, MASKS.float(), "whole numbers.*found torch.float32"),
        (GOOD, MASKS > 0, "whole numbers.*found torch.bool"),
        (GOOD, MASKS.tolist(), "found list"),
        (GOOD, MASKS + 3, r"0\.\.2 .*also found \[3\]"),
        (GOOD, MASKS.int() - 1, r"also found \[-1\]"),
        (GOOD, MASKS + 255, "every one is marked 255"),
        (GOOD.softmax(1), MASKS, "they are probabilities.*probabilities=True"),
        (GOOD.softmax(1).bfloat16(), MASKS, "they are probabilities"),
    ],
)
def test_bad_input_is_named(scores, masks, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        precision_recall(scores, masks)


def test_probabilities_and_classes_are_checked() -> None:
    with pytest.raises(ArgumentError, match=r"Probabilities must lie in 0 to 1; found values from 0 to 1\.5"):
        precision_recall(broken(1.5), MASKS, probabilities=True)
    for bad in (1, 0, 256, True, 2.5, "ab"):
        with pytest.raises(ArgumentError, match="classes must be a whole number from 2 to 255; found"):
            PrecisionRecallTally(bad)
    with pytest.raises(ArgumentError, match=r"one channel per class, 5.*found \[2, 3, 4, 4\]"):
        PrecisionRecallTally(5).update(GOOD, MASKS)
    # Huge but finite logits are not mistaken for infinite ones, though their sum overflows.
    assert precision_recall(torch.full((2, 3, 4, 4), 3e38), MASKS).per_class[0].average_precision == 1.0
