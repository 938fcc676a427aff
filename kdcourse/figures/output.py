"""Write figures to files: the same figure gives the same bytes, with its alt text."""

from __future__ import annotations

import io
import re
from pathlib import Path
from xml.sax.saxutils import escape

from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import DPI, alt_text, styled
from kdcourse.files import write_atomically


def png(figure: Figure, dpi: int = DPI, colours: int | None = None) -> bytes:
    """Return the figure as PNG (at 100 dpi unless given) with its alt text in the ``Description`` field.

    ``colours`` limits the number of colours (at most 256); a palette is chosen for each figure. With 256 colours, a
    figure of photographs takes a third of the bytes.
    """
    buffer = io.BytesIO()
    with styled():
        figure.savefig(
            buffer, format="png", dpi=dpi, metadata={"Description": alt_text(figure), "Software": None}
        )
    return buffer.getvalue() if colours is None else with_fewer_colours(buffer.getvalue(), colours)


def with_fewer_colours(content: bytes, colours: int) -> bytes:
    """Return a PNG of `png` with at most so many colours, its alt text and resolution kept."""
    notes, smaller = PngInfo(), io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        notes.add_itxt("Description", image.info["Description"])
        dpi = tuple(map(round, image.info["dpi"]))
        fewer = image.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    fewer.save(smaller, format="png", dpi=dpi, pnginfo=notes, optimize=True)
    return smaller.getvalue()


def png_size(png: bytes) -> tuple[int, int]:
    """Return the width and height of a PNG in pixels."""
    return Image.open(io.BytesIO(png)).size


def svg(figure: Figure, title: str) -> bytes:
    """Return the figure as SVG with ``title`` as its <title> and its alt text as its <desc>."""
    buffer = io.BytesIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with styled():
        figure.savefig(buffer, format="svg", dpi=DPI, metadata=nothing)
    text = buffer.getvalue().decode()
    words = f"<title>{escape(title)}</title>\n <desc>{escape(alt_text(figure))}</desc>"
    # Screen readers expect both as the first children of <svg>.
    text, found = re.subn(r"<svg\b([^>]*)>", lambda tag: f'<svg role="img"{tag[1]}>\n {words}', text, count=1)
    if not found:
        raise RuntimeError("matplotlib wrote an SVG without an <svg> element.")
    return text.encode()


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write ``NAME.png`` (100 dpi) and ``NAME.svg`` into ``folder``, each atomically.

    The files hold no date and no random identifier: the same figure always gives the same bytes (with the same
    matplotlib).

    Returns:
        The two paths.

    Raises:
        ArgumentError: a name that isn't a plain file name, or a figure without alt text.
        OSError: the folder can't be written to.
    """
    check_name(name)
    paths = Path(folder) / f"{name}.png", Path(folder) / f"{name}.svg"
    for path, content in zip(paths, (png(figure), svg(figure, spoken(name))), strict=True):
        write_atomically(path, content)
    return paths


def check_name(name: str) -> None:
    """Raise ArgumentError unless ``name`` can name a file on every system."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", name):
        raise ArgumentError(
            "The name of a figure names its files: letters, digits, _ and - only; "
            f"found {name!r}. Use something like 'training_curves'."
        )


def spoken(name: str) -> str:
    """Turn a file's name into a title: ``training_curves`` becomes ``Training curves``."""
    words = re.sub(r"[_-]+", " ", name).strip()
    return words[:1].upper() + words[1:]
