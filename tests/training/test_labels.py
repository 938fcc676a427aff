"""The labels' loss: smoothed labels and weighted classes, in `fit` and `distil`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax
from sklearn.utils.class_weight import compute_class_weight

from kdcourse.data import IGNORE, Batch, Dataset, View
from kdcourse.distillation import distil, distil_grid, soft_targets
from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.runs.students import LIVE
from kdcourse.runs.teachers import RECIPES
from kdcourse.training import (
    CrossEntropy,
    History,
    Settings,
    balanced_weights,
    evaluate_split,
    fit,
)
from tests.distillation import tiny
from tests.training.test_segmentation import dataset as masked
from tests.training.test_segmentation import net as masked_net
from tests.training.toys import FIT, plain_net

WEIGHTS = (0.5, 1.0, 2.0, 4.0)


def batch(labels: torch.Tensor) -> Batch:
    return Batch(torch.zeros(len(labels), 1, 8, 8), labels, torch.arange(len(labels)), View())


def expected(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float, weights: tuple[float, ...]
) -> float:
    """Return the weighted mean, computed apart from PyTorch's: rows [M, C] of what is scored, float64."""
    log_q, w = log_softmax(logits.double().numpy(), axis=1), np.array(weights)
    y = labels.numpy()
    target = np.full(log_q.shape, smoothing / log_q.shape[1])
    target[np.arange(len(y)), y] += 1 - smoothing
    return float(-(target * w * log_q).sum() / w[y].sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_labels_is_torchs_weighted_mean(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(7, 4), torch.tensor([0, 1, 2, 3, 3, 0, 1])
    found = CrossEntropy(smoothing, WEIGHTS)(logits, batch(labels))
    assert float(found) == pytest.approx(expected(logits, labels, smoothing, WEIGHTS), rel=1e-6)
    torch_s = F.cross_entropy(logits, labels, weight=torch.tensor(WEIGHTS), label_smoothing=smoothing)
    assert float(found) == float(torch_s)
    assert float(CrossEntropy(smoothing, WEIGHTS)(logits.double(), batch(labels))) == pytest.approx(
        expected(logits, labels, smoothing, WEIGHTS), rel=1e-12
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_masks_leaves_ignored_pixels_out(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(3, 4, 2, 5), torch.randint(4, (3, 2, 5))
    masks[0, 0] = IGNORE
    kept = masks != IGNORE
    found = CrossEntropy(smoothing, WEIGHTS)(logits, batch(masks))
    rows = logits.movedim(1, -1)[kept]
    assert float(found) == pytest.approx(expected(rows, masks[kept], smoothing, WEIGHTS), rel=1e-6)
    nothing = CrossEntropy(smoothing, WEIGHTS)(logits, batch(torch.full_like(masks, IGNORE)))
    assert float(nothing) == 0


def test_the_mean_over_processes_is_that_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shares with other weights: the mean of what both return is the batch's, and so is the gradient's."""
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4, requires_grad=True), torch.tensor([0, 0, 0, 3, 3, 1])
    loss = CrossEntropy(0.1, WEIGHTS)
    whole = loss(logits, batch(labels))
    (gradient,) = torch.autograd.grad(whole, logits)
    total = torch.tensor(WEIGHTS)[labels].sum()
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda weight: weight.copy_(total))
    shares = [loss(logits[part], batch(labels[part])) for part in (slice(0, 3), slice(3, 6))]
    mean = torch.stack(shares).mean()
    torch.testing.assert_close(mean, whole)
    torch.testing.assert_close(torch.autograd.grad(mean, logits)[0], gradient)


def test_balanced_weights_are_scikit_learns() -> None:
    data = tiny.dataset()
    labels = data.train.labels.numpy()
    assert balanced_weights(data) == pytest.approx(
        compute_class_weight("balanced", classes=np.arange(4), y=labels), rel=1e-12
    )
    more = Dataset("five", tuple("abcde"), data.train, data.validation, data.test)
    assert balanced_weights(more) == (*balanced_weights(data), 1.0)  # a class that no label names
    seen = masked()
    pixels = seen.train.masks[seen.train.masks != IGNORE].numpy()
    assert balanced_weights(seen) == pytest.approx(
        compute_class_weight("balanced", classes=np.arange(3), y=pixels), rel=1e-12
    )


SETTINGS: list[dict[str, Any]] = [
    {"label_smoothing": 0.1},
    {"class_weights": WEIGHTS},
    {"class_weights": "balanced", "label_smoothing": 0.2},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_fit_minimises_it_and_validates_by_the_plain_cross_entropy(settings: dict[str, Any]) -> None:
    data, model = tiny.dataset(), plain_net()
    told = fit(model, data, **(FIT | settings))
    weights = settings.get("class_weights")
    by_hand, other = (
        CrossEntropy(
            settings.get("label_smoothing", 0), balanced_weights(data) if weights == "balanced" else weights
        ),
        plain_net(),
    )
    again = fit(other, data, objective=by_hand, **FIT)
    assert tiny.same_state(model, tiny.state(other))
    assert told.column("train_loss") == again.column("train_loss")
    assert told.last.validation_loss == evaluate_split(model, data.validation, data)[0]
    assert not tiny.same_state(model, tiny.state(_trained_plainly()))
    for name, value in settings.items():
        assert told.settings[name] == (list(value) if isinstance(value, tuple) else value)
    assert told.settings["objective"] == by_hand.name
    assert History.from_json(told.to_json()) == told


def _trained_plainly() -> torch.nn.Module:
    model = plain_net()
    fit(model, tiny.dataset(), **FIT)
    return model


def test_masks_learn_with_it() -> None:
    told = fit(masked_net(), masked(), label_smoothing=0.1, class_weights="balanced", **(FIT | {"epochs": 6}))
    assert (told.last.validation_iou or 0) > 0.9


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_labels_term_of_distil_uses_it(settings: dict[str, Any]) -> None:
    data, teacher = tiny.dataset(), tiny.quarter_reader()
    how = {"method": "kd", "temperature": 2.0, "cache": False} | FIT
    weighed, plain = (
        distil(plain_net(), teacher, data, alpha=0.5, **(how | {"epochs": 1, "learning_rate": 1e-12} | extra))
        for extra in (settings, {})
    )
    assert weighed.last.parts["kd"] == pytest.approx(plain.last.parts["kd"], rel=1e-6)
    assert weighed.last.parts["labels"] != pytest.approx(plain.last.parts["labels"], rel=1e-3)
    alone, fitted = plain_net(), plain_net()
    distil(alone, teacher, data, alpha=0.0, **(how | settings))
    fit(fitted, data, **(FIT | settings))
    assert tiny.same_state(alone, tiny.state(fitted))
    assert plain.settings.keys() == weighed.settings.keys() - settings.keys()


def test_a_run_without_it_is_recorded_as_before() -> None:
    told = fit(plain_net(), tiny.dataset(), label_smoothing=0.0, class_weights=None, **FIT)
    assert list(told.settings) == [
        "model", "objective", "epochs", "batch_size", "learning_rate", "seed", "optimizer", "weight_decay", "warm_up",
        "augmentation", "views", "view_seed", "data", "precision", "device",
    ]  # fmt: skip
    assert told.settings["objective"] == "cross_entropy"


@pytest.mark.parametrize("distilled", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_checkpoint_belongs_to_a_run_with_it(
    tmp_path: Path, settings: dict[str, Any], distilled: bool
) -> None:
    data, path = tiny.dataset(), tmp_path / "run.safetensors"
    targets = soft_targets(tiny.quarter_reader(), data.train, data, cache=False)

    class Stop(Exception):
        pass

    def stop(epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (1, 2):
            raise Stop

    def train(seed: int = 0, **changes: Any) -> torch.nn.Module:
        model, how = plain_net(seed), FIT | {"checkpoint": path, "checkpoint_every": 1} | changes
        if distilled:
            distil(model, targets, data, alpha=0.5, **how)
        else:
            fit(model, data, **how)
        return model

    with pytest.raises(Stop):
        train(after_step=stop, **settings)
    name = next(iter(settings))
    with pytest.raises(CheckpointError, match=f"{name}: .* there, None here"):
        train()
    resumed, whole = train(seed=5, **settings), tmp_path / "other.safetensors"
    assert tiny.same_state(resumed, tiny.state(train(**(settings | {"checkpoint": whole}))))
    with pytest.raises(CheckpointError, match=f"{name}: .* there, .* here"):
        train(**{name: 0.3 if name == "label_smoothing" else [1, 1, 1, 2]})


def test_names_tell_weights_apart() -> None:
    assert CrossEntropy(0.1, (1, 2.5)).name == "cross_entropy(label_smoothing=0.1, class_weights=[1.0, 2.5])"
    many = [CrossEntropy(class_weights=[1.0] * 999 + [last]).name for last in (1.0, 1 + 1e-12)]
    assert many[0] != many[1] and len(many[0]) < 60
    assert eval(repr(CrossEntropy(0.1, (1, 2.5)))).name == CrossEntropy(0.1, (1, 2.5)).name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\); found 1.0"),
        ({"class_weights": [1, 2, 3]}, "found 3, and 'quarters' has 4 classes"),
        ({"class_weights": [1, 2, 0, 1]}, "one positive number per class"),
        ({"class_weights": [1, 2, float("inf"), 1]}, "one positive number per class"),
        ({"class_weights": "balance"}, "found 'balance'"),
        ({"class_weights": 3}, "one positive number per class"),
        ({"class_weights": []}, "one positive number per class"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fit(plain_net(), tiny.dataset(), **(FIT | settings))


def test_an_objective_of_ones_own_does_not_silently_lack_it() -> None:
    def own(logits: torch.Tensor, shown: Batch) -> torch.Tensor:
        return F.cross_entropy(logits, shown.labels)

    with pytest.raises(ArgumentError, match=r"found label_smoothing=0\.1 beside it"):
        fit(plain_net(), tiny.dataset(), objective=own, label_smoothing=0.1, **FIT)
    with pytest.raises(ArgumentError, match="found class_weights='balanced' beside it"):
        distil(
            plain_net(), tiny.quarter_reader(), tiny.dataset(), objective=own, class_weights="balanced", **FIT
        )
    with pytest.raises(ArgumentError, match="found 2 for 4 logits"):
        fit(plain_net(), tiny.dataset(), objective=CrossEntropy(class_weights=(1, 2)), **FIT)


def test_a_grid_trains_with_it_one_by_one() -> None:
    data = tiny.dataset()
    found = distil_grid(
        [2.0], [0.5], [3], data=data, teacher=tiny.quarter_reader(), student="mlp_25k", epochs=1, batch_size=16,
        label_smoothing=0.1, cache=False, progress=False, device="cpu",
    )  # fmt: skip
    assert found.how.startswith("one by one")
    assert found.rows[0].history.settings["label_smoothing"] == 0.1


def test_recipes_name_it_where_it_is_used() -> None:
    used = LIVE.changed(label_smoothing=0.1)
    assert used.settings == LIVE.settings | {"label_smoothing": 0.1}
    assert RECIPES[0].changed(class_weights=(1, 2)).settings["class_weights"] == [1.0, 2.0]
    assert Settings(epochs=1, learning_rate=0.1, seed=0).unusual == {}
