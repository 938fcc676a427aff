"""Write the page of the studies: what each asks, what its rows say, how to make them again."""

from __future__ import annotations

import inspect
from pathlib import Path

from kdcourse.figures import alt_text
from kdcourse.files import shipped
from kdcourse.runs.study import FOLDER, STUDIES, study_named
from kdcourse.runs.study.engine import Study
from kdcourse.runs.study.rows import Row, Rows

_HEAD = """# Studies

Each study answers one question with many training runs, on Fashion-MNIST unless it says otherwise. Its tables below are
made of the stored rows, one per run. Five teachers were trained on one half of the training images. Students learn from
the other half, which no teacher has seen: from its true labels, or from the teachers' answers to its images without any
label. Where settings are searched, it is on the validation split, with three seeds unless the study says otherwise, and
with as many candidates for labels as for answers. The table then comes from fresh seeds, evaluated on the test split
once. All students of a study are trained in one precision and for the same number of steps, unless the study is about
that.

The gap recovered is (answers - labels) / (teachers - labels), as `kdcourse.evaluation.gap_recovered` has it; where the
gap is no larger than the noise of seeds, it says so. Intervals are 95 % intervals of the mean over seeds.

You can make all rows again, or go on where they end:

    kdcourse study NAME --out FOLDER          # trains what the folder lacks, then prints the table
    kdcourse study NAME --table               # prints the table of the stored rows
    kdcourse study teachers --out FOLDER      # trains the five teachers of one half, and stores their answers

Each run is stored as soon as it ends, so you may interrupt the command at any time; `--jobs 2` trains two students side
by side, and `--ray auto` shares the work among [several machines](../CONTRIBUTING.md#on-several-machines). The stored
rows are in `data/study`, with checksums."""


def page() -> str:
    """Return the page in Markdown; a study without rows is left out."""
    folder = shipped(FOLDER)
    parts = [
        _section(study_named(name, folder), rows)
        for name in STUDIES
        if Rows(folder, name).path.exists() and (rows := Rows(folder, name).checked())
    ]
    return "\n\n".join([_HEAD, *parts]) + "\n"


def _section(study: Study, rows: list[Row]) -> str:
    about = (inspect.getdoc(type(study)) or "").partition("\n\nAttributes:")[0]
    precisions = ", ".join(sorted({row["precision"] for row in rows}))
    hours = sum(row["cpu_seconds"] for row in rows) / 3600
    processors = ", ".join(sorted({row["machine"]["processor"] for row in rows}))
    picture = study.folder / f"{study.name}.png"
    figure = study.figure(rows) if picture.exists() else None
    drawn = [] if figure is None else [f"![{alt_text(figure)}](../data/{FOLDER}/{picture.name})"]
    return "\n\n".join(
        [
            f"## {study.question}",
            about,
            *drawn,
            "```text\n" + study.text(rows) + "\n```",
            f"`kdcourse study {study.name}`: {len(rows)} runs in {precisions}, {hours:.1f} hours of one core "
            f"({processors}).",
        ]
    )


PATH = Path("docs") / "studies.md"
