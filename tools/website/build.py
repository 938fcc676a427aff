"""Build the website: ``python -m tools.website``.

    pages/, notebooks/, the repository's texts, docstrings  ->  a folder of sources  ->  Sphinx  ->  site/

No notebook is run, and no page fetches anything from elsewhere when it is read. A warning of Sphinx's, a link that
leads nowhere or a file from elsewhere stops the building, and the old site stays as it was.
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

from kdcourse.data import fashion_mnist
from kdcourse.errors import ArgumentError, DataError
from kdcourse.evaluation import weight_bytes
from kdcourse.lessons.links import home
from kdcourse.runs import recorded
from tools.website import assets, links, pages
from tools.website.card import CARD, card
from tools.website.lessons import FIGURES, Notebook, Page, page

HERE = Path(__file__).resolve().parent
ROOT = pages.ROOT
SECONDS = 600
MARK = "kdcourse-site.json"  # tells a site from any other folder, which is not to be replaced
# Texts of the repository that the site shows where they are there: path -> page.
TEXTS = {
    "docs/instructors.md": "instructors.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "CHANGELOG.md": "changelog.md",
}
COVER = "04_soft_targets"  # the lesson whose first figure stands on the landing page

Say = Callable[[str], object]


def build(out: Path, *, cache: Path | None = None, say: Say = print) -> Path:
    """Build the site.

    Args:
        out: its folder; an earlier site there is replaced once the new one is whole.
        cache: where npm's archives are kept; by default `assets.cache_folder`.
        say: gets a line for each step.

    Returns:
        The first page, index.html.

    Raises:
        ArgumentError: ``out`` holds something else.
        DataError: Sphinx warned, a link leads nowhere, or a package that belongs beside the pages can't be had.
    """
    began = time.perf_counter()
    _refuse_other_folders(out)
    wanted = [package for package in assets.packages() if package.use == "site"]
    archives = assets.fetch(wanted, cache, say)
    with tempfile.TemporaryDirectory(prefix="kdcourse-site-") as folder:
        sources, made, beside = Path(folder, "sources"), Path(folder, "site"), Path(folder, "beside")
        shown = lay_out(sources)
        say(f"{len(shown)} lessons laid out; Sphinx is at work")
        with ThreadPoolExecutor(1) as another_core:
            pages_made = another_core.submit(_sphinx, sources, made)
            for package in wanted:
                assets.unpack(archives[package.name], package, beside / "_static" / "assets")
            _lay_beside(beside, shown)
            pages_made.result()
        shutil.copytree(beside, made, dirs_exist_ok=True)
        problems = links.problems(made)
        if problems:
            raise DataError("The site's links are not in order:\n  " + "\n  ".join(problems))
        count = len(links.pages(made))
        (made / MARK).write_text(json.dumps({"pages": count}) + "\n")
        _replace(out, made)
    say(f"{count} pages in {time.perf_counter() - began:.0f} s: {out / 'index.html'}")
    return out / "index.html"


def lay_out(sources: Path) -> list[Page]:
    """Write what Sphinx reads into a folder that isn't there yet; returns the lessons."""
    notebooks = _notebooks()
    shown = [page(notebook, name) for name, notebook in notebooks.items()]
    for lesson in shown:
        text = json.dumps(lesson.notebook, ensure_ascii=False)
        _write(sources / "notebooks" / f"{lesson.name}.ipynb", text)
    glossary = (ROOT / "lessons" / "glossary.md").read_text(encoding="utf-8")
    _write(sources / "notebooks" / "glossary.md", pages.glossary(glossary))

    texts = {path: name for path, name in TEXTS.items() if (ROOT / path).is_file()}
    on_site = texts | {f"notebooks/{lesson.name}.ipynb": f"notebooks/{lesson.name}.ipynb" for lesson in shown}
    for path, name in texts.items():
        _write(sources / name, pages.repository_text(ROOT / path, on_site))

    for room in pages.rooms():
        _write(sources / "api" / f"{room}.md", pages.room_page(room))
    live = pages.live_fragment()
    if live:
        _write(sources / "live.md", live)
    prose = {name: _prose(notebook) for name, notebook in notebooks.items()}
    further = (HERE / "further_sources.md").read_text(encoding="utf-8")
    fill = {
        "cards": pages.lesson_cards(shown),
        "picture": _cover(shown).figures[0].tag("", lazy=False),
        "results": _results(),
        "lessons": "\n".join(f"{_in_navigation(lesson)} <notebooks/{lesson.name}>" for lesson in shown),
        "parts": "\n".join(f"api/{room}" for room in pages.rooms()),
        "live": "live" if live else "",
        "texts": "\n".join(name.removesuffix(".md") for name in texts.values()),
        "try": pages.TRY_IT if live else "",
        "sources": pages.bibliography(prose, ROOT / "kdcourse", further),
        "rooms": pages.package_index(),
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
    files = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not files:
        raise DataError(f"There are no notebooks in {ROOT / 'notebooks'}. Build them: kdcourse lessons build")
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def _prose(notebook: Notebook) -> str:
    cells = (cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return "\n\n".join("".join(source) for source in cells)


def _in_navigation(lesson: Page) -> str:
    """Its number and what it is about: 'Lesson 05: Distil' -> '05 Distil'."""
    return lesson.title.removeprefix("Lesson ").replace(":", "", 1)


def _cover(shown: list[Page]) -> Page:
    """The lesson whose first figure is the landing page's picture."""
    lesson = next((lesson for lesson in shown if lesson.name == COVER and lesson.figures), None)
    if lesson is None:
        raise DataError(f"There is no lesson {COVER} with a figure, which the landing page shows.")
    return lesson


def _results() -> str:
    """What the course's teachers and students came to, for the landing page."""
    data = fashion_mnist()
    found = recorded.summary(data)
    if found is None:
        raise DataError(
            "There are no recorded results, which the landing page shows: kdcourse students record"
        )
    student, _ = recorded.load(recorded.shipped_folder(), "distilled_seed0", data)
    sizes = {"ensemble": weight_bytes(recorded.ensemble(data)), "student": weight_bytes(student)}
    return pages.results(found, sizes)


def _sphinx(sources: Path, made: Path) -> None:
    """Make the pages; a process of its own, since Sphinx leaves much behind in the one it runs in."""
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
        raise DataError(f"Sphinx is not content:\n{words[-8000:]}")


def _lay_beside(folder: Path, shown: list[Page]) -> None:
    """What Sphinx has no hand in: figures, the notebooks to download, the student that runs in the page."""
    (folder / FIGURES).mkdir(parents=True)
    (folder / "_sources" / "notebooks").mkdir(parents=True)
    for lesson in shown:
        for name, content in lesson.pictures.items():
            (folder / FIGURES / name).write_bytes(content)
        notebook = (
            f"{lesson.name}.ipynb"  # as it is in the repository, where Sphinx would give the page's version
        )
        shutil.copyfile(ROOT / "notebooks" / notebook, folder / "_sources" / "notebooks" / notebook)
    cover = _cover(shown)
    (folder / CARD).write_bytes(card(cover.pictures[cover.figures[0].file]))
    lost = (HERE / "templates" / "404.html").read_text(encoding="utf-8")
    _write(folder / "404.html", lost.replace("<!-- home -->", home().website))
    (folder / ".nojekyll").touch()  # or GitHub Pages leaves folders out that begin with _
    pages.write_live(folder)


def _refuse_other_folders(out: Path) -> None:
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ArgumentError(
            f"{out} holds something else than an earlier site. Name an empty folder with --out."
        )


def _replace(out: Path, made: Path) -> None:
    """Put the new site where the old one is."""
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
