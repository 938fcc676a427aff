"""Hold the front ends in JavaScript: modules as anywidget loads them, which the website uses without a kernel.

Each module exports ``{render({model, el})}``; its `model` is what the widget's ``state()`` returns.
"""

from __future__ import annotations

from importlib.resources import files

MODULES = ("quiz", "prediction", "truth", "temperature", "ensemble", "mistakes")


def module(name: str) -> str:
    """Return one of `MODULES` as the text of a JavaScript module that imports nothing."""
    folder = files(__name__)
    return "\n".join((folder / f"{part}.js").read_text(encoding="utf-8") for part in ("common", name))


def style() -> str:
    """Return the style sheet of all modules."""
    return (files(__name__) / "front.css").read_text(encoding="utf-8")
