"""Fully connected students, as in Hinton, Vinyals, Dean 2015, section 3."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from kdcourse.errors import ArgumentError


class MLP(nn.Module):
    """Flatten, then linear layers with ReLU between them.

    float32 [B, in_channels, size, size] -> [B, num_classes].

    Args:
        hidden: width of each hidden layer.
        size: height and width of the pictures, pixels.
        dropout: probability after every hidden layer.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        *,
        hidden: Sequence[int] = (32,),
        size: int = 28,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.inputs = in_channels * size * size
        layers: list[nn.Module] = []
        width = self.inputs
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = units
        layers.append(nn.Linear(width, num_classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        if x[0].numel() != self.inputs:
            raise ArgumentError(
                f"This MLP was built for pictures of {self.inputs} numbers each; found {x[0].numel()} "
                f"(shape {list(x.shape[1:])}). Build it with the size=... and in_channels=... of your pictures."
            )
        return self.layers(x.flatten(1))
