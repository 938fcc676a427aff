"""Make a transfer set from the teacher alone, for when its training images are gone (Lopes et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import Dataset, Split
from kdcourse.data.batches import check_seed
from kdcourse.distillation.ensemble import Ensemble, Frozen
from kdcourse.distillation.inference import teacher_inference
from kdcourse.errors import ArgumentError
from kdcourse.models.mode import evaluating

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def statistics_loss(given: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Compute how far a batch's statistics are from those that a BatchNorm layer has stored.

    Args:
        given: what the layer is given, floating point [B, K] or [B, K, H, W]; gradients flow here.
        mean, variance: stored, [K].

    Returns:
        Scalar: the length of the difference of means plus that of variances; both are over all axes but K.

    Raises:
        ArgumentError: another number of channels, or a single value per channel, which has no variance.

    Source: Yin et al. 2020 (https://arxiv.org/abs/1912.08795), section 3.2, equation 4.
    """
    if given.ndim not in (2, 4) or given.shape[1:2] != mean.shape or given[:, :1].numel() < 2:
        raise ArgumentError(
            f"statistics_loss needs [B, {len(mean)}] or [B, {len(mean)}, H, W] with at least two values per channel; "
            f"found {list(given.shape)}."
        )
    axes = [axis for axis in range(given.ndim) if axis != 1]
    found = torch.var_mean(given, axes, correction=0)
    return _length(found[1] - mean) + _length(found[0] - variance)


def total_variation(images: Tensor) -> Tensor:
    """Return the mean squared difference of neighbouring pixels of [B, C, H, W], a scalar: 0 for a flat image.

    Source: Mahendran and Vedaldi 2015 (https://arxiv.org/abs/1412.0035), section 3.2, with exponent 2.
    """
    return images.diff(dim=2).square().mean() + images.diff(dim=3).square().mean()


def generated(
    teacher: nn.Module,
    data: Dataset,
    count: int,
    *,
    seed: int,
    steps: int = 200,
    learning_rate: float = 0.1,
    batch_size: int = 128,
    statistics: float = 1.0,
    smoothness: float = 1.0,
    after_step: Callable[[], object] = lambda: None,
) -> Dataset:
    """Generate training images from what the teacher remembers of its own, and return ``data`` with them instead.

    Each batch begins as noise. Gradient descent (Adam) on its pixels then lowers the cross-entropy of the teacher with
    classes drawn evenly, plus ``statistics`` times `statistics_loss` summed over the teacher's BatchNorm layers, plus
    ``smoothness`` times `total_variation`. The images' labels are the classes that the teacher finds in them in the
    end. No image of ``data.train`` is read; ``data`` gives shape, classes and normalisation, and keeps its validation
    and test split. With ``steps=0`` the images are noise, the lower limit for comparisons. The result goes into
    `distil` like any data set; ``alpha=1`` suits it, since these labels add nothing to the teacher.

    Lopes, Fenu, Starner 2017 (https://arxiv.org/abs/1710.07535, section 3) match statistics of activations that were
    stored for this purpose. Here, as in Yin et al. 2020, they are the means and variances that BatchNorm layers hold
    anyway. Departure from Yin et al.: no jitter of the images, and no student that competes.

    Args:
        teacher: a trained network, or an `Ensemble`, whose members' losses are averaged; left as found.
        data: images with one label each.
        count: how many images, at least 2.
        seed: of noise and classes.
        steps: gradient steps of each batch.
        learning_rate: of Adam, for images on the scale that the teacher is given.
        batch_size: images that are made together, at least 2; their statistics are compared with the stored ones.
        statistics, smoothness: weights, 0 or more.
        after_step: called after each step of each batch.

    Returns:
        The data set, its name ending in "generated".

    Raises:
        ArgumentError: a number out of range; ``statistics`` above 0 for a teacher without BatchNorm statistics.

    Source: Lopes et al. 2017, section 3; Yin et al. 2020 (https://arxiv.org/abs/1912.08795), section 3, equations 1 to
    4.
    """
    _check(count, steps, learning_rate, batch_size, statistics, smoothness)
    check_seed(seed)
    networks = list(teacher.members) if isinstance(teacher, Ensemble) else [_unwrapped(teacher)]
    watched = [part for network in networks for part in network.modules() if _has_statistics(part)]
    if statistics and not watched:
        raise ArgumentError(
            f"{type(teacher).__name__} has no BatchNorm layer with stored statistics, so statistics has nothing to "
            "match. Pass statistics=0."
        )
    made = []
    random = torch.Generator().manual_seed(seed)
    weight = next(p for p in networks[0].parameters() if p.is_floating_point())
    spread = torch.tensor(data.std).view(1, -1, 1, 1)
    centre = torch.tensor(data.mean).view(1, -1, 1, 1)
    low, high = (end.to(weight) for end in ((0 - centre) / spread, (1 - centre) / spread))
    for part in _parts(count, batch_size):
        noise = torch.rand(part, *data.image_shape, generator=random)
        classes = torch.randperm(part, generator=random) % len(data.classes)
        images = ((noise - centre) / spread).to(weight)
        if steps:
            images = _descend(
                images, classes.to(weight.device), networks, watched, steps, learning_rate, statistics, smoothness,
                low, high, after_step,
            )  # fmt: skip
        made.append((255 * (images.cpu().float() * spread + centre)).round().clamp(0, 255).to(torch.uint8))
    pixels = torch.cat(made)
    return replace(
        data, name=f"{data.name}, generated", train=Split(pixels, _found(teacher, pixels, data, batch_size))
    )


def _descend(
    images: Tensor,
    classes: Tensor,
    networks: list[nn.Module],
    watched: list[nn.Module],
    steps: int,
    learning_rate: float,
    statistics: float,
    smoothness: float,
    low: Tensor,
    high: Tensor,
    after_step: Callable[[], object],
) -> Tensor:
    """Return the images after gradient descent; they stay between black and white."""
    losses: list[Tensor] = []

    def compare(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        mean, variance = (layer.get_buffer(name) for name in ("running_mean", "running_var"))
        losses.append(statistics_loss(given[0], mean, variance))

    images = images.requires_grad_()
    optimizer = torch.optim.Adam([images], lr=learning_rate)
    hooks = [layer.register_forward_pre_hook(compare) for layer in watched] if statistics else []
    try:
        for _ in range(steps):
            losses.clear()
            total = smoothness * total_variation(images)
            for network in networks:
                with evaluating(network):
                    total = total + F.cross_entropy(network(images), classes) / len(networks)
            if losses:
                total = total + statistics * torch.stack(losses).sum() / len(networks)
            (images.grad,) = torch.autograd.grad(
                total, images
            )  # the teacher's own gradients stay as they are
            optimizer.step()
            with torch.no_grad():
                images.clamp_(low, high)
            after_step()
    finally:
        for hook in hooks:
            hook.remove()
    return images.detach()


def _found(teacher: nn.Module, pixels: Tensor, data: Dataset, batch_size: int) -> Tensor:
    """Return the classes that the teacher finds likeliest, int64 [N]."""
    with teacher_inference(teacher) as forward:
        return torch.cat(
            [
                forward(data.normalise(part).to(forward.device)).argmax(1).cpu()
                for part in pixels.split(batch_size)
            ]
        )


def _length(difference: Tensor) -> Tensor:
    # The gradient of a root at 0 is infinite.
    squared = difference.square().sum()
    return squared.clamp(min=torch.finfo(difference.dtype).tiny).sqrt()


def _unwrapped(teacher: nn.Module) -> nn.Module:
    # A frozen copy's forward pass records no gradient, which the pixels need.
    return teacher.network if isinstance(teacher, Frozen) else teacher


def _has_statistics(part: nn.Module) -> bool:
    return isinstance(part, _BATCH_NORMS) and part.running_mean is not None


def _parts(count: int, batch_size: int) -> list[int]:
    """Return the sizes of batches of nearly one size, each of at least 2 images."""
    batches = min(math.ceil(count / batch_size), count // 2)
    return [count // batches + (place < count % batches) for place in range(batches)]


def _check(
    count: int, steps: int, learning_rate: float, batch_size: int, statistics: float, smoothness: float
) -> None:
    for name, value, least in (("count", count, 2), ("steps", steps, 0), ("batch_size", batch_size, 2)):
        if value < least:
            raise ArgumentError(f"{name} must be at least {least}; found {value}.")
    if not 0 < learning_rate < math.inf:
        raise ArgumentError(f"learning_rate must be a number above 0; found {learning_rate}.")
    for name, weight in (("statistics", statistics), ("smoothness", smoothness)):
        if not 0 <= weight < math.inf:
            raise ArgumentError(f"{name} is a weight, a number of at least 0; found {weight}.")
