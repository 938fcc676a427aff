"""Run the blocks of `docs/ten_minutes.md` and write below each what it printed and drew: ``python -m tools.executed``.

It takes about a minute. A test compares the code with the digest that the page then holds, so that no block is changed
without its output.
"""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import typer
from PIL import Image

from kdcourse.cli import guarded
from kdcourse.figures.output import with_fewer_colours
from kdcourse.files import write_atomically

PAGE = Path(__file__).resolve().parents[1] / "docs" / "ten_minutes.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.M | re.S)
_OUTPUT = re.compile(r"\n<!-- output -->\n.*?<!-- end of output -->\n", re.S)
_DIGEST = re.compile(r"^<!-- executed: (\w+) -->\n", re.M)
_COLOURS = 256

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def code_of(page: str) -> list[str]:
    """Return the blocks of Python of a page."""
    return _BLOCK.findall(_OUTPUT.sub("", page))


def digest_of(page: str) -> str:
    """Return a digest of the code, which `executed` writes into the page."""
    return hashlib.sha256("\0".join(code_of(page)).encode()).hexdigest()[:16]


def digest_in(page: str) -> str | None:
    """Return the digest of the code whose output the page holds."""
    found = _DIGEST.search(page)
    return found[1] if found else None


def executed(page: str, name: str) -> tuple[str, dict[str, bytes]]:
    """Run a page's blocks in order, in a folder that is gone afterwards.

    Args:
        page: Markdown. Blocks of Python share their names; figures are saved in the folder ``name``.
        name: of the page.

    Returns:
        The page with each block's output below it, and its figures by file name, as PNG of 256 colours.
    """
    bare = _DIGEST.sub("", _OUTPUT.sub("", page))
    names: dict[str, Any] = {}
    figures: dict[str, bytes] = {}

    def with_output(block: re.Match[str]) -> str:
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(io.StringIO()):  # progress bars say nothing on a page
            exec(compile(block[1], name, "exec"), names)
        parts = [f"```text\n{said.getvalue()}```\n"] if said.getvalue() else []
        for file, alt in _drawn(Path(name), figures):
            parts.append(f"![{alt}]({name}/{file})\n")
        if not parts:
            return block[0]
        return block[0] + "\n<!-- output -->\n" + "\n".join(parts) + "<!-- end of output -->\n"

    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        text = _BLOCK.sub(with_output, bare)
    title, _, rest = text.partition("\n")
    return f"{title}\n<!-- executed: {digest_of(bare)} -->\n{rest}", figures


def _drawn(folder: Path, known: dict[str, bytes]) -> Iterator[tuple[str, str]]:
    """Add new figures to those that are known; yield their file names and alt texts."""
    for path in sorted(folder.glob("*.png"), key=lambda path: path.stat().st_mtime_ns):
        if path.name in known:
            continue
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            alt = image.info["Description"]
        known[path.name] = with_fewer_colours(content, _COLOURS)
        yield path.name, " ".join(alt.split())


@app.command()
def main() -> None:
    """Run the blocks of docs/ten_minutes.md, and write what they print and draw below them."""

    def work() -> None:
        page, figures = executed(PAGE.read_text(encoding="utf-8"), PAGE.stem)
        for name, content in figures.items():
            write_atomically(PAGE.with_suffix("") / name, content)
        write_atomically(PAGE, page.encode())
        typer.echo(f"{PAGE.name}: written, with {len(figures)} figures")

    guarded(work, "Each file is either written in full or unchanged.")


if __name__ == "__main__":
    app(prog_name="python -m tools.executed")
