"""Write all derived parts anew: ``python -m tools.readme``."""

from __future__ import annotations

import typer

from kdcourse.cli import guarded
from kdcourse.files import write_atomically
from tools.readme.pages import ROOT, derived

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def readme() -> None:
    """Write the badges, tables and results of README.md, benchmarks/README.md and docs."""

    def work() -> None:
        for path, content in derived().items():
            changed = not path.is_file() or path.read_bytes() != content
            if changed:
                write_atomically(path, content)
            typer.echo(f"{path.relative_to(ROOT)}: {'written' if changed else 'up to date'}")

    guarded(work, "Each file is either written in full or unchanged.")


if __name__ == "__main__":
    app(prog_name="python -m tools.readme")
