"""Show what a lesson found: figures with words below them, and what holds on this machine alone."""

from __future__ import annotations

import base64
import html
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kdcourse.course.claims import in_lines
from kdcourse.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_REDRAWN_EVERY = 0.2  # seconds between two updates of a progress bar
_CURVE_WIDTH, _CURVE_HEIGHT = 480, 120  # of a live curve, in units of its drawing


def show(figure: Figure, words: str, *, photographs: bool = False) -> None:
    """Display a figure with its alt text, and ``words`` below it.

    The figure's own alt text goes along as the picture's ``alt``. JupyterLab doesn't read that out, so ``words``,
    which name what is to be seen and its main numbers, are printed as well. They are compared whenever the
    notebook is tested: round their numbers so that they come out alike on every machine.

    Args:
        figure: one of `kdcourse.figures`, or any that `kdcourse.figures.set_alt_text` was called on.
        words: a sentence or two.
        photographs: whether the figure is full of them: it is then stored in 256 colours at 80 dpi, or the
            notebook would get large.

    Raises:
        ArgumentError: a figure without alt text, or no words.
    """
    from IPython.display import display

    from kdcourse.figures import alt_text
    from kdcourse.figures.output import png

    words = " ".join(words.split())
    if not words:
        raise ArgumentError("show needs words for those who can't see the figure; found none.")
    picture = png(figure, dpi=80, colours=256) if photographs else png(figure)
    said = in_lines(f"Figure: {words}")
    bundle = {"image/png": base64.b64encode(picture).decode("ascii"), "text/plain": said}
    display(bundle, metadata={"image/png": {"alt": alt_text(figure)}}, raw=True)
    print(said)


def show_here(title: str, text: str) -> None:
    """Show ``text``, which is true of this machine alone: a timing, a path, what the doctor found.

    It is neither stored in the notebook nor compared when notebooks are tested; only ``title`` is. Without
    ipywidgets the text is printed.

    Args:
        title: what the text is about, the same on every machine.
        text: lines of plain text.
    """
    try:
        import ipywidgets
    except ImportError:
        print(text)
        return
    view = ipywidgets.HTML(f'<pre style="white-space: pre-wrap; line-height: 1.35">{html.escape(text)}</pre>')
    _display_here(view, f"{title}: different on every machine, shown when you run this cell.")


def progress_bar(title: str, steps: int) -> Callable[..., None]:
    """Show a progress bar, and return the function to call after each of ``steps`` steps, with any arguments.

    Pass it on as ``after_step`` of `kdcourse.training.fit` or `kdcourse.distillation.distil`. The notebook stores
    ``title`` alone. Without ipywidgets, nothing is shown.

    Args:
        title: what is in progress.
        steps: at least 1.

    Raises:
        ArgumentError: fewer than one step.
    """
    if steps < 1:
        raise ArgumentError(f"A progress bar needs at least one step; found {steps}.")
    try:
        import ipywidgets
    except ImportError:
        return lambda *_: None
    bar = ipywidgets.IntProgress(
        max=steps,
        description=title,
        style={"description_width": "initial"},
        layout=ipywidgets.Layout(width="36em", max_width="100%"),
    )
    _display_here(bar, f"{title}: a progress bar, shown when you run this cell.")
    done, shown_at = 0, 0.0

    def step(*_: object) -> None:
        nonlocal done, shown_at
        done += 1
        if done >= steps or time.monotonic() - shown_at >= _REDRAWN_EVERY:
            bar.value, shown_at = done, time.monotonic()

    return step


def live_loss(title: str, steps: int) -> Callable[[float], None]:
    """Show a curve that grows while a network trains, and return the function to call with each step's loss.

    The vertical axis begins at 0 and ends at the largest loss so far. The notebook stores ``title`` alone. Without
    ipywidgets, nothing is shown.

    Args:
        title: what is trained.
        steps: at least 1; the width of the curve.

    Raises:
        ArgumentError: fewer than one step.
    """
    if steps < 1:
        raise ArgumentError(f"A curve of the loss needs at least one step; found {steps}.")
    try:
        import ipywidgets
    except ImportError:
        return lambda loss: None
    curve = ipywidgets.HTML(_curve(title, [], steps))
    _display_here(curve, f"{title}: a curve of the loss, shown when you run this cell.")
    losses: list[float] = []
    shown_at = 0.0

    def step(loss: float) -> None:
        nonlocal shown_at
        losses.append(float(loss))
        if len(losses) >= steps or time.monotonic() - shown_at >= _REDRAWN_EVERY / 2:
            curve.value, shown_at = _curve(title, losses, steps), time.monotonic()

    return step


def _curve(title: str, losses: Sequence[float], steps: int) -> str:
    """Return HTML with a curve as SVG: its height is the largest finite loss."""
    finite = [(number, loss) for number, loss in enumerate(losses, start=1) if math.isfinite(loss)]
    top = max((loss for _, loss in finite), default=0.0) or 1.0
    points = " ".join(
        f"{_CURVE_WIDTH * number / max(steps, len(losses)):.1f},{_CURVE_HEIGHT * (1 - loss / top):.1f}"
        for number, loss in finite
    )
    said = f"{title}: step {len(losses)} of {steps}" + (f", loss {losses[-1]:.2f} nats" if losses else "")
    return (
        f'<div role="img" aria-label="{html.escape(said)}">{html.escape(said)}<br>'
        f'<svg viewBox="0 -4 {_CURVE_WIDTH} {_CURVE_HEIGHT + 8}" style="width: 36em; max-width: 100%">'
        f'<path d="M0 0V{_CURVE_HEIGHT}H{_CURVE_WIDTH}" fill="none" stroke="currentColor"/>'
        f'<polyline points="{points}" fill="none" stroke="#0072b2" stroke-width="1.5"/></svg></div>'
    )


def _display_here(widget: Any, words: str) -> None:
    """Display a widget; ``words`` are what notebooks store of it."""
    from IPython.display import display

    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({"text/plain": words, WIDGET_VIEW: view}, raw=True)
