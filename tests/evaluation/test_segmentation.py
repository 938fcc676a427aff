"""Metrics of masks against scikit-learn and torchmetrics, and models measured without a trace left on them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from kdcourse.data import IGNORE, MaskedSplit, SegmentationDataset
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import (
    SegmentationTally,
    boundary_iou,
    boundary_iou_per_class,
    cost,
    dice,
    dice_per_class,
    evaluate_segmentation,
    evaluate_with_masks,
    expected_calibration_error,
    iou_per_class,
    mask_agreement,
    mean_iou,
    negative_log_likelihood,
    pixel_accuracy,
    precision_recall,
    predict_logits,
    predict_masks,
    reliability,
)


def scene(
    seed: int, n: int = 4, size: int = 9, classes: int = 5, ignored: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Logits [n, C, size, size] that know something of the masks uint8 [n, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    # The last class never occurs where there are more than two.
    masks = torch.randint(max(2, classes - 1), (n, size, size), generator=generator)
    logits = 2 * torch.randn(n, classes, size, size, generator=generator)
    logits.scatter_add_(1, masks[:, None], torch.full_like(logits[:, :1], 2.0))
    masks[torch.rand(masks.shape, generator=generator) < ignored] = IGNORE
    masks[0, 0, 0] = 0
    return logits, masks.to(torch.uint8)


def flat(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels that count as if they were images: logits [M, C] and labels [M]."""
    labels = masks.flatten().long()
    counted = labels != IGNORE
    return logits.movedim(1, -1).reshape(-1, logits.shape[1])[counted], labels[counted]


drawn = st.builds(
    scene,
    st.integers(0, 2**31),
    n=st.integers(1, 4),
    size=st.integers(1, 8),
    classes=st.integers(2, 7),
    ignored=st.sampled_from([0.0, 0.1, 0.9]),
)


# -- masks against masks ------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(drawn)
def test_against_scikit_learn_and_torchmetrics(case: tuple[Tensor, Tensor]) -> None:
    logits, masks = case
    classes, said = logits.shape[1], logits.argmax(1)
    counted = masks != IGNORE
    truth, guess = masks[counted].numpy(), said[counted].numpy()
    there = [int(label) for label in np.union1d(truth, guess)]
    wanted = jaccard_score(truth, guess, labels=there, average=None)
    found = iou_per_class(said, masks, classes)
    np.testing.assert_allclose(found[there], wanted, atol=1e-12)
    assert found.isnan().sum() == classes - len(there)
    assert mean_iou(said, masks, classes) == pytest.approx(np.mean(wanted), abs=1e-12)
    theirs = multiclass_jaccard_index(said, masks.long(), classes, average=None, ignore_index=IGNORE)
    np.testing.assert_allclose(found[there], theirs[there], atol=1e-6)
    wanted = f1_score(truth, guess, labels=there, average=None)
    np.testing.assert_allclose(dice_per_class(said, masks, classes)[there], wanted, atol=1e-12)
    assert dice(said, masks, classes) == pytest.approx(np.mean(wanted), abs=1e-12)
    assert pixel_accuracy(said, masks) == pytest.approx(accuracy_score(truth, guess), abs=1e-12)
    theirs = multiclass_accuracy(said, masks.long(), classes, average="micro", ignore_index=IGNORE)
    assert pixel_accuracy(said, masks) == pytest.approx(float(theirs), abs=1e-6)


def test_dice_and_iou_say_the_same_on_two_scales() -> None:
    logits, masks = scene(1)
    iou = iou_per_class(logits.argmax(1), masks, 5)
    torch.testing.assert_close(
        dice_per_class(logits.argmax(1), masks, 5), 2 * iou / (1 + iou), equal_nan=True
    )


@pytest.mark.parametrize("metric", [mean_iou, dice, boundary_iou])
def test_a_perfect_prediction_scores_one_with_classes_absent_and_pixels_ignored(metric) -> None:
    masks = torch.tensor([[[0, 0, 0, 2], [0, 2, 2, 2], [IGNORE, 2, 2, IGNORE]]], dtype=torch.uint8)
    assert metric(masks, masks, 11) == 1.0
    assert metric(masks.where(masks != IGNORE, 7), masks, 11) == 1.0
    # A class that is absent but predicted counts against the model, and so does one that is missed.
    wrong = masks.clone()
    wrong[0, 0, 0] = 5
    assert metric(wrong, masks, 11) < 0.7


def test_by_hand() -> None:
    masks = torch.tensor([[[0, 0, 1, 1]], [[1, 1, 2, IGNORE]]], dtype=torch.uint8)
    said = torch.tensor([[[0, 1, 1, 1]], [[1, 0, 0, 2]]], dtype=torch.uint8)
    # Class 0: 1 right, 1 missed, 2 too many; class 1: 3, 1, 1; class 2 missed.
    assert iou_per_class(said, masks, 3).tolist() == [1 / 4, 3 / 5, 0]
    assert mean_iou(said, masks, 3) == pytest.approx((1 / 4 + 3 / 5) / 3)
    assert dice_per_class(said, masks, 3).tolist() == [2 / 5, 6 / 8, 0]
    assert pixel_accuracy(said, masks) == 4 / 7
    # All images together, not the mean of each image's own: that would be another number.
    assert mean_iou(said, masks, 3) != pytest.approx(
        np.mean([mean_iou(said[n : n + 1], masks[n : n + 1], 3) for n in range(2)])
    )


def test_mask_agreement() -> None:
    one = torch.tensor([[[0, 1], [2, 3]]], dtype=torch.uint8)
    other = torch.tensor([[[0, 1], [2, 0]]])
    assert mask_agreement(one, other) == mask_agreement(other, one) == 0.75
    assert mask_agreement(one, one) == 1.0
    # They agree on what both have wrong; ignored pixels are left out where masks are given.
    masks = torch.tensor([[[IGNORE, 0], [IGNORE, 3]]], dtype=torch.uint8)
    assert mask_agreement(one, other, masks) == 0.5


MASKS = torch.zeros(2, 3, 4, dtype=torch.uint8)


@pytest.mark.parametrize("metric", [mean_iou, iou_per_class, dice, dice_per_class, boundary_iou])
@pytest.mark.parametrize(
    ("predictions", "masks", "classes", "words"),
    [
        (torch.zeros(2, 3, 3, 4), MASKS, 3, r"found torch.float32.*argmax\(1\)"),
        (MASKS > 0, MASKS, 3, "predictions must be .*found torch.bool"),
        (MASKS.tolist(), MASKS, 3, "found list"),
        (MASKS[0], MASKS[0], 3, r"found \[3, 4\].*mask\[None\]"),
        (MASKS, MASKS.float(), 3, "masks must be .*found torch.float32"),
        (MASKS[:1], MASKS, 3, r"found \[1, 3, 4\] and \[2, 3, 4\]"),
        (MASKS, MASKS + 3, 3, r"masks must hold 0\.\.2 .*found \[3\]"),
        (MASKS + 3, MASKS, 3, r"predictions must lie in 0\.\.2 .*found 3 to 3"),
        (MASKS.int() - 1, MASKS, 3, "found -1 to -1"),
        (MASKS, MASKS + IGNORE, 3, "nothing to score.*marked 255"),
        (MASKS[:0], MASKS[:0], 3, "nothing to score"),
        (MASKS, MASKS, 1, "found 1"),
        (MASKS, MASKS, ("a", "b"), r"found tuple. Pass len\(dataset.classes\)"),
    ],
)
def test_bad_masks_are_named(metric, predictions, masks, classes, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        metric(predictions, masks, classes)


def test_bad_agreement_is_named() -> None:
    for arguments, words in [
        ((MASKS, MASKS[:1]), "predictions_a and predictions_b must have one shape"),
        ((MASKS.float(), MASKS), "predictions_a must be"),
        ((MASKS, MASKS, MASKS[:1]), "predictions_a and masks must have one shape"),
        ((MASKS, MASKS, MASKS + IGNORE), "nothing to score"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            mask_agreement(*arguments)
    with pytest.raises(ArgumentError, match="nothing to score"):
        pixel_accuracy(MASKS, MASKS + IGNORE)


# -- batch by batch -----------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(drawn, st.integers(1, 4), st.integers(1, 20))
def test_the_tally_gathers_the_single_metrics(
    case: tuple[Tensor, Tensor], batch_size: int, bins: int
) -> None:
    logits, masks = case
    classes, said = logits.shape[1], logits.argmax(1)
    tally = SegmentationTally(classes, share=0.1, bins=bins)
    for part in zip(logits.split(batch_size), masks.split(batch_size), strict=True):
        tally.update(*part)
    scores = tally.scores()
    rows, labels = flat(logits, masks)
    assert (scores.images, scores.pixels) == (len(masks), len(labels))
    assert scores.mean_iou == mean_iou(said, masks, classes)
    assert scores.pixel_accuracy == pixel_accuracy(said, masks)
    assert scores.dice == dice(said, masks, classes)
    assert scores.boundary_iou == pytest.approx(boundary_iou(said, masks, classes, share=0.1), nan_ok=True)
    for found, wanted in [
        (scores.iou_per_class, iou_per_class(said, masks, classes)),
        (scores.dice_per_class, dice_per_class(said, masks, classes)),
        (scores.boundary_iou_per_class, boundary_iou_per_class(said, masks, classes, share=0.1)),
    ]:
        np.testing.assert_array_equal(found, wanted)
    table = confusion_matrix(labels, rows.argmax(1), labels=range(classes))
    assert scores.confusion.tolist() == table.tolist()
    # Per pixel, exactly what the classifiers' metrics say of the pixels as images.
    assert scores.negative_log_likelihood == pytest.approx(negative_log_likelihood(rows, labels), rel=1e-9)
    assert scores.expected_calibration_error == pytest.approx(
        expected_calibration_error(rows, labels, bins), abs=1e-12
    )
    curve = reliability(rows, labels, bins)
    assert torch.equal(scores.reliability.count, curve.count)
    np.testing.assert_allclose(scores.reliability.confidence, curve.confidence, atol=1e-12)
    np.testing.assert_allclose(scores.reliability.accuracy, curve.accuracy, atol=1e-12)
    whole = precision_recall(logits, masks)
    assert scores.average_precision == whole.micro.average_precision
    np.testing.assert_array_equal(scores.precision_recall.average_precision, whole.average_precision)


def test_ties_of_confidence_lie_in_the_bins_that_the_classifiers_metric_uses() -> None:
    # Three equal logits: a confidence of exactly 1/3, the edge of the fifth bin of fifteen.
    logits = torch.zeros(1, 3, 2, 2)
    tally = SegmentationTally(3)
    tally.update(logits, torch.zeros(1, 2, 2, dtype=torch.uint8))
    assert tally.scores().reliability.count.tolist() == [0] * 4 + [4] + [0] * 10


def test_what_is_ignored_changes_nothing() -> None:
    logits, masks = scene(2, ignored=0.3)
    wild = logits.clone()
    wild.movedim(1, -1)[masks == IGNORE] = torch.tensor([50.0, 0, 0, 0, 9.0])
    found = []
    for some in (logits, wild):
        tally = SegmentationTally(5)
        tally.update(some, masks)
        found.append(json.dumps(tally.scores().as_dict()))
    assert found[0] == found[1]


def test_extreme_logits_and_low_precision() -> None:
    logits, masks = scene(3)
    for dtype in (torch.bfloat16, torch.float16):
        found = []
        for some in (logits.to(dtype), logits.to(dtype).double()):
            tally = SegmentationTally(5)
            tally.update(some, masks)
            found.append(tally.scores().as_dict())
        assert found[0] == found[1], "read exactly, whatever the type"
    tally = SegmentationTally(5)
    tally.update(1e4 * logits, masks)
    scores = tally.scores()
    assert math.isfinite(scores.negative_log_likelihood) and scores.negative_log_likelihood > 100
    assert scores.expected_calibration_error == pytest.approx(1 - scores.pixel_accuracy)


def test_memory_does_not_grow_with_the_images() -> None:
    def held(thing: Any) -> int:
        if isinstance(thing, Tensor):
            return thing.numel()
        return sum(held(part) for part in vars(thing).values()) if hasattr(thing, "__dict__") else 0

    logits, masks = scene(4)
    tally = SegmentationTally(5)
    before = held(tally)
    for _ in range(5):
        tally.update(logits.requires_grad_(), masks)
    assert held(tally) == before
    scores = tally.scores()
    tally.update(logits, masks)
    assert scores.images == 20 and int(scores.confusion.sum()) == scores.pixels, (
        "scores belong to their moment"
    )


def test_scores_are_ready_for_json() -> None:
    logits, masks = scene(5)
    logits[:, 4] = -50.0
    tally = SegmentationTally(5)
    tally.update(logits, masks)
    scores = tally.scores()
    read = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert read["mean_iou"] == scores.mean_iou and read["iou_per_class"][4] is None
    assert read["average_precision"] == scores.average_precision
    assert read["mean_average_precision"] == scores.precision_recall.mean_average_precision
    assert read["average_precision_per_class"][4] is None and len(read["average_precision_per_class"]) == 5
    assert read["confusion"] == scores.confusion.tolist() and read["pixels"] == scores.pixels
    assert "precision_recall" not in read and len(json.dumps(read)) < 5000


def test_bad_batches_are_named() -> None:
    logits, masks = scene(6)
    broken = logits.clone()
    broken[2, 1, 0, 0] = math.nan
    for arguments, words in [
        ((logits[0], masks[:1]), r"logits must have shape \[B, C, H, W\]; found \[5, 9, 9\]"),
        ((logits[:, :4], masks), r"one channel per class, 5.*found \[4, 4, 9, 9\]"),
        ((logits, masks[:3]), r"\[4, 9, 9\] to go with"),
        ((logits[..., ::2, ::2], masks), "interpolate"),
        ((logits, masks + 5), r"masks must hold 0\.\.4"),
        ((logits, masks.double()), "masks must be a tensor of whole numbers"),
        ((logits.argmax(1), masks), "logits must have shape"),
        (({"out": logits}, masks), "found dict"),
        ((broken, masks), "found 1 NaN.*image 2"),
    ]:
        tally = SegmentationTally(5)
        with pytest.raises(ArgumentError, match=words):
            tally.update(*arguments)
        assert tally._images == 0, "a batch that is refused must leave nothing behind"
    with pytest.raises(ArgumentError, match="nothing to score"):
        SegmentationTally(5).scores()
    tally.update(logits, torch.full_like(masks, IGNORE))
    with pytest.raises(ArgumentError, match="nothing to score"):
        tally.scores()
    for options, words in [({"bins": 0}, "bins .*found 0"), ({"share": 0.0}, "share of .*found 0.0")]:
        with pytest.raises(ArgumentError, match=words):
            SegmentationTally(5, **options)
    with pytest.raises(ArgumentError, match="classes must be a whole number"):
        SegmentationTally(1)


# -- models -------------------------------------------------------------------------------------


class Recorder(nn.Module):
    """A small segmentation network whose output depends on its mode, and that remembers what reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))
        self.up = nn.ConvTranspose2d(6, 3, 2, 2)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        assert not torch.is_grad_enabled()
        return self.up(self.down(images))


@pytest.fixture
def dataset() -> SegmentationDataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (7, 3, 8, 6), generator=generator, dtype=torch.uint8)
    masks = torch.randint(3, (7, 8, 6), generator=generator, dtype=torch.uint8)
    masks[2, :2] = IGNORE
    split = MaskedSplit(images, masks)
    return SegmentationDataset("tiny", ("ground", "b", "c"), split, split, split)


def test_predictions_are_normalised_in_order_and_whatever_the_batch_size(
    dataset: SegmentationDataset,
) -> None:
    torch.manual_seed(1)
    model = Recorder().eval()
    with torch.no_grad():
        expected = model(dataset.normalise(dataset.test.images))
    for batch_size in (1, 3, 7, 64):
        logits = predict_logits(model, dataset.test, dataset, batch_size=batch_size)
        assert logits.dtype == torch.float32
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        masks = predict_masks(model, dataset.test, dataset, batch_size=batch_size)
        assert masks.dtype == torch.uint8 and torch.equal(masks, logits.argmax(1).to(torch.uint8))
    assert torch.equal(
        predict_masks(model, dataset.test.images[3:5], dataset), expected.argmax(1)[3:5].to(torch.uint8)
    )


def test_evaluation_is_that_of_the_models_own_logits(dataset: SegmentationDataset) -> None:
    torch.manual_seed(2)
    model = Recorder()
    for batch_size in (2, 64):
        scores = evaluate_segmentation(model, dataset.test, dataset, batch_size=batch_size, share=0.1, bins=5)
        tally = SegmentationTally(3, share=0.1, bins=5)
        tally.update(predict_logits(model, dataset.test, dataset), dataset.test.masks)
        found, wanted = scores.as_dict(), tally.scores().as_dict()
        assert found.pop("confusion") == wanted.pop("confusion") and found.pop("images") == 7
        for name in ("mean_iou", "boundary_iou", "negative_log_likelihood", "average_precision"):
            assert found[name] == pytest.approx(wanted[name], abs=1e-5), name
        assert len(scores.reliability.count) == 5


def test_scores_and_masks_come_from_one_pass(dataset: SegmentationDataset) -> None:
    torch.manual_seed(2)
    model = Recorder()
    options: dict[str, Any] = {"batch_size": 3}
    scores, masks = evaluate_with_masks(model, dataset.test, dataset, share=0.1, bins=5, **options)
    assert [len(batch) for batch in model.seen] == [3, 3, 1]
    alone = evaluate_segmentation(model, dataset.test, dataset, share=0.1, bins=5, **options)
    assert scores.as_dict() == alone.as_dict()  # to the last digit
    assert torch.equal(masks, predict_masks(model, dataset.test, dataset, **options))
    assert masks.dtype == torch.uint8 and masks.shape == dataset.test.masks.shape


@pytest.mark.parametrize("call", [evaluate_segmentation, evaluate_with_masks, predict_masks, predict_logits])
def test_the_model_is_left_as_it_was(call: Callable[..., Any], dataset: SegmentationDataset) -> None:
    model = Recorder().train()
    model.down[1].eval()  # frozen on purpose: must neither wake nor pull others along
    modes = {name: module.training for name, module in model.named_modules()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    call(model, dataset.test, dataset)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert modes[""] and not modes["down.1"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()
    assert not model.seen[0].is_inference(), "what the model keeps could not be trained on"
    first = predict_logits(model, dataset.test, dataset)
    assert torch.equal(first, predict_logits(model, dataset.test, dataset)), "dropout was on"
    with pytest.raises(RuntimeError):
        call(nn.Sequential(nn.Dropout(), nn.Conv2d(5, 3, 1)), dataset.test, dataset)
    assert torch.is_grad_enabled()


def test_low_precision(dataset: SegmentationDataset) -> None:
    model = Recorder()
    full = predict_logits(model, dataset.test, dataset)
    half = predict_logits(model, dataset.test, dataset, precision="bfloat16")
    assert half.dtype == torch.float32 and torch.equal(half, half.bfloat16().float())
    torch.testing.assert_close(half, full, atol=0.05, rtol=0.05)
    assert predict_masks(Recorder().bfloat16(), dataset.test, dataset).shape == (7, 8, 6)
    assert evaluate_segmentation(model, dataset.test, dataset, precision="bfloat16").images == 7


class Odd(nn.Module):
    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Any:
        return self.answer(images)


def test_what_cannot_be_predicted_is_named(dataset: SegmentationDataset) -> None:
    model, images = Recorder(), dataset.test.images
    for bad, words in [
        (images[0], r"found \[3, 8, 6\]"),
        (images[:0], r"found \[0, 3, 8, 6\]"),
        (images.tolist(), "found list"),
        (images.float(), "before normalise; found torch.float32"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            predict_masks(model, bad, dataset)
    with pytest.raises(ArgumentError, match="batch_size must be at least 1; found 0"):
        evaluate_segmentation(model, dataset.test, dataset, batch_size=0)
    with pytest.raises(ArgumentError, match=r"precision must be one of .* found 'int8'"):
        predict_masks(model, images, dataset, precision="int8")
    for answer, words in [
        (lambda x: {"out": x}, r"\[7, 3, 8, 6\] .*found dict"),
        (lambda x: x[..., ::2, ::2], r"found \[7, 3, 4, 3\].*own height and width"),
        (lambda x: x[:, :2], r"found \[7, 2, 8, 6\]"),
        (lambda x: x.mean((2, 3)), r"found \[7, 3\]"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            evaluate_segmentation(Odd(answer), dataset.test, dataset)
    with pytest.raises(ArgumentError, match="NaN"):
        evaluate_segmentation(Odd(lambda x: x / 0 * 0), dataset.test, dataset)
    ignored = MaskedSplit(images, torch.full_like(dataset.test.masks, IGNORE))
    with pytest.raises(ArgumentError, match="nothing to score"):
        evaluate_segmentation(model, ignored, dataset)


def test_cost_of_a_model_that_answers_with_maps() -> None:
    found = cost(Recorder().eval(), (3, 64, 64), latency=False)
    # A convolution costs kernel * channels in for each output; a transposed one kernel * channels out for each
    # input.
    assert found.macs == 32 * 32 * 6 * 9 * 3 + 32 * 32 * 6 * 4 * 3
    assert found.parameters == 6 * 27 + 6 + 2 * 6 + 6 * 3 * 4 + 3
    timed = cost(Recorder().eval(), (3, 64, 64), seconds=0.01, batch_size=4)
    assert timed.latency_ms is not None and timed.throughput is not None
    with pytest.raises(ArgumentError, match=r"can't take an image of shape \(1, 64, 64\)"):
        cost(Recorder(), (1, 64, 64), latency=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_same_on_the_gpu(dataset: SegmentationDataset) -> None:
    logits, masks = scene(8)
    there, here = SegmentationTally(5), SegmentationTally(5)
    there.update(logits.cuda(), masks.cuda())
    here.update(logits, masks)
    assert there.scores().as_dict() == here.scores().as_dict()
    said = logits.argmax(1)
    assert boundary_iou(said.cuda(), masks, 5) == boundary_iou(said, masks, 5)
    assert mean_iou(said.cuda(), masks, 5) == mean_iou(said, masks.cuda(), 5)
    model = Recorder()
    wanted = evaluate_segmentation(model, dataset.test, dataset)
    assert evaluate_segmentation(model.cuda(), dataset.test, dataset).mean_iou == pytest.approx(
        wanted.mean_iou, abs=0.02
    )


@pytest.mark.parametrize(("side", "batch_size", "first"), [(64, 4, 4), (128, 8, 2), (256, 8, 1)])
def test_batches_of_large_images_are_smaller(side: int, batch_size: int, first: int) -> None:
    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[int] = []

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(len(x))
            return torch.stack([x.mean(1), -x.mean(1)], 1)

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 3, side, side), generator=generator).to(torch.uint8)
    split = MaskedSplit(images, (images[:, 0] > 127).to(torch.uint8))
    data, model = SegmentationDataset("noise", ("a", "b"), split, split, split), Watching()
    scores, masks = evaluate_with_masks(model, split, data, batch_size=batch_size)
    assert model.seen[0] == first and sum(model.seen) == scores.images == len(masks) == 5
    assert torch.equal(predict_masks(model, split, data, batch_size=10**4), masks)
