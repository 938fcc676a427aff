"""Let a learner browse misclassified images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
from torch import Tensor

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import confused_pairs, find_mistakes
from kdcourse.widgets.base import WIDE, CourseWidget, button, pixels, rounded, row, slider_layout
from kdcourse.widgets.temperature import check_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ANY, _WRONG, _RIGHT = "either", "wrong", "right"


class MistakeBrowser(CourseWidget):
    """Show misclassified images; see `mistake_browser`.

    Controls: ``filters`` by model, ``pair``, ``index``, ``before``, ``after``, ``temperature``.
    """

    front = "mistakes"

    def __init__(
        self, images: Tensor, labels: Tensor, classes: Sequence[str], logits_by_name: Mapping[str, Tensor]
    ) -> None:
        check_images(images, labels, classes)
        find_mistakes(labels, logits_by_name)
        for name, logits in logits_by_name.items():
            if logits.shape[1] != len(classes) or not bool(logits.isfinite().all()):
                raise ArgumentError(
                    f"The logits of {name!r} must be finite, with {len(classes)} columns, one per class; found "
                    f"{list(logits.shape)}."
                )
        self._images, self._labels, self._classes = images, labels, tuple(classes)
        self._logits = dict(logits_by_name)
        self.filters = {
            name: ipywidgets.ToggleButtons(
                options=[_ANY, _WRONG, _RIGHT],
                value=_ANY,
                description=f"{name} is",
                tooltips=[f"{name} is {choice}" for choice in (_ANY, _WRONG, _RIGHT)],
                style={**WIDE, "button_width": "5em"},
                layout=ipywidgets.Layout(margin="2px 2em 2px 2px"),  # keeps the models' buttons apart
            )
            for name in self._logits
        }
        self.pair = ipywidgets.Dropdown(
            description="Taken for", style=WIDE, layout=ipywidgets.Layout(width="30em")
        )
        self.index = ipywidgets.IntSlider(
            value=1, min=1, max=2, description="Image", style=WIDE, layout=slider_layout()
        )
        self.before = button("◀ Previous", "Show the previous mistake")
        self.after = button("Next ▶", "Show the next mistake")
        self.temperature = ipywidgets.RadioButtons(
            options=[("1 (as predicted)", 1.0), ("4 (soft targets)", 4.0)],
            value=1.0,
            description="Temperature",
            style=WIDE,
        )
        self._refill = False
        self._offer_pairs()
        self._select()
        super().__init__(
            "Mistake browser",
            "Mistake browser: an interactive widget that shows images that a model gets wrong, with its soft targets.",
            [
                row(*self.filters.values()),
                self.pair,
                row(self.index, self.before, self.after),
                self.temperature,
            ],
        )
        for control in self.filters.values():
            control.observe(self._filter, "value")
        self.pair.observe(self._chosen, "value")
        self.index.observe(self.redraw, "value")
        self.temperature.observe(self.redraw, "value")
        self.before.on_click(lambda _: self._step(-1))
        self.after.on_click(lambda _: self._step(1))
        self._describe()

    @property
    def found(self) -> list[int]:
        """Return the positions of the images that match the filters."""
        return self._found

    def state(self) -> dict[str, Any]:
        shown = find_mistakes(self._labels, self._logits)
        return {
            "images": pixels(self._images[shown]),
            "size": list(self._images.shape[2:]),
            "count": len(self._labels),
            "classes": self._classes,
            "names": list(self._logits),
            "labels": self._labels[shown].tolist(),
            "logits": [rounded(logits[shown]) for logits in self._logits.values()],
        }

    def figure(self) -> Figure:
        from kdcourse import figures

        found, at = self._found, self.index.value - 1
        if not found:
            return figures.card(
                "No image", ["No image matches. Set a filter back to 'either', or choose any class."]
            )
        position = found[min(at, len(found) - 1)]
        rows = {name: logits[position] for name, logits in self._logits.items()}
        return figures.softened_bars(
            self._images[position], rows, int(self._labels[position]), self._classes, self.temperature.value
        )

    def _pair(self) -> tuple[int, int] | None:
        value: Any = self.pair.value
        return None if value == _ANY else value

    def _sides(self) -> dict[str, list[str]]:
        chosen = {name: control.value for name, control in self.filters.items()}
        return {side: [name for name, value in chosen.items() if value == side] for side in (_WRONG, _RIGHT)}

    def _offer_pairs(self) -> None:
        pairs = confused_pairs(self._labels, self._logits, **self._sides())
        words = [
            (f"{self._classes[label]} taken for {self._classes[said]} ({count:,})", (label, said))
            for label, said, count in pairs
        ]
        before = self.pair.value
        self._refill = True
        self.pair.options = [("any class", _ANY), *words]
        self.pair.value = before if before in [value for _, value in words] else _ANY
        self._refill = False

    def _select(self) -> None:
        self._found = find_mistakes(self._labels, self._logits, pair=self._pair(), **self._sides()).tolist()
        self.index.max = max(2, len(self._found))
        self.index.value = 1
        for control in (self.index, self.before, self.after):
            control.disabled = len(self._found) < 2

    def _filter(self, _change: object) -> None:
        self._offer_pairs()
        self._chosen()

    def _chosen(self, _change: object = None) -> None:
        if self._refill:
            return
        self._select()
        self._describe()
        self.redraw()

    def _describe(self) -> None:
        count = len(self._found)
        self.say(f"{count:,} image{'s' * (count != 1)} of {len(self._labels):,} match{'es' * (count == 1)}.")

    def _step(self, by: int) -> None:
        if self._found:
            self.index.value = (self.index.value - 1 + by) % len(self._found) + 1


def mistake_browser(
    images: Tensor, labels: Tensor, classes: Sequence[str], logits_by_name: Mapping[str, Tensor]
) -> MistakeBrowser:
    """Return a widget that shows misclassified images, filtered by model and by pair of classes, with soft targets.

    Args:
        images: uint8 [N, 1 or 3, H, W].
        labels: true classes, int64 [N].
        classes: C names.
        logits_by_name: such as ``{"teacher": ..., "plain": ..., "distilled": ...}``; each floating [N, C].

    Raises:
        ArgumentError: shapes that don't fit together, labels out of range, no model.
    """
    return MistakeBrowser(images, labels, classes, logits_by_name)
