"""Make the moving picture of the page `live`: ``python -m tools.website.picture``.

A drawing grows, the networks answer, race, and the temperature rises. All of it happens in Chromium on the built page,
so the times in the picture are those of the machine that made it.
"""

from __future__ import annotations

import functools
import http.server
import io
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdcourse.cli import guarded
from kdcourse.errors import ArgumentError, DataError
from kdcourse.files import write_atomically
from tools.website.pages import ROOT

if TYPE_CHECKING:
    from PIL.Image import Image
    from playwright.sync_api import Page

OUT = ROOT / "docs" / "live.gif"
MOST_BYTES = 1_000_000
WIDTH = 760  # pixels
HEIGHT = 470  # of the page's part that is shown, in CSS pixels
COLOURS = 96
SETTLE_MS = 900  # until all networks have answered
# A pullover, as strokes through points in shares of the canvas.
STROKES = (
    ((0.36, 0.12), (0.36, 0.92), (0.5, 0.92), (0.5, 0.14), (0.64, 0.14), (0.64, 0.92)),
    ((0.3, 0.14), (0.12, 0.5), (0.12, 0.8)),
    ((0.7, 0.14), (0.88, 0.5), (0.88, 0.8)),
)
TEMPERATURES = (1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6)
_RACE = """() => {
    document.getElementById('live-again').click();
    window.running = [...document.querySelectorAll('.live-lane')].flatMap(lane => lane.getAnimations());
    for (const each of running) each.pause();
}"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def picture(site: Path, chromium: str) -> bytes:
    """Return the picture as a GIF.

    Args:
        site: the built website.
        chromium: the browser's program.

    Raises:
        ArgumentError: there is no page `live` in this folder, or no such browser.
        DataError: the picture is larger than 1 MB.
    """
    if not (site / "live.html").is_file():
        raise ArgumentError(
            f"There is no live.html in {site}. Build the site: python -m tools.website --out {site}"
        )
    program = shutil.which(chromium)
    if program is None:
        raise ArgumentError(
            f"There is no browser {chromium}. Install Chromium, or name its program: --chromium PATH"
        )
    from PIL.Image import Dither
    from playwright.sync_api import sync_playwright

    with _served(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.goto(f"{address}live.html")
        frames = list(_frames(page))
        browser.close()
    images = [image.quantize(COLOURS, dither=Dither.NONE) for image, _ in frames]
    stream = io.BytesIO()
    images[0].save(
        stream, "GIF", save_all=True, append_images=images[1:], duration=[ms for _, ms in frames], loop=0,
        optimize=True,
    )  # fmt: skip
    if len(stream.getvalue()) >= MOST_BYTES:
        raise DataError(
            f"The picture has {len(stream.getvalue()):,} bytes; it must stay below {MOST_BYTES:,}. Lower WIDTH or "
            "COLOURS in tools/website/picture.py."
        )
    return stream.getvalue()


def _frames(page: Page) -> Iterator[tuple[Image, int]]:
    """Yield images with the milliseconds that each is shown."""
    page.locator("#live-fetch").click()
    page.locator('#live tr[data-model="teachers"] .live-ms[data-ms]').wait_for()
    page.locator("#live-width").fill("6")
    page.locator("#live-clear").click()
    yield _shot(page), 500
    box = page.locator("#live-canvas").bounding_box()
    assert box is not None
    for points in STROKES:
        for n, (x, y) in enumerate(points):
            page.mouse.move(
                box["x"] + x * box["width"], box["y"] + y * box["height"], steps=1 if n == 0 else 6
            )
            if n == 0:
                page.mouse.down()
            else:
                page.wait_for_timeout(SETTLE_MS)
                yield _shot(page), 350
        page.mouse.up()
        page.wait_for_timeout(SETTLE_MS)
    page.evaluate(_RACE)
    for ms in range(0, 2100, 150):
        page.evaluate("ms => { for (const each of running) each.currentTime = ms; }", ms)
        yield _shot(page), 120
    yield _shot(page), 1200
    for temperature in TEMPERATURES:
        page.locator("#live-t").fill(str(temperature))
        yield _shot(page), 160
    yield _shot(page), 2500


def _shot(page: Page) -> Image:
    from PIL import Image

    box = page.locator("#live-controls").bounding_box()
    assert box is not None
    clip = {"x": box["x"] - 12, "y": box["y"] - 12, "width": box["width"] + 24, "height": HEIGHT}
    whole = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")  # type: ignore[arg-type]
    return whole.resize((WIDTH, round(WIDTH * whole.height / whole.width)), Image.Resampling.LANCZOS)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine alone and yield its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@app.command()
def main(
    site: Annotated[Path, typer.Option(help="Folder of the built site.")] = Path("site"),
    out: Annotated[Path, typer.Option(help="The picture.")] = OUT,
    chromium: Annotated[str, typer.Option(help="The browser's program.")] = "chromium",
) -> None:
    """Film the page `live` of the built site for the README."""

    def work() -> None:
        content = picture(site, chromium)
        write_atomically(out, content)
        typer.echo(f"{out}: {len(content):,} bytes")

    guarded(work, "The earlier picture is unchanged.")


if __name__ == "__main__":
    app(prog_name="python -m tools.website.picture")
