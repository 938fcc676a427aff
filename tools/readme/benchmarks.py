"""Make the results of benchmarks/README.md from benchmarks/results/*.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS
from benchmarks.report import rows_of, verdicts


def results(folder: Path = RESULTS) -> str:
    """Return Markdown: every result in ``folder``, sorted by name."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if not found:
        return "None yet: `python -m benchmarks` writes them."
    return "\n\n".join(_section(result, folder) for result in found)


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
    quick = " A quick run: do not rely on its numbers." if result["quick"] else ""
    return (
        f"{result['date']}, {machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, torch "
        f"{machine['torch']}; matrix products reach {peaks} TFLOP/s; repetitions: {result['repetitions']}.{quick}"
    )


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[").replace("]", "\\]")
