"""Show soft targets of one image at a temperature that the learner chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
import torch
from torch import Tensor

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import average_members
from kdcourse.widgets.base import (
    TEMPERATURE,
    WIDE,
    CourseWidget,
    button,
    image_slider,
    pixels,
    rounded,
    row,
    slider_layout,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TemperatureExplorer(CourseWidget):
    """Show softened predictions; see `temperature_explorer`.

    Controls: ``index``, ``before``, ``after``, ``temperature``.
    """

    front = "temperature"

    def __init__(
        self,
        images: Tensor,
        member_logits: Tensor,
        labels: Tensor,
        classes: Sequence[str],
        names: Sequence[str] | None = None,
    ) -> None:
        check_images(images, labels, classes)
        ensemble = average_members(member_logits)
        members = len(member_logits)
        if member_logits.shape[1:] != (len(images), len(classes)):
            raise ArgumentError(
                f"member_logits must be [members, {len(images)}, {len(classes)}], for these images and classes; "
                f"found {list(member_logits.shape)}."
            )
        self._names = check_names(names, members)
        self._images, self._labels, self._classes = images, labels, tuple(classes)
        self._logits, self._ensemble = member_logits, ensemble
        self.index = image_slider(len(images))
        self.before = button("◀ Previous", "Show the previous image")
        self.after = button("Next ▶", "Show the next image")
        self.temperature = ipywidgets.FloatLogSlider(
            value=1.0, **TEMPERATURE, style=WIDE, layout=slider_layout()
        )
        super().__init__(
            "Temperature explorer",
            "Temperature explorer: an interactive widget that softens the teachers' predictions for an image.",
            [row(self.index, self.before, self.after), self.temperature],
        )
        self.before.on_click(lambda _: self._step(-1))
        self.after.on_click(lambda _: self._step(1))
        self.index.observe(self.redraw, "value")
        self.temperature.observe(self.redraw, "value")

    def state(self) -> dict[str, Any]:
        return {
            "images": pixels(self._images),
            "size": list(self._images.shape[2:]),
            "names": self._names,
            "classes": self._classes,
            "labels": self._labels.tolist(),
            "logits": rounded(self._logits),
            "ensemble": rounded(self._ensemble),
        }

    def figure(self) -> Figure:
        from kdcourse import figures

        at = min(self.index.value, len(self._images) - 1)
        rows = {name: logits for name, logits in zip(self._names, self._logits[:, at], strict=True)}
        if len(rows) > 1:
            rows["ensemble"] = self._ensemble[at]
        return figures.softened_bars(
            self._images[at], rows, int(self._labels[at]), self._classes, self.temperature.value
        )

    def _step(self, by: int) -> None:
        self.index.value = (self.index.value + by) % len(self._images)


def temperature_explorer(
    images: Tensor,
    member_logits: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    names: Sequence[str] | None = None,
) -> TemperatureExplorer:
    """Return a widget that shows each teacher's softened probabilities for an image, temperature 0.5 to 20.

    With more than one teacher, their ensemble (mean of logits) is shown beside them. Every panel states the
    entropy in nats.

    Args:
        images: uint8 [N, 1 or 3, H, W].
        member_logits: logits of M teachers, floating [M, N, C].
        labels: true classes, int64 [N].
        classes: C names.
        names: M names of teachers; "teacher 1" and so on if left out.

    Raises:
        ArgumentError: shapes that don't fit together, labels out of range, logits that aren't finite.
    """
    return TemperatureExplorer(images, member_logits, labels, classes, names)


def check_images(images: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
    """Raise ArgumentError unless these are N >= 1 uint8 images, each with a label in 0..C-1."""
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
        found = (
            f"{images.dtype} {list(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        )
        raise ArgumentError(
            f"images must be a uint8 tensor [N, 1 or 3, H, W], at least one; found {found}. "
            "Pass the images of a Split, not normalised."
        )
    if not isinstance(labels, Tensor) or labels.shape != images.shape[:1] or labels.is_floating_point():
        found = (
            f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        )
        raise ArgumentError(f"labels must be integers [{len(images)}], one per image; found {found}.")
    if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
        raise ArgumentError(
            f"labels must lie in 0..{len(classes) - 1}, the positions of the class names; found "
            f"{int(labels.min())} to {int(labels.max())}."
        )


def check_names(names: Sequence[str] | None, members: int, noun: str = "teacher") -> tuple[str, ...]:
    """Return one unique name per member, none of them "ensemble"; "teacher 1" and so on where ``names`` is None."""
    if names is None:
        return tuple(f"{noun} {n + 1}" for n in range(members))
    if len(names) != members or len({*names, "ensemble"}) != members + 1:
        raise ArgumentError(
            f"names must be {members} different ones, none of them 'ensemble'; found {list(names)}."
        )
    return tuple(names)
