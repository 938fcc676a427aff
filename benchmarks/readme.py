"""The results in README.md, written from results/*.json: ``python -m benchmarks.readme``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS
from benchmarks.report import rows_of, verdicts
from kdcourse.files import write_atomically

README = Path(__file__).resolve().parent / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def results(folder: Path) -> str:
    """Markdown: every result of ``folder``, by name."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if not found:
        return "None yet: `kdcourse bench` writes them."
    return "\n\n".join(_section(result, folder) for result in found)


def with_results(text: str, folder: Path) -> str:
    """``text`` with what stands between the two marks replaced by `results`."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{results(folder)}\n\n{END}{tail}"


def _section(result: Mapping[str, Any], folder: Path) -> str:
    head, *rows = rows_of(result)
    lines = [
        f"### {result['name']}",
        "",
        result["question"],
        "",
        _row(head),
        "|" + "---|" * len(head),
        *(_row(row) for row in rows),
        "",
        *(f"- {line}" for line in verdicts(result)),
        f"- {_circumstances(result)}",
    ]
    if result.get("alt_text") and (folder / f"{result['name']}.png").is_file():
        lines += ["", f"![{_escape(result['alt_text'])}]({folder.name}/{result['name']}.png)"]
    return "\n".join(lines)


def _circumstances(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    peaks = ", ".join(f"{value:.2f} in {dtype}" for dtype, value in machine["peak_tflops"].items())
    hurried = " A quick try, whose numbers mean little." if result["quick"] else ""
    return (
        f"{result['date']}, {machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, torch "
        f"{machine['torch']}; matrix products reach {peaks} TFLOP/s; repetitions: {result['repetitions']}.{hurried}"
    )


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[").replace("]", "\\]")


if __name__ == "__main__":
    write_atomically(README, with_results(README.read_text(), RESULTS))
