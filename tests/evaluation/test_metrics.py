from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from torch import Tensor, nn
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)
from torchmetrics.functional.regression import kl_divergence

from kdcourse.data.splits import Dataset, Split
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import (
    accuracy,
    agreement,
    confusion,
    evaluate,
    expected_calibration_error,
    kl_to_teacher,
    negative_log_likelihood,
    predict,
    reliability,
)
from kdcourse.training import evaluate_split


def cases(seed: int, n: int = 200, classes: int = 10, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=generator) * scale
    return logits, torch.randint(classes, (n,), generator=generator)


def of_confidence(*confidences: float) -> Tensor:
    """Two-class logits whose softmax is exactly as wanted, class 0 first."""
    return torch.tensor([[math.log(c) - math.log1p(-c), 0.0] for c in confidences], dtype=torch.float64)


drawn = st.builds(
    cases,
    st.integers(0, 2**31),
    n=st.integers(1, 60),
    classes=st.integers(2, 12),
    scale=st.sampled_from([1e-3, 1.0, 5.0, 100.0, 1e4]),
)


@settings(max_examples=60, deadline=None)
@given(drawn)
def test_against_scikit_learn_and_torchmetrics(case: tuple[Tensor, Tensor]) -> None:
    logits, labels = case
    classes = logits.shape[1]
    predicted = logits.numpy().argmax(1)
    assert accuracy(logits, labels) == pytest.approx(accuracy_score(labels, predicted), abs=1e-15)
    theirs = multiclass_accuracy(logits, labels, num_classes=classes, average="micro")
    assert accuracy(logits, labels) == pytest.approx(float(theirs), abs=1e-6)
    table = confusion(logits, labels)
    assert table.tolist() == confusion_matrix(labels, predicted, labels=range(classes)).tolist()
    assert table.tolist() == multiclass_confusion_matrix(logits, labels, num_classes=classes).tolist()
    reference = -log_softmax(logits.double().numpy(), axis=1)[np.arange(len(labels)), labels].mean()
    assert negative_log_likelihood(logits, labels) == pytest.approx(reference, rel=1e-10, abs=1e-12)


def test_likelihood_against_scikit_learn() -> None:
    logits, labels = cases(1)
    probabilities = logits.double().softmax(1).numpy()
    reference = log_loss(labels, probabilities / probabilities.sum(1, keepdims=True), labels=range(10))
    assert negative_log_likelihood(logits, labels) == pytest.approx(reference, abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(drawn, st.integers(1, 30))
def test_reliability_against_scikit_learn_and_a_loop(case: tuple[Tensor, Tensor], bins: int) -> None:
    logits, labels = case
    curve = reliability(logits, labels, bins)
    confidence = np.exp(log_softmax(logits.double().numpy(), axis=1)).max(1)
    correct = logits.numpy().argmax(1) == labels.numpy()
    share, mean = calibration_curve(correct, np.minimum(confidence, 1.0), n_bins=bins, pos_label=True)
    filled = curve.count > 0
    np.testing.assert_allclose(curve.accuracy[filled], share, atol=1e-12)
    np.testing.assert_allclose(curve.confidence[filled], mean, atol=1e-12)
    assert curve.confidence[~filled].isnan().all() and curve.accuracy[~filled].isnan().all()
    assert int(curve.count.sum()) == len(labels)
    error = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if m == bins - 1:
            inside |= confidence > 1
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(logits, labels, bins) == pytest.approx(error, abs=1e-10)
    assert curve.error == expected_calibration_error(logits, labels, bins)


@pytest.mark.parametrize("seed", range(5))
def test_calibration_against_torchmetrics(seed: int) -> None:
    logits, labels = cases(seed, n=500, scale=1.5)
    theirs = multiclass_calibration_error(logits.double(), labels, num_classes=10, n_bins=15)
    # torchmetrics answers in float32 whatever it is given.
    assert expected_calibration_error(logits, labels) == pytest.approx(float(theirs), abs=1e-6)


def test_calibration_follows_guo_on_the_edges() -> None:
    # 0.5 belongs to (0.25, 0.5]: by itself |1 - 0.5|, with 0.75 in (0.5, 0.75] |0 - 0.75|.
    logits, labels = of_confidence(0.5, 0.75), torch.tensor([0, 1])
    curve = reliability(logits, labels, bins=4)
    assert curve.count.tolist() == [0, 1, 1, 0]
    assert curve.error == pytest.approx((0.5 + 0.75) / 2)


def test_a_confidence_of_one_shares_the_last_bin() -> None:
    # Two sure and one of 0.95, one of the sure ones wrong: Guo has one bin, torchmetrics two.
    logits = torch.cat([torch.tensor([[1e4, 0.0], [1e4, 0.0]], dtype=torch.float64), of_confidence(0.95)])
    labels = torch.tensor([0, 1, 0])
    ours = expected_calibration_error(logits, labels, bins=10)
    assert ours == pytest.approx(abs(2 / 3 - 2.95 / 3))
    theirs = float(multiclass_calibration_error(logits.softmax(1), labels, num_classes=2, n_bins=10))
    assert theirs == pytest.approx((2 * 0.5 + 0.05) / 3)


def test_perfect_calibration_and_its_opposites() -> None:
    # Four images at confidence 0.75, three right: nothing to blame.
    logits = of_confidence(0.75, 0.75, 0.75, 0.75)
    assert expected_calibration_error(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(0, abs=1e-15)
    assert expected_calibration_error(logits, torch.tensor([1, 1, 1, 1])) == pytest.approx(0.75)
    assert accuracy(logits, torch.tensor([1, 1, 1, 1])) == 0.0
    sure = torch.eye(3) * 1e4
    assert expected_calibration_error(sure, torch.arange(3)) == 0.0
    assert expected_calibration_error(sure, torch.tensor([1, 2, 0])) == 1.0
    assert negative_log_likelihood(sure, torch.arange(3)) == 0.0
    assert negative_log_likelihood(sure, torch.tensor([1, 2, 0])) == 1e4


def test_logits_between_zero_and_one_are_still_logits() -> None:
    logits, labels = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 0])
    confidence = reliability(logits, labels, bins=1).confidence
    expected = (1 / (1 + math.exp(-0.8)) + 1 / (1 + math.exp(-0.6))) / 2
    assert float(confidence) == pytest.approx(expected, abs=1e-7)


def test_ties_go_to_the_lowest_class() -> None:
    logits = torch.zeros(2, 4)
    assert accuracy(logits, torch.tensor([0, 1])) == 0.5
    assert confusion(logits, torch.tensor([0, 1])).tolist()[:2] == [[1, 0, 0, 0], [1, 0, 0, 0]]
    assert agreement(logits, torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])) == 0.5
    assert negative_log_likelihood(logits, torch.tensor([0, 1])) == pytest.approx(math.log(4))


def test_confusion_has_a_row_a_label() -> None:
    logits = torch.eye(3)[[0, 1, 1, 2]]
    assert confusion(logits, torch.tensor([0, 1, 2, 2])).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


@settings(max_examples=60, deadline=None)
@given(drawn, st.integers(0, 2**31))
def test_kl_against_float64_numpy_and_torchmetrics(case: tuple[Tensor, Tensor], seed: int) -> None:
    teacher, _ = case
    student, _ = cases(seed, *teacher.shape)
    log_p = log_softmax(teacher.double().numpy(), axis=1)
    log_q = log_softmax(student.double().numpy(), axis=1)
    reference = (np.exp(log_p) * (log_p - log_q)).sum(1).mean()
    ours = kl_to_teacher(student, teacher)
    assert ours == pytest.approx(reference, rel=1e-10, abs=1e-12)
    theirs = kl_divergence(torch.from_numpy(log_p), torch.from_numpy(log_q), log_prob=True)
    assert ours == pytest.approx(float(theirs), rel=1e-9, abs=1e-10)
    assert ours >= 0 and kl_to_teacher(teacher, teacher) == 0
    assert agreement(student, teacher) == (student.argmax(1) == teacher.argmax(1)).double().mean()
    assert agreement(teacher, teacher) == 1


def test_kl_has_the_teacher_first() -> None:
    teacher, student = of_confidence(0.9), of_confidence(0.5)
    assert kl_to_teacher(student, teacher) == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert kl_to_teacher(teacher, student) == pytest.approx(0.5 * math.log(0.25 / 0.09))


def test_extreme_logits_stay_finite() -> None:
    teacher, student = torch.tensor([[1e4, -1e4, 0.0]]), torch.tensor([[-1e4, 1e4, 0.0]])
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        assert kl_to_teacher(student.to(dtype), teacher.to(dtype)) == pytest.approx(2e4, rel=1e-2)
        assert negative_log_likelihood(student.to(dtype), torch.tensor([0])) == pytest.approx(2e4, rel=1e-2)
    huge = torch.tensor([[1e308, -1e308]], dtype=torch.float64)
    assert kl_to_teacher(torch.zeros(1, 2), huge) == pytest.approx(math.log(2))
    assert kl_to_teacher(huge, torch.zeros(1, 2)) == math.inf  # beyond float64, but never NaN
    assert kl_to_teacher(huge, huge) == 0 and expected_calibration_error(huge, torch.tensor([0])) == 0


@settings(max_examples=30, deadline=None)
@given(drawn)
def test_lower_precision_is_read_exactly(case: tuple[Tensor, Tensor]) -> None:
    logits, labels = case
    half = logits.bfloat16()
    first, second = evaluate(half, labels.int(), half), evaluate(half.double(), labels, half.float())
    assert first.as_dict() == second.as_dict()


@settings(max_examples=30, deadline=None)
@given(drawn, st.integers(0, 2**31), st.floats(-50, 50))
def test_order_and_a_shift_of_all_logits_change_nothing(
    case: tuple[Tensor, Tensor], seed: int, shift: float
) -> None:
    logits, labels = case
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    first, second = evaluate(logits, labels), evaluate(logits.double()[order] + shift, labels[order])
    assert first.accuracy == second.accuracy and first.confusion.tolist() == second.confusion.tolist()
    assert first.negative_log_likelihood == pytest.approx(second.negative_log_likelihood, abs=1e-8)


def test_evaluate_gathers_the_single_metrics() -> None:
    (logits, labels), (teacher, _) = cases(3), cases(4)
    scores = evaluate(logits, labels, teacher)
    assert scores.n == 200
    assert scores.accuracy == accuracy(logits, labels)
    assert scores.negative_log_likelihood == negative_log_likelihood(logits, labels)
    assert scores.expected_calibration_error == expected_calibration_error(logits, labels)
    assert scores.agreement == agreement(logits, teacher)
    assert scores.kl_to_teacher == kl_to_teacher(logits, teacher)
    assert int(scores.confusion.diagonal().sum()) / 200 == scores.accuracy
    alone = evaluate(logits, labels, bins=5)
    assert alone.agreement is None and alone.kl_to_teacher is None and len(alone.reliability.count) == 5


def test_scores_are_ready_for_json() -> None:
    written = json.dumps(evaluate(torch.eye(3) * 1e4, torch.arange(3)).as_dict(), allow_nan=False)
    read = json.loads(written)
    assert read["accuracy"] == 1 and read["agreement"] is None
    assert read["reliability"]["confidence"] == [None] * 14 + [1.0]
    assert read["reliability"]["edges"][0] == 0 and read["reliability"]["edges"][-1] == 1
    assert read["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_logits_with_a_gradient_and_labels_as_bytes_are_welcome() -> None:
    logits, labels = cases(5)
    assert accuracy(logits.requires_grad_(), labels.to(torch.uint8)) == accuracy(logits, labels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_same_on_the_gpu() -> None:
    (logits, labels), (teacher, _) = cases(3), cases(4)
    there = evaluate(logits.cuda(), labels.cuda(), teacher)
    assert there.as_dict() == evaluate(logits, labels, teacher).as_dict()


GOOD, TARGET = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("metric", [accuracy, negative_log_likelihood, reliability, confusion, evaluate])
@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (torch.zeros(4), TARGET, r"\[N, C\].*found \[4\]"),
        (torch.zeros(4, 1), TARGET, r"two classes; found \[4, 1\]"),
        (torch.zeros(0, 3), TARGET[:0], r"at least one image.*found \[0, 3\]"),
        (torch.zeros(4, 3, dtype=torch.int64), TARGET, "floating.*found torch.int64"),
        ([[0.0, 1.0]], TARGET, "found list"),
        (torch.tensor([[0.0, 1.0], [float("nan"), 0.0]]), TARGET[:2] % 2, "found 1 NaN.*row 1"),
        (torch.tensor([[0.0, float("inf")]]), TARGET[:1], "found 1 NaN or infinite"),
        (GOOD, TARGET[:3], r"\[4\].*found \[3\]"),
        (GOOD, TARGET[:, None], r"found \[4, 1\]"),
        (GOOD, TARGET.float(), "whole numbers.*found torch.float32"),
        (GOOD, TARGET > 0, "whole numbers.*found torch.bool"),
        (GOOD, TARGET.tolist(), "found list"),
        (GOOD, TARGET + 1, r"0\.\.2 .*found 1 to 3"),
        (GOOD, TARGET - 1, r"0\.\.2 .*found -1 to 1"),
    ],
)
def test_bad_input_is_named(metric, logits, labels, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        metric(logits, labels)


@pytest.mark.parametrize("metric", [agreement, kl_to_teacher])
def test_bad_pairs_are_named(metric) -> None:
    with pytest.raises(ArgumentError, match=r"one shape; found \[4, 3\] and \[3, 3\]"):
        metric(GOOD, GOOD[:3])
    with pytest.raises(ArgumentError, match=r"(logits_b|teacher_logits) must be finite"):
        metric(GOOD, GOOD + float("nan"))


@pytest.mark.parametrize("bins", [0, -1, 2.5, True])
def test_bad_bins_are_named(bins) -> None:
    with pytest.raises(ArgumentError, match=f"found {bins}"):
        expected_calibration_error(GOOD, TARGET, bins)


# -- predict ------------------------------------------------------------------------------------


class Recorder(nn.Module):
    """A small classifier whose output depends on its mode, and that remembers what reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(4, 3)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        assert not torch.is_grad_enabled()
        return self.head(self.features(images).mean((2, 3)))


@pytest.fixture
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(256, (7, 1, 6, 6), generator=generator, dtype=torch.uint8),
        torch.tensor([0, 1, 2, 0, 1, 2, 0]),
    )
    return Dataset("tiny", ("a", "b", "c"), split, split, split)


def test_predict_normalises_and_keeps_the_order(dataset: Dataset) -> None:
    model = Recorder().eval()
    with torch.no_grad():
        expected = model(dataset.normalise(dataset.test.images))
    for batch_size in (1, 3, 7, 512):
        logits = predict(model, dataset.test, dataset, batch_size=batch_size)
        assert logits.shape == (7, 3) and logits.dtype == torch.float32 and logits.device.type == "cpu"
        torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(predict(model, dataset.test.images, dataset), expected)
    torch.testing.assert_close(predict(model, dataset.normalise(dataset.test.images), dataset), expected)


def test_predict_takes_one_batch_at_a_time(dataset: Dataset) -> None:
    model = Recorder()
    predict(model, dataset.test, dataset, batch_size=3)
    assert [len(images) for images in model.seen] == [3, 3, 1]


def test_predict_leaves_the_model_as_it_was(dataset: Dataset) -> None:
    model = Recorder().train()
    model.features[1].eval()  # frozen on purpose: must neither wake nor pull others along
    modes = {name: module.training for name, module in model.named_modules()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    first = predict(model, dataset.test, dataset)
    assert torch.equal(first, predict(model, dataset.test, dataset)), "dropout was on"
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert modes[""] and not modes["features.1"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()
    assert not model.seen[0].is_inference(), "what the model keeps could not be trained on"


def test_predict_restores_the_mode_after_an_error(dataset: Dataset) -> None:
    model = Recorder().train()
    with pytest.raises(RuntimeError):
        predict(model, torch.zeros(2, 5, 6, 6), dataset)
    assert all(module.training for module in model.modules())


def test_predicted_logits_can_go_into_a_loss(dataset: Dataset) -> None:
    targets = predict(Recorder(), dataset.test, dataset)
    student = torch.zeros(7, 3, requires_grad=True)
    (student.log_softmax(1) * targets.softmax(1)).sum().neg().backward()
    assert student.grad is not None and not targets.requires_grad and not targets.is_inference()


def test_predict_in_bfloat16(dataset: Dataset) -> None:
    model = Recorder()
    full = predict(model, dataset.test, dataset)
    half = predict(model, dataset.test, dataset, precision="bfloat16")
    assert half.dtype == torch.float32
    assert torch.equal(half, half.bfloat16().float()) and not torch.equal(full, full.bfloat16().float())
    torch.testing.assert_close(half, full, atol=0.05, rtol=0.05)
    # Weights that are stored in bfloat16 need their images in bfloat16.
    torch.testing.assert_close(predict(Recorder().bfloat16(), dataset.test, dataset).shape, full.shape)


def test_predict_without_weights(dataset: Dataset) -> None:
    model = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(3))
    assert predict(model, dataset.test, dataset).shape == (7, 3)


class Odd(nn.Module):
    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor):
        return self.answer(images)


def test_predict_names_what_it_cannot_use(dataset: Dataset) -> None:
    model, images = Recorder(), dataset.test.images
    for bad, words in [
        (images[0], r"found \[1, 6, 6\]"),
        (images[:0], r"found \[0, 1, 6, 6\]"),
        (images.tolist(), "found list"),
        (images.long(), "found torch.int64"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            predict(model, bad, dataset)
    with pytest.raises(ArgumentError, match="batch_size must be at least 1; found 0"):
        predict(model, images, dataset, batch_size=0)
    with pytest.raises(ArgumentError, match=r"precision must be one of .* found 'int8'"):
        predict(model, images, dataset, precision="int8")
    for answer, words in [
        (lambda x: (x,), "found tuple"),
        (lambda x: x, r"found \[7, 1, 6, 6\]"),
        (lambda x: x.flatten(1)[:3], r"found \[3, 36\]"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            predict(Odd(answer), images, dataset)


class Watching(nn.Module):
    """Notes how many images it is given at a time."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.layer = nn.Linear(1, classes)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.layer(x.mean((1, 2, 3))[:, None])


def squares(side: int, n: int = 20) -> Dataset:
    images = torch.randint(0, 256, (n, 1, side, side), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    split = Split(images, torch.arange(n) % 3)
    return Dataset("squares", ("a", "b", "c"), split, split, split)


@pytest.mark.parametrize(
    ("side", "batch_size", "first"), [(28, 16, 16), (28, 512, 20), (56, 16, 4), (224, 512, 8), (300, 4, 1)]
)
def test_batches_of_large_images_are_smaller(side: int, batch_size: int, first: int) -> None:
    model, data = Watching(), squares(side)
    found = predict(model, data.test, data, batch_size=batch_size)
    assert model.seen[0] == first and sum(model.seen) == 20
    assert torch.allclose(found, predict(model, data.test, data, batch_size=10**6), atol=1e-5)


@pytest.mark.parametrize("outputs", [2, 5])
def test_another_number_of_outputs_than_classes_is_refused_with_both_numbers(outputs: int) -> None:
    data = squares(8)
    with pytest.raises(
        ArgumentError, match=f"{outputs} logits per image, and 'squares' has 3 classes.*num_classes=3"
    ):
        predict(Watching(outputs), data.test, data)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_in_other_precisions_predict(dtype: torch.dtype) -> None:
    data, model = squares(8), Watching()
    wanted = predict(model, data.test, data)
    found = predict(model.to(dtype), data.test, data)
    assert found.dtype == torch.float32 and torch.allclose(found, wanted, atol=0.02)


def test_lazy_layers_without_weights_do_not_predict() -> None:
    data = squares(8)
    with pytest.raises(ArgumentError, match=r"lazy layers without weights.*Train it or load its weights"):
        predict(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), data.test, data)


def test_a_network_with_auxiliary_outputs_in_training_mode_predicts() -> None:
    class Auxiliary(Watching):
        def forward(self, x: Tensor) -> Tensor:
            return (super().forward(x),) * 2 if self.training else super().forward(x)  # type: ignore[return-value]

    data = squares(8)
    assert predict(Auxiliary().train(), data.test, data).shape == (20, 3)


def test_a_network_without_parameters_is_evaluated() -> None:
    """As quantized and frozen networks are."""

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.mean((1, 2, 3)) * k for k in (-1, 0, 1)], 1)

    data = squares(8)
    loss, rate = evaluate_split(Fixed(), data.test, data)
    logits = predict(Fixed(), data.test, data)
    assert rate == accuracy(logits, data.test.labels)
    assert loss == pytest.approx(negative_log_likelihood(logits, data.test.labels), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_loss_of_a_network_in_half_precision_is_summed_in_full(dtype: torch.dtype) -> None:
    class Wrong(nn.Module):
        """Sure of the wrong class: 100 nats per image, more than float16 holds for a thousand of them."""

        def __init__(self) -> None:
            super().__init__()
            self.size = nn.Parameter(torch.full((1,), 100.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.size * torch.tensor([0.0, 0.0, 1.0], dtype=self.size.dtype).expand(len(x), 3)

    data = squares(8, n=1000)
    first = Split(data.test.images, torch.zeros(1000, dtype=torch.long))
    assert evaluate_split(Wrong().to(dtype), first, data) == (pytest.approx(100.0), 0.0)
