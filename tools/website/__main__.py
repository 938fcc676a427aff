"""Build the website: ``python -m tools.website``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdcourse.cli import guarded

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def site(
    out: Annotated[Path, typer.Option(help="Folder of the site. An earlier site in it is replaced.")] = Path(
        "site"
    ),
) -> None:
    """Build the course's website. Its pages can be read without a network."""
    from tools.website.build import build

    guarded(lambda: build(out, say=typer.echo), "The earlier site is unchanged.")


if __name__ == "__main__":
    app(prog_name="python -m tools.website")
