"""Make the image that messengers show beside a link to the site."""

from __future__ import annotations

import io

CARD = "_static/card.png"  # in the site
WIDTH, HEIGHT = 1200, 630  # pixels, as Open Graph recommends
_DARK, _ACCENT = "#0b4f6c", "#f2b134"
_LINES = ("Knowledge distillation,", "on any laptop")


def card(cover: bytes) -> bytes:
    """Return the course's name and one of its figures as a PNG of 1200 x 630 pixels.

    Args:
        cover: the figure as PNG, on white.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    left = figure.add_axes((0, 0, 0.5, 1), facecolor=_DARK)
    left.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    for spine in left.spines.values():
        spine.set_visible(False)
    left.text(0.09, 0.72, "kdcourse", color=_ACCENT, fontsize=34, fontweight="bold")
    for place, line in enumerate(_LINES):
        left.text(0.09, 0.53 - 0.1 * place, line, color="white", fontsize=27, fontweight="bold")
    left.text(
        0.09,
        0.24,
        "Train the teachers, distil the student,\nmeasure what was gained.",
        color="white",
        fontsize=18,
    )
    right = figure.add_axes((0.52, 0.04, 0.46, 0.92))
    right.imshow(imread(io.BytesIO(cover)))
    right.axis("off")
    stream = io.BytesIO()
    figure.savefig(stream, dpi=100)
    return stream.getvalue()
