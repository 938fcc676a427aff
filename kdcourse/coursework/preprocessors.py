"""Replace preprocessors of nbgrader, as an assignment's nbgrader_config.py requests; only nbgrader imports this."""

from __future__ import annotations

import re
from typing import Any

from nbgrader import utils
from nbgrader.preprocessors import ClearSolutions, NbGraderPreprocessor

from kdcourse.course import source
from kdcourse.coursework.assign import ANSWER_HERE, BEGIN_HIDDEN, END_HIDDEN

_HIDDEN = re.compile(rf"\n?[^\n]*{BEGIN_HIDDEN}.*?(?:{END_HIDDEN}[^\n]*|\Z)", re.DOTALL)


class NamedBlanks(ClearSolutions):  # type: ignore[misc]
    """Clear solutions as the lessons do: a blank keeps the name that the answer has to define."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        """Replace the solutions in one cell by blanks."""
        if utils.is_solution(cell) and cell.cell_type == "markdown":
            cell.source = ANSWER_HERE
        elif utils.is_solution(cell) and source.BEGIN in cell.source:
            name = cell.metadata.nbgrader["grade_id"]
            cell.source, _, _ = source.derive(name, cell.source)
        else:
            return super().preprocess_cell(cell, resources, index)
        return cell, resources


class HideHiddenTests(NbGraderPreprocessor):  # type: ignore[misc]
    """Remove hidden tests, and tracebacks that would show them, from the notebooks that students get back."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        """Keep the visible part of a check and its error message; remove the rest."""
        if cell.cell_type != "code" or BEGIN_HIDDEN not in cell.source:
            return cell, resources
        cell.source = _HIDDEN.sub("", cell.source)
        for output in cell.outputs:
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]
        return cell, resources
