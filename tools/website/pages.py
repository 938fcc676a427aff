"""Make the derived pages: list of lessons, glossary, bibliography, package, methods, command line."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import kdcourse
from kdcourse.distillation import methods
from kdcourse.errors import DataError
from tools import headline
from tools.lessons.links import PYPROJECT, home
from tools.website.lessons import LINK, Page, bare

ROOT = PYPROJECT.parent
BRANCH = "main"  # links to files of the repository lead to this branch
MODULES = ("errors",)
_TERM = re.compile(r"- \*\*(.+?)\*\*(?: \((.+?)\))?: (.+)")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


# -- list of lessons ----------------------------------------------------------------------------


def lesson_cards(pages: Sequence[Page]) -> str:
    """Return the list of lessons for the landing page as HTML: topic, minutes, links."""
    return '<ul class="course-lessons">\n' + "\n".join(_card(page) for page in pages) + "\n</ul>"


def _card(page: Page) -> str:
    number, _, title = page.title.partition(": ")
    places = {"Colab": home().colab(page.name), "Binder": home().binder(page.name)}
    links = " · ".join(
        f'<a href="{escape(address)}">{place}<span class="course-hidden">: {escape(page.title)}</span></a>'
        for place, address in places.items()
    )
    return (
        f'<li><p class="course-number">{escape(number)}</p>'
        f'<h3><a href="notebooks/{page.name}.html">{escape(title)}</a></h3>'
        f"<p>{_inline(page.summary)}</p>"
        f'<p class="course-minutes">{page.reading_minutes} min to read, {page.exercise_minutes} min of exercises. '
        f"Open in {links}</p></li>"
    )


def _inline(text: str) -> str:
    """Turn a paragraph's emphasis and code into HTML; links lose their target because the card has its own."""
    text = escape(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text), quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"\*(.+?)\*", r"<em>\1</em>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


# -- glossary ---------------------------------------------------------------------------------------


def glossary(text: str) -> str:
    """Return the lessons' glossary with a target for every term, which pages and the search can link to.

    Raises:
        DataError: an entry of the list isn't a term with its meaning.
    """
    made: list[str] = []
    for block in re.split(r"\n{2,}", text.strip()):
        made.append(_terms(block) if block.startswith("- ") else block)
    return "\n\n".join(made) + "\n"


def _terms(block: str) -> str:
    entries = []
    for item in re.split(r"\n(?=- )", block):
        found = _TERM.fullmatch(" ".join(item.split()))
        if found is None:
            raise DataError(f"glossary.md: {item.splitlines()[0]!r} is not '- **term**: meaning'.")
        term = f"{found[1]} ({found[2]})" if found[2] else found[1]
        entries.append(f"{term}\n  {found[3]}")
    return "```{glossary}\n" + "\n\n".join(entries) + "\n```"


# -- bibliography ----------------------------------------------------------------------------------------


@dataclass
class Source:
    """Describe a paper or page that the course cites, and where it is cited."""

    address: str
    text: str
    year: int
    used: list[str] = field(default_factory=list)


def bibliography(lessons: Mapping[str, str], package: Path, further: str) -> str:
    """Return all sources, oldest first, each with the places that cite it.

    Args:
        lessons: Markdown of each lesson by name.
        package: folder of the package, whose docstrings and comments cite sources by address.
        further: sources that no lesson lists, as list items ``- Authors (year). Title. address``.

    Raises:
        DataError: an entry has no year or address, or the package cites a paper that isn't listed.
    """
    sources: dict[str, Source] = {}
    for name, text in lessons.items():
        sections = re.split(r"^##+ References\b.*$", text, flags=re.MULTILINE)
        if len(sections) != 2:
            raise DataError(
                f"{name}: found {len(sections) - 1} sections 'References'. A lesson has exactly one."
            )
        for source in _entries(re.split(r"^##? ", sections[1], flags=re.MULTILINE)[0], name):
            kept = sources.setdefault(source.address, source)
            kept.text = min(kept.text, source.text, key=_brevity)
            kept.used.append(f"[lesson {name[:2]}](notebooks/{name}.ipynb)")
    for source in _entries(further, "further sources"):
        sources.setdefault(source.address, source)
    for subpackage, address in _named_in(package):
        if address not in sources:
            raise DataError(
                f"kdcourse.{subpackage} cites {address}, which no lesson and no entry of further_sources.md lists. "
                "Add it to further_sources.md: '- Authors (year). Title. Address'."
            )
        link = f"[`kdcourse.{subpackage}`](api/{subpackage}.md)"
        if link not in sources[address].used:
            sources[address].used.append(link)
    return "\n".join(map(_line, sorted(sources.values(), key=lambda source: (source.year, source.text))))


def _entries(text: str, where: str) -> Iterable[Source]:
    for item in re.findall(r"^- .+(?:\n  .+)*", text, flags=re.MULTILINE):
        line = " ".join(item[2:].split())
        year, address = re.search(r"\((\d{4})\)", line), LINK.search(line)
        if year is None or address is None:
            raise DataError(f"{where}: the source {line[:60]!r} has no year in parentheses, or no address.")
        yield Source(bare(address[0]), line.replace(address[0], "").strip(), int(year[1]))


def _brevity(text: str) -> tuple[bool, int]:
    """Return the sort key of a citation: full first names before initials, then the shortest."""
    return bool(re.search(r"\b[A-Z]\.,? (?:and|[A-Z])", text)), len(text)


def _named_in(package: Path) -> Iterable[tuple[str, str]]:
    """Yield subpackage and address of every cited paper; addresses of data are left out."""
    for path in sorted(package.rglob("*.py")):
        subpackage = path.relative_to(package).parts[0].removesuffix(".py")
        if subpackage not in subpackages():
            continue
        for found in LINK.findall(path.read_text(encoding="utf-8")):
            if re.search(r"arxiv\.org/abs|doi\.org", found):
                yield subpackage, bare(found)


def _line(source: Source) -> str:
    used = f" Named in {', '.join(source.used)}." if source.used else ""
    name = re.sub(r"^https?://(?:www\.)?", "", source.address)
    return f"- {source.text} [{name}](<{source.address}>).{used}"


# -- the package ------------------------------------------------------------------------------------


def subpackages() -> tuple[str, ...]:
    """Return the subpackages with public names, which have a page each, in the order of the package's docstring."""
    found = {
        module.name
        for module in pkgutil.iter_modules(kdcourse.__path__)
        if module.ispkg and hasattr(import_module(f"kdcourse.{module.name}"), "__all__")
    }
    known = [
        name for name in re.findall(r"^``(\w+)``$", str(kdcourse.__doc__), re.MULTILINE) if name in found
    ]
    return (*known, *sorted(found - set(known)), *MODULES)


def public(subpackage: str) -> tuple[str, ...]:
    """Return a subpackage's public names."""
    module = import_module(f"kdcourse.{subpackage}")
    own = (
        name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__
    )
    return tuple(getattr(module, "__all__", None) or own)


def subpackage_page(subpackage: str) -> str:
    """Return the page of one subpackage: purpose, list of names, then each name in full."""
    name = f"kdcourse.{subpackage}"
    kinds = {word: _kind(getattr(import_module(name), word)) for word in public(subpackage)}
    glance = "\n".join(f"   {word}" for word, kind in kinds.items() if kind != "data")
    entries = "".join(
        f"## {word}\n\n```{{eval-rst}}\n.. auto{kind}:: {name}.{word}\n"
        + ("   :members:\n" if kind == "class" else "")
        + "```\n\n"
        for word, kind in kinds.items()
    )
    return (
        f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :no-members:\n\n"
        f".. currentmodule:: {name}\n\n.. autosummary::\n   :nosignatures:\n\n{glance}\n```\n\n{entries}"
    )


def _kind(thing: object) -> str:
    if not isinstance(thing, type):
        return "function" if callable(thing) else "data"
    return "exception" if issubclass(thing, BaseException) else "class"


def package_index() -> str:
    """Return the list of subpackages, each with its first sentence."""
    lines = (f"- [`kdcourse.{name}`]({name}.md): {_first_sentence(name)}" for name in subpackages())
    return "\n".join(lines) + "\n"


def _first_sentence(subpackage: str) -> str:
    return str(import_module(f"kdcourse.{subpackage}").__doc__).strip().splitlines()[0]


# -- distillation methods ---------------------------------------------------------------------------


def distillation_methods() -> str:
    """Return one section per distillation method, from the registry: purpose, call, settings, paper."""
    return "\n\n".join(_method(methods.describe(name)) for name in methods.names()) + "\n"


def _method(method: methods.Description) -> str:
    settings = [f"{name}={value}" for name, value in method.settings.items()]
    call = ", ".join(["student", "teacher", "data", f'method="{method.name}"', *settings])
    task = "" if "labels" in method.tasks else " --task segmentation"
    command = " --set ".join([f"kdcourse run{task} --method {method.name}", *settings])
    compares = "logits" if method.layers is None else f"layers: {method.layers}"
    facts = (
        ("in Python", f"`distil({call})`"),
        ("on the command line", f"`{command}`"),
        ("compares", compares),
        ("for", " and ".join(method.tasks)),
        ("paper", LINK.sub(_address, method.paper)),
    )
    rows = "\n".join(f"| {name} | {text} |" for name, text in facts)
    return f"## `{method.name}`: {method.title}\n\n{_quoted(method.summary)}\n\n| | |\n|---|---|\n{rows}"


def _address(found: re.Match[str]) -> str:
    address = bare(found[0])
    return f"[{re.sub(r'^https?://', '', address)}](<{address}>){found[0][len(address) :]}"


# -- the command line -------------------------------------------------------------------------------


def command_line() -> str:
    """Return every command of `kdcourse` with its options, from the program itself."""
    import typer

    from kdcourse.cli import app

    return "\n\n".join(_commands(typer.main.get_command(app), "kdcourse")) + "\n"


def _commands(command: Any, name: str) -> Iterable[str]:
    inner = getattr(command, "commands", None)
    if inner is not None:
        for word in sorted(inner):
            yield from _commands(inner[word], f"{name} {word}")
        return
    yield f"## {name}"
    yield _quoted(command.help or "")
    rows = [_option(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield "\n".join(("| option | what it does |", "|---|---|", *rows))


def _quoted(text: str) -> str:
    """Return a help text on one line, with options as code, because two hyphens would become a dash."""
    line = " ".join(text.split()).replace("``", "`")
    return re.sub(r"(?<![`\w-])--\w[\w-]*(?:=\w+)?", r"`\g<0>`", line)


def _option(parameter: Any) -> str:
    """Return one row of a command's table."""
    names = [*parameter.opts, *parameter.secondary_opts] if parameter.param_type_name == "option" else []
    shown = ", ".join(f"`{name}`" for name in names) or f"`{str(parameter.name).upper()}`"
    words = _quoted(getattr(parameter, "help", "") or "")
    given = parameter.default
    if isinstance(given, str | int | float | Path) and not isinstance(given, bool) and str(given):
        words += f" Default: `{given}`."
    return f"| {shown} | {words.strip()} |".replace("<", "&lt;")


# -- results ------------------------------------------------------------------------------------------


def results(summary: Mapping[str, Any]) -> str:
    """Return the landing page's results as HTML; ``summary`` is what `tools.headline.stored` returns."""
    cells = [
        f"<div><dt>{name}</dt><dd><strong>{value}</strong> {note}</dd></div>"
        for name, value, note in headline.tiles(summary)
    ]
    return f'<dl class="course-results">{"".join(cells)}</dl>\n\n{headline.sentence(summary)}'


# -- texts of the repository ------------------------------------------------------------------------


def in_repository(path: str, folder: bool = False) -> str:
    """Return the address of a file or folder of the repository."""
    return f"{home().repository}/{'tree' if folder else 'blob'}/{BRANCH}/{path}"


def repository_text(path: Path, on_site: Mapping[str, str], root: Path = ROOT) -> str:
    """Return a text of the repository for the site; links to files that aren't on the site lead to the repository.

    Args:
        path: the file.
        on_site: path in the repository -> document of the site.
        root: folder of the repository.
    """
    text = path.read_text(encoding="utf-8")

    def mended(link: re.Match[str]) -> str:
        target, hash_, anchor = link[2].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return link[0]
        file = (path.parent / target).resolve()
        if not file.is_relative_to(root) or not file.exists():
            return link[0]  # Sphinx will report it as broken
        inside = file.relative_to(root).as_posix()
        there = on_site.get(inside) or in_repository(inside, file.is_dir())
        return f"{link[1]}({there}{hash_}{anchor})"

    links = re.compile(r"(\[[^\]]*\])\(([^)\s]+)\)")
    # Every other part is code, in which brackets and parentheses are not links.
    parts = _CODE.split(text)
    return "".join(part if place % 2 else links.sub(mended, part) for place, part in enumerate(parts))


# -- the networks in the reader's browser -----------------------------------------------------------

TRY_IT = {
    "live": '<a class="course-button" href="live.html">Race student against teachers in this browser</a>',
    "live_masks": '<a class="course-button" href="live_masks.html">Let two students mark your photograph</a>',
}


def live_fragments() -> dict[str, str]:
    """Return the live pages as Markdown, by name: those whose files and students are there."""
    return {name: str(made.fragment()) for name, made in _live().items()}


def write_live(site: Path) -> None:
    """Write the files of the live pages: networks, images, scripts."""
    for made in _live().values():
        made.write(site)


def _live() -> dict[str, Any]:
    """Return the module that makes each live page."""
    if not (Path(__file__).with_name("live") / "build.py").is_file():
        return {}
    modules = {"live": "tools.website.live.build", "live_masks": "tools.website.live.masks.build"}
    return {name: import_module(modules[name]) for name in import_module("tools.website.live.frame").pages()}
