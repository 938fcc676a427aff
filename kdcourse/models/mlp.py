"""Define fully connected students, as in Hinton, Vinyals, Dean 2015, section 3."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from kdcourse.errors import ArgumentError


class MLP(nn.Module):
    """Flatten, then apply linear layers with ReLU between them.

    float32 [B, in_channels, height, width] -> [B, num_classes].

    Args:
        hidden: width of each hidden layer.
        size: height and width of the images, pixels; one number for square ones.
        dropout: probability after every hidden layer.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        *,
        hidden: Sequence[int] = (32,),
        size: int | tuple[int, int] = 28,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ArgumentError(f"dropout is a probability from 0 to below 1; found {dropout}.")
        height, width_px = (size, size) if isinstance(size, int) else size
        self.inputs = in_channels * height * width_px
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
        if x.shape[1:].numel() != self.inputs:
            raise ArgumentError(
                f"This MLP was built for images of {self.inputs} numbers each; found {x.shape[1:].numel()} "
                f"(shape {list(x.shape[1:])}). Build it with the size=... and in_channels=... of your images."
            )
        return self.layers(x.flatten(1))
