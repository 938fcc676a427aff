"""HTML pages from Jinja2 templates, each page one file: the kit that reports and feedback share.

A page's template lies beside the module that prepares its values. It extends ``base.html`` and imports the macros of
``kit.html``; both are in this folder with ``style.css``.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_KIT = Path(__file__).parent


def render(template: Path, **values: object) -> str:
    """Return the page that ``template`` makes of ``values``.

    All values are data: whatever text they hold is cleaned (see `clean`), escaped and shown. None of it becomes HTML.

    Args:
        template: the file of a template that extends ``base.html``.
        values: what the template uses, by name.

    Raises:
        jinja2.UndefinedError: the template uses a value that is missing.
    """
    return _environment(template.parent).get_template(template.name).render(values)


def clean(text: str) -> str:
    """Replace what no file or page can hold: control characters and halves of surrogate pairs.

    Marks that change the direction of writing are replaced too, since they would show text in another order.
    """
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join("\ufffd" if _banned(letter) else letter for letter in whole)


def _banned(letter: str) -> bool:
    code = ord(letter)
    control = (code < 32 and letter not in "\n\t") or 127 <= code < 160
    return control or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or code & 0xFFFE == 0xFFFE


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, _KIT]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"style": _style(), "policy": policy()}
    return environment


@cache
def _style() -> str:
    return (_KIT / "style.css").read_text(encoding="utf-8")


def policy(script: str = "") -> str:
    """Return a page's content security policy: it fetches, frames and sends nothing, and runs at most one script.

    Digests admit the one style sheet, the script, and nothing else. A page with a script passes this to `render` as the
    value ``policy``.
    """
    said = f"default-src 'none'; img-src data:; style-src {_digest(_style())}; base-uri 'none'; form-action 'none'"
    return f"{said}; script-src {_digest(script)}" if script else said


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _cleaned(value: object) -> object:
    """Clean each text that a template outputs; what is HTML already came from a macro, which did so."""
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
