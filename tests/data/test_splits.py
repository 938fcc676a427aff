from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdcourse.data import (
    Augmentation,
    Batches,
    Dataset,
    MaskedSplit,
    SegmentationDataset,
    Split,
    View,
    stratified_index,
)
from kdcourse.distillation import soft_targets
from kdcourse.errors import ArgumentError, DataError


def make_split(count: int = 6, channels: int = 1, classes: int = 3) -> Split:
    images = torch.arange(count * channels * 4, dtype=torch.uint8).view(count, channels, 2, 2)
    return Split(images, torch.arange(count) % classes)


def test_subset_takes_pictures_and_labels_together() -> None:
    split = make_split()
    for index in (torch.tensor([4, 1]), torch.tensor([False, True, False, False, True, False])):
        part = split.subset(index)
        assert len(part) == 2
        for image, label in zip(part.images, part.labels, strict=True):
            at = int(image[0, 0, 0]) // 4  # the pictures count up, so each tells where it came from
            assert torch.equal(image, split.images[at]) and label == split.labels[at]


def test_digest_names_content_not_the_object() -> None:
    split = make_split()
    assert split.digest == Split(split.images.clone(), split.labels.clone()).digest
    # The same values in another memory layout are the same content.
    transposed = Split(split.images.mT.contiguous().mT, split.labels)
    assert transposed.digest == split.digest


def test_digests_stay_those_that_stored_results_are_known_by() -> None:
    split = make_split()
    masked = MaskedSplit(split.images, split.images[:, 0] % 3)
    assert split.digest.startswith("e2acc9b8265ee372")
    assert masked.digest.startswith("50dadb333e815c53")


@pytest.mark.parametrize("change", ["pixel", "label", "order", "shape"])
def test_digest_changes_with_content(change: str) -> None:
    split = make_split()
    images, labels = split.images.clone(), split.labels.clone()
    if change == "pixel":
        images[3, 0, 1, 1] += 1
    elif change == "label":
        labels[5] = 0
    elif change == "order":
        images = images.flip(0)
    else:
        images = images.view(6, 1, 1, 4)
    assert Split(images, labels).digest != split.digest


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64), "float32"),
        (torch.zeros(2, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), r"\[2, 2, 2\]"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2), "int64"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2, 1, dtype=torch.int64), r"\[2, 1\]"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "2 images and 3"),
        (
            torch.zeros(0, 1, 2, 2, dtype=torch.uint8),
            torch.zeros(0, dtype=torch.int64),
            "at least one image",
        ),
    ],
)
def test_bad_splits_are_refused(images: torch.Tensor, labels: torch.Tensor, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Split(images, labels)


def test_mean_and_std_come_from_train_channel_by_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 3, 5, 4), dtype=torch.uint8, generator=generator)
    images[:, 1] //= 4
    train = Split(images, torch.arange(20) % 2)
    dataset = Dataset(
        "made", ("a", "b"), train, train.subset(torch.arange(4)), train.subset(torch.arange(4, 8))
    )
    scaled = images.double() / 255
    expected_std, expected_mean = torch.std_mean(scaled, dim=(0, 2, 3), correction=0)
    assert dataset.mean == pytest.approx(expected_mean.tolist(), abs=1e-12)
    assert dataset.std == pytest.approx(expected_std.tolist(), abs=1e-12)
    normalised = dataset.normalise(images)
    assert normalised.dtype == torch.float32 and normalised.shape == images.shape
    assert normalised.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert normalised.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_pictures_of_one_grey_level_can_be_normalised() -> None:
    flat = Split(torch.full((4, 1, 2, 2), 9, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    assert torch.isfinite(Dataset("flat", ("a", "b"), flat, flat, flat).normalise(flat.images)).all()


def test_given_mean_and_std_are_kept() -> None:
    split = make_split()
    dataset = Dataset("made", ("a", "b", "c"), split, split, split, mean=(0.5,), std=(0.25,))
    assert dataset.normalise(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)).unique().tolist() == [2.0]
    assert dataset.image_shape == (1, 2, 2)


def make_dataset(**more: Any) -> Dataset:
    split = make_split(channels=3)
    return Dataset("made", ("a", "b", "c"), split, split, split, **more)


def make_masked(**more: Any) -> SegmentationDataset:
    images = make_split(channels=3).images
    split = MaskedSplit(images, images[:, 0] % 3)
    return SegmentationDataset("made", ("a", "b", "c"), split, split, split, **more)


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("make", [make_dataset, make_masked])
@pytest.mark.parametrize(
    ("statistics", "said"),
    [
        ({"mean": MEAN}, r"has a mean \(.* but no std; .* Give std too, or neither"),
        ({"std": STD}, r"has a std \(.* but no mean"),
        ({"mean": (0.5,), "std": (0.5,)}, r"one number per channel, 3 each; found mean \(0.5,\)"),
        ({"mean": MEAN, "std": (0.5,)}, "one number per channel, 3 each"),
        ({"mean": MEAN, "std": (0.2, 0.0, 0.2)}, "std of 'made' must be above 0"),
        ({"mean": MEAN, "std": (0.2, -0.2, 0.2)}, "std of 'made' must be above 0"),
        ({"mean": MEAN, "std": (0.2, float("nan"), 0.2)}, "finite"),
        ({"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}, "from 0 to 1; .* divide both by 255"),
        ({"mean": (-0.1, 0.4, 0.4), "std": STD}, "on a scale from 0 to 1"),
        ({"mean": 0.5, "std": STD}, r"mean must be one number per channel, .* found 0.5"),
    ],
)
def test_statistics_that_cannot_normalise(make: Callable[..., Any], statistics: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        make(**statistics)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_statistics_of_other_types_are_taken(kind: Callable[..., Any]) -> None:
    data = make_dataset(mean=kind([0.5, 0.25, 0.125]), std=kind([0.5, 0.5, 0.5]))
    assert data.mean == (0.5, 0.25, 0.125) and data.std == (0.5, 0.5, 0.5)


IMAGES, LABELS = np.zeros((5, 3, 8, 8), np.uint8), torch.zeros(5, dtype=torch.int64)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Split(IMAGES, LABELS),
            r"NumPy array uint8 \[5, 3, 8, 8\]. Convert with torch.from_numpy\(images",
        ),
        (lambda: Split(torch.from_numpy(IMAGES), np.zeros(5)), r"labels .* torch.from_numpy\(labels\)"),
        (
            lambda: Split(torch.from_numpy(IMAGES), [0] * 5),
            r"a list. .* torch.as_tensor\(labels, dtype=torch.int64",
        ),
        (lambda: Split(IMAGES.tolist(), LABELS), r"a list. .* torch.as_tensor\(images, dtype=torch.uint8"),
        (lambda: Split(list(torch.from_numpy(IMAGES)), LABELS), r"list of tensors. .* torch.stack\(images"),
        (
            lambda: Split(list(IMAGES), LABELS),
            r"list of NumPy arrays. .* torch.from_numpy\(numpy.stack\(images",
        ),
        (lambda: MaskedSplit(IMAGES, IMAGES[:, 0]), r"torch.from_numpy\(images\)"),
        (lambda: MaskedSplit(torch.from_numpy(IMAGES), IMAGES[:, 0]), r"torch.from_numpy\(masks\)"),
        (lambda: Split(None, LABELS), "found a NoneType"),
        (
            lambda: Dataset("x", ("a", "b"), (IMAGES, LABELS), make_split(), make_split()),
            r"train of 'x' must be a split, such as Split\(images, labels\); found tuple",
        ),
        (
            lambda: Dataset("x", ("a", "b"), make_split(), IMAGES, make_split()),
            "validation of .* found ndarray",
        ),
    ],
)
def test_what_is_no_tensor_is_named_with_the_conversion(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        make()


def test_labels_must_be_classes() -> None:
    split = make_split()
    with pytest.raises(DataError, match=r"0\.\.1 \(2 classes\); train has labels from 0 to 2"):
        Dataset("made", ("a", "b"), split, split, split)
    negative = Split(split.images, split.labels - 1)
    with pytest.raises(DataError, match="test has labels from -1"):
        Dataset("made", ("a", "b", "c"), split, split, negative)


def test_splits_must_share_one_shape() -> None:
    with pytest.raises(DataError, match="validation has"):
        Dataset("made", ("a", "b", "c"), make_split(), make_split(channels=3), make_split())


def on_disk(folder: Path, images: Tensor) -> Tensor:
    (folder / "pictures").write_bytes(images.numpy().tobytes())
    return torch.from_numpy(np.memmap(folder / "pictures", np.uint8, "c", shape=tuple(images.shape)))


def test_pictures_on_disk_are_like_pictures_in_memory(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (23, 3, 4, 5), generator=generator).to(torch.uint8)
    here = Split(images, torch.arange(23) % 4)
    there = Split(on_disk(tmp_path, images), here.labels)
    assert there.digest == here.digest
    one, other = (Dataset("set", tuple("abcd"), split, here, here) for split in (here, there))
    assert one.mean == other.mean and one.std == other.std
    settings = {"batch_size": 5, "seed": 1, "augmentation": Augmentation(1)}
    source = Batches(there, other, **settings)
    assert source.images.data_ptr() == there.images.data_ptr()  # not a copy
    for a, b in zip(source.epoch(0), Batches(here, one, **settings).epoch(0), strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 4))
    first, second = (soft_targets(model, split, one, cache=False, progress=False) for split in (here, there))
    index = torch.arange(23)
    assert torch.equal(first.logits(View(), index), second.logits(View(), index))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells private memory apart")
def test_a_large_file_is_never_held_in_memory(tmp_path: Path) -> None:
    def private() -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.findall(r"RssAnon:\s+(\d+)", status)[0])

    size = 2**18
    (tmp_path / "pictures").touch()
    with (tmp_path / "pictures").open("r+b") as file:
        file.truncate(size * 256)  # 64 MB of zeros that take no room on the disk
    images = torch.from_file(str(tmp_path / "pictures"), size=size * 256, dtype=torch.uint8).view(
        -1, 1, 16, 16
    )
    before, held = private(), []
    split = Split(images, torch.zeros(size, dtype=torch.int64))
    assert split.digest
    held.append(private())
    small = split.subset(torch.arange(2))
    data = Dataset("large", ("a", "b"), split, small, small)
    held.append(private())
    source = Batches(split, data, batch_size=256, seed=0)
    next(source.epoch(0))
    held.append(private())
    assert max(held) - before < size * 256 / 2


def test_a_stratified_choice_has_every_class_in_its_share() -> None:
    labels = torch.tensor([0] * 30 + [1] * 50 + [2] * 20)[torch.randperm(100, generator=torch.manual_seed(0))]
    chosen = stratified_index(labels, 50, 0)
    assert labels[chosen].bincount().tolist() == [15, 25, 10]
    assert chosen.equal(chosen.unique()) and chosen.dtype == torch.int64
    assert chosen.equal(stratified_index(labels, 50, 0)) and not chosen.equal(stratified_index(labels, 50, 1))
    assert set(stratified_index(labels, 10, 0).tolist()) < set(chosen.tolist())
    for count in (1, 7, 99, 100):
        assert len(stratified_index(labels, count, 0)) == count
    for count in (0, 101):
        with pytest.raises(ArgumentError, match=rf"count must lie in 1\.\.100.*found {count}"):
            stratified_index(labels, count, 0)
