"""Right answers in unusual notebooks: what they need stands elsewhere, or their cell is no longer what it was."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.coursework.mangling import Document, Files, is_task, written

TASK = "softened_probabilities"
_ANSWER = (
    "def softened_probabilities(logits, temperature):\n    return (logits / temperature).softmax({axis})\n"
)
_HELPERS = "def axis():\n    return 1\n"


@dataclass(frozen=True)
class Oddity:
    """Describe one.

    Args:
        name: what is odd.
        answer: the exercise's cell.
        before: code cells above it.
        files: name -> text of files beside the notebook.
        markdown: whether the exercise's cell was turned into text.
        costs: "nothing", or "flagged": it can't be graded, and the instructor is told so.
    """

    name: str
    answer: str
    before: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    markdown: bool = False
    costs: str = "nothing"

    def hand_in(self, document: Document, name: str) -> Files:
        """Return the files that are handed in, given a notebook with other answers."""
        document = copy.deepcopy(document)
        cells = []
        for cell in document["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("grade_id") == TASK and is_task(cell):
                empty = {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": []}
                cells += [
                    {**empty, "id": f"own-{n}", "source": source} for n, source in enumerate(self.before)
                ]
                cell["source"] = self.answer
                if self.markdown:
                    cell = {
                        key: value for key, value in cell.items() if key not in ("outputs", "execution_count")
                    }
                    cell["cell_type"] = "markdown"
            cells.append(cell)
        files = {file: text.encode() for file, text in self.files.items()}
        return {name: written({**document, "cells": cells}), **files}


def _odd(name: str, axis: str, *before: str, **more: object) -> Oddity:
    return Oddity(name, _ANSWER.format(axis=axis), before, **more)  # type: ignore[arg-type]


ODDITIES: tuple[Oddity, ...] = (
    _odd("a loop over names", "opts['dim']", "opts = {}\nfor k, v in [('dim', 1)]:\n    opts[k] = v"),
    _odd(
        "a loop variable with a name of the lesson",
        "opts[1]",
        "opts = {}\nfor teacher in range(2):\n    opts[teacher] = teacher\nfor data in 'ab':\n    opts[data] = data",
    ),
    _odd(
        "settings that a method sets",
        "cfg.dim",
        "class Settings:\n    def set(self, **named):\n        self.__dict__.update(named)\n\n\ncfg = Settings()",
        "cfg.set(dim=1)",
    ),
    _odd(
        "a function that sets a global name",
        "axis",
        "def setup():\n    global axis\n    axis = 1\n\n\nsetup()",
    ),
    _odd("an attribute set on a module", "torch.own_axis", "import torch\n\ntorch.own_axis = 1"),
    _odd("a module beside the notebook", "helpers.axis()", "import helpers", files={"helpers.py": _HELPERS}),
    _odd(
        "a module that a cell writes",
        "axis()",
        f"%%writefile helpers.py\n{_HELPERS}",
        "from helpers import axis",
    ),
    Oddity("a fenced cell", f"```python\n{_ANSWER.format(axis=1)}```", markdown=True),
    Oddity(
        "syntax of a newer Python",
        _ANSWER.format(axis=1).replace("return", "label = f'{{'T': temperature}['T']}'\n    return"),
        costs="flagged" if sys.version_info < (3, 12) else "nothing",
    ),
    Oddity(
        "an answer that takes its time",
        "import time\n\n\n" + _ANSWER.format(axis=1).replace("return", "time.sleep(0.5)\n    return"),
    ),
)
