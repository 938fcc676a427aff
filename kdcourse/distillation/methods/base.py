"""Define a distillation method: its settings, what it needs from both networks, and its loss terms."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from kdcourse.data import Batch
from kdcourse.distillation.top import TopLogits


@dataclass(frozen=True)
class Outputs:
    """Hold what one network returned for a batch.

    Attributes:
        logits: [B, C], [B, C, H, W], or of tokens [B, T, V]; float32, or float64 if the student is trained in it.
        features: outputs of the layers that the method requested, by name, in the type of the logits.
        top: of a teacher, if only its top k logits are stored: these logits, their classes, and the total weight of the
            other classes. ``logits`` are then [B, k], and only methods with ``top_k`` get them.
        modules: in `Method.prepare`, the modules that the requested layers are inputs of, by the layers' names.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    top: TopLogits | None = None
    modules: Mapping[str, nn.Module] = field(default_factory=dict)

    @property
    def feature(self) -> Tensor:
        """Return the output of the first requested layer, often the only one."""
        return next(iter(self.features.values()))


class Method(nn.Module):
    """Compute how far a student is from its teacher: the base class of all methods.

    A subclass in a file of its own in this folder is a method, named after the file; no other file has to be changed.
    The keyword arguments of its ``__init__`` are its settings, each with a default; ``__init__`` checks them and stores
    them as attributes of the same names. The method's own parameters are trained together with the student, and never
    become a part of it.

    Attributes:
        title: its name in a few words, for lists and menus.
        paper: authors, year and URL.
        tasks: the tasks that it supports: ``labels``, ``masks``, ``multilabel``, ``tokens`` or several of them.
        layers: what it compares besides logits: ``None`` nothing, ``map`` the last feature map, ``vector`` the input of
            the last linear layer, ``stages`` the last feature map of each size that both networks have.
        top_k: True if it also works with only the top k logits of a teacher, in ``Outputs.top``.
        per_label: True if its terms are means over all labels that count, pixels or tokens, rather than over images.
        rewrites: True if the student learns from other batches than those of the data, see `rewrite`.
        tries: the settings among which `kdcourse study methods` searches, three of them, of a method without layers;
            where there are none, its temperature halved, as it is and doubled, or the weight of its term.
        closed_form: True if its gradient is written out for `distil_grid`, which then trains many students at once.
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ("labels",)
    layers: ClassVar[str | None] = None
    top_k: ClassVar[bool] = False
    per_label: ClassVar[bool] = False
    rewrites: ClassVar[bool] = False
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    closed_form: ClassVar[bool] = False

    def prepare(self, student: Outputs, teacher: Outputs) -> None:
        """Create the method's own parameters, if it has any, for outputs of these shapes."""

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the method's loss terms by name, each a scalar; the caller weights their sum."""
        raise NotImplementedError

    def rewrite(self, student: nn.Module, batch: Batch) -> Batch:
        """Return the batch that is trained on in place of ``batch``, before the student's forward pass."""
        return batch

    @classmethod
    def settings(cls) -> dict[str, Any]:
        """Return the names of its settings with their defaults."""
        parameters = inspect.signature(cls.__init__).parameters
        return {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}

    @property
    def name(self) -> str:
        """Return the name of its file or, for a class defined elsewhere, of its class in lower case."""
        package, _, module = type(self).__module__.rpartition(".")
        return module if package == __package__ else type(self).__name__.lower()

    def __repr__(self) -> str:
        return (
            f"{self.name}({', '.join(f'{name}={_short(getattr(self, name))}' for name in self.settings())})"
        )


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
