"""What an interactive part needs of its lesson is found and run, and nothing more."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from kdcourse.errors import DataError
from tests.website.tiny import code, notebook, picture
from tools.website import parts, trained
from tools.website.lessons import page

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PREDICTION = "Prediction 42-far: an interactive widget that remembers your guess."


def _needed(*sources: str) -> list[str]:
    every = parts.statements(notebook(*map(code, sources)))
    return [ast.unparse(statement.node) for statement in parts.needed(every, len(every) - 1)]


def test_a_part_needs_what_its_arguments_come_from() -> None:
    assert _needed(
        "import torch\nfrom kdcourse import widgets\nraise SystemExit",
        "rows = [1]\nunused = [rows for rows in range(3)]",
        "rows = []\nother = 1\nother += 1\ntorch.manual_seed(0)",
        "for step in range(2):\n    rows.append(step)",
        "table = {}\ntable['a'] = rows\nprint(rows)",
        "scale = lambda other: other * 2\nwidgets.quiz(scale(table))",
    ) == [
        "from kdcourse import widgets",
        "rows = []",
        "for step in range(2):\n    rows.append(step)",
        "table = {}",
        "table['a'] = rows",
        "scale = lambda other: other * 2",
        "widgets.quiz(scale(table))",
    ]


def test_an_explorer_of_what_a_lesson_trains_stays_a_figure() -> None:
    start = "from kdcourse import training, widgets\nmodel = build()"
    shown = code("widgets.temperature_explorer(model)")
    assert parts.offered(notebook(code(start), shown)) == {"temperature_explorer": 2}
    for training in (
        "history = training.fit(model, data)",
        "def run(m):\n    fit(m)\nrun(model)\nmodel = run(1)",
    ):
        assert parts.offered(notebook(code(start), code(training), shown)) == {}


def test_predictions_and_their_truth_become_parts() -> None:
    asking = code(
        'from kdcourse import widgets\nunit = "</script>"\nprint("unseen")\n'
        'widgets.predict("42-far", "How far?", number=(0, 10, 0.5), unit=unit)',
        picture(PREDICTION),
    )
    truth = picture("Truth 42-far: an interactive widget that shows your guess beside what was found.")
    truth["metadata"]["kdcourse"] = {"unit": "km", "truth": 3.0}
    lesson = notebook(asking, code('widgets.reveal("42-far", 3)', truth))
    asked = parts.states(lesson, "42_small", parts.ASKING)
    assert list(asked) == [PREDICTION]
    assert json.loads(json.dumps(asked[PREDICTION])) == {
        "key": "42-far", "question": "How far?", "unit": "</script>", "number": [0, 10, 0.5],
    }  # fmt: skip
    htmls = [
        output["data"]["text/html"]
        for cell in page(lesson, "42_small", asked).notebook["cells"]
        for output in cell.get("outputs", [])
    ]
    found = [html for html in htmls if "data-part" in html]
    assert ['data-part="prediction"' in found[0], 'data-part="truth"' in found[1]] == [True, True]
    assert '{"key": "42-far", "unit": "km", "truth": 3.0}' in found[1]
    assert all("<figure" in html and html.count("</script>") == 1 for html in found)


def test_a_statement_that_fails_is_named() -> None:
    lesson = notebook(code('from kdcourse import widgets\nnames = missing\nwidgets.predict("42-a", names)'))
    with pytest.raises(DataError, match=r"42_small: a statement that .* failed \(NameError.*names = missing"):
        parts.states(lesson, "42_small", parts.ASKING)


def test_every_question_of_the_lessons_works_in_its_page() -> None:
    for path in LESSONS:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        shown = {
            "".join(output["data"]["text/plain"])
            for cell in stored["cells"]
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        }
        asking = {words for words in shown if words.startswith(("Quiz ", "Prediction "))}
        assert asking and parts.states(stored, path.stem, parts.ASKING).keys() == asking
    assert [parts.offered(json.loads(path.read_text())).keys() for path in LESSONS if path.stem[:2] in "03 04 06"] == [
        {"ensemble_explorer"}, {"temperature_explorer"}, {"mistake_browser"},
    ]  # fmt: skip


def test_an_explorer_shows_what_its_figure_in_the_notebook_shows() -> None:
    """The stored alt text was written by the lesson's own run."""
    [path] = [path for path in LESSONS if path.stem.startswith("04")]
    stored = json.loads(path.read_text(encoding="utf-8"))
    [state] = parts.states(stored, path.stem, parts.offered(stored)).values()
    [alt] = [
        output["metadata"]["image/png"]["alt"]
        for cell in stored["cells"]
        for output in cell.get("outputs", [])
        if "".join(output.get("data", {}).get("text/plain", "")).startswith("Temperature explorer")
    ]
    assert state["classes"][state["labels"][0]] in alt
    logits = state["logits"][0][0]
    best = state["classes"][logits.index(max(logits))]
    assert f"{state['names'][0]}: {best} " in alt


def test_what_a_lesson_trains_is_stored_until_its_code_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = code(
        "from kdcourse import widgets\nfrom tests.widgets.tiny import scenes\nfit = lambda *given: None"
    )
    shown = "fit(parts)\nimages, masks, logits, names = parts\nwidgets.threshold_explorer(images, masks, logits, names)"
    lesson = notebook(start, code("parts = scenes()\nprint('seen')"), code(shown))
    assert trained.missing(lesson, "42_small", tmp_path) == ["threshold_explorer"]
    [path] = trained.store(lesson, "42_small", tmp_path)
    assert path.name == "42_small-threshold.json"
    [state] = trained.stored(lesson, "42_small", tmp_path).values()
    assert state["names"] == ["teachers", "student"]
    assert trained.store(lesson, "42_small", tmp_path) == []

    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    words = "Threshold explorer: an interactive widget that shows which pixels."
    lesson["cells"][-1]["outputs"] = [picture(words)]
    output = page(lesson, "42_small").notebook["cells"][-1]["outputs"][0]["data"]["text/html"]
    assert '<div data-part="threshold" data-state="../parts/42_small-threshold.json"><figure' in output
    lesson["cells"][2]["source"] = ["parts = scenes(7)"]
    assert trained.stored(lesson, "42_small", tmp_path) == {}
    output = page(lesson, "42_small").notebook["cells"][-1]["outputs"][0]["data"]["text/html"]
    assert "data-part" not in output
