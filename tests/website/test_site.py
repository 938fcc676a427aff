"""The whole site as built: complete, sound, and with everything that it needs beside its pages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image
from typer.testing import CliRunner

from kdcourse.errors import ArgumentError, DataError
from tests.website.conftest import why_no_site
from tools.lessons.links import home
from tools.website import build, links, pages
from tools.website.__main__ import app
from tools.website.card import CARD, HEIGHT, WIDTH
from tools.website.live import frame

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def _html(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_every_page_is_there(site: Path) -> None:
    expected = {"index.html", "bibliography.html", "command_line.html", "search.html", "api/index.html"}
    expected |= {f"notebooks/{name}.html" for name in [*LESSONS, "glossary"]}
    expected |= {f"api/{room}.html" for room in pages.subpackages()}
    expected |= {
        f"{name.removesuffix('.md')}.html" for path, name in build.TEXTS.items() if (ROOT / path).is_file()
    }
    assert expected <= {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert json.loads((site / build.MARK).read_text())["pages"] >= len(expected)


def test_every_link_leads_somewhere_and_nothing_comes_from_elsewhere(site: Path) -> None:
    assert links.problems(site) == []


def test_formulas_are_drawn_in_the_page_without_a_script(site: Path) -> None:
    html = _html(site / "notebooks" / "04_soft_targets.html")
    assert html.count('class="math ') == html.count("</math>") > 5
    # The lesson's text bears MathJax's name as a class, which tells it to leave the code alone; there is no script.
    assert not re.search(r"<script[^>]*mathjax", html, re.IGNORECASE) and r"\(" not in html


def test_lessons_are_launched_from_the_address_in_pyproject(site: Path) -> None:
    for name in LESSONS:
        html, notebook = _html(site / "notebooks" / f"{name}.html"), f"notebooks/{name}.ipynb"
        assert html.count(f'href="{home().colab(name)}"') == 2  # the theme's button, and the words at the top
        launched = re.findall(r'href="(https://mybinder\.org/[^"]+)"', html)
        assert {unquote(address) for address in launched} == {unquote(home().binder(name))}
        # What is downloaded is what learners open, not the page's version of it.
        opened = ROOT / "notebooks" / "open" / f"{name}.ipynb"
        assert (site / "_sources" / notebook).read_bytes() == opened.read_bytes()


def test_every_figure_of_a_lesson_is_shown_with_its_words(site: Path) -> None:
    for name in LESSONS:
        html = _html(site / "notebooks" / f"{name}.html")
        images = re.findall(
            rf'<img(?: class="course-chart")? src="\.\./figures/{name}-\d\d\.png"[^>]*>', html
        )
        assert len(images) == len(list((site / "figures").glob(f"{name}-*.png"))) > 0
        assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)
        assert "is interactive in JupyterLab, Colab or Binder" in html


def test_docstrings_come_with_formula_source_and_links(site: Path) -> None:
    html = _html(site / "api" / "distillation.html")
    entry = html[html.index('id="kdcourse.distillation.hinton_loss"') :]
    entry = entry[: entry.index("</section>")]
    [formula] = re.findall(r"<math.*?</math>", entry, re.DOTALL)
    assert "".join(re.findall(r">([^<>]+)<", formula)).startswith("αT2KL(softmax(v/T)‖softmax(z/T))")
    assert 'href="https://arxiv.org/abs/1503.02531"' in entry
    assert 'href="#kdcourse.distillation.kd_divergence"' in entry
    assert "Raises" in entry and "temperature" in entry


def test_every_page_introduces_itself_and_shows_a_picture_where_it_is_linked(site: Path) -> None:
    descriptions = set()
    names = ["index", *(f"notebooks/{lesson}" for lesson in LESSONS), "api/data", *frame.pages()]
    for name in names:
        html = _html(site / f"{name}.html")
        [words] = re.findall(r'<meta name="description" content="([^"]{30,220})">', html)
        descriptions.add(words)
        assert f'<meta property="og:url" content="{home().website}{name}.html">' in html
        assert f'<meta property="og:image" content="{home().website}{CARD}">' in html
    assert len(descriptions) == len(names)
    with Image.open(site / CARD) as picture:
        assert picture.size == (WIDTH, HEIGHT)


def test_a_wrong_address_leads_home(site: Path) -> None:
    html = _html(site / "404.html")
    assert f'href="{home().website}"' in html and "<!-- home" not in html
    assert (
        "src=" not in html and "<link" not in html
    )  # it is shown at any depth, where nothing lies beside it


def test_lessons_go_by_short_names_in_the_navigation(site: Path) -> None:
    html = _html(site / "index.html")
    assert re.search(r'href="notebooks/05_distil\.html">\s*05 Distil\s*</a>', html)


def test_words_are_found_without_a_server(site: Path) -> None:
    index = _html(site / "searchindex.js")
    assert "temperatur" in index and "notebooks/04_soft_targets" in index


# -- building ----------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(why_no_site()), reason=why_no_site())
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# A\n\n[there](gone.md)\n", "gone.md"),
        ("# A\n\n```{nothing}\n```\n", "nothing"),
    ],
)
def test_a_warning_stops_the_building(text: str, said: str, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "index.md").write_text(text)
    with pytest.raises(DataError, match=rf"Sphinx gave warnings or errors:(.|\n)*{said}"):
        build._sphinx(sources, tmp_path / "site")


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ArgumentError, match="is not empty and holds no earlier site"):
        build.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    result = CliRunner().invoke(app, ["--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not empty and holds no earlier site" in result.output


def test_an_old_site_makes_way_for_the_new_one_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    out, made = tmp_path / "site", tmp_path / "made"
    for folder, name in ((out, "old.html"), (made, "new.html")):
        folder.mkdir()
        (folder / name).touch()
    build._replace(out, made)
    assert [path.name for path in out.iterdir()] == ["new.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "site"]


def test_an_old_site_stays_where_a_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / build.MARK).touch()
    (tmp_path / "index.html").write_text("old")

    def fail(*given: object) -> None:
        raise DataError("no such luck")

    monkeypatch.setattr(build.assets, "packages", lambda: ())
    monkeypatch.setattr(build, "lay_out", lambda sources, say: [])
    monkeypatch.setattr(build, "_lay_beside", lambda folder, shown: folder.mkdir())
    monkeypatch.setattr(build, "_sphinx", fail)
    with pytest.raises(DataError, match="no such luck"):
        build.build(tmp_path, say=lambda line: None)
    assert (tmp_path / "index.html").read_text() == "old"
