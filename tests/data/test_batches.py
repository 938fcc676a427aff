from __future__ import annotations

from typing import Any

import pytest
import torch

from kdcourse.data import Augmentation, Batch, Batches, Dataset, Split, View
from kdcourse.data.batches import _placed
from kdcourse.errors import ArgumentError


def dataset(count: int = 23) -> Dataset:
    """Every picture says in its pixels where it stands in the split."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 1, 3, 4).contiguous()
    split = Split(images, torch.arange(count) % 5)
    return Dataset("counted", tuple("abcde"), split, split, split, mean=(0.0,), std=(1 / 255,))


def batches(count: int = 23, **settings: Any) -> Batches:
    data = dataset(count)
    return Batches(data.train, data, **({"batch_size": 5, "seed": 0} | settings))


def places(epoch: list[Batch]) -> list[int]:
    return torch.cat([batch.index for batch in epoch]).tolist()


def test_an_epoch_shows_every_picture_once_but_for_a_part_batch() -> None:
    source = batches()
    assert source.steps == 4
    epoch = list(source.epoch(0))
    assert [len(batch) for batch in epoch] == [5, 5, 5, 5]
    assert len(set(places(epoch))) == 20
    left_out = [frozenset(range(23)) - set(places(list(source.epoch(e)))) for e in range(8)]
    assert len(set(left_out)) > 1  # others every epoch


def test_pictures_labels_and_positions_belong_together() -> None:
    for batch in batches().epoch(0):
        assert batch.images.dtype == torch.float32 and batch.images.shape == (5, 1, 3, 4)
        assert torch.equal(batch.images[:, 0, 0, 0].round().long(), batch.index)
        assert torch.equal(batch.labels, batch.index % 5)
        assert batch.view == View()


def test_order_follows_from_seed_and_epoch_alone() -> None:
    source = batches()
    first = places(list(source.epoch(0)))
    assert places(list(source.epoch(1))) != first
    assert places(list(source.epoch(0))) == first == places(list(batches().epoch(0)))
    assert places(list(batches(seed=1).epoch(0))) != first
    assert first != sorted(first)


def test_an_epoch_goes_on_where_it_stopped() -> None:
    source = batches(augmentation=Augmentation(1))
    whole = list(source.epoch(2))
    for start in range(5):
        rest = list(source.epoch(2, start=start))
        assert len(rest) == 4 - start
        for one, other in zip(rest, whole[start:], strict=True):
            assert torch.equal(one.index, other.index) and torch.equal(one.images, other.images)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_every_batch(world: int) -> None:
    settings = {"count": 26, "batch_size": 6, "augmentation": Augmentation(1)}
    alone = list(batches(**settings).epoch(1))
    shares = [list(batches(**settings, rank=rank, world=world).epoch(1)) for rank in range(world)]
    for step, batch in enumerate(alone):
        parts = [share[step] for share in shares]
        assert {len(part) for part in parts} == {6 // world}
        index = torch.cat([part.index for part in parts])
        assert sorted(index.tolist()) == sorted(batch.index.tolist())
        back = torch.stack([(index == i).nonzero()[0, 0] for i in batch.index])
        assert torch.equal(torch.cat([part.images for part in parts])[back], batch.images)
        assert torch.equal(torch.cat([part.labels for part in parts])[back], batch.labels)


def test_views_are_new_every_epoch_or_come_round() -> None:
    augmentation = Augmentation(1)
    endless = batches(augmentation=augmentation, seed=4)
    assert [endless.view(e).number for e in range(5)] == [0, 1, 2, 3, 4]
    assert endless.view(3) == View(augmentation, seed=4, number=3)
    three = batches(augmentation=augmentation, seed=4, views=3, view_seed=9)
    assert [three.view(e).number for e in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert {three.view(e).seed for e in range(7)} == {9}
    assert batches(views=3).view(2) == View()


def test_pictures_are_shown_as_the_view_says() -> None:
    data = dataset()
    source = batches(augmentation=Augmentation(1), views=2)
    for batch in source.epoch(3):
        assert batch.view == source.view(3) == View(Augmentation(1), 0, 1)
        expected = data.normalise(batch.view.apply(data.train.images[batch.index], batch.index))
        assert torch.equal(batch.images, expected)


def test_order_stays_the_same_whatever_the_augmentation() -> None:
    assert places(list(batches().epoch(3))) == places(list(batches(augmentation=Augmentation(1)).epoch(3)))


def test_few_pictures_make_one_smaller_batch() -> None:
    source = batches(count=3, batch_size=256)
    assert (source.steps, source.batch_size) == (1, 3)
    assert sorted(places(list(source.epoch(0)))) == [0, 1, 2]
    shared = batches(count=3, batch_size=256, world=2)
    assert (shared.steps, shared.batch_size) == (1, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size.*found 0"),
        ({"views": 0}, "views.*found 0"),
        ({"batch_size": 5, "world": 2}, "batch of 5 .* 2 processes"),
        ({"count": 1, "batch_size": 6, "world": 2}, r"1 image\(s\) .* 2 processes"),
        ({"seed": -1}, "seed.*found -1"),
        ({"seed": 1.5}, "seed.*found 1.5"),
        ({"seed": 2**32}, "seed.*found 4294967296"),
        ({"view_seed": "a"}, "view_seed.*found 'a'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        batches(**settings)


@pytest.mark.parametrize("start", [0, 1, 3])
def test_batches_drawn_together_are_those_drawn_one_by_one(
    start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = batches(count=26, batch_size=4, augmentation=Augmentation(1), rank=1, world=2)
    calls = []
    apply = View.apply
    monkeypatch.setattr(
        View, "apply", lambda view, images, index: calls.append(1) or apply(view, images, index)
    )
    together = list(source.epoch(5, start=start))
    assert len(calls) == 1
    monkeypatch.setattr(
        "kdcourse.data.batches._DRAWN_TOGETHER", 2 * 4 * 12
    )  # two batches of 4 pictures of 3x4
    in_pairs = list(source.epoch(5, start=start))
    monkeypatch.setattr("kdcourse.data.batches._DRAWN_TOGETHER", 1)
    single = list(source.epoch(5, start=start))
    assert len(calls) == 1 + (6 - start + 1) // 2 + (6 - start)
    for some in (in_pairs, single):
        assert len(some) == len(together) == 6 - start
        for one, other in zip(some, together, strict=True):
            assert torch.equal(one.index, other.index) and torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels) and one.view == other.view


def test_images_too_large_for_a_device_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda")
    values = torch.zeros(100, dtype=torch.uint8)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (150, 10**9))
    assert _placed(values, device) is values
    moved = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *where: moved.append(where) or self)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (200, 10**9))
    assert _placed(values, device) is values and moved == [(device,)]
