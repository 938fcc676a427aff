"""Prune a network: single weights kept at 0 while it trains, or whole channels taken out.

The repair is ordinary training: pass the pruned network to `kdcourse.distillation.distil` with the teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from kdcourse.deploy.int8 import layers_with_weights
from kdcourse.errors import ArgumentError
from kdcourse.models import MLP, PocketCNN


def prune_weights(model: nn.Module, amount: float) -> None:
    """Set the smallest weights of all convolutions and linear layers together to 0, in place, and keep them there.

    By `torch.nn.utils.prune`, whose masks go on acting in every forward pass, so that training leaves these weights at
    0; call `finish_pruning` afterwards. Bytes and multiply-accumulates stay the same: zeros are stored and multiplied
    like other numbers (`kdcourse.evaluation.cost`). (Han et al. 2015, https://arxiv.org/abs/1506.02626.)

    Args:
        model: pruned already or not; a second call prunes further.
        amount: share of the weights that aren't pruned yet, above 0 and below 1.

    Raises:
        ArgumentError: another amount, or a model without such layers.
    """
    _check_share("amount", amount)
    layers = [(layer, "weight") for layer in layers_with_weights(model).values()]
    if not layers:
        raise ArgumentError(f"{type(model).__name__} has no convolution or linear layer to prune.")
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=amount)


def finish_pruning(model: nn.Module) -> None:
    """Remove the masks of `prune_weights`; the weights stay as they are, and get their usual names back.

    Raises:
        ArgumentError: the model has no masks.
    """
    if not prune.is_pruned(model):
        raise ArgumentError("The model has no pruned weights. Call prune_weights first.")
    for layer in layers_with_weights(model).values():
        if prune.is_pruned(layer):
            prune.remove(layer, "weight")


@torch.no_grad()
def zero_share(model: nn.Module) -> float:
    """Return which share of the weights of convolutions and linear layers is 0."""
    weights = [layer.weight for layer in layers_with_weights(model).values()]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


@torch.no_grad()
def narrowed(model: nn.Module, amount: float) -> nn.Module:
    """Return a smaller network of the same class, without a share of the channels or hidden units of every layer.

    Those whose weights have the smallest sum of absolute values go. Channels that a shortcut adds up go together, by
    the sum over all convolutions that write to them. (Li et al. 2017, https://arxiv.org/abs/1608.08710, section 3.)
    Nothing is left of them, so bytes and multiply-accumulates fall. The rest of the weights is kept.

    Args:
        model: a `PocketCNN` or an `MLP`; it isn't changed.
        amount: share to take out, above 0 and below 1; at least one channel stays.

    Raises:
        ArgumentError: another amount, or another class.
    """
    _check_share("amount", amount)
    if isinstance(model, PocketCNN):
        return _narrowed_pocket(model, amount)
    if isinstance(model, MLP):
        return _narrowed_mlp(model, amount)
    raise ArgumentError(
        f"narrowed takes a PocketCNN or an MLP, such as pocket_17k and mlp_25k; found {type(model).__name__}. Use "
        "prune_weights for others."
    )


def _narrowed_pocket(model: PocketCNN, amount: float) -> PocketCNN:
    stages: list[Any] = list(model.stages)
    kept = [
        _largest([stage.expand.weight, *(conv.weight for conv in stage.refine)], amount) for stage in stages
    ]
    before = [torch.arange(stages[0].expand.in_channels), *kept]
    twin = PocketCNN(
        model.head.out_features, len(before[0]), widths=[len(one) for one in kept],
        depths=[len(stage.refine) for stage in stages],
    )  # fmt: skip
    weights = model.state_dict()
    for name, tensor in weights.items():
        if name.startswith("stages."):
            place, part = int(name.split(".")[1]), name.split(".")[2]
            tensor = tensor[kept[place]] if tensor.ndim else tensor
            if tensor.ndim == 4:
                tensor = tensor[:, before[place] if part == "expand" else kept[place]]
        elif name == "head.weight":
            tensor = tensor[:, kept[-1]]
        weights[name] = tensor
    twin.load_state_dict(weights)
    return twin.train(model.training)


def _narrowed_mlp(model: MLP, amount: float) -> MLP:
    twin = MLP(size=(1, model.inputs))
    twin.layers = nn.Sequential(*model.layers)
    kept = torch.arange(model.inputs)
    linear = [place for place, layer in enumerate(model.layers) if isinstance(layer, nn.Linear)]
    for place in linear:
        layer = model.layers[place]
        assert isinstance(layer, nn.Linear)
        outputs = (
            torch.arange(layer.out_features) if place == linear[-1] else _largest([layer.weight], amount)
        )
        smaller = nn.Linear(len(kept), len(outputs))
        smaller.weight.copy_(layer.weight[outputs][:, kept])
        smaller.bias.copy_(layer.bias[outputs])
        twin.layers[place], kept = smaller, outputs
    return twin.train(model.training)


def _largest(weights: Sequence[Tensor], amount: float) -> Tensor:
    """Return the numbers of the output channels to keep, in order."""
    size = torch.stack([weight.flatten(1).abs().sum(1) for weight in weights]).sum(0)
    return size.topk(max(1, round(len(size) * (1 - amount)))).indices.sort().values


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ArgumentError(f"{name} is a share, above 0 and below 1; found {value}.")
