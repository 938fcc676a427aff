"""Layers of a network by name: what they return is kept by hooks, and the usual ones are found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.errors import ArgumentError
from kdcourse.models.inputs import call_keeping_input
from kdcourse.models.mode import evaluating

INPUT = ":input"  # after a layer's name: what it is given, rather than what it returns
_PASSIVE = (
    nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d, nn.Upsample,
)  # fmt: skip
_LISTED = 30  # layers that an error names

Names = str | Sequence[str]
Pair = tuple[list[str], list[str]]  # layers of the student and of the teacher


class Tap:
    """Keep what some layers of a network return, from one forward pass to the next.

    As a context it holds hooks on the network, which are gone afterwards.

    Args:
        network: whose layers.
        names: as in ``network.named_modules()``; with ``:input`` behind it, what a layer is given.
        always: also where no gradients are recorded; a student's validation needn't be kept.

    Attributes:
        features: what was returned last, by name.
    """

    def __init__(self, network: nn.Module, names: Sequence[str], *, always: bool = False) -> None:
        self.features: dict[str, Tensor] = {}
        self._network, self._names, self._always = network, tuple(names), always
        self._hooks: list[Any] = []

    def __enter__(self) -> Tap:
        modules = dict(self._network.named_modules())
        for name in self._names:
            module = modules[name.removesuffix(INPUT)]
            if name.endswith(INPUT):
                hook = module.register_forward_pre_hook(
                    lambda _, given, name=name: self._keep(name, given[0])
                )
            else:
                hook = module.register_forward_hook(lambda _, __, out, name=name: self._keep(name, out))
            self._hooks.append(hook)
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self.features.clear()

    def _keep(self, name: str, value: object) -> None:
        if isinstance(value, Tensor) and (self._always or torch.is_grad_enabled()):
            self.features[name] = value.dequantize() if value.is_quantized else value


@contextmanager
def _trial(network: nn.Module) -> Iterator[None]:
    with evaluating(network), torch.no_grad(), torch.random.fork_rng(devices=[]):
        yield


class Trial:
    """Hold what every layer of a network returned in a trial pass, in the order in which they ended.

    Args:
        network: tried in eval mode, without gradient.
        images: a few normalised images, float32 [B, C, H, W].
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        self.network = network
        self.found: dict[str, Tensor] = {}
        self._modules = dict(network.named_modules())
        order: list[str] = []
        weight = next((p for p in network.parameters() if p.is_floating_point()), None)
        if weight is not None:
            images = images.to(weight.device, weight.dtype)
        names = [name for name in self._modules if name]
        taps = Tap(network, [*names, *(f"{name}{INPUT}" for name in names)], always=True)
        with taps, _trial(network):
            keep = taps._keep

            def noted(name: str, value: object) -> None:
                keep(name, value)
                order.append(name)

            taps._keep = noted  # type: ignore[method-assign]
            self.logits: Tensor = call_keeping_input(network, images)
            self.found = {name: taps.features[name] for name in order if name in taps.features}

    @property
    def _head(self) -> str | None:
        """Return the layer that turns features into logits: with weights, called last; the first of several."""
        leaves = [
            name
            for name in self.found
            if not name.endswith(INPUT) and isinstance(self._modules[name], nn.Linear | nn.Conv2d)
        ]
        head = leaves.pop() if leaves else None
        while head and leaves and self.found[leaves[-1]].ndim == 4 and self._is_like_logits(leaves[-1]):
            head = leaves.pop()
        return head

    def _is_like_logits(self, name: str) -> bool:
        return self.found[name].shape[1] == self.logits.shape[1]

    def _maps(self) -> dict[str, Tensor]:
        """Return maps [B, K, H, W] of more than one place that lie before the head, outermost names first."""
        found: dict[str, Tensor] = {}
        for name, value in self.found.items():
            if self._head is not None and name == f"{self._head}{INPUT}":
                break
            if name.endswith(INPUT) or isinstance(self._modules[name], _PASSIVE):
                continue
            if value.ndim == 4 and value.shape[2:].numel() > 1:
                found = {
                    inner: map_ for inner, map_ in found.items() if map_ is not value
                }  # same map, deeper inside
                found[name] = value
        return found

    def named(self, names: Names) -> list[str]:
        """Return ``names`` as a list.

        Raises:
            ArgumentError: a layer that isn't there or returns no tensor; those that do are listed.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in self.found:
                raise ArgumentError(
                    f"{type(self.network).__name__} has no layer {name!r} that returns a tensor; its layers are "
                    f"{self._listed()}. Add {INPUT!r} for what a layer is given."
                )
        return wanted

    def behind(self, names: Sequence[str]) -> dict[str, nn.Module]:
        """Return the modules whose inputs are named, by these names."""
        return {name: self._modules[name.removesuffix(INPUT)] for name in names if name.endswith(INPUT)}

    def layers(self, kind: str) -> list[str]:
        """Return the names of the layers of a kind; see `kdcourse.distillation.methods.Method`.

        Raises:
            ArgumentError: there is none.
        """
        if kind == "vector":
            name = f"{self._head}{INPUT}"
            if self._head is not None and self.found[name].ndim == 2:
                return [name]
        elif maps := self._maps():
            if kind == "map":
                return [list(maps)[-1]]
            by_size: dict[tuple[int, ...], str] = {}  # of each size the outermost layer, of several the last
            for name in sorted(maps, key=lambda name: -name.count(".")):
                by_size[tuple(maps[name].shape[2:])] = name
            return [name for name in maps if name in by_size.values()]
        raise ArgumentError(
            f"No {kind} was found in {type(self.network).__name__}; its layers are {self._listed()}. Name one with "
            'layers={"student": ..., "teacher": ...}.'
        )

    def _listed(self) -> str:
        own = [f"{n} {list(v.shape[1:])}" for n, v in self.found.items() if not n.endswith(INPUT)]
        return ", ".join(own[:_LISTED]) + (f" and {len(own) - _LISTED} more" if len(own) > _LISTED else "")


def pair_layers(kind: str, student: Trial, teacher: Trial, layers: Mapping[str, Names] | None) -> Pair:
    """Return the layers to compare, of the student and of the teacher.

    Args:
        kind: what the method compares: ``map``, ``vector`` or ``stages``.
        student, teacher: their trial passes.
        layers: names given by the user, by ``student`` and ``teacher``; one may be left out.

    Raises:
        ArgumentError: a layer that isn't there, numbers of layers that differ, stages without a common size.
    """
    given = dict(layers or {})
    if unknown := sorted(given.keys() - {"student", "teacher"}):
        raise ArgumentError(
            f"layers has names under 'student' and 'teacher'; found {', '.join(map(repr, unknown))}."
        )
    found = [
        trial.named(given[role]) if role in given else trial.layers(kind)
        for role, trial in (("student", student), ("teacher", teacher))
    ]
    if kind == "stages" and not given:
        sizes = [
            {tuple(trial.found[name].shape[2:]): name for name in names}
            for trial, names in zip((student, teacher), found, strict=True)
        ]
        common = [size for size in sizes[0] if size in sizes[1]]
        found = [[names[size] for size in common] for names in sizes]
        if not common:
            raise ArgumentError(
                f"The student's maps have the sizes {', '.join(map(str, sizes[0]))}, the teacher's "
                f"{', '.join(map(str, sizes[1]))}: none in common. Name layers of equal size."
            )
    if len(found[0]) != len(found[1]):
        raise ArgumentError(
            f"As many layers of the student as of the teacher are needed; found {', '.join(found[0])} and "
            f"{', '.join(found[1])}."
        )
    return found[0], found[1]
