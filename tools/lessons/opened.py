"""Make the form in which learners open a lesson: the stored notebook without anything that answers a prediction.

    notebooks/NN_TOPIC.ipynb  ->  notebooks/open/NN_TOPIC.ipynb

No code is run. Each output is replaced by a line that says what to do, and Google Colab folds the code of the cells
that JupyterLab folds. `kdcourse lab` copies this form into the learner's folder; links to Colab, Binder and GitHub lead
to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdcourse.course.notebook import stored_notebook
from kdcourse.lab.lessons import UNSTAMPED, stamped

FOLDER = "open"  # in the folder of the stored notebooks
# What stands for the output of a cell whose code holds the words on the left; the first that fits.
INVITATIONS = {
    "widgets.predict(": "Run this cell, then make your prediction.",
    "widgets.quiz(": "Run this cell to answer the questions.",
    "check(": "Run this cell to check your answer.",
    "": "Run this cell to see what it shows.",
}


def opened(notebook: Any) -> str:
    """Return the text of a stored notebook's form for learners; the notebook isn't modified."""
    import nbformat

    form = nbformat.from_dict(notebook)
    for cell in form.cells:
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        if cell.outputs:
            line = next(line for words, line in INVITATIONS.items() if words in cell.source)
            cell.outputs = [nbformat.v4.new_output("display_data", data={"text/plain": line})]
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["cellView"] = "form"
    form.metadata.kdcourse["version"] = ""
    return stamped(str(nbformat.writes(form)).rstrip("\n") + "\n")


def opened_glossary(text: str) -> str:
    """Return the text of the glossary beside these forms."""
    return stamped(f"{text.rstrip()}\n\n<!-- {UNSTAMPED} -->\n")


def wanted(notebooks: Path, names: list[str], glossary: str) -> dict[str, str]:
    """Return what the folder of the forms is to hold: file -> text, for the lessons that are stored.

    Args:
        notebooks: the folder of the stored notebooks.
        names: of all lessons.
        glossary: the file beside the notebooks.
    """
    texts = {}
    for name in names:
        stored = stored_notebook(notebooks / f"{name}.ipynb")
        if stored is not None:
            texts[f"{name}.ipynb"] = opened(stored)
    if (notebooks / glossary).is_file():
        texts[glossary] = opened_glossary((notebooks / glossary).read_text(encoding="utf-8"))
    return texts
