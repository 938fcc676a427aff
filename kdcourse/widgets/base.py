"""Provide what all widgets share: a static figure, its alt text, and work in the background."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable, Sequence
from html import escape
from math import log10
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import ipywidgets
import torch
from torch import Tensor

from kdcourse.errors import KdcourseError
from kdcourse.widgets import front
from kdcourse.widgets.jobs import Job, Worker, trainings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VIEW = "application/vnd.jupyter.widget-view+json"
_PROGRESS_EVERY = 0.1  # seconds between two updates of a progress bar
_STEP_TIMEOUT = 10.0  # seconds for a training run to reach its next step
TEMPERATURE: dict[str, Any] = {  # 20 steps per doubling, so that 1, 2, 4, 8 and 16 can be chosen exactly
    "min": log10(0.5),
    "max": log10(20),
    "step": log10(2) / 20,
    "description": "Temperature T",
    "readout_format": ".3g",
}
WIDE = {"description_width": "9em"}
# Long options wrap instead of overlapping, and wrapped sentences stay one paragraph. Controls are at least 24 pixels
# high (WCAG 2.2, 2.5.8) and show a focus outline in either theme.
_STYLE = """<style>
.kdcourse { --jp-widgets-radio-item-height: 24px; }
.kdcourse .widget-html-content { line-height: 1.5; min-width: 0; }
.kdcourse .widget-inline-hbox, .kdcourse .widget-radio { max-width: calc(100% - 4px) !important; }
.kdcourse select { min-width: 0; }
.kdcourse-wide { overflow-x: auto; }
.kdcourse caption { text-align: left; }
.kdcourse [aria-level="4"] { margin-top: 0.6em; }
.kdcourse summary { min-height: 24px; cursor: pointer; }
.kdcourse :focus-visible { outline: 2px solid var(--jp-content-font-color1, black) !important; outline-offset: 2px; }
.kdcourse .noUi-handle { background: var(--jp-brand-color1, #1976d2) !important; }
.kdcourse [disabled] .noUi-handle { background: var(--jp-border-color0, #bdbdbd) !important; }
.kdcourse-choices label {
  display: flex !important; align-items: flex-start; height: auto !important; white-space: normal; line-height: 1.5;
  padding: 3px 0;
}
.kdcourse-choices label input { order: -1; flex: none; margin: 0.2em 0.6em 0 0.2em !important; height: 1.1em; }
</style>"""


class CourseWidget(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets carries no types
    """Show controls above a figure.

    Where widgets can't run (on GitHub, on paper), the figure is shown alone, with its alt text; the plain text is
    ``sentence``, the same on every machine, so that stored outputs compare equal. A subclass sets what `figure`
    needs, calls ``super().__init__``, then connects its controls to `redraw`. If it names a ``front``, a module of
    `kdcourse.widgets.front`, and scripts run where it is shown, that module draws in place of these controls.

    Args:
        title: a heading.
        sentence: a description of the widget.
        controls: from top to bottom.
        pause: seconds between two drawings, at least.
    """

    # ipywidgets 7 displays itself through this method, which would leave the figure out.
    _ipython_display_ = None
    front = ""

    def __init__(
        self, title: str, sentence: str, controls: Sequence[ipywidgets.Widget], *, pause: float = 0.0
    ) -> None:
        self.sentence = sentence
        self.status = ipywidgets.HTML()
        # Not an image widget: those have no alt text.
        self.drawing = ipywidgets.HTML(layout=ipywidgets.Layout(max_width="100%", align_self="flex-start"))
        self._png = b""
        self.words = ipywidgets.HTML()
        self._alt = ""
        self._drawer = Worker("kdcourse drawing", pause=pause)
        self.draw()
        # Sections of a lesson are headings of level 2, and heading levels must not be skipped.
        heading = ipywidgets.HTML(f'{_STYLE}<div role="heading" aria-level="3"><b>{escape(title)}</b></div>')
        _set_empty_tooltips(controls)
        shown = [heading, *controls, self.status, self.drawing, self.words]
        if front.runs_here():
            shown = [self._front()] if self.front else [*shown, _output(front.KEYS, display="none")]
        super().__init__(shown)
        self.add_class("kdcourse")

    def state(self) -> dict[str, Any]:
        """Return what the front end in JavaScript needs to know, as JSON; see `kdcourse.widgets.front`."""
        raise NotImplementedError

    def _front(self) -> ipywidgets.Output:
        """Return the front end: in a widget, since its numbers would otherwise be stored in the notebook."""
        return _output(front.document(self.front, self.state(), uuid4().hex, self.drawing.value))

    def figure(self) -> Figure:
        """Return the figure for the present state of the controls, with its alt text."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw now, in the calling thread."""
        from kdcourse import figures

        figure = self.figure()
        self._png, self._alt = figures.png(figure), figures.alt_text(figure)
        self.drawing.value = _image(self._png, self._alt)
        self.words.value = f"<details><summary>The figure in words</summary>{escape(self._alt)}</details>"

    def redraw(self, _change: object = None) -> None:
        """Draw the figure in the background; of many calls in a row, the last is always drawn."""
        self._drawer.submit(Job(lambda job: self.draw(), self._drawn))

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until the figure is drawn; return False where that takes longer than ``timeout`` seconds."""
        return self._drawer.join(timeout)

    def say(self, text: str, *, problem: bool = False) -> None:
        """Show a message; screen readers announce it."""
        mark, role = ("⚠ ", "alert") if problem else ("", "status")
        self.status.value = (
            f'<div role="{role}" aria-live="polite">{mark}{escape(text)}</div>' if text else ""
        )

    def say_error(self, error: BaseException, what: str) -> None:
        """Show an error after the sentence ``what``; an error from outside this package with its type."""
        reason = str(error) if isinstance(error, KdcourseError) else f"{type(error).__name__}: {error}"
        self.say(f"{what} {reason}", problem=True)

    def close(self) -> None:
        """Stop all work and close the controls; may be called twice."""
        drawer = getattr(self, "_drawer", None)  # missing where the constructor raised
        if drawer is not None:
            drawer.close()
        for child in getattr(self, "children", ()):
            child.close()
        super().close()

    def _drawn(self, job: Job) -> None:
        if job.error is not None:
            self.say_error(job.error, "The figure could not be drawn.")

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None, **kwargs: object
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widget for front ends that run it, the figure for others, and a sentence for all."""
        bundle: dict[str, Any] = {
            "text/plain": self.sentence,
            "image/png": base64.b64encode(self._png).decode("ascii"),
        }
        if self.model_id is not None:
            bundle[_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return bundle, {"image/png": {"alt": self._alt}}


class TrainingWidget(CourseWidget):
    """Train in the background: ``train`` and ``stop`` buttons, a ``progress`` bar, one training run at a time.

    A subclass calls `make_buttons` before ``super().__init__``, and `begin` to train.
    """

    _job: Job | None = None
    _progress_at = 0.0

    def make_buttons(self, what: str) -> None:
        """Make the three controls; call this before ``super().__init__``."""
        self.train = button(
            "Train", f"Train {what}; stops the training of any other widget", button_style="primary"
        )
        self.stop = button("Stop", "Stop the training; its results so far are kept", disabled=True)
        self.progress = ipywidgets.FloatProgress(
            value=0.0,
            min=0.0,
            max=1.0,
            description="Progress",
            style=WIDE,
            layout=ipywidgets.Layout(width="24em"),
        )
        self.stop.on_click(lambda _: self.halt())

    def begin(self, work: Callable[[Job], None], ended: Callable[[Job], None]) -> Job:
        """Train in the background; a training run of any widget of this process is stopped first.

        Args:
            work: trains, and calls `advance` often.
            ended: called with the job when it has ended, before the controls are reset.
        """
        self.stop.disabled = False
        self.progress.value, self._progress_at = 0.0, 0.0
        self._job = job = Job(work, lambda job: self._end(job, ended))
        return trainings.submit(job, interrupt=True)

    def advance(self, job: Job, share: float) -> None:
        """Update bar and figure, a few times per second at most; raise `Stopped` where the job was asked to stop."""
        job.check()
        now = time.monotonic()
        if now - self._progress_at >= _PROGRESS_EVERY:
            self._progress_at = now
            self.progress.value = share
            self.redraw()

    def halt(self) -> None:
        """Stop the training; its results so far are kept."""
        if self._job is not None and not self._job.wait(0):
            self.say("Stopping.")
            self._job.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of training and drawing; return False where either takes longer than ``timeout`` seconds."""
        return (self._job is None or self._job.wait(timeout)) and self.settle(timeout)

    def close(self) -> None:
        """Stop training and drawing, and close the controls."""
        if self._job is not None:
            self._job.stop()
            if self._job.wait(_STEP_TIMEOUT) and not trainings.busy:
                trainings.join(_STEP_TIMEOUT)
        super().close()

    def _end(self, job: Job, ended: Callable[[Job], None]) -> None:
        try:
            ended(job)
        finally:
            if job is self._job:  # else a later one is running already
                self.stop.disabled = True
                self.redraw()


def _set_empty_tooltips(controls: Sequence[ipywidgets.Widget]) -> None:
    """Set empty tooltips: without one, ipywidgets 8 shows the word "null" over a control's label."""
    for control in controls:
        if hasattr(control, "description") and getattr(control, "tooltip", "") is None:
            control.tooltip = ""
        _set_empty_tooltips(getattr(control, "children", ()))


def _output(html: str, **layout: Any) -> ipywidgets.Output:
    """Return a widget that shows HTML; unlike one of the type `ipywidgets.HTML`, it runs scripts."""
    shown = {"output_type": "display_data", "data": {"text/html": html}, "metadata": {}}
    return ipywidgets.Output(outputs=(shown,), layout=ipywidgets.Layout(**layout))


def _image(png: bytes, alt: str) -> str:
    """Return HTML of a fixed size, so that nothing below jumps while the next image is decoded."""
    from kdcourse.figures.output import png_size

    width, height = png_size(png)
    return (
        f'<img alt="{escape(alt)}" width="{width}" height="{height}" decoding="sync" '
        f'style="max-width: 100%; height: auto" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'
    )


def pixels(images: Tensor) -> str:
    """Return uint8 images as text for a front end: one byte after the other, deflated, in base64."""
    return base64.b64encode(zlib.compress(images.cpu().contiguous().numpy().tobytes(), 9)).decode("ascii")


def rounded(logits: Tensor) -> list[Any]:
    """Return logits as nested lists with three decimals: probabilities change by 0.1 % of themselves at most."""
    return torch.round(logits.detach().cpu().double(), decimals=3).tolist()


def button(text: str, tip: str, **options: Any) -> ipywidgets.Button:
    """Return a button as wide as its text."""
    return ipywidgets.Button(description=text, tooltip=tip, layout=ipywidgets.Layout(width="auto"), **options)


def slider_layout() -> ipywidgets.Layout:
    """Return a layout with space for a name, a long track and the value."""
    return ipywidgets.Layout(width="30em", max_width="100%")


def image_slider(count: int, value: int = 0) -> ipywidgets.IntSlider:
    """Return a slider over ``count`` images; disabled where there is only one."""
    return ipywidgets.IntSlider(
        value=value,
        min=0,
        max=max(1, count - 1),
        description="Image",
        style=WIDE,
        disabled=count == 1,
        layout=slider_layout(),
    )


def radio_buttons(
    options: Sequence[str] | Sequence[tuple[str, Any]], value: Any = None
) -> ipywidgets.RadioButtons:
    """Return radio buttons whose options may be sentences; ``value`` None chooses none."""
    buttons = ipywidgets.RadioButtons(
        options=options, value=value, layout=ipywidgets.Layout(width="auto", max_width="100%", height="auto")
    )
    buttons.add_class("kdcourse-choices")
    return buttons


def row(*children: ipywidgets.Widget) -> ipywidgets.HBox:
    """Return controls side by side that wrap on a narrow screen."""
    return ipywidgets.HBox(children, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
