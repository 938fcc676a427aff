"""Switch a network to eval mode for a while, module by module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode inside; afterwards every module has the mode it had, also after an error.

    Module by module, because ``model.train()`` would also wake what was frozen on purpose.
    """
    modes = [(module, module.training) for module in model.modules()]
    to_eval_mode(model)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def to_eval_mode(model: nn.Module) -> None:
    """Put a model into eval mode; what `torch.export` made of a network has no modes, and stays as it was exported."""
    try:
        model.eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = False
