"""Run benchmarks: ``python -m benchmarks``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdcourse.cli import guarded

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Benchmarks, or files of benchmarks. Without a name, all are run."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run each for a few seconds only, to see that it works.")
    ] = False,
    repetitions: Annotated[int | None, typer.Option(help="Number of runs of each side.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the benchmarks and run none.")] = False,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE: change a setting. May be given several times."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the results. By default benchmarks/results for full runs, else runs/benchmarks."
        ),
    ] = None,
) -> None:
    """Measure speed and memory side by side with other ways to do the same."""
    from benchmarks import bench as benchmarks

    def work() -> int:
        if list_them:
            typer.echo(benchmarks.listing())
            return 0
        changes = benchmarks.parse(change or [])
        return benchmarks.bench(
            names or [], quick=quick, repetitions=repetitions, out=out, changes=changes, say=typer.echo
        )

    raise typer.Exit(guarded(work, "No process is left running. Results of finished benchmarks are kept."))


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
