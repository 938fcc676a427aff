"""Build the website: ``python -m tools.website``.

    pages/, notebooks/, the repository's texts, docstrings  ->  a folder of sources  ->  Sphinx  ->  site/

No notebook is run, and no page loads anything from another server. A warning from Sphinx, a broken link or a file from
another server stops the build; the earlier site is then unchanged.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kdcourse.course import COURSE
from kdcourse.course.notebook import NOTEBOOKS
from kdcourse.errors import ArgumentError, DataError
from kdcourse.widgets import front
from tools import headline
from tools.lessons.links import OPENED, home
from tools.website import assets, film, links, pages, parts, trained
from tools.website.card import CARD, card
from tools.website.columns import fitted
from tools.website.drawn import draw_formulas
from tools.website.lessons import FIGURES, PARTS, Notebook, Page, page
from tools.website.lighten import lighten

HERE = Path(__file__).resolve().parent
ROOT = pages.ROOT
SECONDS = 600
MARK = "kdcourse-site.json"  # marks a folder as a site, which may be replaced
# Texts of the repository that the site shows if they exist: path -> page.
TEXTS = {
    "docs/ten_minutes.md": "ten_minutes.md",
    "docs/your_own_model.md": "your_own_model.md",
    "docs/language.md": "language.md",
    "docs/library.md": "library.md",
    "docs/studies.md": "studies.md",
    "docs/results.md": "results.md",
    "docs/compared.md": "compared.md",
    "docs/instructors.md": "instructors.md",
    "docs/jupyterhub.md": "jupyterhub.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "CHANGELOG.md": "changelog.md",
}
# Of these texts, where pages/index.md has them in the navigation; the rest are listed.
PLACED = ("ten_minutes.md", "your_own_model.md", "language.md", "library.md", "studies.md", "results.md")
COVER = "soft_targets"  # topic of the lesson whose first figure is on the landing page
LIVE = ROOT / "docs" / "live.gif"  # see `tools.website.picture`
MASK_STUDENTS = "python -m tools.website.live.masks.students"

Say = Callable[[str], object]


def build(out: Path, *, cache: Path | None = None, say: Say = print) -> Path:
    """Build the site.

    Args:
        out: folder of the site; an earlier site in it is replaced once the new one is complete.
        cache: folder of npm's archives; by default `assets.cache_folder`.
        say: called with one line for each step.

    Returns:
        The first page, index.html.

    Raises:
        ArgumentError: ``out`` holds other files.
        DataError: Sphinx gave a warning, a link is broken, or an npm package is not available.
    """
    began = time.perf_counter()
    _refuse_other_folders(out)
    wanted = [package for package in assets.packages() if package.use == "site"]
    archives = assets.fetch(wanted, cache, say)
    with tempfile.TemporaryDirectory(prefix="kdcourse-site-") as folder:
        sources, made, beside = Path(folder, "sources"), Path(folder, "site"), Path(folder, "beside")
        shown = lay_out(sources, say)
        say(f"{len(shown)} lessons prepared; running Sphinx")
        with ThreadPoolExecutor(1) as another_core:
            pages_made = another_core.submit(_sphinx, sources, made)
            for package in wanted:
                assets.unpack(archives[package.name], package, Path(folder, "node_modules"))
            _lay_beside(beside, shown)
            pages_made.result()
        lighten(made)
        draw_formulas(made, Path(folder, "node_modules"))
        shutil.copytree(beside, made, dirs_exist_ok=True)
        problems = links.problems(made)
        if problems:
            raise DataError(
                "The site has broken links, or loads files from other servers:\n  " + "\n  ".join(problems)
            )
        count = len(links.pages(made))
        (made / MARK).write_text(json.dumps({"pages": count}) + "\n")
        _replace(out, made)
    say(f"{count} pages in {time.perf_counter() - began:.0f} s: {out / 'index.html'}")
    return out / "index.html"


def lay_out(sources: Path, say: Say = print) -> list[Page]:
    """Write Sphinx's sources into a new folder and return the lessons; ``say`` is told of figures that could move."""
    notebooks = _notebooks()
    shown = [
        page(fitted(notebook), name, parts.states(notebook, name, parts.ASKING))
        for name, notebook in notebooks.items()
    ]
    for lesson in shown:
        for call in trained.missing(notebooks[lesson.name], lesson.name):
            say(f"{lesson.name}: {parts.title(call)} stays a figure until you run: {trained.COMMAND}")
        text = json.dumps(lesson.notebook, ensure_ascii=False)
        _write(sources / "notebooks" / f"{lesson.name}.ipynb", text)
    glossary = COURSE.glossary.read_text(encoding="utf-8")
    _write(sources / "notebooks" / "glossary.md", pages.glossary(glossary))

    texts = {path: name for path, name in TEXTS.items() if (ROOT / path).is_file()}
    on_site = texts | {f"{OPENED}/{lesson.name}.ipynb": f"notebooks/{lesson.name}.ipynb" for lesson in shown}
    # In studies.md and ten_minutes.md.
    for figure in sorted([*(ROOT / "data" / "study").glob("*.png"), *(ROOT / "docs").glob("*/*.png")]):
        on_site[figure.relative_to(ROOT).as_posix()] = f"{FIGURES}/{figure.name}"
        (sources / FIGURES).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(figure, sources / FIGURES / figure.name)
    for path, name in texts.items():
        _write(sources / name, pages.repository_text(ROOT / path, on_site))

    for name in pages.subpackages():
        _write(sources / "api" / f"{name}.md", pages.subpackage_page(name))
    live = pages.live_fragments()
    for name, text in live.items():
        _write(sources / f"{name}.md", text)
    if "live_masks" not in live:
        say(f"The page live_masks is left out until you run: {MASK_STUDENTS}")
    prose = {name: _prose(notebook) for name, notebook in notebooks.items()}
    further = (HERE / "further_sources.md").read_text(encoding="utf-8")
    fill = {
        "cards": pages.lesson_cards(shown),
        "film": film.tag(LIVE),
        "image": _cover(shown).figures[0].tag(""),
        "results": pages.results(headline.stored()),
        "lessons": "\n".join(f"{_in_navigation(lesson)} <notebooks/{lesson.name}>" for lesson in shown),
        "parts": "\n".join(f"api/{name}" for name in pages.subpackages()),
        "live": "\n".join(live),
        "texts": "\n".join(name.removesuffix(".md") for name in texts.values() if name not in PLACED),
        "try": " ".join(pages.TRY_IT[name] for name in live),
        "sources": pages.bibliography(prose, ROOT / "kdcourse", further),
        "subpackages": pages.package_index(),
        "methods": pages.distillation_methods(),
        "commands": pages.command_line(),
        "repository": home().repository,
    }
    for written in sorted((HERE / "pages").rglob("*.md")):
        text = written.read_text(encoding="utf-8")
        for word, content in fill.items():
            text = text.replace(f"<!-- {word} -->", content)
        _write(sources / written.relative_to(HERE / "pages"), text)
    return shown


def _notebooks() -> dict[str, Notebook]:
    files = {name: NOTEBOOKS / f"{name}.ipynb" for name in COURSE.names}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        raise DataError(
            f"There is no {' and no '.join(missing)} in {NOTEBOOKS}. Build it: python -m tools.lessons build"
        )
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}


def _prose(notebook: Notebook) -> str:
    cells = (cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return "\n\n".join("".join(source) for source in cells)


def _in_navigation(lesson: Page) -> str:
    """Return a lesson's number and topic: 'Lesson 05: Distil' -> '05 Distil'."""
    return lesson.title.removeprefix("Lesson ").replace(":", "", 1)


def _cover(shown: list[Page]) -> Page:
    """Return the lesson whose first figure is the landing page's image."""
    lesson = next((lesson for lesson in shown if lesson.name[3:] == COVER and lesson.figures), None)
    if lesson is None:
        raise DataError(f"There is no lesson {COVER} with a figure, which the landing page needs.")
    return lesson


def _sphinx(sources: Path, made: Path) -> None:
    """Run Sphinx in a process of its own, because it changes the process that it runs in."""
    command = [
        sys.executable, "-m", "sphinx", "--builder", "html", "--conf-dir", str(HERE), "--doctree-dir",
        str(made.parent / "doctrees"), "--fail-on-warning", "--keep-going", "--quiet", str(sources), str(made),
    ]  # fmt: skip
    quiet = {"PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=SECONDS,
        env={**os.environ, **quiet},
    )  # fmt: skip
    if done.returncode:
        words = done.stderr.replace(str(sources), "").strip() or done.stdout.strip()
        if "No module named sphinx" in words:
            words = 'Sphinx is not installed: pip install -e ".[site]" -c constraints.txt'
        raise DataError(f"Sphinx gave warnings or errors:\n{words[-8000:]}")


def _lay_beside(folder: Path, shown: list[Page]) -> None:
    """Write the files that Sphinx doesn't make: figures, notebooks to download, the live pages."""
    (folder / FIGURES).mkdir(parents=True)
    (folder / "_sources" / "notebooks").mkdir(parents=True)
    for lesson in shown:
        for name, content in lesson.images.items():
            (folder / FIGURES / name).write_bytes(content)
        notebook = f"{lesson.name}.ipynb"  # what learners open; Sphinx would offer the page's version
        shutil.copyfile(ROOT / OPENED / notebook, folder / "_sources" / "notebooks" / notebook)
    for name, content in film.film(LIVE).items():
        (folder / FIGURES / name).write_bytes(content)
    cover = _cover(shown)
    (folder / CARD).parent.mkdir()
    (folder / CARD).write_bytes(card(cover.images[cover.figures[0].file]))
    lost = (HERE / "templates" / "404.html").read_text(encoding="utf-8")
    _write(folder / "404.html", lost.replace("<!-- home -->", home().website))
    (folder / ".nojekyll").touch()  # otherwise GitHub Pages ignores folders that begin with _
    pages.write_live(folder)
    _write_parts(folder, shown)


def _write_parts(folder: Path, shown: list[Page]) -> None:
    """Write the front ends of the interactive parts, and the explorers' numbers."""
    modules = folder / "_static" / "parts"
    for name in front.MODULES:
        _write(modules / f"{name}.js", front.module(name))
    _write(modules / "front.css", front.style())
    _write(modules / "host.js", (HERE / "host.js").read_text(encoding="utf-8"))
    notebooks = _notebooks()
    for lesson in shown:
        notebook = notebooks[lesson.name]
        states = {
            sentence.partition(":")[0]: state
            for sentence, state in parts.states(notebook, lesson.name, parts.offered(notebook)).items()
        }
        states |= {parts.title(call): state for call, state in trained.stored(notebook, lesson.name).items()}
        for title, state in states.items():
            text = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
            _write(folder / PARTS / lesson.explorers[title], text)


def _refuse_other_folders(out: Path) -> None:
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ArgumentError(f"{out} is not empty and holds no earlier site. Name an empty folder with --out.")


def _replace(out: Path, made: Path) -> None:
    """Replace the old site with the new one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=out.resolve().parent, prefix=f".{out.name}-"))
    try:
        shutil.copytree(made, beside / "new")
        if out.exists():
            out.rename(beside / "old")
        (beside / "new").rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
