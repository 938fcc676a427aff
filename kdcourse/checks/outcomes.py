"""Hold what is observed of an answer, as plain values that another process may judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GRADIENT = "gradient"
ANSWER = "answer"
# Whether torch still records gradients after the call: `torch.set_grad_enabled(False)` outlives the function.
RECORDING = "whether torch records gradients afterwards"


@dataclass(frozen=True)
class Foreign:
    """Stand for a returned object that isn't data: ``kind`` is the name of its type."""

    kind: str


@dataclass(frozen=True)
class Raised:
    """Hold an error of the answer: its type and text, and the line of the answer's own code, where known."""

    kind: str
    text: str
    line: int | None = None
    code: str = ""


@dataclass(frozen=True)
class Outcome:
    """Hold what was observed for one probe: parts by name, or the error, and what was printed last.

    ``changed``: positions of the inputs that the answer changed.
    """

    parts: Mapping[str, Any] = field(default_factory=dict)
    error: Raised | None = None
    changed: tuple[int, ...] = ()
    printed: str = ""


@dataclass(frozen=True)
class Observed:
    """Hold everything observed of one answer.

    ``outcomes`` has one entry per probe, ``again`` those of a second round with other random numbers. After a time-out
    ``stuck`` is "ended", or "running" for an answer that can't be stopped, and both are shorter.
    ``blank``: its source still has a blank to fill in. ``misfit``: why it can't even be called, or "".
    """

    outcomes: tuple[Outcome, ...] = ()
    again: tuple[Outcome, ...] = ()
    stuck: str = ""
    blank: bool = False
    misfit: str = ""
