"""Make the landing page's moving picture of the page `live` from ``docs/live.gif``, at less than half its size."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence

FILM, STILL = "live-film.webp", "live-still.webp"  # in the folder of figures
QUALITY = 30


def film(gif: Path) -> dict[str, bytes]:
    """Return the animation, and for readers who prefer less motion its last frame: file -> WebP."""
    with Image.open(gif) as moving:
        frames, durations = [], []
        for frame in ImageSequence.Iterator(moving):
            frames.append(frame.convert("RGB"))
            durations.append(frame.info.get("duration", 100))
    options: dict[str, Any] = {"format": "WEBP", "quality": QUALITY, "method": 4, "minimize_size": True}
    animation, still = io.BytesIO(), io.BytesIO()
    frames[0].save(animation, save_all=True, append_images=frames[1:], duration=durations, loop=0, **options)
    frames[-1].save(still, **options)
    return {FILM: animation.getvalue(), STILL: still.getvalue()}


def tag(gif: Path) -> str:
    """Return the figure as HTML: the still image, which `course.js` sets in motion, and a button that stops it."""
    with Image.open(gif) as moving:
        width, height = moving.size
    alt = (
        "The live page: somebody draws a pullover. Plain student, distilled student and teachers name it while it "
        "grows, then race: the bar of the teachers' time is many times as long."
    )
    return (
        f'<figure class="course-film"><img src="figures/{STILL}" data-film="figures/{FILM}" width="{width}" '
        f'height="{height}" alt="{alt}">\n<figcaption><button type="button" hidden>Pause</button> '
        "Five teachers and the students that they taught, in a browser: draw something yourself.</figcaption></figure>"
    )
