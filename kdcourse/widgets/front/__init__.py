"""Hold the front ends in JavaScript: they draw explorers in the browser, without asking the kernel.

Each module exports ``{render({model, el})}``, as anywidget's modules do; its `model` is what the widget's ``state()``
returns. The website shows them without a kernel, JupyterLab and Jupyter Notebook in the output of a cell.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import ipywidgets

MODULES = ("quiz", "prediction", "truth", "temperature", "ensemble", "mistakes", "threshold")
_EXPORT = "export default { render };"
# Notebook 7 and JupyterLab select another cell at arrow keys, unless the control with the focus asks them not to.
KEYS = """<script>
window.kdcourseKeys ??= document.addEventListener("focusin", ({ target }) => {
  if (target.matches(".kdcourse :is(.noUi-handle, select)")) target.dataset.lmSuppressShortcuts = "true";
}) ?? true;
</script>"""


def module(name: str) -> str:
    """Return one of `MODULES` as the text of a JavaScript module that imports nothing."""
    folder = files(__name__)
    return "\n".join((folder / f"{part}.js").read_text(encoding="utf-8") for part in ("common", name))


def style() -> str:
    """Return the style sheet of all modules."""
    return (files(__name__) / "front.css").read_text(encoding="utf-8")


def runs_here() -> bool:
    """Return whether scripts in a cell's output are known to run: in JupyterLab and Jupyter Notebook 7.

    These set ``JPY_SESSION_NAME``. Colab and VS Code, which may connect to such a server, get plain ipywidgets.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return (
        "JPY_SESSION_NAME" in os.environ
        and not ipywidgets.__version__.startswith("7.")
        and "google.colab" not in sys.modules
        and "__vsc_ipynb_file__" not in getattr(shell, "user_ns", {})
    )


def document(name: str, state: Mapping[str, Any], key: str, instead: str) -> str:
    """Return HTML for a cell's output in which a module draws.

    Args:
        name: one of `MODULES`.
        state: what its model gives.
        key: names this output; a page may show it more than once.
        instead: HTML that is shown where scripts don't run.
    """
    known = json.dumps(state, ensure_ascii=False).replace("<", "\\u003c")  # no tag may end the script
    return f"""<style>{style()}</style><div data-kdcourse="{key}">{instead}</div><script type="module">
{module(name).replace(_EXPORT, "")}
const known = {known};
for (const place of document.querySelectorAll('[data-kdcourse="{key}"]')) {{
  const el = document.createElement("div");
  await render({{ model: {{ get: (name) => known[name] }}, el }});
  place.replaceWith(el);
}}
</script>"""
