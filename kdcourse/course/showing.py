"""Show what a lesson found: figures with words below them, and what holds on this machine alone."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

from kdcourse.course.claims import in_lines
from kdcourse.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


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
    from IPython.display import display

    view = ipywidgets.HTML(f'<pre style="white-space: pre-wrap; line-height: 1.35">{html.escape(text)}</pre>')
    bundle = {
        "text/plain": f"{title}: different on every machine, shown when you run this cell.",
        WIDGET_VIEW: {"version_major": 2, "version_minor": 0, "model_id": view.model_id},
    }
    display(bundle, raw=True)
