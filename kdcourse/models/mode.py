"""Switch a network to eval mode for a while, module by module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode inside a ``with`` block; at its end, or at an error, restore the mode of every module.

    The modes are restored module by module, because ``model.train()`` would also change modules that were left in eval
    mode on purpose, such as frozen ones.
    """
    modes = [(module, module.training) for module in model.modules()]
    to_eval_mode(model)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def to_eval_mode(model: nn.Module) -> None:
    """Put a model into eval mode; one from `torch.export` has no modes, and keeps the one that it was exported in."""
    try:
        model.eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = False
