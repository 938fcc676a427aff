"""Store what explorers show of students that a lesson trains: ``python -m tools.website.trained``.

The site is built without training. A stored explorer is shown as long as the lesson's code that leads to it stays the
same; after a change its page shows the figure, until this command has been run again.
"""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

from kdcourse.cli import guarded
from kdcourse.course import COURSE
from kdcourse.course.notebook import NOTEBOOKS
from kdcourse.files import write_atomically
from tools.website import parts

FOLDER = Path(__file__).resolve().parent / "explorers"
COMMAND = "python -m tools.website.trained"


def stored(notebook: dict[str, Any], name: str, folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return the stored explorers of a lesson that belong to its present code: function -> state."""
    found = {}
    for call, place in parts.trained(notebook).items():
        path = _path(folder, name, call)
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if content.get("code") == _digest(notebook, place):
            found[call] = content["state"]
    return found


def missing(notebook: dict[str, Any], name: str, folder: Path | None = None) -> list[str]:
    """Return the explorers of a lesson that need training and aren't stored."""
    return [call for call in parts.trained(notebook) if call not in stored(notebook, name, folder)]


def store(notebook: dict[str, Any], name: str, folder: Path | None = None) -> list[Path]:
    """Train what the missing explorers of a lesson show, and store it in ``folder``; return the files.

    Raises:
        DataError: a statement of the lesson failed.
    """
    written = []
    calls = missing(notebook, name, folder)
    states = parts.states(notebook, name, calls, training=True) if calls else {}
    for call, state in zip(calls, states.values(), strict=True):
        content = {"code": _digest(notebook, parts.trained(notebook)[call]), "state": state}
        write_atomically(_path(folder, name, call), json.dumps(content, ensure_ascii=False) + "\n")
        written.append(_path(folder, name, call))
    return written


def _path(folder: Path | None, name: str, call: str) -> Path:
    return (folder or FOLDER) / f"{name}-{parts.EXPLORERS[call]}.json"


def _digest(notebook: dict[str, Any], place: int) -> str:
    """Return the digest of the code that a call needs, without its comments."""
    code = "\n".join(ast.unparse(each.node) for each in parts.needed(parts.statements(notebook), place))
    return hashlib.sha256(code.encode()).hexdigest()


def _main() -> None:
    for name in COURSE.names:
        notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
        for path in store(notebook, name):
            print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    guarded(_main, "What was stored before is unchanged.")
