"""Batches from memory or from a memory-mapped file: no workers, no Python per image."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from kdcourse.data.kinds import AnyDataset, LabelledSplit
from kdcourse.data.segmentation import EndlessSplit
from kdcourse.data.text import TokenSplit
from kdcourse.data.views import Augmentation, View
from kdcourse.errors import ArgumentError

# Bytes of images that are drawn at once: a few batches of small ones share the cost of a call.
_DRAWN_TOGETHER = 1 << 21


@dataclass(frozen=True)
class Batch:
    """Hold what one training step uses.

    ``images`` float32 [B, C, H, W], normalised; ``labels`` int64 [B], for segmentation [B, H, W] with
    `kdcourse.data.IGNORE` where a pixel doesn't count, with any number of labels per image 0 or 1 [B, classes];
    of a text ``images`` are its tokens, int64 [B, T], and ``labels`` the next ones, int64 [B, T] with
    `kdcourse.data.IGNORE_TOKEN` where there is none;
    ``index`` int64 [B], the images' positions in their split; ``view``, the view that they were taken from. Stored
    soft targets are looked up by index and view, which together identify an image exactly.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    view: View

    def __len__(self) -> int:
        return len(self.labels)


class Batches:
    """Draw shuffled, augmented batches of one split.

    The order and the view of epoch ``e`` depend on ``seed`` and ``e`` alone; the view has number ``e`` or, when only
    ``views`` different ones are wanted, ``e % views``. The last images of an epoch that don't fill a batch are left
    out of it (other ones in every epoch).

    Images move to ``device`` once, as uint8. Where they would take more than half of its free memory, they stay where
    they are, a memory-mapped file for instance, and each batch is moved.

    Args:
        split: the images to draw from.
        data: the data set that says how to normalise.
        batch_size: images per step, over all processes together.
        seed: seed of the order and of the views.
        augmentation: ``None`` leaves images as they are.
        views: number of different views; ``None`` for a new one every epoch.
        device: where batches are wanted.
        rank: number of this process.
        world: how many processes share every batch.
        view_seed: seed of the views where it differs from that of the order, so that students of several seeds can
            share one set of stored views.

    Raises:
        ArgumentError: batch size or views below 1, a batch that can't be shared evenly, a seed that is
            no whole number from 0 to 2**32 - 1.
    """

    def __init__(
        self,
        split: LabelledSplit,
        data: AnyDataset,
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None = None,
        views: int | None = None,
        view_seed: int | None = None,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1; found {batch_size}.")
        check_seed(seed)
        if view_seed is not None:
            check_seed(view_seed, "view_seed")
        if views is not None and views < 1:
            raise ArgumentError(
                f"views must be at least 1, or None for a new view every epoch; found {views}."
            )
        if batch_size % world:
            raise ArgumentError(
                f"A batch of {batch_size} can't be shared evenly by {world} processes; "
                f"take a multiple of {world} as batch_size."
            )
        if augmentation is not None and isinstance(split, TokenSplit):
            raise ArgumentError(
                f"Text has no augmented views; found augmentation={augmentation}. Leave it out."
            )
        self.batch_size = min(batch_size, len(split) - len(split) % world)
        if self.batch_size < 1:
            raise ArgumentError(
                f"{len(split)} image(s) can't be shared by {world} processes; start fewer processes."
            )
        self.steps = len(split) // self.batch_size
        self._device = torch.device(device)
        self.images = _placed(split.images, self._device)
        self.labels = _placed(split.labels, self._device)
        self._split = split
        self._data, self._seed, self._augmentation, self._views = data, seed, augmentation, views
        self._view_seed = seed if view_seed is None else view_seed
        self._rank, self._world = rank, world

    def view(self, epoch: int) -> View:
        """Return the view that epoch ``epoch`` uses."""
        if self._augmentation is None:
            return View()
        return View(
            self._augmentation, self._view_seed, epoch if self._views is None else epoch % self._views
        )

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch ``number`` from step ``start`` on."""
        view, shape = self.view(number), self.images.shape[1:]
        for chosen, images, labels in self._spans(number, start):
            index = chosen.to(self._device)
            changed = images if view.augmentation is None else view.apply(images, index.flatten())
            drawn = changed.view(*index.shape, *shape)
            if labels.ndim > 3:
                labels = view.apply_to_masks(labels.flatten(0, 1), index.flatten()).view_as(labels)
            for images, wanted, places in zip(drawn, labels, index, strict=True):
                yield Batch(self._data.normalise(images), wanted.long(), places, view)

    def _spans(self, number: int, start: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield a few steps' positions at a time: int64 [steps, B]; images [steps * B, ...]; labels [steps, B, ...]."""
        ahead = max(1, _DRAWN_TOGETHER // (self.batch_size * self.images[0].numel()))
        spans = [(first, min(first + ahead, self.steps)) for first in range(start, self.steps, ahead)]
        if isinstance(self._split, EndlessSplit):
            yield from self._fresh(self._split, number, spans)
            return
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
        order = torch.randperm(len(self.labels), generator=generator)
        for first, last in spans:
            chosen = self._shared(order[first * self.batch_size : last * self.batch_size])
            # Labels are [steps, B], [steps, B, classes], or masks [steps, B, H, W].
            yield chosen, self._taken(self.images, chosen.flatten()), self._taken(self.labels, chosen)

    def _fresh(
        self, split: EndlessSplit, number: int, spans: list[tuple[int, int]]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield what `_spans` does from images of this epoch alone, the next span drawn while one is trained on."""
        # They are in no order, so they aren't shuffled.
        ends = [(first * self.batch_size, last * self.batch_size) for first, last in spans]
        begin = number * len(split)
        with ThreadPoolExecutor(1, "fresh images") as pool:
            drawn = [pool.submit(split.draw, begin + low, high - low) for low, high in ends[:1]]
            for place, (low, high) in enumerate(ends):
                some = drawn.pop().result()
                for further, end in ends[place + 1 : place + 2]:
                    drawn.append(pool.submit(split.draw, begin + further, end - further))
                chosen = self._shared(torch.arange(low, high))
                yield (
                    chosen,
                    self._taken(some.images, chosen.flatten() - low),
                    self._taken(some.masks, chosen - low),
                )

    def _shared(self, positions: Tensor) -> Tensor:
        """Return this process's part of a few steps' positions: int64 [steps, B]."""
        return positions.view(-1, self.batch_size)[:, self._rank :: self._world]

    def _taken(self, values: Tensor, index: Tensor) -> Tensor:
        # values[index] takes nine times as long for rows of bytes.
        taken = values.index_select(0, index.flatten().to(values.device))
        return taken.view(*index.shape, *values.shape[1:]).to(self._device)


def _placed(values: Tensor, device: torch.device) -> Tensor:
    """Move values to a device, unless they would take more than half of its free memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if values.nbytes > free // 2:
            return values
    return values.to(device)


def check_seed(seed: object, name: str = "seed") -> None:
    """Raise `ArgumentError` unless ``seed`` is a whole number from 0 to 2**32 - 1."""
    # Views use 32 bits of a seed: beyond them, different seeds would give the same views.
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ArgumentError(f"{name} must be a whole number from 0 to 2**32 - 1; found {seed!r}.")
