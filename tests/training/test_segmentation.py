"""The training loop on masks: what it learns, counts, records and goes on with after a break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from kdcourse.data import IGNORE, Augmentation, Batches, MaskedSplit, SegmentationDataset
from kdcourse.errors import ArgumentError
from kdcourse.training import MASKS, cross_entropy, evaluate_split, fit
from kdcourse.training.task import confusion_counts, iou_per_class, mean_iou_of
from tests.training.toys import FIT, without_seconds


def bright_squares(count: int, seed: int) -> MaskedSplit:
    """Class 1 is where a picture is red, 2 where it is green; a row of every mask is left out."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(3, (count, 2, 2), generator=generator).to(torch.uint8)
    masks = masks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    images = torch.stack([masks == 1, masks == 2, masks == 7], 1).to(torch.uint8) * 200
    masks[:, 0] = IGNORE
    return MaskedSplit(images, masks)


def dataset() -> SegmentationDataset:
    return SegmentationDataset(
        "squares",
        ("ground", "red", "green"),
        bright_squares(70, 0),
        bright_squares(20, 1),
        bright_squares(20, 2),
    )


def net(seed: int = 0, classes: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(6, classes, 1)
    )


def test_it_learns_and_records_losses_accuracies_and_iou() -> None:
    model, data = net(), dataset()
    history = fit(model, data, **(FIT | {"epochs": 8}))
    first, last = history.epochs[0], history.last
    assert last.validation_iou is not None and last.train_iou is not None
    assert last.validation_iou > 0.95 > (first.train_iou or 1)
    assert last.train_loss < first.train_loss and last.validation_accuracy > 0.95
    loss, iou = evaluate_split(model, data.validation, data)
    assert (loss, iou) == (last.validation_loss, last.validation_iou)
    assert not model.training


def test_an_epochs_training_loss_is_the_mean_over_its_pixels() -> None:
    data, model = dataset(), nn.Conv2d(3, 3, 1)
    masks = data.train.labels.clone()
    masks[::7] = IGNORE  # batches have other numbers of pixels that count
    data = replace(data, train=MaskedSplit(data.train.images, masks))
    everything = FIT | {"epochs": 1, "batch_size": 10, "learning_rate": 1e-12, "augmentation": None}
    history = fit(model, data, **everything)
    assert history.last.train_loss == pytest.approx(evaluate_split(model, data.train, data)[0], abs=1e-5)


def test_validation_figures_are_those_of_all_scored_pixels_at_once() -> None:
    data, model = dataset(), net().eval()
    loss, iou = evaluate_split(model, data.validation, data)
    with torch.no_grad():
        logits = model(data.normalise(data.validation.images))
    truth = data.validation.masks.long()
    assert loss == pytest.approx(
        float(nn.functional.cross_entropy(logits, truth, ignore_index=IGNORE)), rel=1e-5
    )
    judge = MulticlassJaccardIndex(3, average="macro", ignore_index=IGNORE)
    assert iou == pytest.approx(float(judge(logits.argmax(1), truth)), rel=1e-6)


def test_ignored_pixels_change_neither_loss_nor_counts() -> None:
    data, model = dataset(), net().eval()
    other = data.validation.images.clone()
    shown = data.normalise(other)
    logits = model(shown).detach()
    batch = next(iter(Batches(data.validation, data, batch_size=20, seed=0).epoch(0)))
    value = cross_entropy(logits[batch.index], batch)
    noisy = logits.clone()
    noisy[:, :, 0] += torch.randn(20, 3, 8) * 50
    assert torch.equal(cross_entropy(noisy[batch.index], batch), value)
    masks = data.validation.masks.long()
    assert torch.equal(MASKS.count(noisy, masks, 3), MASKS.count(logits, masks, 3))
    assert int(MASKS.count(logits, masks, 3).sum()) == 20 * 7 * 8


def test_a_batch_without_a_pixel_to_score_teaches_nothing() -> None:
    data = dataset()
    batch = next(iter(Batches(data.train, data, batch_size=4, seed=0).epoch(0)))
    logits = torch.randn(4, 3, 8, 8, requires_grad=True)
    loss = cross_entropy(logits, replace(batch, labels=torch.full_like(batch.labels, IGNORE)))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_confusion_has_the_truth_in_rows() -> None:
    truth = torch.tensor([0, 0, 1, 2, 2, IGNORE])
    guess = torch.tensor([0, 1, 1, 2, 0, 1])
    found = confusion_counts(guess, truth, 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    theirs = MulticlassConfusionMatrix(3, ignore_index=IGNORE)(guess, truth)
    assert torch.equal(found, theirs)


def test_a_perfect_prediction_without_some_class_scores_one() -> None:
    confusion = confusion_counts(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1]), 4)
    assert mean_iou_of(confusion) == 1.0
    assert iou_per_class(confusion).isnan().tolist() == [False, False, True, True]
    # Predicted where it is not: the class occurs, and counts as 0.
    assert mean_iou_of(confusion_counts(torch.tensor([0, 3]), torch.tensor([0, 0]), 4)) == 0.25
    assert mean_iou_of(torch.zeros(3, 3, dtype=torch.int64)) != mean_iou_of(torch.eye(3, dtype=torch.int64))


def test_a_broken_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    augmentation = Augmentation(shift=1, flip=True, erase=0.0)
    whole = fit(net(), dataset(), augmentation=augmentation, **FIT)

    class Broken(Exception): ...

    def stop(epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (1, 3):
            raise Broken

    options = {
        "augmentation": augmentation,
        "checkpoint": tmp_path / "run.safetensors",
        "checkpoint_every": 3,
    }
    with pytest.raises(Broken):
        fit(net(), dataset(), after_step=stop, **options, **FIT)
    resumed = net(5)
    again = fit(resumed, dataset(), **options, **FIT)
    assert without_seconds(again) == without_seconds(whole)


def test_masks_move_with_their_pictures() -> None:
    data = dataset()
    batches = Batches(
        data.train, data, batch_size=35, seed=1, augmentation=Augmentation(shift=3, flip=True, erase=0)
    )
    moved = 0
    for batch in batches.epoch(2):
        red = batch.images[:, 0] > batch.images[:, 0].mean()
        scored = batch.labels != IGNORE
        assert batch.labels.dtype == torch.int64 and batch.labels.shape == (35, 8, 8)
        assert torch.equal(red & scored, batch.labels == 1)
        moved += int((batch.labels != data.train.masks[batch.index]).flatten(1).any(1).sum())
        # What came in from outside is left out, wherever the picture was moved to.
        assert int(scored.flatten(1).sum(1).min()) < 7 * 8
    assert moved > 40


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Pooled(), r"logits \[2, 3, 8, 8\].*found \[2, 3\]"),
        (nn.Conv2d(3, 2, 1), "num_classes=3"),
        (nn.Conv2d(3, 3, 3), r"found \[2, 3, 6, 6\]"),
        (nn.Conv2d(1, 3, 1), "can't take the images"),
    ],
)
def test_a_model_that_does_not_fit_is_named_before_training(model: nn.Module, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        fit(model, dataset(), **FIT)
