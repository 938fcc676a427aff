"""Compute many MLPs of one shape as one network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.errors import ArgumentError
from kdcourse.models.mlp import MLP


def can_stack(model: nn.Module) -> bool:
    """Return whether `StackedMLP` computes what ``model`` does: an `MLP` without dropout.

    Dropout draws from one stream of random numbers, which students in a stack would have to share.
    """
    return type(model) is MLP and not any(isinstance(layer, nn.Dropout) for layer in model.layers)


class StackedMLP(nn.Module):
    """Compute S MLPs of one shape as one: few large matrix products in place of many small ones.

    The members lie in G groups of P, G first; a group's members see the same images. So the first
    layer, where nearly all weights of a small MLP are, is one matrix product per group: P * hidden rows
    against one batch. Later layers are batched products. Activations are kept [member, unit, image]
    (images last), so that no step has to transpose them and a softmax over the classes runs along
    consecutive images.

    Args:
        members: MLPs without dropout, S = G * P of them; their weights are copied.
        groups: G.

    Raises:
        ArgumentError: no member, members of different shapes, S not a multiple of G, a network that
            `can_stack` refuses.
    """

    def __init__(self, members: Sequence[nn.Module], groups: int = 1) -> None:
        super().__init__()
        if not members or groups < 1 or len(members) % groups:
            raise ArgumentError(
                f"A stack needs as many members in every group; found {len(members)} members for {groups} groups."
            )
        shapes = {tuple(tuple(p.shape) for p in member.parameters()) for member in members}
        if len(shapes) > 1 or not all(can_stack(member) for member in members):
            kinds = sorted({type(member).__name__ for member in members})
            raise ArgumentError(
                f"Only MLPs of one shape without dropout can be stacked; found {', '.join(kinds)} of {len(shapes)} "
                "shape(s). Train other networks one by one."
            )
        self.groups = groups
        layers = [[layer for layer in _linear(member)] for member in members]
        columns = list(zip(*layers, strict=True))
        self.weights = nn.ParameterList(
            [torch.stack([layer.weight.detach() for layer in column]) for column in columns]
        )
        self.biases = nn.ParameterList(
            [torch.stack([layer.bias.detach()[:, None] for layer in column]) for column in columns]
        )

    @property
    def pixels(self) -> int:
        """Return how many numbers an image has."""
        return self.weights[0].shape[2]

    def __len__(self) -> int:
        """Return S, the number of members."""
        return len(self.weights[0])

    def forward(self, images: Tensor) -> Tensor:
        """Return every member's logits.

        Args:
            images: floating point [G, B, pixels], each group's own, or [1, B, pixels] for all.

        Returns:
            [S, classes, B]: classes before images.
        """
        first = self.weights[0]
        members, units, pixels = first.shape
        groups = self.groups if len(images) == self.groups else 1
        x = torch.bmm(first.view(groups, -1, pixels), images.transpose(1, 2)).view(members, units, -1)
        x = x + self.biases[0].to(x.dtype)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            x = torch.bmm(weight, F.relu(x))
            x = x + bias.to(x.dtype)
        return x

    @torch.no_grad()
    def unload(self, position: int, into: nn.Module) -> nn.Module:
        """Copy the weights of member ``position`` into an MLP of the same shape, and return that."""
        for layer, weight, bias in zip(_linear(into), self.weights, self.biases, strict=True):
            layer.weight.copy_(weight[position])
            layer.bias.copy_(bias[position, :, 0])
        return into


def _linear(member: nn.Module) -> list[nn.Linear]:
    return [layer for layer in member.modules() if isinstance(layer, nn.Linear)]
