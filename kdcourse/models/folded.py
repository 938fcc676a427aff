"""Make BatchNorm a part of the convolutions before it, for networks that are only asked."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kdcourse.models.inputs import placement
from kdcourse.models.mode import evaluating


def folded(network: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy of a network, for eval mode, in which BatchNorm is a part of the convolution right before it.

    In eval mode BatchNorm multiplies each channel by a number and adds another, which the convolution's weights and
    bias can do. (Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2.) A BatchNorm whose input isn't the
    very output of a convolution stays, and so does one that is used twice or has hooks. The network itself is
    returned where there is nothing to fold, where it can't be copied, and where the copy answers otherwise, as when
    something else reads a convolution's output, too.

    Args:
        network: is left as it is.
        images: floating point [B, C, H, W]; the first two show which layer follows which.
    """
    kinds = {type(part) for part in network.modules()}
    if not {nn.Conv2d, nn.BatchNorm2d} <= kinds or placement(network)[1] not in (
        torch.float32,
        torch.float64,
    ):
        return network
    images = images[:2].detach()
    try:
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast(images.device.type, enabled=False),
        ):
            twin = copy.deepcopy(network)
            with evaluating(twin):
                pairs, expected = _pairs(twin, images)
                names = {part: name for name, part in twin.named_modules()}
                for conv, norm in pairs:
                    twin.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm))
                    twin.set_submodule(names[norm], nn.Identity())
                same = torch.allclose(
                    twin(images.clone()), expected, rtol=0, atol=1e-4 * (1e-6 + float(expected.abs().max()))
                )
    except Exception:  # whatever it is, the network's own call will raise it where it concerns the network
        return network
    return twin if pairs and same else network


def _pairs(network: nn.Module, images: Tensor) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], Tensor]:
    """Return convolutions with the BatchNorm that takes their output, and the network's logits."""
    outputs: list[tuple[Tensor, nn.Conv2d]] = []
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    calls: Counter[nn.Module] = Counter()

    def note(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[part] += 1
        if isinstance(part, nn.Conv2d):
            outputs.append((output, part))
        elif isinstance(part, nn.BatchNorm2d):
            pairs.extend((conv, part) for made, conv in outputs if made is inputs[0])

    chosen = [
        part
        for part in network.modules()
        if type(part) is nn.Conv2d or (type(part) is nn.BatchNorm2d and part.running_mean is not None)
        if not (part._forward_hooks or part._forward_pre_hooks)
    ]
    hooks = [part.register_forward_hook(note) for part in chosen]
    logits: Tensor = network(images.clone())
    for hook in hooks:
        hook.remove()
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1], logits
