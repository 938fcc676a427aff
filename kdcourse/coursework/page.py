"""What the pages of coursework share: everything escaped, no script, readable in light and dark."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

# Contrast at least 7:1 for text and 3:1 for lines in both themes; nothing is told by colour alone.
_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1b1b; --quiet: #4d4d4d; --line: #757575;
  --code: #f3f3f3; --bar: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --paper: #161616; --ink: #f0f0f0; --quiet: #c4c4c4; --line: #949494;
  --code: #262626; --bar: #56b4e9; } }
body { background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; margin: 0 auto;
  max-width: 50rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.quiet { color: var(--quiet); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; } caption { font-weight: bold; padding: .3rem 0; text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .8rem .35rem 0; text-align: left; vertical-align: top; }
td.number, th.number { font-variant-numeric: tabular-nums; text-align: right; }
pre, blockquote { background: var(--code); border-left: 3px solid var(--line); margin: .6rem 0; padding: .7rem .9rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
svg { height: auto; max-width: 100%; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg rect { fill: var(--bar); } svg line { stroke: var(--line); }
a { color: inherit; } a:focus-visible, .wide:focus-visible { outline: 3px solid var(--bar); outline-offset: 2px; }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Nothing is fetched, run, framed or sent; of styles, the one above alone counts, by its digest.
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"


def page(title: str, body: str) -> str:
    """A whole page; ``title`` is plain text, ``body`` is HTML whose texts went through `safe`."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex">\n'
        f"<title>{safe(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def safe(text: str) -> str:
    """``text`` as HTML that shows it and does nothing else."""
    return escape(clean(text))


def name(text: str) -> str:
    """A name, or other words of a student's within a sentence, whose direction of writing stays its own."""
    return f"<bdi>{safe(text)}</bdi>"


def clean(text: str) -> str:
    """``text`` without what no file or page can hold: control characters and halves of surrogate pairs.

    Marks that turn the direction of writing go too: with them, text shows in another order than it has.
    """
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join("\ufffd" if _banned(letter) else letter for letter in whole)


def _banned(letter: str) -> bool:
    code = ord(letter)
    control = (code < 32 and letter not in "\n\t") or 127 <= code < 160
    return control or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or code & 0xFFFE == 0xFFFE


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> str:
    """A table of cells that are HTML already; the first of each row heads it.

    ``numbers``: places of the columns that hold numbers.
    """
    right = set(numbers)

    def kind(place: int) -> str:
        return ' class="number"' if place in right else ""

    head = "".join(f'<th scope="col"{kind(place)}>{cell}</th>' for place, cell in enumerate(header))
    lines = [
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td{kind(place)}>{cell}</td>" for place, cell in enumerate(row) if place)
        + "</tr>"
        for row in rows
    ]
    # A region that scrolls must be reachable by keyboard and say what it is.
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{safe(caption)}">\n<table>\n'
        f"<caption>{safe(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody>\n</table>\n</div>"
    )


def items(texts: Iterable[str]) -> str:
    """A list of what is HTML already."""
    return "<ul>\n" + "\n".join(f"<li>{text}</li>" for text in texts) + "\n</ul>"
