"""A notebook as a page: nothing that a reader needs is lost, nothing is said twice."""

from __future__ import annotations

import copy
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from kdcourse.course.notebook import SET_UP as CELL
from kdcourse.errors import DataError
from tests.website.tiny import code, notebook, picture, printed, prose
from tools.lessons.links import home
from tools.website.lessons import page, revealing

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def _outputs(cell: dict[str, Any]) -> list[dict[str, Any]]:
    return page(notebook(cell), "42_small").notebook["cells"][-1]["outputs"]


def _lines(output: dict[str, Any]) -> list[str]:
    """What a cell printed, as the page shows it, without its tags."""
    html = output["data"]["text/html"]
    assert html.startswith('<div class="course-printed">')
    return unescape(re.sub(r"<[^>]+>", "", html)).rstrip("\n").split("\n")


def test_title_summary_and_times_are_read() -> None:
    made = page(notebook(), "42_small")
    assert made.title == "Lesson 42: Small"
    assert made.summary == "What it is *about*, with a [link](01.ipynb), in two lines."
    assert (made.reading_minutes, made.exercise_minutes, made.machine) == (3, 5, "under 15 s")


def test_a_figure_becomes_a_file_with_alt_text_and_caption() -> None:
    cell = code(
        "show(...)", picture('Figure: bars & "lines".'), printed('before\nFigure: bars & "lines".\nafter\n')
    )
    made = page(notebook(cell), "42_small")
    figure, words = made.notebook["cells"][-1]["outputs"]
    html = figure["data"]["text/html"]
    assert 'src="../figures/42_small-01.png" width="3" height="2" loading="lazy" alt="the numbers"' in html
    assert "<figcaption>Bars &amp; &quot;lines&quot;.</figcaption>" in html
    assert _lines(words) == ["before", "after"]  # the caption says it already
    assert made.images["42_small-01.png"].startswith(b"\x89PNG")


def test_nothing_is_left_where_only_the_caption_was_printed() -> None:
    assert len(_outputs(code("show(...)", picture("Figure: bars."), printed("Figure: bars.\n")))) == 1


def test_a_claim_is_one_sentence_again_and_its_evidence_lines_of_their_own() -> None:
    [output] = _outputs(
        code("claim(...)", printed("Claim holds: One sentence & its\n  end, <here>.\n  points: 3\n  T: 4\n"))
    )
    assert _lines(output) == ["Claim holds: One sentence & its end, <here>.", "  points: 3", "  T: 4"]
    html = output["data"]["text/html"]
    assert "<b>Claim holds:</b> One sentence &amp; its end, &lt;here&gt;." in html
    assert '<span style="--indent: 2ch">  points: 3\n</span>' in html
    assert html.count("course-claim") == 1 and html.endswith("</span></span></pre></div>")


def test_predictions_checks_and_claims_are_told_apart() -> None:
    asked = "Some text about **Predict** first.\n\n**Predict:** how many?\n\n- **Predict** before you look."
    printed_twice = printed("Claim holds: One.\n  a: 1\nand more\nClaim holds: Two.\n")
    cells = page(notebook(prose(asked), code('check("task", task)', printed_twice)), "42_small").notebook[
        "cells"
    ]
    assert "first.\n\n{.course-predict}\n**Predict:** how" in cells[-2]["source"]
    assert cells[-2]["source"].count("course-predict") == 1
    assert cells[-1]["metadata"]["tags"] == ["course-check"]
    html = cells[-1]["outputs"][0]["data"]["text/html"]
    assert (
        html.count('<span class="course-claim">') == 2 and html.count("<span") == html.count("</span>") == 6
    )
    assert "</span></span><span>and more" in html


def test_what_stands_in_columns_is_not_wrapped() -> None:
    [output] = _outputs(code("print(...)", printed("a   0.1  0.2\n\n  said in words\n")))
    html = output["data"]["text/html"]
    assert '<span class="course-columns">a   0.1  0.2\n</span>' in html
    assert _lines(output) == ["a   0.1  0.2", "", "  said in words"] and html.count("course-columns") == 1


def test_addresses_among_the_references_are_links() -> None:
    words = "## References\n\n- Ann (2015). A. https://doi.org/10.1016/0041-5553(64)90137-5.\n- [b](https://b.org) <https://c.org>\n"
    text = page(notebook(prose("https://a.org\n\n" + words)), "42_small").notebook["cells"][-1]["source"]
    assert text == "https://a.org\n\n" + words.replace(
        "https://doi.org/10.1016/0041-5553(64)90137-5.", "<https://doi.org/10.1016/0041-5553(64)90137-5>."
    )


def test_a_widget_says_where_it_comes_alive() -> None:
    made = page(notebook(code("explorer()", picture("Truth 42-how-far: an interactive widget."))), "42_small")
    html = made.notebook["cells"][-1]["outputs"][0]["data"]["text/html"]
    assert (
        "<figcaption>Truth: an interactive widget." in html
    )  # its name in the program says a reader nothing
    assert "course-widget" in html and "is interactive in JupyterLab" in html and "<img" in html
    assert made.widgets == 1


def test_what_differs_between_machines_says_so() -> None:
    words = "Latency: different on every machine, shown when you run this cell."
    output = {"output_type": "display_data", "data": {"text/plain": [words]}, "metadata": {}}
    assert words in _outputs(code("show_here()", output))[0]["data"]["text/html"]


def test_a_picture_without_words_is_refused() -> None:
    with pytest.raises(DataError, match="42_small, cell 2: an image has no alt text"):
        page(notebook(code("show()", picture("Figure: bars.", alt=""))), "42_small")


def test_a_quiz_is_folded_and_the_set_up_for_colab_left_out() -> None:
    quiz = code("widgets.quiz(...)", jupyter={"source_hidden": True}, tags=["other"])
    set_up = {**code("import sys"), "id": CELL}
    cells = page(notebook(set_up, quiz), "42_small").notebook["cells"]
    assert [cell["metadata"].get("tags") for cell in cells if cell["cell_type"] == "code"] == [
        ["other", "hide-input"]
    ]


def test_what_answers_a_prediction_is_folded_until_it_is_revealed() -> None:
    answer = {"output_type": "execute_result", "data": {"text/plain": ["'4 < 5'"]}, "metadata": {}}
    bar = {"output_type": "display_data", "data": {"text/plain": ["a bar, shown when you run this cell."]}}
    cells = (
        code("print('before')", printed("before\n")),
        code(
            'widgets.predict(\n    "42-far",\n    "How far?")',
            picture("Prediction 42-far: an interactive widget."),
        ),
        code("train()", {**bar, "metadata": {}}, printed("far: 7 km\n"), picture("Figure: far."), answer),
        code("check('far', far)", printed("Not attempted yet: far.\n")),
        code(
            'claim("Far", far > 5)\nwidgets.reveal("42-far", far)',
            printed("Claim holds: Far.\n"),
            picture("Truth 42-far: an interactive widget."),
        ),
        code("print('after')", printed("after\n")),
    )
    shown = [
        [output["data"]["text/html"] for output in cell["outputs"]]
        for cell in page(notebook(*cells), "42_small").notebook["cells"]
        if cell["cell_type"] == "code"
    ]
    folded = [
        [html.startswith('<details class="course-result" data-after="42-far"><summary>') for html in each]
        for each in shown
    ]
    assert folded == [[False], [False], [False, True], [False], [False, True], [False]]
    result = shown[2][1]
    assert "Show the figure (predict first)" in result
    assert "Show the measured numbers (predict first)" in shown[4][1] and "Claim holds" in shown[4][1]
    assert "far: 7 km" in result and "42_small-02.png" in result and "4 &lt; 5" in result
    assert result.endswith("</details>") and "shown when you run this cell" in shown[2][0]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_lesson_shows_what_answers_a_prediction(path: Path) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in stored["cells"]]
    found = revealing(stored)
    reveals = [place for place, source in enumerate(sources) if "widgets.reveal(" in source]
    assert reveals and set(reveals) <= found.keys()
    ids = {stored["cells"][place].get("id") for place in found}
    shown = [
        cell for cell in page(stored, path.stem).notebook["cells"] if cell["id"] in ids and "outputs" in cell
    ]
    open_ones = [
        output["data"]["text/html"]
        for cell in shown
        for output in cell["outputs"]
        if not output["data"]["text/html"].startswith('<details class="course-result"')
    ]
    assert shown and not any("Claim holds" in html for html in open_ones)
    figures = [html for html in open_ones if "<figure" in html]
    assert all(re.search(r"<figcaption>(Prediction|Truth|Quiz):", html) for html in figures)


def test_every_page_leads_to_colab_binder_and_the_notebook() -> None:
    words = page(notebook(), "42_small").notebook["cells"][1]["source"]
    for address in (
        home().colab("42_small"),
        home().binder("42_small"),
        "../_sources/notebooks/42_small.ipynb",
    ):
        assert f'href="{address}"' in words


def test_a_lesson_that_does_not_state_its_time_is_refused() -> None:
    bad = notebook()
    bad["cells"][0] = prose("# Lesson 42: Small\n\nNo time.\n")
    with pytest.raises(DataError, match="Time"):
        page(bad, "42_small")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_lesson_has_a_figure_for_each_of_its_widgets(path: Path) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    before = copy.deepcopy(stored)
    made = page(stored, path.stem)
    assert stored == before
    outputs = [output for cell in stored["cells"] for output in cell.get("outputs", [])]
    assert len(made.figures) == sum("image/png" in output.get("data", {}) for output in outputs) > 0
    shown = json.dumps(made.notebook)
    calls = [cell for cell in stored["cells"] if cell["cell_type"] == "code" and _ends_with_a_widget(cell)]
    assert made.widgets >= len(calls) > 0
    assert "widget-view" not in shown  # nothing that would need a program from elsewhere
    assert all(len(figure.alt) > 20 for figure in made.figures)


def _ends_with_a_widget(cell: dict[str, Any]) -> bool:
    source = "".join(cell["source"])
    return source.startswith("widgets.") or "\nwidgets." in source
