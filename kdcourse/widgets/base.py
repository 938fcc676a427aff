"""What all widgets of the course share: a figure that stands in for them, words for it, work in the background."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from html import escape
from math import log10
from typing import TYPE_CHECKING, Any

import ipywidgets

from kdcourse.errors import KdcourseError
from kdcourse.widgets.jobs import Job, Worker, trainings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VIEW = "application/vnd.jupyter.widget-view+json"
_TOLD_EVERY = 0.1  # seconds between two movements of a progress bar
_PATIENCE = 10.0  # seconds for a training to come to its next step
TEMPERATURE: dict[str, Any] = {  # twenty steps to each doubling from 0.5 on: 1, 2, 4, 8 and 16 are among them
    "min": log10(0.5),
    "max": log10(20),
    "step": log10(2) / 20,
    "description": "Temperature T",
    "readout_format": ".3g",
}
WIDE = {"description_width": "9em"}
# Options longer than a line wrap, where they would lie one upon the other; sentences that wrap stay one paragraph.
# What is pressed is 24 pixels high at least (WCAG 2.2, 2.5.8), and shows that it has the focus in either theme.
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
    """Controls above a figure.

    Where widgets can't run (a page on GitHub, a printed one), the figure stands in, with its alt text; the plain
    text is ``sentence``, the same on every machine, so that stored outputs compare equal. A subclass
    sets what `figure` needs, then calls ``super().__init__``, then lets its controls call `redraw`.

    Args:
        title: a heading.
        sentence: what the widget is, in words.
        controls: from top to bottom.
        pause: seconds between two drawings at least.
    """

    # ipywidgets 7 displays itself through this method, which would leave the figure out.
    _ipython_display_ = None

    def __init__(
        self, title: str, sentence: str, controls: Sequence[ipywidgets.Widget], *, pause: float = 0.0
    ) -> None:
        self.sentence = sentence
        self.status = ipywidgets.HTML()
        # Not an image widget: those have no alt text.
        self.picture = ipywidgets.HTML(layout=ipywidgets.Layout(max_width="100%", align_self="flex-start"))
        self._png = b""
        self.words = ipywidgets.HTML()
        self._alt = ""
        self._drawing = Worker("kdcourse drawing", pause=pause)
        self.draw()
        # Sections of a lesson are headings of level 2, and no level may be left out.
        heading = ipywidgets.HTML(f'{_STYLE}<div role="heading" aria-level="3"><b>{escape(title)}</b></div>')
        _leave_no_tooltip_null(controls)
        super().__init__([heading, *controls, self.status, self.picture, self.words])
        self.add_class("kdcourse")

    def figure(self) -> Figure:
        """The figure for the present state of the controls, with its alt text."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw now, in the calling thread."""
        from kdcourse import figures

        figure = self.figure()
        self._png, self._alt = figures.png(figure), figures.alt_text(figure)
        self.picture.value = _image(self._png, self._alt)
        self.words.value = f"<details><summary>The figure in words</summary>{escape(self._alt)}</details>"

    def redraw(self, _change: object = None) -> None:
        """Have the figure drawn in the background; of many calls the last is served for sure."""
        self._drawing.submit(Job(lambda job: self.draw(), self._drawn))

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until what was asked for is drawn; False when ``timeout`` seconds weren't enough."""
        return self._drawing.join(timeout)

    def say(self, text: str, *, problem: bool = False) -> None:
        """Show a sentence where screen readers announce it."""
        mark, role = ("⚠ ", "alert") if problem else ("", "status")
        self.status.value = (
            f'<div role="{role}" aria-live="polite">{mark}{escape(text)}</div>' if text else ""
        )

    def say_error(self, error: BaseException, what: str) -> None:
        """Show what went wrong, ours in its own words, others' with their kind."""
        reason = str(error) if isinstance(error, KdcourseError) else f"{type(error).__name__}: {error}"
        self.say(f"{what} {reason}", problem=True)

    def close(self) -> None:
        """Stop all work and leave; safe to call twice."""
        drawing = getattr(self, "_drawing", None)  # missing where the constructor refused its arguments
        if drawing is not None:
            drawing.close()
        for child in getattr(self, "children", ()):
            child.close()
        super().close()

    def _drawn(self, job: Job) -> None:
        if job.error is not None:
            self.say_error(job.error, "The figure could not be drawn.")

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None, **kwargs: object
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Widget for front ends that have them, figure for those that don't, a sentence for all."""
        bundle: dict[str, Any] = {
            "text/plain": self.sentence,
            "image/png": base64.b64encode(self._png).decode("ascii"),
        }
        if self.model_id is not None:
            bundle[_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return bundle, {"image/png": {"alt": self._alt}}


class TrainingWidget(CourseWidget):
    """A widget that trains: ``train`` and ``stop`` buttons, a ``progress`` bar, one training at a time.

    A subclass calls `begin`, and defines `ended` for what follows.
    """

    _job: Job | None = None
    _told = 0.0

    def make_buttons(self, what: str) -> None:
        """The three controls; to be called before ``super().__init__``."""
        self.train = button(
            "Train", f"Train {what}; stops what any other widget trains", button_style="primary"
        )
        self.stop = button("Stop", "Stop the training; what it has found so far stays", disabled=True)
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
        """Train in the background; what trains in any widget of this process is asked to stop first.

        Args:
            work: the training; calls `advance` often.
            ended: told how it ended, before the controls are set back.
        """
        self.stop.disabled = False
        self.progress.value, self._told = 0.0, 0.0
        self._job = job = Job(work, lambda job: self._end(job, ended))
        return trainings.submit(job, interrupt=True)

    def advance(self, job: Job, share: float) -> None:
        """Move the bar and the figure on, a few times a second at most; raises `Stopped` when asked to stop."""
        job.check()
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY:
            self._told = now
            self.progress.value = share
            self.redraw()

    def halt(self) -> None:
        """Stop the training; what it has found so far stays."""
        if self._job is not None and not self._job.wait(0):
            self.say("Stopping.")
            self._job.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of training and drawing; False when ``timeout`` seconds weren't enough for either."""
        return (self._job is None or self._job.wait(timeout)) and self.settle(timeout)

    def close(self) -> None:
        if self._job is not None:
            self._job.stop()
            if self._job.wait(_PATIENCE) and not trainings.busy:
                trainings.join(_PATIENCE)
        super().close()

    def _end(self, job: Job, ended: Callable[[Job], None]) -> None:
        try:
            ended(job)
        finally:
            if job is self._job:  # else a later one is under way already
                self.stop.disabled = True
                self.redraw()


def _leave_no_tooltip_null(controls: Sequence[ipywidgets.Widget]) -> None:
    """ipywidgets 8 shows the word "null" where the pointer rests on the label of a control without a tooltip."""
    for control in controls:
        if hasattr(control, "description") and getattr(control, "tooltip", "") is None:
            control.tooltip = ""
        _leave_no_tooltip_null(getattr(control, "children", ()))


def _image(png: bytes, alt: str) -> str:
    """HTML that keeps its place while the next picture is decoded, so that nothing below it jumps."""
    from kdcourse.figures.output import png_size

    width, height = png_size(png)
    return (
        f'<img alt="{escape(alt)}" width="{width}" height="{height}" decoding="sync" '
        f'style="max-width: 100%; height: auto" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'
    )


def button(text: str, tip: str, **options: Any) -> ipywidgets.Button:
    """A button wide enough for its words."""
    return ipywidgets.Button(description=text, tooltip=tip, layout=ipywidgets.Layout(width="auto"), **options)


def slider_layout() -> ipywidgets.Layout:
    """Room for a name, a track long enough to aim at, and the value."""
    return ipywidgets.Layout(width="30em", max_width="100%")


def picture_slider(count: int, value: int = 0) -> ipywidgets.IntSlider:
    """The position of one of ``count`` pictures; disabled where there is but one."""
    return ipywidgets.IntSlider(
        value=value,
        min=0,
        max=max(1, count - 1),
        description="Picture",
        style=WIDE,
        disabled=count == 1,
        layout=slider_layout(),
    )


def radio_buttons(
    options: Sequence[str] | Sequence[tuple[str, Any]], value: Any = None
) -> ipywidgets.RadioButtons:
    """Radio buttons for sentences; none is chosen unless ``value`` says so."""
    buttons = ipywidgets.RadioButtons(
        options=options, value=value, layout=ipywidgets.Layout(width="auto", max_width="100%", height="auto")
    )
    buttons.add_class("kdcourse-choices")
    return buttons


def row(*children: ipywidgets.Widget) -> ipywidgets.HBox:
    """Controls side by side that wrap on a narrow screen."""
    return ipywidgets.HBox(children, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
