"""What an assignment's nbgrader_config.py puts in place of nbgrader's own: only nbgrader imports this."""

from __future__ import annotations

import re
from typing import Any

from nbgrader import utils
from nbgrader.preprocessors import ClearSolutions, NbGraderPreprocessor

from kdcourse.course import source
from kdcourse.coursework.assign import ANSWER_HERE, BEGIN_HIDDEN, END_HIDDEN

_HIDDEN = re.compile(rf"\n?[^\n]*{BEGIN_HIDDEN}.*?(?:{END_HIDDEN}[^\n]*|\Z)", re.DOTALL)


class NamedBlanks(ClearSolutions):  # type: ignore[misc]
    """Clears solutions as the lessons do: a blank keeps the name that it is to define."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        """Put blanks where solutions are, in one cell."""
        if utils.is_solution(cell) and cell.cell_type == "markdown":
            cell.source = ANSWER_HERE
        elif utils.is_solution(cell) and source.BEGIN in cell.source:
            name = cell.metadata.nbgrader["grade_id"]
            cell.source, _, _ = source.derive(name, cell.source)
        else:
            return super().preprocess_cell(cell, resources, index)
        return cell, resources


class HideHiddenTests(NbGraderPreprocessor):  # type: ignore[misc]
    """Takes hidden tests out of what students get back, and the tracebacks that would show them."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        """Leave of a check what students could see anyway, and its message."""
        if cell.cell_type != "code" or BEGIN_HIDDEN not in cell.source:
            return cell, resources
        cell.source = _HIDDEN.sub("", cell.source)
        for output in cell.outputs:
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]
        return cell, resources
