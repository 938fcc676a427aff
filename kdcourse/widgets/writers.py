"""Let several language models continue a beginning that the reader types."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import ipywidgets
import torch
from torch import Tensor, nn

from kdcourse.data import TextDataset
from kdcourse.distillation import continued
from kdcourse.errors import ArgumentError
from kdcourse.models.inputs import placement
from kdcourse.models.mode import evaluating
from kdcourse.widgets.base import TEMPERATURE, WIDE, TrainingWidget, row, slider_layout
from kdcourse.widgets.jobs import Job

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AT_ONCE = 6  # tokens that are written before they are shown


class Writers(TrainingWidget):
    """Show what models expect next, and let them write; see `writers`.

    Controls: ``beginning``, ``temperature``, ``length``, ``seed``; ``train`` (which reads "Continue"), ``stop``,
    ``progress``. ``written`` shows the texts.
    """

    def __init__(
        self, models: Mapping[str, nn.Module], text: TextDataset, beginning: str, length: int
    ) -> None:
        if not models:
            raise ArgumentError("There must be a model that writes; found none. Pass {name: model}.")
        self._models, self._text = dict(models), text
        # Drawing and writing have a thread each, and either puts the models into eval mode and back.
        self._asking = threading.Lock()
        for name, model in models.items():
            try:
                _last_logits(model, torch.tensor([[text.vocabulary.end]]))
            except (IndexError, RuntimeError) as error:
                raise ArgumentError(
                    f"{name!r} can't read this text: {error}. All models must have its {len(text.vocabulary)} tokens."
                ) from error
        self.beginning = ipywidgets.Text(
            value=beginning, description="Beginning", continuous_update=False, style=WIDE,
            layout=ipywidgets.Layout(width="40em", max_width="100%"),
        )  # fmt: skip
        self.temperature = ipywidgets.FloatLogSlider(
            value=1.0, **TEMPERATURE, style=WIDE, layout=slider_layout(), continuous_update=False
        )
        most = text.context // 2
        self.length = ipywidgets.IntSlider(
            value=min(length, most), min=1, max=most, description="Tokens", style=WIDE, layout=slider_layout()
        )
        self.seed = ipywidgets.BoundedIntText(
            value=0, min=0, max=9999, description="Seed", style=WIDE, layout=ipywidgets.Layout(width="16em")
        )
        self.written = ipywidgets.HTML()
        self.make_buttons("them")
        self.train.description, self.train.tooltip = "Continue", "Let all models continue the beginning"
        self.stop.tooltip = "Stop writing"
        super().__init__(
            "Three writers" if len(self._models) == 3 else "Writers",
            "Writers: an interactive widget in which language models continue a beginning that you type.",
            [
                self.beginning, self.temperature, self.length, row(self.seed, self.train, self.stop, self.progress),
                self.written,
            ],
        )  # fmt: skip
        for control in (self.beginning, self.temperature):
            control.observe(self.redraw, "value")
        self.train.on_click(lambda _: self.start())

    def figure(self) -> Figure:
        from kdcourse import figures

        begun = self._begun()
        with self._asking:
            logits = {name: _last_logits(model, begun) for name, model in self._models.items()}
        return figures.next_tokens(
            self.beginning.value,
            logits,
            self._text.vocabulary.tokens,
            self.temperature.value,
        )

    def start(self) -> Job:
        """Let all models write, each from the same random numbers, in the background."""
        begun, count, temperature = self._begun(), self.length.value, self.temperature.value
        said = {name: list[int]() for name in self._models}
        shown = self.beginning.value

        def work(job: Job) -> None:
            for place, (name, model) in enumerate(self._models.items()):
                device = placement(model)[0]
                tokens = begun.to(device)
                generator = torch.Generator(device).manual_seed(self.seed.value)
                while len(said[name]) < count:
                    some = min(_AT_ONCE, count - len(said[name]))
                    # The beginning may fill the context; what is written needs room, too.
                    seen = tokens[:, -(self._text.context - some) :]
                    with self._asking:
                        more = continued(model, seen, some, temperature=temperature, generator=generator)
                    new = more[:, -some:]
                    tokens = torch.cat([tokens, new], 1)
                    said[name] += new[0].tolist()
                    self.written.value = self._as_html(shown, said)
                    job.check()
                    self.progress.value = (place + len(said[name]) / count) / len(self._models)

        def ended(job: Job) -> None:
            if job.error is not None:
                self.say_error(job.error, "The text could not be continued.")
            else:
                self.progress.value = 1.0
                self.say("")

        self.say("")
        return self.begin(work, ended)

    def _begun(self) -> Tensor:
        """Return the beginning as tokens [1, T], after the token that stands before each document."""
        vocabulary = self._text.vocabulary
        ids = [vocabulary.end, *vocabulary.encode(self.beginning.value)]
        return torch.tensor([ids[-self._text.context :]])

    def _as_html(self, beginning: str, said: Mapping[str, list[int]]) -> str:
        parts = []
        for name, tokens in said.items():
            text = escape(self._text.vocabulary.decode(tokens)).replace("\n", "<br>")
            parts.append(
                f'<div role="heading" aria-level="4"><b>{escape(name)}</b></div>'
                f"<p><b>{escape(beginning)}</b>{text}</p>"
            )
        return "".join(parts)


@torch.no_grad()
def _last_logits(model: nn.Module, tokens: Tensor) -> Tensor:
    with evaluating(model):
        logits: Tensor = model(tokens.to(placement(model)[0]))
    return logits[0, -1].cpu()


def writers(
    models: Mapping[str, nn.Module], text: TextDataset, *, beginning: str = "She", length: int = 40
) -> Writers:
    """Return a widget in which language models continue what the reader types, and show what they expect next.

    The bars are the first model's likeliest next tokens; the temperature changes them and the texts. All models draw
    from the same random numbers.

    Args:
        models: name -> int64 [B, T] -> logits [B, T, V]; of one vocabulary.
        text: whose vocabulary and context they have.
        beginning: that stands there at first.
        length: tokens that each of them adds, at most half of the context.

    Raises:
        ArgumentError: no model, or models of another vocabulary.
    """
    return Writers(models, text, beginning, length)
