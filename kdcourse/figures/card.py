"""Draw text as a figure where there is nothing to plot."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import GREY, new_figure, set_alt_text, styled

_LINE = 0.235  # inches
_LETTERS = 88


def card(title: str, lines: Sequence[str]) -> Figure:
    """Draw a title and wrapped lines of text: the static figure of a widget that shows text.

    Raises:
        ArgumentError: no title.
    """
    if not title.strip():
        raise ArgumentError("A card needs a title; found none.")
    heading = textwrap.wrap(title, _LETTERS - 8)
    wrapped = [
        part for line in lines for part in textwrap.wrap(line, _LETTERS, subsequent_indent="    ") or [""]
    ]
    with styled():
        height = _LINE * (1.3 * len(heading) + len(wrapped)) + 0.42
        figure = new_figure(8.0, height)
        figure.set_layout_engine("none")
        figure.patch.set(edgecolor=GREY, linewidth=1.5)
        at = height - 0.2
        for row, text in enumerate([*heading, *wrapped]):
            bold = row < len(heading)
            figure.text(
                0.025,
                at / height,
                text,
                va="top",
                fontsize=11 if bold else 10,
                fontweight="bold" if bold else "normal",
            )
            at -= _LINE * (1.3 if bold else 1.0)
        set_alt_text(figure, " ".join([title, *lines]))
    return figure
