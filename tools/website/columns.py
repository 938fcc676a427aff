"""Format a lesson's code for the width of a page: notebooks have longer lines than a page between its columns."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from kdcourse.errors import DataError

WIDTH = 88
_SECONDS = 60
_COMMENT = re.compile(r"( *)# (.*)")


def fitted(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook whose code has lines of at most `WIDTH` characters, but for long strings.

    Raises:
        DataError: ruff isn't installed, or can't format a cell.
    """
    with tempfile.TemporaryDirectory(prefix="kdcourse-code-") as folder:
        files = {
            place: Path(folder, f"{place}.py")
            for place, cell in enumerate(notebook["cells"])
            if cell["cell_type"] == "code" and _too_wide("".join(cell["source"]))
        }
        for place, file in files.items():
            file.write_text(_comments("".join(notebook["cells"][place]["source"])), encoding="utf-8")
        command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", str(WIDTH), folder]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=_SECONDS)
        if done.returncode:
            raise DataError(
                f"ruff could not format the lessons' code for the website: {done.stderr.strip()[-1000:]}\n"
                'Install it with: pip install -e ".[site]" -c constraints.txt'
            )
        cells = [
            {**cell, "source": files[place].read_text(encoding="utf-8").rstrip("\n")}
            if place in files
            else cell
            for place, cell in enumerate(notebook["cells"])
        ]
    return {**notebook, "cells": cells}


def _too_wide(source: str) -> bool:
    return any(len(line) > WIDTH for line in source.split("\n"))


def _comments(source: str) -> str:
    """Wrap comments that have lines of their own."""
    lines = []
    for line in source.split("\n"):
        comment = _COMMENT.fullmatch(line)
        if comment is None or len(line) <= WIDTH:
            lines.append(line)
        else:
            mark = f"{comment[1]}# "
            lines += textwrap.wrap(comment[2], WIDTH, initial_indent=mark, subsequent_indent=mark)
    return "\n".join(lines)
